//! How the server starts badly and ends well.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use vermilion_engine::control::Component;
use vermilion_engine::{Config, Database};
use vermilion_server::{Server, ServerConfig, ServerError};

use crate::harness::{DATABASE, TestServer, wait_for};

#[test]
fn taken_port_is_an_error_that_says_so() {
    let server = TestServer::start();
    let database = Arc::new(Database::open(Config::in_memory()).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let bind = |config: ServerConfig| runtime.block_on(Server::bind(config, database.clone()));
    let error = bind(ServerConfig {
        port: server.address.port(),
        ..ServerConfig::default()
    })
    .unwrap_err();
    let text = error.to_string();
    let port = server.address.port();
    assert!(
        text.contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{text}"
    );
    assert!(text.contains("another process listens there"), "{text}");

    let error = bind(ServerConfig {
        port: 0,
        cors_allow_origins: vec!["bad\norigin".to_owned()],
        ..ServerConfig::default()
    })
    .unwrap_err();
    assert!(matches!(error, ServerError::Origin(_)), "{error}");
}

#[test]
fn idle_connections_close_at_once_and_the_database_with_them() {
    let mut server = TestServer::start();
    let mut idle = server.connect();
    assert_eq!(idle.request("GET", "/api/v2/version", &[], b"").status, 200);
    let never_used = server.connect();
    let begun = Instant::now();
    server.wait().unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert!(idle.is_closed());
    drop(never_used);
    assert!(!server.database.health().writable);
}

/// Waits until the server has read the head of a request.
#[track_caller]
fn wait_until_one_runs(server: &TestServer) {
    let running = || server.database.component(Component::Api).running;
    wait_for("a running request", || (running() > 0).then_some(()));
}

#[test]
fn running_requests_are_finished_before_the_end() {
    let mut server = TestServer::start();
    let path = format!("{DATABASE}/collections");
    let body = json!({"name": "late"}).to_string();
    let mut running = server.connect();
    let stream = running.stream.get_mut();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body.as_bytes()[..5]).unwrap();
    wait_until_one_runs(&server);
    server.tell_to_stop();
    // A server that stops takes no more connections.
    wait_for("the stop", || TcpStream::connect(server.address).err());
    running
        .stream
        .get_mut()
        .write_all(&body.as_bytes()[5..])
        .unwrap();
    assert_eq!(running.answer().json()["name"], "late");
    server.wait().unwrap();
}

#[test]
fn requests_that_never_end_are_cut_off() {
    let mut server =
        TestServer::with(|config| config.shutdown_timeout = Duration::from_millis(300));
    let mut running = server.connect();
    let head =
        format!("POST {DATABASE}/collections HTTP/1.1\r\nhost: t\r\ncontent-length: 9\r\n\r\n");
    running.stream.get_mut().write_all(head.as_bytes()).unwrap();
    wait_until_one_runs(&server);
    let begun = Instant::now();
    server.wait().unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_reader_that_waits_for_indexing_does_not_hold_up_a_stop() {
    let mut config = Config::in_memory();
    config.ingest.batch_ingest = true;
    let hour = Duration::from_hours(1);
    let mut server = TestServer::over(config, |config| config.shutdown_timeout = hour);
    let records = server.collection("things");
    server.database.pause(Component::Indexing);
    let body = json!({"ids": ["a"], "embeddings": [[1, 2]]});
    assert_eq!(server.post(&format!("{records}/add"), &body).status, 201);
    let mut waiting = server.connect();
    let stream = waiting.stream.get_mut();
    let head = format!(
        "POST {records}/get HTTP/1.1\r\nhost: test\r\nx-vermilion-min-seq-id: 1\r\n\
         x-vermilion-wait-ms: 600000\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    stream.write_all(head.as_bytes()).unwrap();
    wait_until_one_runs(&server);
    std::thread::sleep(Duration::from_millis(100));
    server.tell_to_stop();
    let answer = waiting.answer();
    answer.fails(503, "ChromaError", "closing");
    server.wait().unwrap();
}

#[test]
fn a_client_that_has_closed_its_side_is_answered() {
    let server = TestServer::start();
    let records = server.collection("things");
    let ask = |method: &str, path: &str, body: &str| {
        let mut connection = server.connect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let stream = connection.stream.get_mut();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = connection.answer();
        let begun = Instant::now();
        assert!(connection.is_closed() && begun.elapsed() < Duration::from_secs(2));
        answer
    };
    for number in 0..20 {
        let body = json!({"ids": [number.to_string()], "embeddings": [[1, 2]]}).to_string();
        assert_eq!(ask("POST", &format!("{records}/add"), &body).status, 201);
        assert_eq!(ask("GET", "/api/v2/version", "").status, 200);
    }
    ask("POST", &format!("{records}/count"), "{}").is(200, "20");
}
