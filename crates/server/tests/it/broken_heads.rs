//! Heads that cannot be read are refused as everything else is: with JSON that says why, whatever came before on the
//! same connection.

use std::io::{Read, Write};
use std::time::Duration;

use serde_json::json;

use crate::harness::{Answer, Connection, DATABASE, TestServer};

/// What a server answers to these bytes, after which it closes the connection.
#[track_caller]
fn refused<S: Read + Write>(connection: &mut Connection<S>, head: &[u8]) -> Answer {
    // The server may have refused it before all of it is sent.
    let _ = connection.stream.get_mut().write_all(head);
    last(connection)
}

#[track_caller]
fn last<S: Read + Write>(connection: &mut Connection<S>) -> Answer {
    let answer = connection.answer();
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(connection.is_closed());
    answer
}

fn head(first: &str, headers: &str) -> Vec<u8> {
    format!("{first}\r\nhost: t\r\n{headers}\r\n").into_bytes()
}

fn headers(count: usize) -> String {
    // One is the host.
    "x: 1\r\n".repeat(count - 1)
}

const GET: &str = "GET /healthz HTTP/1.1";

/// Each kind of broken head, with the answer that it gets.
fn broken() -> Vec<(Vec<u8>, u16, &'static str)> {
    let long = "x".repeat(2 << 20);
    let path = format!("GET /{} HTTP/1.1", &long[..70_000]);
    vec![
        (head("no request at all", ""), 400, "is not HTTP/1.1"),
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01".to_vec(),
            400,
            "is not HTTP/1.1",
        ),
        (head("GET /healthz HTTP/3.7", ""), 400, "is not HTTP/1.1"),
        (head("GET /\x01 HTTP/1.1", ""), 400, "is not HTTP/1.1"),
        (head(GET, "no colon\r\n"), 400, "is not HTTP/1.1"),
        (head(GET, "content-length: x\r\n"), 400, "is not HTTP/1.1"),
        (head(&path, ""), 414, "65,534 bytes"),
        (head(GET, &headers(101)), 431, "100 headers and 512 KiB"),
        (
            head(GET, &format!("x: {long}\r\n")),
            431,
            "100 headers and 512 KiB",
        ),
        (
            head(GET, &format!("x: {}\r\n", &long[..600 << 10])),
            431,
            "100 headers and 512 KiB",
        ),
    ]
}

fn name(status: u16) -> &'static str {
    if status == 400 {
        "InvalidArgumentError"
    } else {
        "ChromaError"
    }
}

#[test]
fn a_broken_head_is_refused_with_json_first_and_behind_good_requests() {
    let server = TestServer::start();
    for (bytes, status, message) in broken() {
        let first = refused(&mut server.connect(), &bytes);
        first.fails(status, name(status), message);
        let mut kept = server.connect();
        for _ in 0..2 {
            let good = kept.request("GET", "/healthz", &[], b"");
            good.is(200, r#"{"status":"ok"}"#);
        }
        refused(&mut kept, &bytes).fails(status, name(status), message);
    }
    let mut most = server.connect();
    let good = [head(GET, &headers(100)), head(GET, &headers(101))].concat();
    most.stream.get_mut().write_all(&good).unwrap();
    assert_eq!(most.answer().status, 200);
    last(&mut most).fails(431, "ChromaError", "100 headers");
}

#[test]
fn a_broken_head_in_a_pipeline_is_refused_behind_whole_answers() {
    let server = TestServer::start();
    let records = server.collection("abc");
    let long = "d".repeat(3 << 20);
    let add = json!({"ids": ["a"], "embeddings": [[1]], "documents": [long]});
    assert_eq!(server.post(&format!("{records}/add"), &add).status, 201);
    let body = "{}";
    let get = format!(
        "POST {records}/get HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let empty = head("GET /nope HTTP/1.1", "");
    let refusal = head(&format!("GET {DATABASE}/collections?limit=x HTTP/1.1"), "");
    let requests = [
        get.as_bytes(),
        &empty,
        &refusal,
        get.as_bytes(),
        b"broken\r\n\r\n",
    ]
    .concat();
    let mut connection = server.connect();
    connection.stream.get_mut().write_all(&requests).unwrap();
    // The answers are larger than what lies between the two.
    std::thread::sleep(Duration::from_millis(100));
    let first = connection.answer();
    assert_eq!(first.json()["documents"][0], long);
    connection.answer().is(404, "");
    connection
        .answer()
        .fails(400, "InvalidArgumentError", "query string");
    assert_eq!(connection.answer().text(), first.text());
    last(&mut connection).fails(400, "InvalidArgumentError", "is not HTTP/1.1");
}

#[cfg(unix)]
#[test]
fn a_broken_head_is_refused_with_json_at_the_local_socket() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("s.sock");
    let _server = TestServer::with(|config| config.socket = Some(place.clone()));
    for (bytes, status, message) in broken() {
        let stream = std::os::unix::net::UnixStream::connect(&place).unwrap();
        let mut connection = Connection {
            stream: std::io::BufReader::new(stream),
        };
        assert_eq!(connection.request("GET", "/healthz", &[], b"").status, 200);
        refused(&mut connection, &bytes).fails(status, name(status), message);
    }
}
