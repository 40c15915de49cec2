//! Spaces that are too large for one request, over a real socket: the job makes what is asked for, and
//! whoever asks meanwhile is answered at once.

use std::time::Duration;

use serde_json::{Value, json};

use crate::curation_scores::{Noise, SPACE, fill, log, refused};
use crate::harness::{Answer, TestServer, wait_at_most};

/// Records of production, more than one request makes a list of.
const RECORDS: usize = 10_050;
/// How long their scores and lists are waited for.
const LONGEST: Duration = Duration::from_secs(50);

fn ask(server: &TestServer, asked: &Value) -> Answer {
    server.post(&format!("{SPACE}/recommendations"), asked)
}

fn switch(server: &TestServer, what: &str) {
    let answer = server.post(&format!("/curation/v1/service/{what}"), &json!({}));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The place of a list that is asked for, once it is of the records as they are.
fn ready(server: &TestServer, asked: &Value) -> Value {
    wait_at_most(LONGEST, "a list of the records as they are", || {
        let answer = ask(server, asked);
        assert!([200, 202].contains(&answer.status), "{}", answer.text());
        let told = answer.json();
        (told["ready"] == true && told["stale_records"] == 0).then_some(told)
    })
}

/// Decides about two entries of a list that stands, whose first page is `old`: the others keep their places.
fn decided_entries_are_told_no_more(server: &TestServer, old: &Value) {
    let decided = [0, 6].map(|at| {
        let page = ask(server, &json!({"n": 1, "skip": at})).json();
        page["recommendations"][0]["id"].clone()
    });
    let body = json!({"ids": decided, "decision": "duplicate"});
    let answer = server.post(&format!("{SPACE}/decisions"), &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let page = |asked: &Value| {
        let told = ask(server, asked).json();
        let all = told["recommendations"].as_array().unwrap().iter();
        let ranks: Vec<u64> = all.map(|one| one["rank"].as_u64().unwrap()).collect();
        (ranks, told)
    };
    let (ranks, first) = page(&json!({"n": 5}));
    assert_eq!(
        (&ranks[..], &first["ready"]),
        (&[2, 3, 4, 5, 6][..], &json!(false))
    );
    assert_eq!(
        first["total"].as_u64(),
        old["total"].as_u64().map(|total| total - 2)
    );
    let (ranks, _) = page(&json!({"n": 3, "cursor": first["cursor"]}));
    assert_eq!(ranks, [8, 9, 10]);
    let (ranks, _) = page(&json!({"n": 3, "cursor": old["cursor"]}));
    assert_eq!(ranks, [6, 8, 9]);
}

#[test]
fn list_of_a_large_space_is_made_by_the_job_and_told_with_what_it_is_of() {
    let server = TestServer::start();
    switch(&server, "lists/pause");
    fill(&server, 0, 0);
    let mut noise = Noise(3);
    let rows: Vec<_> = (0..RECORDS)
        .map(|n| (format!("p-{n:05}"), noise.near(n % 3, 0.3), None))
        .collect();
    for part in rows.chunks(1000) {
        log(&server, "production", part);
    }
    wait_at_most(LONGEST, "scores", || {
        let told = server.get("/curation/v1/status").json();
        let space = &told["spaces"][0];
        let behind = space["stale_records"] == 0 && space["operations_behind"] == 0;
        behind.then(|| space.clone())
    });
    // Nobody makes it: the answer comes at once and says that there is none.
    let first = ask(&server, &json!({"n": 5}));
    assert_eq!(first.status, 202, "{}", first.text());
    let told = first.json();
    assert_eq!((&told["ready"], &told["total"]), (&json!(false), &json!(0)));
    assert!(told["as_of_seq"].as_u64() > Some(RECORDS as u64));
    let none = server.get(&format!("{SPACE}/export?what=recommendations"));
    refused(&none, 429, "busy", None);
    let report = server.get(&format!("{SPACE}/report")).json();
    assert_eq!(
        report["unavailable"]["recommendations"]["error"],
        "not_ready"
    );
    switch(&server, "lists/resume");
    let made = ready(&server, &json!({"n": 5}));
    assert_eq!(made["recommendations"][0]["priority"], 1.0);
    let few = ready(&server, &json!({"n": 5, "candidates": 0.01}));
    assert!(few["total"].as_u64() < made["total"].as_u64());
    // More comes: the last list is told as what it is, page by page, until there is another.
    switch(&server, "lists/pause");
    log(
        &server,
        "production",
        &[("late".to_owned(), noise.near(1, 0.3), None)],
    );
    let old = ask(&server, &json!({"n": 5, "refresh": true})).json();
    let seen = |told: &Value| told["as_of_seq"].as_u64();
    assert_eq!((&old["ready"], seen(&old)), (&json!(false), seen(&made)));
    let entry = |told: &Value| told["recommendations"][0]["id"].clone();
    assert_eq!(entry(&old), entry(&made));
    let next = ask(&server, &json!({"n": 5, "cursor": old["cursor"]}));
    assert_eq!(next.status, 200, "{}", next.text());
    assert_eq!(next.json()["recommendations"][0]["rank"], 6);
    decided_entries_are_told_no_more(&server, &old);
    switch(&server, "lists/resume");
    let new = ready(&server, &json!({"n": 5}));
    assert!(seen(&new) > seen(&made));
}
