//! Forks and resource names over the wire.

use serde_json::json;

use crate::harness::{DATABASE, TestServer};

#[test]
fn a_fork_has_the_same_records_and_is_independent_from_then_on() {
    let server = TestServer::start();
    let source = server.collection("source");
    let add = |records: &str, id: &str| {
        let body = json!({"ids": [id], "embeddings": [[1, 2]]});
        server.post(&format!("{records}/add"), &body)
    };
    let ids = |records: &str| {
        let got = server.post(&format!("{records}/get"), &json!({}));
        got.json()["ids"].clone()
    };
    assert_eq!(add(&source, "a").status, 201);
    let fork_as = |name: &str| server.post(&format!("{source}/fork"), &json!({"new_name": name}));
    let made = fork_as("forked").json();
    assert_eq!(made["name"], "forked");
    assert_eq!(
        (&made["dimension"], &made["log_position"]),
        (&json!(2), &json!(1))
    );
    let forked = format!("{DATABASE}/collections/{}", made["id"].as_str().unwrap());
    assert_eq!(ids(&forked), json!(["a"]));
    add(&forked, "b").is(201, r#"{"first_seq_id":2,"last_seq_id":2}"#);
    add(&source, "c").is(201, r#"{"first_seq_id":2,"last_seq_id":2}"#);
    assert_eq!(
        (ids(&source), ids(&forked)),
        (json!(["a", "c"]), json!(["a", "b"]))
    );
    for records in [&source, &forked] {
        let count = server.get(&format!("{records}/fork_count"));
        count.is(200, r#"{"count":1}"#);
    }
    server
        .send("DELETE", &format!("{DATABASE}/collections/source"), None)
        .is(200, "{}");
    assert_eq!(ids(&forked), json!(["a", "b"]));
    fork_as("third").fails(404, "NotFoundError", "does not exist.");
}

#[test]
fn forks_that_cannot_be_made_are_refused_and_change_nothing() {
    let server = TestServer::start();
    let source = server.collection("source");
    let fork = |body| server.post(&format!("{source}/fork"), &body);
    fork(json!({"new_name": "source"})).fails(409, "ChromaError", "[source] already exists");
    fork(json!({"new_name": "a"})).fails(400, "InvalidArgumentError", "new_name");
    fork(json!({})).fails(422, "ChromaError", "new_name");
    let missing = source.replace(source.rsplit('/').next().unwrap(), &"0".repeat(32));
    server
        .post(&format!("{missing}/fork"), &json!({"new_name": "other"}))
        .fails(404, "NotFoundError", "does not exist.");
    server
        .get(&format!("{missing}/fork_count"))
        .fails(404, "NotFoundError", "does not exist.");
    server
        .get(&format!("{DATABASE}/collections_count"))
        .is(200, "1");
}

#[test]
fn a_collection_is_found_by_its_resource_name() {
    let server = TestServer::start();
    server.collection("abc");
    let by = |crn: &str| server.get(&format!("/api/v2/collections/{crn}"));
    let crn = "mine:default_database:abc";
    by(crn).fails(
        404,
        "NotFoundError",
        "Collection [mine:default_database:abc]",
    );
    let body = json!({"resource_name": "mine"});
    server
        .send("PATCH", "/api/v2/tenants/default_tenant", Some(&body))
        .is(200, "{}");
    assert_eq!(by(crn).json()["name"], "abc");
    by("mine:default_database:other").fails(404, "NotFoundError", "does not exist");
    by("mine:abc").fails(400, "InvalidArgumentError", "CRN must be in the format");
    by("mine::abc").fails(400, "InvalidArgumentError", "CRN must be in the format");
}

#[test]
fn a_resource_name_that_another_tenant_has_is_refused() {
    let server = TestServer::start();
    let name = |tenant: &str, name: &str| {
        let body = json!({ "resource_name": name });
        server.send("PATCH", &format!("/api/v2/tenants/{tenant}"), Some(&body))
    };
    server
        .post("/api/v2/tenants", &json!({"name": "a_tenant"}))
        .is(200, "{}");
    name("default_tenant", "mine").is(200, "{}");
    name("a_tenant", "mine").fails(409, "ChromaError", "Resource name [mine] is taken");
    name("a_tenant", "a:b").fails(400, "InvalidArgumentError", "resource_name");
    name("a_tenant", "").fails(400, "InvalidArgumentError", "resource_name");
    name("default_tenant", "mine").is(200, "{}");
    name("default_tenant", "other").is(200, "{}");
    name("a_tenant", "mine").is(200, "{}");
}

#[test]
fn lists_in_the_metadata_of_a_collection_are_kept() {
    let server = TestServer::start();
    let metadata = json!({"tags": ["a", "b"], "numbers": [1, 2], "ratio": 0.5});
    let body = json!({"name": "listed", "metadata": metadata});
    let made = server.post(&format!("{DATABASE}/collections"), &body);
    assert_eq!(made.json()["metadata"], metadata);
    let found = server.get(&format!("{DATABASE}/collections/listed"));
    assert_eq!(found.json()["metadata"], metadata);
}
