//! What works for curation and its switches, over a real socket.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vermilion_engine::Config;

use crate::curation_scores::{Noise, fill, refused};
use crate::harness::{TestServer, wait_for};

fn component(told: &Value, name: &str) -> Value {
    let all = told["components"].as_array().unwrap().iter();
    let found = all.clone().find(|one| one["component"] == name);
    found.unwrap_or_else(|| panic!("no {name}: {told}")).clone()
}

fn status(server: &TestServer) -> Value {
    let answer = server.get("/curation/v1/status");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn switch(server: &TestServer, path: &str) -> Value {
    let answer = server.post(&format!("/curation/v1/service/{path}"), &json!({}));
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// Waits until `holds` of the status.
fn wait(server: &TestServer, holds: impl Fn(&Value) -> bool) {
    let begun = Instant::now();
    while !holds(&status(server)) {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{}",
            status(server)
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_paused_scorer_scores_nothing_by_itself_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let open = || TestServer::over(Config::at(folder.path()).unwrap(), |_| {});
    let server = open();
    let paused = switch(&server, "scorer/pause");
    assert_eq!(component(&paused, "scorer")["state"], "paused");
    let job = server.get("/control/v1/jobs/curation_scores").json();
    assert_eq!(job["paused"], true);
    drop(server);
    let server = open();
    assert_eq!(component(&status(&server), "scorer")["state"], "paused");
    fill(&server, 30, 0);
    std::thread::sleep(Duration::from_millis(300));
    let told = status(&server);
    assert_eq!(component(&told, "scorer")["job"]["last_run"], Value::Null);
    assert!(
        component(&told, "scorer")["queue"].as_u64().unwrap() >= 1,
        "{told}"
    );
    assert!(
        component(&told, "class_statistics")["lag"]
            .as_u64()
            .unwrap()
            > 0,
        "{told}"
    );
    // What waits is done when it is resumed.
    assert_eq!(
        component(&switch(&server, "scorer/resume"), "scorer")["state"],
        "running"
    );
    wait(&server, |told| {
        let space = &told["spaces"][0];
        space["records"] == 90 && space["stale_records"] == 0 && space["operations_behind"] == 0
    });
    let space = &status(&server)["spaces"][0];
    assert_eq!(
        (&space["space"], &space["has_reference"]),
        (&json!("digits"), &json!(true))
    );
}

#[test]
fn components_run_at_once_and_jobs_are_listed_and_cancelled() {
    let server = TestServer::start();
    fill(&server, 10, 0);
    wait(&server, |told| {
        component(told, "scorer")["job"]["running"] == false
    });
    switch(&server, "scorer/run");
    let jobs = server.get("/curation/v1/jobs").json();
    let names: Vec<&str> = jobs["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["id"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"curation_scores")
            && names.iter().all(|name| name.starts_with("curation_"))
    );
    // A run lingers for more work; it ends when it is told to.
    let cancelled = server.post("/curation/v1/jobs/curation_scores/cancel", &json!({}));
    assert!(
        [200, 409].contains(&cancelled.status),
        "{}",
        cancelled.text()
    );
    wait(&server, |told| component(told, "scorer")["running"] == 0);
    let idle = server.post("/curation/v1/jobs/curation_scores/cancel", &json!({}));
    refused(&idle, 409, "conflict", None);
    switch(&server, "indexer/pause");
    let seen = server.get("/control/v1/status").json();
    let indexing = seen["components"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["component"] == "indexing");
    assert_eq!(indexing.unwrap()["state"], "paused");
    assert_eq!(
        component(&switch(&server, "indexer/resume"), "indexer")["state"],
        "running"
    );
}

#[test]
fn what_has_no_switch_or_is_not_there_is_refused_by_name() {
    let server = TestServer::start();
    let post = |path: &str| server.post(&format!("/curation/v1/{path}"), &json!({}));
    refused(
        &post("service/pump/pause"),
        404,
        "unknown_component",
        Some("component"),
    );
    refused(
        &post("service/drift/run"),
        409,
        "not_switchable",
        Some("component"),
    );
    refused(
        &post("jobs/log_sync/cancel"),
        404,
        "job_not_found",
        Some("job"),
    );
    refused(&post("jobs/none/cancel"), 404, "job_not_found", Some("job"));
}

/// Logs so many records of production, and training of three classes, into a space.
fn fill_space(server: &TestServer, space: &str, production: usize) {
    let mut noise = Noise(3);
    for (context, count) in [("training", 30), ("production", production)] {
        let ids: Vec<String> = (0..count).map(|n| format!("{context}-{n}")).collect();
        let classes: Vec<&str> = (0..count).map(|n| ["a", "b", "c"][n % 3]).collect();
        let vectors: Vec<_> = (0..count).map(|n| noise.near(n % 3, 0.2)).collect();
        let body = json!({
            "space": space, "context": context, "ids": ids, "input_uris": ids,
            "embeddings": vectors,
            "label_classes": (context == "training").then_some(&classes),
            "inference_classes": (context == "production").then_some(&classes),
        });
        let answer = server.post("/curation/v1/log", &body);
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
}

#[test]
fn a_space_that_is_deleted_while_it_is_scored_is_no_failure_and_keeps_no_other_waiting() {
    const RECORDS: usize = 4000;
    let server = TestServer::start();
    switch(&server, "scorer/pause");
    for n in 0..3 {
        fill_space(&server, &format!("large-{n}"), RECORDS);
        fill_space(&server, &format!("small-{n}"), 20);
    }
    switch(&server, "scorer/resume");
    // Each is deleted while the job is at it, or before it is; on a machine that is fast, after it was.
    for _ in 0..3 {
        let name = wait_for("a large space that is being scored", || {
            let told = status(&server);
            let spaces = told["spaces"].as_array().unwrap().iter();
            let large =
                spaces.filter(|space| space["space"].as_str().unwrap().starts_with("large"));
            let stale = |space: &Value| space["stale_records"].as_u64().unwrap();
            let begun = large
                .clone()
                .find(|space| (1..RECORDS as u64).contains(&stale(space)));
            let all_done = large.clone().all(|space| stale(space) == 0);
            let found = begun.or_else(|| large.clone().next().filter(|_| all_done));
            found.map(|space| space["space"].as_str().unwrap().to_owned())
        });
        let path = format!("/curation/v1/spaces/{name}");
        assert_eq!(server.send("DELETE", &path, None).status, 200);
    }
    wait(&server, |told| {
        let spaces = told["spaces"].as_array().unwrap();
        let behind = |space: &Value| {
            space["operations_behind"].as_u64().unwrap() + space["stale_records"].as_u64().unwrap()
        };
        spaces.len() == 3
            && spaces.iter().all(|space| behind(space) == 0)
            && component(told, "scorer")["running"] == 0
    });
    let told = status(&server);
    for name in ["scorer", "lists", "triggers"] {
        let one = component(&told, name);
        assert_eq!(one["state"], "running", "{one}");
    }
}
