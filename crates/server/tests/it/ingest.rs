//! Writes that are answered before they are indexed, as a client sees them: SeqIds, read levels,
//! waits, status, metrics, and what a writer gets that is too fast.

use serde_json::{Value, json};
use vermilion_engine::Config;
use vermilion_engine::control::Component;

use crate::harness::{Answer, DATABASE, TestServer};

fn records(tag: &str, count: usize) -> Value {
    let ids: Vec<String> = (0..count).map(|row| format!("{tag}-{row}")).collect();
    json!({"ids": ids, "embeddings": vec![[1, 2]; count]})
}

/// A server that answers writes before it indexes them.
fn server() -> TestServer {
    let mut config = Config::in_memory();
    config.ingest.batch_ingest = true;
    TestServer::over(config, |_| {})
}

fn read(server: &TestServer, method: &str, path: &str, headers: &[&str], body: &Value) -> Answer {
    let body = body.to_string();
    server
        .connect()
        .request(method, path, headers, body.as_bytes())
}

#[test]
fn every_write_tells_its_seq_ids_in_headers_and_body() {
    let server = server();
    let path = server.collection("abc");
    let added = server.post(&format!("{path}/add"), &records("a", 5));
    added.is(201, r#"{"first_seq_id":1,"last_seq_id":5}"#);
    assert_eq!(added.header("x-vermilion-seq-id"), Some("5"));
    assert_eq!(added.header("x-vermilion-first-seq-id"), Some("1"));
    let deleted = server.post(&format!("{path}/delete"), &json!({"ids": ["a-0", "zz"]}));
    deleted.is(200, r#"{"deleted":2,"first_seq_id":6,"last_seq_id":7}"#);
    assert_eq!(deleted.header("x-vermilion-seq-id"), Some("7"));
    let none = server.post(&format!("{path}/delete"), &json!({}));
    none.is(200, r#"{"deleted":0}"#);
    assert_eq!(none.header("x-vermilion-seq-id"), None);
}

#[test]
fn reads_see_what_their_level_says_and_wait_for_the_seq_id_they_name() {
    let server = server();
    let path = server.collection("abc");
    server.database.pause(Component::Indexing);
    assert_eq!(
        server.post(&format!("{path}/add"), &records("a", 5)).status,
        201
    );
    let count = |query: &str, headers: &[&str]| {
        read(
            &server,
            "GET",
            &format!("{path}/count{query}"),
            headers,
            &json!({}),
        )
    };
    count("", &[]).is(200, "0");
    count("?read_level=index_only", &[]).is(200, "0");
    let soon = ["x-vermilion-wait-ms: 50"];
    let late = count("?read_level=index_and_wal", &soon);
    late.fails(504, "ChromaError", "SeqId 5 was not visible within 50 ms");
    let late = count("?read_level=index_and_bounded_wal", &soon);
    late.fails(504, "ChromaError", "indexing has come to 0");
    let named = ["x-vermilion-min-seq-id: 3", "x-vermilion-wait-ms: 50"];
    count("", &named).fails(504, "ChromaError", "SeqId 3 was not visible");
    let status = server.get(&format!("{path}/indexing_status"));
    status.is(
        200,
        concat!(
            r#"{"num_indexed_ops":0,"num_unindexed_ops":5,"#,
            r#""num_visible_ops":0,"op_indexing_progress":0.0,"total_ops":5}"#
        ),
    );
    let metrics = server.get("/metrics");
    for line in [
        "vermilion_indexing_waiting_collections 1\n",
        "vermilion_indexing_waiting_spans 1\n",
        "vermilion_indexing_waiting_operations 5\n",
    ] {
        assert!(
            metrics.text().contains(line),
            "{line} in {}",
            metrics.text()
        );
    }
    server.database.resume(Component::Indexing);
    count("?read_level=index_and_wal", &[]).is(200, "5");
    let ids = |body: Value| {
        let got = read(&server, "POST", &format!("{path}/get"), &named, &body);
        got.json()["ids"].as_array().unwrap().len()
    };
    assert_eq!(ids(json!({"read_level": "index_and_wal"})), 5);
    let body = json!({"query_embeddings": [[1, 2]], "read_level": "index_and_bounded_wal"});
    let nearest = server.post(&format!("{path}/query"), &body).json();
    assert_eq!(nearest["ids"][0].as_array().unwrap().len(), 5);
    let status = server.get(&format!("{path}/indexing_status")).json();
    assert_eq!(status["num_visible_ops"], 5);
}

#[test]
fn levels_seq_ids_and_waits_that_are_none_are_refused() {
    let server = TestServer::start();
    let path = server.collection("abc");
    let get = format!("{path}/get");
    let refused = |url: &str, headers: &[&str], body: Value, message: &str| {
        read(&server, "POST", url, headers, &body).fails(400, "InvalidArgumentError", message);
    };
    refused(&get, &[], json!({"read_level": "all"}), "is no read level");
    refused(
        &format!("{get}?read_level=all"),
        &[],
        json!({}),
        "is no read level",
    );
    let header = "The header x-vermilion-min-seq-id is \"x\"; it must be a number from 0";
    refused(&get, &["x-vermilion-min-seq-id: x"], json!({}), header);
    refused(
        &get,
        &["x-vermilion-wait-ms: 600001"],
        json!({}),
        "from 0 to 600000",
    );
    let body = json!({"query_embeddings": [[1, 2]], "read_level": 7});
    refused(&format!("{path}/query"), &[], body, "is no read level");
}

#[test]
fn readers_that_wait_for_one_collection_hold_up_no_other() {
    let server = server();
    let (slow, quick) = (server.collection("slow"), server.collection("quick"));
    server.database.pause(Component::Indexing);
    assert_eq!(
        server.post(&format!("{slow}/add"), &records("a", 1)).status,
        201
    );
    std::thread::scope(|threads| {
        let readers: Vec<_> = (0..200)
            .map(|_| {
                let (server, slow) = (&server, &slow);
                threads.spawn(move || {
                    let path = format!("{slow}/count?read_level=index_and_wal");
                    read(
                        server,
                        "GET",
                        &path,
                        &["x-vermilion-wait-ms: 15000"],
                        &json!({}),
                    )
                })
            })
            .collect();
        let began = std::time::Instant::now();
        std::thread::sleep(std::time::Duration::from_millis(300));
        for _ in 0..20 {
            server.get(&format!("{quick}/count")).is(200, "0");
        }
        let took = began.elapsed();
        assert!(
            took < std::time::Duration::from_secs(8),
            "other reads took {took:?}"
        );
        server.database.resume(Component::Indexing);
        for reader in readers {
            reader.join().unwrap().is(200, "1");
        }
    });
}

#[test]
fn a_collection_says_itself_when_its_writers_are_answered() {
    let server = TestServer::start();
    let made = server.post(
        &format!("{DATABASE}/collections"),
        &json!({"name": "abc", "configuration": {"batch_ingest": true}}),
    );
    assert_eq!(made.status, 200, "{}", made.text());
    let told = made.json();
    assert_eq!(told["configuration_json"]["batch_ingest"], true);
    assert_eq!(told["metadata"], json!({"vermilion:batch_ingest": true}));
    let path = format!("{DATABASE}/collections/{}", told["id"].as_str().unwrap());
    server.database.pause(Component::Indexing);
    assert_eq!(
        server.post(&format!("{path}/add"), &records("a", 2)).status,
        201
    );
    server.get(&format!("{path}/count")).is(200, "0");
    let off = json!({"new_configuration": {"batch_ingest": false}});
    server.send("PUT", &path, Some(&off)).is(200, "{}");
    assert_eq!(
        server.post(&format!("{path}/add"), &records("b", 1)).status,
        201
    );
    server.get(&format!("{path}/count")).is(200, "3");
    let follow = json!({"new_metadata": {"k": 1, "vermilion:batch_ingest": null}});
    server.send("PUT", &path, Some(&follow)).is(200, "{}");
    let told = server.get(&format!("{DATABASE}/collections/abc")).json();
    assert_eq!(told["metadata"], json!({"k": 1}));
    assert_eq!(told["configuration_json"]["batch_ingest"], Value::Null);
}

#[test]
fn a_writer_that_is_too_fast_gets_429_and_when_to_come_back() {
    let mut config = Config::in_memory();
    config.ingest.batch_ingest = true;
    config.limits.log_bytes_max = 1 << 20;
    let server = TestServer::over(config, |_| {});
    let (path, other) = (server.collection("abc"), server.collection("other"));
    server.database.pause(Component::Indexing);
    let refused = (0..2000)
        .map(|batch| server.post(&format!("{path}/add"), &records(&format!("b{batch}"), 200)))
        .find(|answer| answer.status != 201)
        .expect("the log has an end");
    refused.fails(429, "ChromaError", "are logged and not indexed");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let statistics = server.database.statistics();
    assert!(statistics.writes_slowed > 0 && statistics.writes_refused == 1);
    assert_eq!(
        server
            .post(&format!("{other}/add"), &records("o", 1))
            .status,
        201
    );
    server.database.resume(Component::Indexing);
    let counted = server.get(&format!("{path}/count?read_level=index_and_wal"));
    assert!(counted.text().parse::<u64>().unwrap() > 1000);
    let again = server.post(&format!("{path}/add"), &records("again", 1));
    assert_eq!(again.status, 201, "{}", again.text());
}
