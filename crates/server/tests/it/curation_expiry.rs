//! What leaves a space and what stays, over a real socket.

use std::path::Path;

use serde_json::{Value, json};
use vermilion_engine::Config;

use crate::curation_scores::{Noise, SPACE, fill, refused};
use crate::harness::{Answer, TestServer};

fn log(server: &TestServer, ids: &[String], more: &Value) -> u16 {
    let mut noise = Noise(ids.len() as u64);
    let mut body = json!({
        "space": "digits", "ids": ids, "input_uris": ids,
        "embeddings": (0..ids.len()).map(|n| noise.near(n % 3, 0.2)).collect::<Vec<_>>(),
    });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    server.post("/curation/v1/log", &body).status
}

fn ids(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}-{n:02}")).collect()
}

fn datasets(server: &TestServer) -> Vec<String> {
    let told = server.get(SPACE).json();
    let all = told["datasets"].as_array().unwrap().iter();
    all.map(|one| one["name"].as_str().unwrap().to_owned())
        .collect()
}

fn version(server: &TestServer, name: &str, more: &Value) {
    let mut said = json!({
        "context": "training", "dataset": name,
        "label_classes": (0..9).map(|n| ["a", "b", "c"][n % 3]).collect::<Vec<_>>(),
    });
    for (key, value) in more.as_object().unwrap() {
        said[key] = value.clone();
    }
    assert_eq!(log(server, &ids(name, 9), &said), 201);
}

fn expire(server: &TestServer, asked: &Value) -> Value {
    let answer = server.post(&format!("{SPACE}/expire"), asked);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn training_leaves_when_newer_versions_replace_it_and_takes_its_statistics_along() {
    let server = TestServer::start();
    for name in ["v1", "v2", "v3", "v4"] {
        version(&server, name, &json!({}));
    }
    let put = |body: &Value| server.send("PUT", &format!("{SPACE}/retention"), Some(body));
    // Nothing leaves until somebody says so.
    assert_eq!(expire(&server, &json!({}))["records"], 0);
    let told = put(&json!({"keep_versions": 2}));
    assert_eq!(told.status, 200, "{}", told.text());
    let told = told.json();
    assert_eq!(
        (&told["retention"]["keep_days"], &told["due"]["records"]),
        (&json!(90.0), &json!(18))
    );
    let dry = expire(&server, &json!({"dry_run": true}));
    assert_eq!(
        (&dry["records"], &dry["dry_run"]),
        (&json!(18), &json!(true))
    );
    assert_eq!(datasets(&server).len(), 4);
    let epoch = dry["epoch"].as_u64().unwrap();
    let report = expire(&server, &json!({}));
    assert_eq!(report["reasons"], json!({"keep_versions": 18}));
    assert!(report["epoch"].as_u64().unwrap() > epoch, "{report}");
    assert_eq!(datasets(&server), ["v3", "v4"]);
    let near = server.post(
        &format!("{SPACE}/assess"),
        &json!({"embeddings": [[1, 0, 0, 0, 0, 0, 0, 0]]}),
    );
    for one in near.json()["assessments"][0]["nearest_training"]
        .as_array()
        .unwrap()
    {
        assert!(one["id"].as_str().unwrap() > "v3", "{one}");
    }
    assert_eq!(expire(&server, &json!({}))["records"], 0);
    assert_eq!(
        server
            .send("DELETE", &format!("{SPACE}/retention"), None)
            .status,
        200
    );
    assert_eq!(
        server.get(&format!("{SPACE}/retention")).json()["retention"],
        Value::Null
    );
    for (wrong, code, field) in [
        (
            json!({"purge_after_days": 0}),
            "out_of_range",
            "purge_after_days",
        ),
        (
            json!({"keep_training_days": -1}),
            "out_of_range",
            "keep_training_days",
        ),
        (json!({"keep_versions": 0}), "out_of_range", "keep_versions"),
        (json!({"keep_days": -1}), "out_of_range", "keep_days"),
        (json!({"keep": 1}), "unknown_field", "keep"),
    ] {
        refused(&put(&wrong), 400, code, Some(field));
    }
}

#[test]
fn datasets_end_at_their_time_by_the_job_or_when_they_are_deleted() {
    let server = TestServer::start();
    // What has ended leaves by itself after a moment, unless the job is paused: then it runs when it is told to.
    let pause = server.post("/control/v1/jobs/curation_expiry/pause", &json!({}));
    assert_eq!(pause.status, 200, "{}", pause.text());
    version(
        &server,
        "old",
        &json!({"dataset_metadata": {"expires_at": 1.5}}),
    );
    version(
        &server,
        "new",
        &json!({"dataset_metadata": {"expires_at": "2999-01-01T00:00:00Z"}}),
    );
    version(&server, "gone", &json!({}));
    let wrong =
        json!({"context": "test", "dataset": "x", "dataset_metadata": {"expires_at": "soon"}});
    assert_eq!(log(&server, &ids("x", 2), &wrong), 400);
    let dry = server.post(
        "/control/v1/jobs/curation_expiry/run",
        &json!({"dry_run": true, "wait": true}),
    );
    assert_eq!(dry.status, 200, "{}", dry.text());
    assert_eq!(datasets(&server), ["gone", "new", "old"]);
    let run = server.post(
        "/control/v1/jobs/curation_expiry/run",
        &json!({"wait": true}),
    );
    assert_eq!(run.status, 200, "{}", run.text());
    assert_eq!(datasets(&server), ["gone", "new"], "{}", run.text());
    let path = format!("{SPACE}/datasets/gone");
    let report = server.send("DELETE", &path, None);
    assert_eq!((report.status, &report.json()["records"]), (200, &json!(9)));
    assert_eq!(datasets(&server), ["new"]);
    refused(
        &server.send("DELETE", &path, None),
        404,
        "dataset_not_found",
        Some("dataset"),
    );
    // A dataset of that name can come again, and stays.
    version(&server, "old", &json!({}));
    assert_eq!(expire(&server, &json!({}))["records"], 0);
    assert_eq!(datasets(&server), ["new", "old"]);
}

#[test]
fn old_production_leaves_and_what_was_decided_or_seen_to_go_wrong_stays() {
    let server = TestServer::start();
    fill(&server, 0, 0);
    let now = std::time::SystemTime::now();
    let now = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let days = |ages: &[f64]| {
        ages.iter()
            .map(|age| now - age * 86_400.0)
            .collect::<Vec<_>>()
    };
    let seen =
        json!({"context": "production", "observed_at": days(&[100.0, 99.0, 50.0, 40.0, 2.0, 1.0])});
    assert_eq!(log(&server, &ids("p", 6), &seen), 201);
    let triage = json!({
        "context": "triage", "observed_at": days(&[200.0]), "label_classes": ["a"],
    });
    assert_eq!(log(&server, &ids("triage", 1), &triage), 201);
    let decided = json!({"ids": ["p-00"], "decision": "junk"});
    assert_eq!(
        server.post(&format!("{SPACE}/decisions"), &decided).status,
        200
    );
    let kept = json!({"keep_days": 90, "keep_records": 2});
    let told = server
        .send("PUT", &format!("{SPACE}/retention"), Some(&kept))
        .json();
    assert_eq!(
        told["due"]["reasons"],
        json!({"keep_days": 1, "keep_records": 2})
    );
    let report = expire(&server, &json!({}));
    assert_eq!(report["records"], 3, "{report}");
    assert_eq!(
        server.get(SPACE).json()["contexts"],
        json!({"production": 3, "training": 60, "triage": 1})
    );
    for (id, status) in [
        ("p-00", 200),
        ("p-01", 404),
        ("p-03", 404),
        ("p-05", 200),
        ("triage-00", 200),
    ] {
        assert_eq!(
            server.get(&format!("{SPACE}/records/{id}/explain")).status,
            status,
            "{id}"
        );
    }
}

/// The files of cold storage.
fn cold(server: &TestServer, query: &str) -> Value {
    let answer = server.get(&format!("{SPACE}/cold{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn start_on(folder: &Path) -> TestServer {
    TestServer::over(Config::at(folder).unwrap(), |_| {})
}

fn of_cold(server: &TestServer, method: &str, id: &str) -> Answer {
    server.send(method, &format!("{SPACE}/cold/{id}"), None)
}

fn retain(server: &TestServer, kept: &Value) {
    let told = server.send("PUT", &format!("{SPACE}/retention"), Some(kept));
    assert_eq!(told.status, 200, "{}", told.text());
}

#[test]
fn training_that_was_replaced_is_kept_as_files_that_tell_all_of_it() {
    let server = TestServer::start();
    let thumbnail = "data:image/png;base64,iVBORw0KGgo=";
    let said = json!({"thumbnails": vec![thumbnail; 9], "metadatas": vec![json!({"shift": 3}); 9]});
    version(&server, "v1", &said);
    for name in ["v2", "v3"] {
        version(&server, name, &json!({}));
    }
    // What is of another context stays where it is.
    let test = json!({"context": "test", "dataset": "v1", "label_classes": ["a", "b"]});
    assert_eq!(log(&server, &ids("t", 2), &test), 201);
    retain(&server, &json!({"keep_versions": 1}));
    expire(&server, &json!({"dry_run": true}));
    assert_eq!(cold(&server, "")["total"], 0);
    let report = expire(&server, &json!({}));
    assert_eq!(
        (&report["records"], &report["complete"]),
        (&json!(18), &json!(true))
    );
    let all = cold(&server, "");
    assert_eq!(all["total"], 2, "{all}");
    let one = cold(&server, "?dataset=v1")["files"][0].clone();
    assert_eq!(
        (
            &one["dataset"],
            &one["records"],
            &one["why"],
            &one["purge_at"]
        ),
        (
            &json!("v1"),
            &json!(9),
            &json!("keep_versions"),
            &Value::Null
        )
    );
    let (first, rest) = (
        cold(&server, "?limit=1"),
        cold(&server, "?offset=1&limit=1"),
    );
    assert_ne!(first["files"][0]["id"], rest["files"][0]["id"]);
    let id = one["id"].as_str().unwrap();
    let file = of_cold(&server, "GET", id);
    assert_eq!(
        (file.status, file.body.len() as u64),
        (200, one["bytes"].as_u64().unwrap())
    );
    let format = one["format"].as_str().unwrap();
    let kind = file.header("content-disposition").unwrap();
    assert_eq!(kind, format!("attachment; filename=\"{id}.{format}\""));
    if format == "jsonl" {
        let text = file.text();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let ids_told: Vec<&str> = lines
            .iter()
            .map(|one| one["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids_told, ids("v1", 9));
        assert_eq!(lines[4]["label_class"], "b");
        assert_eq!(lines[4]["thumbnail"], thumbnail);
        assert_eq!(lines[4]["metadata"], json!({"shift": 3}));
        assert_eq!(lines[4]["embedding"].as_array().unwrap().len(), 8);
    } else {
        assert_eq!(&file.body[..4], b"PAR1");
    }
}

#[test]
fn files_of_training_stay_until_their_time() {
    let server = TestServer::start();
    for name in ["v1", "v2"] {
        version(&server, name, &json!({}));
    }
    retain(&server, &json!({"keep_versions": 1}));
    assert_eq!(expire(&server, &json!({}))["records"], 9);
    let id = cold(&server, "")["files"][0]["id"].clone();
    let id = id.as_str().unwrap();
    // It stays for ever, until somebody says otherwise.
    assert_eq!(expire(&server, &json!({}))["purged"], json!([]));
    retain(
        &server,
        &json!({"keep_versions": 1, "purge_after_days": 1e-9}),
    );
    let due = expire(&server, &json!({"dry_run": true}));
    assert_eq!(due["purged"].as_array().unwrap().len(), 1, "{due}");
    assert_eq!(cold(&server, "")["total"], 1);
    let run = json!({"wait": true});
    let run = server.post("/control/v1/jobs/curation_expiry/run", &run);
    assert!(run.text().contains("purged"), "{}", run.text());
    assert_eq!(cold(&server, "")["total"], 0);
    refused(
        &of_cold(&server, "GET", id),
        404,
        "cold_file_not_found",
        Some("id"),
    );
    refused(&of_cold(&server, "GET", "../lock"), 404, "not_found", None);
}

#[test]
fn cold_files_go_with_their_dataset_or_one_by_one_and_stay_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = start_on(folder.path());
    for name in ["v1", "v2", "v3"] {
        version(&server, name, &json!({}));
    }
    let kept = json!({"keep_versions": 2, "keep_training_days": 1e-9});
    server.send("PUT", &format!("{SPACE}/retention"), Some(&kept));
    // The newest stays however old it is.
    assert_eq!(
        expire(&server, &json!({}))["reasons"],
        json!({"keep_training_days": 18})
    );
    assert_eq!(datasets(&server), ["v3"]);
    drop(server);
    let server = start_on(folder.path());
    let all = cold(&server, "");
    assert_eq!(all["total"], 2, "{all}");
    let id = cold(&server, "?dataset=v2")["files"][0]["id"].clone();
    let id = id.as_str().unwrap();
    assert_eq!(of_cold(&server, "GET", id).status, 200);
    assert_eq!(of_cold(&server, "DELETE", id).status, 200);
    for method in ["GET", "DELETE"] {
        refused(
            &of_cold(&server, method, id),
            404,
            "cold_file_not_found",
            Some("id"),
        );
    }
    let path = format!("{SPACE}/datasets/v1");
    let report = server.send("DELETE", &path, None);
    assert_eq!(
        (report.status, &report.json()["cold_files"]),
        (200, &json!(1))
    );
    assert_eq!(cold(&server, "")["total"], 0);
    assert_eq!(server.send("DELETE", &path, None).status, 404);
    refused(
        &server.get(&format!("{SPACE}/cold?limit=1001")),
        400,
        "out_of_range",
        Some("limit"),
    );
}
