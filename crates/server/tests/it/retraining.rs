//! Retrainings over a real socket: who may take one, what becomes of it, and what is told of it.

use std::time::Duration;

use serde_json::{Value, json};
use vermilion_engine::Config;

use crate::harness::{Answer, DATABASE, TestServer, told};

const SPACE: &str = "/curation/v1/spaces/digits";

fn fill(server: &TestServer) {
    for (context, labels) in [
        ("training", json!(["a", "b", "a"])),
        ("production", json!([null, null, null])),
    ] {
        let ids = ["1", "2", "3"].map(|id| format!("{context}-{id}"));
        let body = json!({
            "space": "digits",
            "context": context,
            "ids": ids,
            "input_uris": ["x:1", "x:2", "x:3"],
            "embeddings": [[1.0, 0.1], [0.1, 1.0], [0.9, 0.2]],
            "label_classes": labels,
        });
        let answer = server.post("/curation/v1/log", &body);
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str, field: Option<&str>) -> Value {
    let body = told(answer, status);
    assert_eq!(body["error"], code, "{body}");
    assert_eq!(body["field"].as_str(), field, "{body}");
    body
}

fn fire(server: &TestServer) -> String {
    let begun = told(
        &server.post(&format!("{SPACE}/retrainings"), &json!({})),
        201,
    );
    begun["id"].as_str().unwrap().to_owned()
}

fn act(server: &TestServer, id: &str, what: &str, body: &Value) -> Answer {
    server.post(&format!("/curation/v1/retrainings/{id}/{what}"), body)
}

/// What a worker says that is done.
fn done(lease: &Value) -> Value {
    json!({
        "lease": lease,
        "embedding_set": {"model": "digits", "version": 2},
        "space": "digits-2",
        "metrics": {"accuracy": 0.75},
        "metrics_before": {"accuracy": 0.5},
        "consumed_ids": ["production-1", "production-2", "gone"],
    })
}

#[test]
fn a_worker_is_told_what_to_train_on() {
    let server = TestServer::start();
    fill(&server);
    let labels = json!({"ids": ["production-1"], "label_classes": ["b"]});
    told(&server.post(&format!("{SPACE}/labels"), &labels), 200);
    let id = fire(&server);
    let open = server.post(&format!("{SPACE}/retrainings"), &json!({"note": "again"}));
    assert_eq!(
        refused(&open, 409, "retraining_open", Some("trigger"))["state"],
        "pending"
    );
    let claimed = told(&act(&server, &id, "claim", &json!({"worker": "w1"})), 200);
    assert_eq!(claimed["retraining"]["state"], "running");
    assert_eq!(claimed["lease_seconds"], 600.0);
    let event = &claimed["event"];
    assert_eq!(event["space"], "digits");
    assert_eq!(event["as_of_seq"], 7);
    let links = &event["links"];
    let set = &links["training_set"];
    let records = told(
        &server.post(set["path"].as_str().unwrap(), &set["body"]),
        200,
    );
    assert_eq!(records["ids"].as_array().unwrap().len(), 3);
    let overrides = told(&server.get(links["label_overrides"].as_str().unwrap()), 200);
    assert_eq!(overrides["total"], 1);
    assert_eq!(overrides["overrides"][0]["id"], "production-1");
    assert_eq!(overrides["overrides"][0]["label_class"], "b");
    let lease = claimed["lease"].as_str().unwrap();
    let going = told(
        &act(
            &server,
            &id,
            "heartbeat",
            &json!({"lease": lease, "progress": 0.5, "message": "epoch 3"}),
        ),
        200,
    );
    assert_eq!(
        (&going["progress"], &going["message"]),
        (&json!(0.5), &json!("epoch 3"))
    );
}

#[test]
fn completing_opens_the_new_space_and_marks_what_was_consumed() {
    let server = TestServer::start();
    fill(&server);
    let id = fire(&server);
    let claimed = told(&act(&server, &id, "claim", &json!({})), 200);
    let done = done(&claimed["lease"]);
    let ended = told(&act(&server, &id, "complete", &done), 200);
    assert_eq!(ended["state"], "succeeded");
    assert_eq!(ended["result"]["space"], "digits-2");
    assert_eq!(
        (
            &ended["result"]["consumed"],
            &ended["result"]["consumed_missing"]
        ),
        (&json!(2), &json!(1))
    );
    let accuracy = &ended["before_after"]["metrics"]["accuracy"];
    assert_eq!(
        accuracy,
        &json!({"before": 0.5, "after": 0.75, "change": 0.25})
    );
    assert_eq!(
        ended["before_after"]["training_classes"]["before"],
        json!({"a": 2, "b": 1})
    );
    assert_eq!(
        told(&server.get("/curation/v1/spaces/digits-2"), 200)["embedding_set"]["version"],
        2
    );
    let listed = told(
        &server.post(
            &format!("{SPACE}/recommendations"),
            &json!({"candidates": 1.0}),
        ),
        200,
    );
    assert_eq!(listed["total"], 1, "{listed}");
    assert_eq!(listed["recommendations"][0]["id"], "production-3");
}

#[test]
fn the_same_word_is_answered_the_same_and_nobody_else_changes_what_has_ended() {
    let server = TestServer::start();
    fill(&server);
    let id = fire(&server);
    let claimed = told(&act(&server, &id, "claim", &json!({})), 200);
    let (lease, done) = (&claimed["lease"], done(&claimed["lease"]));
    let ended = told(&act(&server, &id, "complete", &done), 200);
    assert_eq!(told(&act(&server, &id, "complete", &done), 200), ended);
    let mut other = done.clone();
    other["metrics"]["accuracy"] = json!(0.9);
    let answer = act(&server, &id, "complete", &other);
    assert_eq!(
        refused(&answer, 409, "already_completed", Some("lease"))["state"],
        "succeeded"
    );
    refused(
        &act(&server, &id, "cancel", &json!({})),
        409,
        "wrong_state",
        None,
    );
    refused(
        &act(&server, &id, "claim", &json!({})),
        409,
        "wrong_state",
        None,
    );
    refused(
        &act(&server, &id, "fail", &json!({"lease": lease})),
        409,
        "wrong_state",
        None,
    );
    let second = told(
        &server.get(&format!("/curation/v1/retrainings/{}", fire(&server))),
        200,
    );
    assert_eq!(second["previous"]["id"], json!(id));
    assert_eq!(second["previous"]["metrics"]["accuracy"], 0.75);
}

#[test]
fn a_lease_that_runs_out_goes_to_the_next_worker() {
    let server = TestServer::start();
    fill(&server);
    let id = fire(&server);
    let next = format!("{SPACE}/retrainings/claim");
    let first = told(&server.post(&next, &json!({"lease_seconds": 2})), 200);
    assert_eq!(first["retraining"]["id"], json!(id));
    assert_eq!(
        told(&server.post(&next, &json!({})), 200)["retraining"],
        Value::Null
    );
    let refusal = act(&server, &id, "heartbeat", &json!({"lease": "another"}));
    assert_eq!(
        refused(&refusal, 409, "lease_lost", Some("lease"))["state"],
        "running"
    );
    std::thread::sleep(Duration::from_millis(2200));
    let look = told(&server.get(&format!("/curation/v1/retrainings/{id}")), 200);
    assert_eq!(
        (&look["state"], &look["leases_lost"]),
        (&json!("pending"), &json!(1))
    );
    let late = json!({"lease": first["lease"], "metrics": {}});
    refused(
        &act(&server, &id, "complete", &late),
        409,
        "lease_lost",
        Some("lease"),
    );
    let second = told(&server.post(&next, &json!({})), 200);
    assert_eq!(second["retraining"]["id"], json!(id));
    refused(
        &act(&server, &id, "complete", &late),
        409,
        "lease_lost",
        Some("lease"),
    );
    let failed = json!({"lease": second["lease"], "message": "no GPU"});
    assert_eq!(
        told(&act(&server, &id, "fail", &failed), 200)["state"],
        "failed"
    );
    assert_eq!(
        told(&act(&server, &id, "fail", &failed), 200)["message"],
        "no GPU"
    );
    let failures = told(
        &server.get(&format!("{SPACE}/retrainings?state=failed")),
        200,
    );
    assert_eq!(failures["total"], 1);
    let cancelled = fire(&server);
    assert_eq!(
        told(&act(&server, &cancelled, "cancel", &json!({})), 200)["state"],
        "cancelled"
    );
    let all = told(&server.get(&format!("{SPACE}/retrainings?limit=1")), 200);
    assert_eq!(
        (&all["total"], &all["retrainings"][0]["id"]),
        (&json!(2), &json!(cancelled))
    );
}

#[test]
fn of_many_workers_that_claim_and_complete_at_once_one_succeeds() {
    let server = TestServer::start();
    fill(&server);
    let id = fire(&server);
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let claims: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| act(&server, &id, "claim", &json!({}))))
            .collect();
        claims.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let taken: Vec<&Answer> = answers.iter().filter(|one| one.status == 200).collect();
    assert_eq!(taken.len(), 1);
    let lease = taken[0].json()["lease"].clone();
    assert!(answers.iter().all(|one| [200, 409].contains(&one.status)));
    let ends: Vec<Answer> = std::thread::scope(|scope| {
        let ends: Vec<_> = (0..8)
            .map(|n| {
                let body = json!({"lease": lease, "metrics": {"n": n}});
                let (server, id) = (&server, &id);
                scope.spawn(move || act(server, id, "complete", &body))
            })
            .collect();
        ends.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(ends.iter().filter(|one| one.status == 200).count(), 1);
}

#[test]
fn retrainings_outlive_the_server_and_leave_with_their_space() {
    let folder = tempfile::tempdir().unwrap();
    let open = || TestServer::over(Config::at(folder.path()).unwrap(), |_| {});
    let mut server = open();
    fill(&server);
    let id = fire(&server);
    let claimed = told(&act(&server, &id, "claim", &json!({})), 200);
    server.wait().unwrap();
    drop(server);
    let server = open();
    let path = format!("/curation/v1/retrainings/{id}");
    assert_eq!(told(&server.get(&path), 200)["state"], "running");
    let done = json!({"lease": claimed["lease"], "consumed": ["production-1"]});
    let ended = told(&act(&server, &id, "complete", &done), 200);
    assert_eq!(ended["result"]["consumed"], 1);
    assert_eq!(told(&act(&server, &id, "complete", &done), 200), ended);
    told(&server.send("DELETE", SPACE, None), 200);
    refused(&server.get(&path), 404, "retraining_not_found", Some("id"));
    assert_eq!(
        server
            .database
            .documents("curation_retraining", "")
            .unwrap(),
        []
    );
}

#[test]
fn what_is_wrong_is_named_and_changes_nothing() {
    let server = TestServer::start();
    fill(&server);
    let path = format!("{SPACE}/retrainings");
    refused(
        &server.post(&path, &json!({"expires_after_seconds": 1})),
        400,
        "out_of_range",
        Some("expires_after_seconds"),
    );
    refused(
        &server.post(&path, &json!({"notes": "x"})),
        400,
        "unknown_field",
        Some("notes"),
    );
    refused(
        &server.post("/curation/v1/spaces/none/retrainings", &json!({})),
        404,
        "space_not_found",
        Some("space"),
    );
    let dry = told(
        &server.post(&path, &json!({"dry_run": true, "note": "look"})),
        200,
    );
    assert_eq!(dry["event"]["reason"]["text"], "look");
    assert_eq!(told(&server.get(&path), 200)["total"], 0);
    refused(
        &server.get(&format!("{path}?state=odd")),
        400,
        "unknown_state",
        Some("state"),
    );
    refused(
        &server.get(&format!("{path}?limit=1001")),
        400,
        "out_of_range",
        Some("limit"),
    );
}

#[test]
fn whoever_names_no_retraining_or_no_lease_is_told_so() {
    let server = TestServer::start();
    fill(&server);
    let id = fire(&server);
    for wrong in [
        "x",
        "x-1",
        "00000000000000000000000000000000-1",
        &format!("{id}9"),
        "-",
        "\u{e9}-1",
    ] {
        let wrong = wrong.replace('\u{e9}', "%C3%A9");
        refused(
            &act(&server, &wrong, "claim", &json!({})),
            404,
            "retraining_not_found",
            Some("id"),
        );
    }
    refused(
        &act(&server, &id, "claim", &json!({"lease_seconds": 1.5})),
        400,
        "out_of_range",
        Some("lease_seconds"),
    );
    refused(
        &act(&server, &id, "heartbeat", &json!({})),
        400,
        "missing_field",
        Some("lease"),
    );
    refused(
        &act(&server, &id, "complete", &json!({"lease": "x"})),
        409,
        "lease_lost",
        Some("lease"),
    );
}

#[test]
fn a_completion_that_is_refused_changes_nothing() {
    let server = TestServer::start();
    fill(&server);
    let id = fire(&server);
    let lease = told(&act(&server, &id, "claim", &json!({})), 200)["lease"].clone();
    let complete = |more: Value| {
        let mut body = json!({"lease": lease});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        act(&server, &id, "complete", &body)
    };
    refused(
        &complete(json!({"metrics": {"a": "x"}})),
        400,
        "wrong_type",
        Some("metrics.a"),
    );
    refused(
        &complete(json!({"space": "other"})),
        400,
        "missing_field",
        Some("embedding_set"),
    );
    refused(
        &complete(json!({"space": "!", "embedding_set": {}})),
        400,
        "bad_space_name",
        Some("space"),
    );
    refused(
        &complete(json!({"embedding_set": 7})),
        400,
        "bad_embedding_set",
        Some("embedding_set"),
    );
    let taken =
        json!({"space": "digits", "embedding_set": {"v": 2}, "consumed_ids": ["production-1"]});
    refused(
        &complete(taken),
        409,
        "embedding_set_changed",
        Some("embedding_set"),
    );
    let look = told(&server.get(&format!("/curation/v1/retrainings/{id}")), 200);
    assert_eq!(look["state"], "running");
    let listed = told(&server.get("/curation/v1/spaces"), 200);
    assert_eq!(listed["total"], 1);
    // Another tenant's names lead nowhere.
    told(
        &server.post("/api/v2/tenants", &json!({"name": "other"})),
        200,
    );
    told(
        &server.post("/api/v2/tenants/other/databases", &json!({"name": "here"})),
        200,
    );
    let elsewhere = format!("/curation/v1/tenants/other/databases/here/retrainings/{id}");
    refused(
        &server.get(&elsewhere),
        404,
        "retraining_not_found",
        Some("id"),
    );
    assert_eq!(
        told(&server.get(&format!("{DATABASE}/collections")), 200)
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
