//! The routes that control the server.

use serde_json::{Value, json};

use crate::harness::{DATABASE, TestServer};

fn state(server: &TestServer, component: &str) -> String {
    let status = server.get("/control/v1/status").json();
    let components = status["components"].as_array().unwrap();
    let found = components
        .iter()
        .find(|one| one["component"] == component)
        .unwrap();
    found["state"].as_str().unwrap().to_owned()
}

#[test]
fn status_names_every_component_and_each_can_be_paused_and_resumed() {
    let server = TestServer::start();
    let names = [
        "producer",
        "indexing",
        "query",
        "index_builder",
        "scheduler",
        "maintenance",
        "api",
    ];
    for name in names {
        assert_eq!(state(&server, name), "running");
        let path = format!("/control/v1/components/{name}");
        let paused = server.post(&format!("{path}/pause"), &json!({}));
        assert_eq!(paused.json()["state"], "paused", "{name}");
        let resumed = server.post(&format!("{path}/resume"), &json!({}));
        assert_eq!(resumed.json()["state"], "running", "{name}");
        let drained = server.post(&format!("{path}/drain"), &json!({"limit_ms": 5000}));
        assert_eq!(drained.json()["drained"], true, "{}", drained.text());
        assert_eq!(state(&server, name), "paused");
        server.post(&format!("{path}/resume"), &json!({}));
    }
    let stranger = server.post("/control/v1/components/pump/pause", &json!({}));
    stranger.fails(404, "NotFoundError", "index_builder");
    let long = server.post(
        "/control/v1/components/query/drain",
        &json!({"limit_ms": 99_999_999}),
    );
    long.fails(400, "InvalidArgumentError", "at most 3600000");
}

#[test]
fn paused_parts_refuse_requests_and_the_control_routes_go_on() {
    let server = TestServer::start();
    let records = server.collection("things");
    let add = |id: &str| {
        let body = json!({"ids": [id], "embeddings": [[1, 2]]});
        server.post(&format!("{records}/add"), &body)
    };
    assert_eq!(add("a").status, 201);
    server.post("/control/v1/components/producer/pause", &json!({}));
    let refused = add("b");
    refused.fails(429, "ChromaError", "ctl resume producer");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let ready = server.get("/readyz");
    assert_eq!(ready.status, 503);
    let told = ready.json();
    assert_eq!(
        (&told["readable"], &told["writable"]),
        (&json!(true), &json!(false))
    );
    assert!(
        told["reason"]
            .as_str()
            .unwrap()
            .contains("`producer` is paused")
    );
    assert_eq!(server.get("/control/v1/status").json()["writable"], false);
    let got = server.post(&format!("{records}/get"), &json!({}));
    assert_eq!(got.json()["ids"], json!(["a"]));
    server.post("/control/v1/components/producer/resume", &json!({}));
    server.post("/control/v1/components/api/pause", &json!({}));
    server.get(&format!("{DATABASE}/collections")).fails(
        503,
        "ChromaError",
        "paused by its operator",
    );
    assert_eq!(server.get("/healthz").status, 200);
    let ready = server.get("/readyz");
    assert_eq!((ready.status, ready.json()["ready"] == false), (503, true));
    let metrics = server.get("/metrics");
    let line = "vermilion_component_up{component=\"api\"} 0\n";
    assert!(metrics.text().contains(line), "{}", metrics.text());
    server.post("/control/v1/components/api/resume", &json!({}));
    assert_eq!(add("b").status, 201);
    assert_eq!(server.get("/readyz").status, 200);
}

#[test]
fn jobs_are_run_dry_and_in_earnest_and_their_history_is_told() {
    let server = TestServer::start();
    let records = server.collection("things");
    let body = json!({"ids": ["a"], "embeddings": [[1, 2]]});
    server.post(&format!("{records}/add"), &body);
    let jobs = server.get("/control/v1/jobs").json();
    let names: Vec<&str> = jobs
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"scrub") && names.contains(&"catalog_vacuum"));
    let run = |job: &str, body: Value| server.post(&format!("/control/v1/jobs/{job}/run"), &body);
    let dry = run("log_sync", json!({"dry_run": true})).json();
    assert_eq!(
        (&dry["report"]["operations"], &dry["report"]["sealed"]),
        (&json!(1), &json!(0))
    );
    let done = run("log_sync", json!({})).json();
    assert_eq!(
        (&done["outcome"], &done["report"]["sealed"]),
        (&json!("succeeded"), &json!(1))
    );
    let begun = run("catalog_check", json!({"wait": false}));
    assert_eq!(begun.status, 202, "{}", begun.text());
    let id = begun.json()["id"].as_u64().unwrap();
    for _ in 0..100 {
        let job = server.get("/control/v1/jobs/catalog_check").json();
        if job["last_run"]["id"] == id {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let history = server.get("/control/v1/history?limit=2").json();
    let ids: Vec<u64> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [id, id - 1]);
    let of_one = server.get("/control/v1/history?job=log_sync").json();
    assert_eq!(of_one.as_array().unwrap().len(), 2);
    assert_eq!(
        server.post("/control/v1/run-due", &json!({})).json(),
        json!([])
    );
    run("nothing", json!({})).fails(404, "NotFoundError", "no job `nothing`");
    run("scrub", json!({"dryrun": true})).fails(422, "ChromaError", "dryrun");
    server
        .post("/control/v1/jobs/scrub/cancel", &json!({}))
        .fails(409, "ChromaError", "nothing to cancel");
    server
        .get("/control/v1/history?limit=9999")
        .fails(400, "InvalidArgumentError", "at most 1000");
}

#[test]
fn jobs_are_made_changed_paused_and_forgotten() {
    let server = TestServer::start();
    let path = "/control/v1/jobs/nightly_scrub";
    let body = json!({
        "task": "scrub",
        "trigger": {"type": "cron", "expression": "30 2 * * *", "time_zone": "Europe/Berlin"},
        "policy": {"missed": "skip", "grace_ms": 1000},
    });
    let made = server.send("PUT", path, Some(&body));
    assert_eq!(made.status, 200, "{}", made.text());
    let job = server.get(path).json();
    assert_eq!(
        (&job["trigger"], &job["task"]),
        (&body["trigger"], &body["task"])
    );
    assert!(job["next"].as_str().unwrap().ends_with('Z'), "{job}");
    let paused = server.post(&format!("{path}/pause"), &json!({})).json();
    assert_eq!(paused["paused"], true);
    let resumed = server.post(&format!("{path}/resume"), &json!({})).json();
    assert_eq!(resumed["paused"], false);
    for (trigger, words) in [
        (
            json!({"type": "cron", "expression": "61 * * * *"}),
            "no cron expression",
        ),
        (json!({"type": "interval", "every_ms": 5}), "1 second"),
        (json!({"type": "once"}), "neither"),
    ] {
        let refused = server.send(
            "PUT",
            path,
            Some(&json!({"task": "scrub", "trigger": trigger})),
        );
        refused.fails(400, "InvalidArgumentError", words);
    }
    let stranger = json!({"task": "dance", "trigger": {"type": "interval", "every_ms": 60_000}});
    let refused = server.send("PUT", path, Some(&stranger));
    refused.fails(400, "InvalidArgumentError", "There is no task `dance`");
    assert_eq!(server.get(path).json()["trigger"], body["trigger"]);
    assert_eq!(server.send("DELETE", path, None).status, 200);
    server.get(path).fails(404, "NotFoundError", "no job");
}

#[test]
fn jobs_are_refused_what_their_trigger_or_task_does_not_know() {
    let server = TestServer::start();
    let path = "/control/v1/jobs/mine";
    let hourly = json!({"type": "interval", "every_ms": 3_600_000});
    for (task, trigger, arguments, words) in [
        (
            "scrub",
            json!({"type": "cron", "expression": "0 1 * * *", "timezone": "Europe/Berlin"}),
            json!({}),
            "time_zone",
        ),
        (
            "backup",
            hourly.clone(),
            json!({"dest": "a"}),
            "destination",
        ),
        (
            "backup",
            hourly.clone(),
            json!({"kind": "fulll"}),
            "incremental",
        ),
        (
            "log_sync",
            hourly.clone(),
            json!({"all": true}),
            "it has none",
        ),
    ] {
        let body = json!({"task": task, "trigger": trigger, "arguments": arguments});
        let refused = server.send("PUT", path, Some(&body));
        refused.fails(422, "ChromaError", words);
    }
    let other = json!({"task": "backup", "trigger": hourly});
    let refused = server.send("PUT", "/control/v1/jobs/scrub", Some(&other));
    refused.fails(400, "InvalidArgumentError", "another name");
    server.get(path).fails(404, "NotFoundError", "no job");
}

#[test]
fn components_are_stopped_started_and_run() {
    let server = TestServer::start();
    let records = server.collection("things");
    let body = json!({"ids": ["a"], "embeddings": [[1, 2]]});
    assert_eq!(server.post(&format!("{records}/add"), &body).status, 201);
    let act = |component: &str, how: &str, body: Value| {
        server.post(&format!("/control/v1/components/{component}/{how}"), &body)
    };
    let begun = act("indexing", "run", json!({})).json();
    assert_eq!(begun[0]["job"], "log_sync", "{begun}");
    let id = begun[0]["id"].as_u64().unwrap();
    let run = (0..200).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let runs = server.get("/control/v1/history?job=log_sync").json();
        runs.as_array()
            .unwrap()
            .iter()
            .find(|run| run["id"] == id)
            .cloned()
    });
    assert_eq!(run.unwrap()["report"]["sealed"], 1);
    assert_eq!(act("scheduler", "run", json!({})).json(), json!([]));
    act("query", "run", json!({})).fails(404, "NotFoundError", "no work of its own");
    let stopped = act("producer", "stop", json!({"limit_ms": 5000})).json();
    assert_eq!(stopped["stopped"], true, "{stopped}");
    assert_eq!(stopped["component"]["state"], "paused");
    assert!(
        stopped["component"]["switched_off"]
            .as_str()
            .unwrap()
            .ends_with('Z')
    );
    assert_eq!(
        act("producer", "start", json!({})).json()["state"],
        "running"
    );
    act("pump", "stop", json!({})).fails(404, "NotFoundError", "index_builder");
}

#[test]
fn metrics_tell_every_queue_lag_and_kind_of_work() {
    let server = TestServer::start();
    let records = server.collection("things");
    let body = json!({"ids": ["a", "b"], "embeddings": [[1, 2], [3, 4]]});
    assert_eq!(server.post(&format!("{records}/add"), &body).status, 201);
    let run = server.post("/control/v1/jobs/log_sync/run", &json!({}));
    assert_eq!(run.json()["outcome"], "succeeded", "{}", run.text());
    let page = server.get("/metrics");
    let value = |name: &str| -> f64 {
        let line = page.text().lines().find_map(|line| line.strip_prefix(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {}", page.text()));
        line.trim().parse().unwrap()
    };
    assert!(value("vermilion_log_syncs_total") >= 1.0);
    assert!(value("vermilion_log_sync_seconds_total") >= 0.0);
    assert!(value("vermilion_seals_total") >= 1.0);
    assert!(value("vermilion_sealed_rows_total") >= 2.0);
    for (name, expected) in [
        ("vermilion_collections_loaded", 1.0),
        ("vermilion_log_queue_batches", 0.0),
        ("vermilion_merges_total", 0.0),
        ("vermilion_requests_waiting{kind=\"read\"}", 0.0),
        ("vermilion_requests_waiting{kind=\"write\"}", 0.0),
        (
            "vermilion_job_runs_total{job=\"log_sync\",outcome=\"succeeded\"}",
            1.0,
        ),
        (
            "vermilion_job_runs_total{job=\"scrub\",outcome=\"failed\"}",
            0.0,
        ),
        (
            "vermilion_job_last_success_timestamp_seconds{job=\"scrub\"}",
            0.0,
        ),
        (
            "vermilion_component_lag{component=\"indexing\",unit=\"operations\"}",
            0.0,
        ),
        ("vermilion_component_switched_off{component=\"api\"}", 0.0),
    ] {
        assert_eq!(
            value(name).total_cmp(&expected),
            std::cmp::Ordering::Equal,
            "{name}"
        );
    }
    let success = "vermilion_job_last_success_timestamp_seconds{job=\"log_sync\"}";
    assert!(value(success) > 1.7e9);
}
