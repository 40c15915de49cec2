//! Traces as a collector gets them: the real binary sends, a socket of the test's own receives.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use support::{Server, output, vermilion};

/// The trace of a client, as the header `traceparent` has it.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Takes requests on one connection until it ends; tells the first line and the body of each.
fn collect(stream: TcpStream, tell: &mpsc::Sender<(String, Vec<u8>)>) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        writer.write_all(answer.as_bytes()).unwrap();
        tell.send((first.trim_end().to_owned(), body)).unwrap();
    }
}

fn bytes_of_hex(text: &str) -> Vec<u8> {
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn requests_and_jobs_reach_the_collector_with_what_they_were_and_the_trace_they_came_from() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let collector = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let tell = tell.clone();
            std::thread::spawn(move || collect(stream.unwrap(), &tell));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--otel-endpoint", &collector]);
    let url = format!("http://{}", server.address);
    let place = "/api/v2/tenants/default_tenant/databases/default_database/collections";
    let made = ureq::post(format!("{url}{place}"))
        .header("content-type", "application/json")
        .header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"))
        .send(r#"{"name": "things"}"#);
    assert_eq!(made.unwrap().status(), 200);
    let ran = ureq::post(format!("{url}/control/v1/jobs/log_sync/run"))
        .header("content-type", "application/json")
        .send("{}");
    assert_eq!(ran.unwrap().status(), 200);
    assert_eq!(server.stop().0, 0);

    let mut sent = Vec::new();
    while let Ok((first, body)) = told.recv_timeout(Duration::from_secs(1)) {
        assert_eq!(first, "POST /v1/traces HTTP/1.1");
        sent.extend(body);
    }
    let has = |wanted: &[u8]| sent.windows(wanted.len()).any(|part| part == wanted);
    for wanted in [
        "service.name",
        "vermilion",
        "POST /api/v2/tenants/{tenant}/databases/{database}/collections",
        "http.response.status_code",
        "job log_sync",
    ] {
        assert!(has(wanted.as_bytes()), "{wanted} is missing");
    }
    assert!(has(&bytes_of_hex(TRACE)), "the client's trace goes on");
}

#[test]
fn a_server_serves_and_stops_though_no_collector_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let server = Server::start(folder.path(), &["--otel-endpoint", &endpoint]);
    let beat = ureq::get(format!("http://{}/api/v2/heartbeat", server.address)).call();
    assert_eq!(beat.unwrap().status(), 200);
    assert_eq!(server.stop().0, 0);
    let path = folder.path().to_str().unwrap();
    let wrong = ["serve", "--path", path, "--otel-endpoint", "no address"];
    let (status, _, err) = output(vermilion().args(wrong));
    assert_eq!(status, 2, "{err}");
    assert!(err.contains("which is not an address"), "{err}");
}
