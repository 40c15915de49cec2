//! Conditional reads and writes over the wire.

use serde_json::{Value, json};

use crate::harness::{Answer, TestServer};

struct Records<'a> {
    server: &'a TestServer,
    path: String,
}

impl Records<'_> {
    fn post(&self, route: &str, body: &Value) -> Answer {
        self.server.post(&format!("{}/{route}", self.path), body)
    }

    fn read(&self, ids: &[&str]) -> Value {
        let answer = self.post(
            "conditional/get",
            &json!({"ids": ids, "include": ["metadatas"]}),
        );
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    fn upsert(&self, id: &str, n: u32) {
        let body = json!({"ids": [id], "embeddings": [[1, 2]], "metadatas": [{"n": n}]});
        assert_eq!(self.post("upsert", &body).status, 200);
    }

    fn commit(&self, token: &Value, ids: &[&str], operations: &Value) -> Answer {
        let body = json!({"read_token": token, "read_ids": ids, "operations": operations});
        self.post("conditional/commit", &body)
    }
}

fn records(server: &TestServer) -> Records<'_> {
    let path = server.collection("abc");
    Records { server, path }
}

fn set(id: &str, n: u32) -> Value {
    json!([{"operation": "update", "payload": {"ids": [id], "metadatas": [{"n": n}]}}])
}

const CONFLICT: &str = "ConditionalWriteConflictError";

#[test]
fn a_write_holds_only_if_nobody_has_written_what_was_read() {
    let server = TestServer::start();
    let records = records(&server);
    records.upsert("a", 1);
    records.upsert("b", 1);
    let read = records.read(&["a"]);
    assert_eq!(
        (&read["ids"], &read["read_token"]),
        (&json!(["a"]), &json!(2))
    );
    // What nobody has read may change.
    records.upsert("b", 2);
    let token = &read["read_token"];
    let done = records.commit(token, &["a"], &set("a", 10));
    done.is(
        200,
        r#"{"first_inserted_record_offset":4,"record_count":1}"#,
    );
    assert_eq!(done.header("x-vermilion-seq-id"), Some("4"));
    assert_eq!(records.read(&["a"])["metadatas"], json!([{"n": 10}]));
    // The same token again: the commit itself has written the record.
    let again = records.commit(token, &["a"], &set("a", 20));
    again.fails(409, CONFLICT, "Record [a] was written after it was read");
    assert_eq!(records.read(&["a"])["metadatas"], json!([{"n": 10}]));
}

#[test]
fn records_that_come_or_go_are_conflicts_too() {
    let server = TestServer::start();
    let records = records(&server);
    records.upsert("a", 1);
    let read = records.read(&["a", "absent"]);
    let token = &read["read_token"];
    records.upsert("absent", 1);
    records
        .commit(token, &["absent"], &set("a", 2))
        .fails(409, CONFLICT, "[absent]");
    assert_eq!(records.post("delete", &json!({"ids": ["a"]})).status, 200);
    records.server.database.seal_all().unwrap();
    records
        .commit(token, &["a"], &set("absent", 2))
        .fails(409, CONFLICT, "[a]");
    // With the token of the first read a second one sees more, and promises no more.
    let body = json!({"ids": ["absent"], "read_token": token});
    let later = records.post("conditional/get", &body).json();
    assert_eq!(
        (&later["ids"], &later["read_token"]),
        (&json!(["absent"]), token)
    );
    records
        .commit(&later["read_token"], &["absent"], &set("absent", 2))
        .fails(409, CONFLICT, "[absent]");
}

#[test]
fn what_cannot_be_is_refused_and_writes_nothing() {
    let server = TestServer::start();
    let records = records(&server);
    records.upsert("a", 1);
    let commit = |body: Value| records.post("conditional/commit", &body);
    // Nobody has read for a commit yet, so nobody has remembered what was written.
    commit(json!({"read_token": 1, "read_ids": ["a"], "operations": set("a", 5)})).fails(
        409,
        CONFLICT,
        "read again",
    );
    commit(json!({"read_ids": ["a"], "operations": []})).fails(
        400,
        "InvalidArgumentError",
        "read_ids need the read_token",
    );
    commit(json!({"read_token": 9, "operations": []})).fails(
        400,
        "InvalidArgumentError",
        "the last SeqId of the collection is 1",
    );
    records
        .post("conditional/get", &json!({"read_token": 9}))
        .fails(400, "InvalidArgumentError", "read_token is 9");
    commit(json!({"operations": [{"operation": "add",
        "payload": {"ids": ["x"], "embeddings": [[1, 2, 3]]}}]}))
    .fails(400, "InvalidArgumentError", "dimension of 2, got 3");
    let head = records.read(&[])["read_token"].clone();
    assert_eq!(head, json!(1), "nothing was written");
    commit(json!({"operations": []})).is(
        200,
        r#"{"first_inserted_record_offset":null,"record_count":0}"#,
    );
    // Without anything read there is nothing to compare.
    commit(json!({"operations": set("a", 3)})).is(
        200,
        r#"{"first_inserted_record_offset":2,"record_count":1}"#,
    );
}

#[test]
fn counters_that_many_writers_raise_lose_no_step() {
    let server = TestServer::start();
    let records = records(&server);
    records.upsert("counter", 0);
    let (writers, steps) = (4, 25);
    std::thread::scope(|scope| {
        for _ in 0..writers {
            scope.spawn(|| {
                let mut done = 0;
                while done < steps {
                    let read = records.read(&["counter"]);
                    let n = read["metadatas"][0]["n"].as_u64().unwrap() as u32;
                    let operations = set("counter", n + 1);
                    let answer = records.commit(&read["read_token"], &["counter"], &operations);
                    match answer.status {
                        200 => done += 1,
                        409 => {}
                        other => panic!("{other}: {}", answer.text()),
                    }
                }
            });
        }
    });
    let n = &records.read(&["counter"])["metadatas"][0]["n"];
    assert_eq!(n, &json!(writers * steps));
}
