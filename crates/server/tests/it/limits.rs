//! What the server does with requests that are too much, too slow or broken.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

use crate::harness::{DATABASE, TestServer};

#[test]
fn bodies_over_the_limit_are_refused_as_json() {
    let server = TestServer::with(|config| config.body_bytes_max = 1000);
    let records = server.collection("abc");
    let path = format!("{records}/get");
    let long = json!({"ids": ["a".repeat(2000)]});
    let message = "Failed to buffer the request body: length limit exceeded";
    server.post(&path, &long).fails(413, "ChromaError", message);

    // The same without a length told in advance.
    let mut connection = server.connect();
    let stream = connection.stream.get_mut();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .unwrap();
    for _ in 0..3 {
        write!(stream, "1F4\r\n{}\r\n", "x".repeat(500)).unwrap();
    }
    let refused = connection.answer();
    refused.fails(413, "ChromaError", message);
    assert_eq!(refused.header("connection"), Some("close"));
    assert!(connection.is_closed());
    server.post(&path, &json!({"ids": ["a"]})).is(
        200,
        concat!(
            r#"{"ids":[],"embeddings":null,"documents":[],"uris":null,"metadatas":[],"#,
            r#""include":["documents","metadatas"]}"#
        ),
    );
}

#[test]
fn chunked_bodies_are_put_together() {
    let server = TestServer::start();
    let mut connection = server.connect();
    let stream = connection.stream.get_mut();
    let path = format!("{DATABASE}/collections");
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .unwrap();
    for part in ["{\"name\":", "\"in_parts\"", "}"] {
        write!(stream, "{:x}\r\n{part}\r\n", part.len()).unwrap();
        stream.flush().unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    write!(stream, "0\r\n\r\n").unwrap();
    assert_eq!(connection.answer().json()["name"], "in_parts");
}

#[test]
fn other_content_types_and_broken_json_are_refused() {
    let server = TestServer::start();
    let records = server.collection("abc");
    let path = format!("{records}/get");
    let send =
        |headers: &[&str], body: &[u8]| server.connect().request("POST", &path, headers, body);
    send(&["content-type: text/plain"], b"{}").fails(
        415,
        "ChromaError",
        "Expected request with `Content-Type: application/json`",
    );
    assert_eq!(send(&[], b"{}").status, 200);
    assert_eq!(send(&["content-encoding: identity"], b"{}").status, 200);
    let packed = send(&["content-encoding: gzip"], b"{}");
    packed.fails(415, "ChromaError", "without `Content-Encoding`");
    send(&[], b"{").fails(
        400,
        "InvalidArgumentError",
        "Failed to parse the request body as JSON",
    );
    send(&[], b"").fails(400, "InvalidArgumentError", "EOF while parsing");
    send(&[], b"{\"limit\":-1}").fails(
        422,
        "ChromaError",
        "Failed to deserialize the JSON body into the target type: limit: invalid value",
    );
    send(&[], b"[]").fails(422, "ChromaError", "invalid type: sequence");
    send(&[], b"\xff").fails(400, "InvalidArgumentError", "UTF-8");
}

#[test]
fn bytes_of_a_path_that_are_no_text_are_refused() {
    let server = TestServer::start();
    server
        .get("/api/v2/tenants/%ff")
        .fails(400, "InvalidArgumentError", "UTF-8");
}

#[test]
fn slow_clients_are_cut_off() {
    let server = TestServer::with(|config| {
        config.header_timeout = Duration::from_millis(200);
        config.body_timeout = Duration::from_millis(200);
    });
    let mut slow_head = server.connect();
    slow_head
        .stream
        .get_mut()
        .write_all(b"GET /api/v2 HTTP/1.1\r\nhost")
        .unwrap();
    let refused = slow_head.answer();
    refused.fails(
        408,
        "ChromaError",
        "head of the request did not arrive in time",
    );
    assert!(slow_head.is_closed());

    // Between two requests there is nothing to refuse.
    let mut idle = server.connect();
    assert_eq!(idle.request("GET", "/healthz", &[], b"").status, 200);
    assert!(idle.is_closed());
    assert!(server.connect().is_closed());

    let mut slow_body = server.connect();
    let path = format!("{DATABASE}/collections");
    let head = format!("POST {path} HTTP/1.1\r\nhost: t\r\ncontent-length: 100\r\n\r\n{{");
    slow_body
        .stream
        .get_mut()
        .write_all(head.as_bytes())
        .unwrap();
    let refused = slow_body.answer();
    refused.fails(408, "ChromaError", "did not arrive in time");
    assert_eq!(refused.header("connection"), Some("close"));
    assert!(slow_body.is_closed());
}

#[test]
fn batches_over_the_announced_maximum_are_refused() {
    let server = TestServer::start();
    let records = server.collection("abc");
    let ids: Vec<String> = (0..100_001).map(|id| id.to_string()).collect();
    let body = json!({"ids": ids, "embeddings": vec![[1]; 100_001]});
    server.post(&format!("{records}/add"), &body).fails(
        400,
        "InvalidArgumentError",
        "exceeds maximum batch size 100000",
    );
}

#[test]
fn request_ids_are_given_or_kept() {
    let server = TestServer::start();
    let given = |header: &str| {
        let answer = server
            .connect()
            .request("GET", "/api/v2/version", &[header], b"");
        answer.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(given("x-request-id: mine-17"), "mine-17");
    assert_ne!(given("x-request-id: not plain"), "not plain");
    assert_ne!(given("x-other: 1"), given("x-other: 1"));
    let headers = ["x-request-id: mine-18"];
    let error = server
        .connect()
        .request("GET", "/api/v2/tenants/nobody", &headers, b"");
    assert_eq!(error.header("chroma-trace-id"), Some("mine-18"));
}

#[test]
fn origins_are_allowed_as_configured() {
    let ask = |server: &TestServer, origin: &str| {
        let headers = [
            format!("origin: {origin}"),
            "access-control-request-method: PUT".to_owned(),
            "access-control-request-headers: authorization,x-any".to_owned(),
        ];
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = server
            .connect()
            .request("OPTIONS", "/api/v2/version", &headers, b"");
        if let Some(allowed) = answer.header("access-control-allow-headers") {
            // Browsers take `*` for all headers but this one.
            assert_eq!(allowed, "authorization,x-any");
        }
        answer
            .header("access-control-allow-origin")
            .map(str::to_owned)
    };
    let listed = TestServer::with(|config| config.cors_allow_origins = vec!["http://a.org".into()]);
    assert_eq!(
        ask(&listed, "http://a.org").as_deref(),
        Some("http://a.org")
    );
    assert_eq!(ask(&listed, "http://b.org"), None);
    let any = TestServer::with(|config| config.cors_allow_origins = vec!["*".into()]);
    assert_eq!(ask(&any, "http://b.org").as_deref(), Some("*"));
    assert_eq!(ask(&TestServer::start(), "http://a.org"), None);
}

/// Adds `count` records with documents of a hundred letters to a new collection.
fn fill(server: &TestServer, count: usize) -> String {
    let records = server.collection("many");
    let numbers: Vec<usize> = (0..count).collect();
    let body = json!({
        "ids": numbers.iter().map(|n| format!("r{n}")).collect::<Vec<_>>(),
        "embeddings": numbers.iter().map(|n| [*n as f32, 1.0]).collect::<Vec<_>>(),
        "documents": numbers.iter().map(|n| format!("{n:0100}")).collect::<Vec<_>>(),
        "metadatas": numbers.iter().map(|n| json!({ "n": n })).collect::<Vec<_>>(),
    });
    assert_eq!(server.post(&format!("{records}/add"), &body).status, 201);
    records
}

#[test]
fn answers_that_would_take_too_much_memory_are_refused() {
    let server = TestServer::with(|config| config.answer_bytes_max = 100_000);
    let records = fill(&server, 2000);
    let (get, query) = (format!("{records}/get"), format!("{records}/query"));
    let search = format!("{records}/search");
    let message = "The answer would have more than 100000 bytes (setting answer_bytes_max); ask for \
                   fewer records (limit, n_results) or fewer columns (include, select)";
    let refused = |path: &str, body| {
        let answer = server.post(path, &body);
        answer.fails(400, "InvalidArgumentError", message);
    };
    for include in [["documents"], ["embeddings"], ["metadatas"]] {
        let body = json!({"include": include, "limit": 2000});
        let answer = server.post(&get, &body);
        assert_eq!(
            answer.status,
            if include[0] == "embeddings" { 200 } else { 400 }
        );
    }
    refused(&get, json!({"include": ["documents"]}));
    refused(
        &query,
        json!({"query_embeddings": vec![[1.0, 2.0]; 10], "n_results": 300, "include": ["documents"]}),
    );
    refused(
        &query,
        json!({"query_embeddings": vec![[1.0, 2.0]; 500], "n_results": 1, "include": []}),
    );
    let all = json!({"select": {"keys": ["#document"]}, "limit": {"limit": 200}});
    refused(&search, json!({ "searches": vec![all; 10] }));
    assert_eq!(
        server
            .post(&get, &json!({"limit": 300, "include": ["documents"]}))
            .status,
        200
    );
    let many =
        json!({"query_embeddings": vec![[1.0, 2.0]; 3000], "n_results": 2000, "include": []});
    let message = "The 3000 queries of the request may find 6000000 records together; at most 4194304 are \
                   allowed. Lower n_results, or make fewer queries at a time.";
    server
        .post(&query, &many)
        .fails(400, "InvalidArgumentError", message);
}

#[test]
fn a_read_that_takes_too_long_is_left() {
    let server = TestServer::with(|config| config.read_timeout = Duration::from_millis(1));
    let records = fill(&server, 20_000);
    let long = json!({"query_embeddings": vec![[1.0, 2.0]; 200], "n_results": 20_000});
    let answer = server.post(&format!("{records}/query"), &long);
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!(answer.text().contains("read_timeout"), "{}", answer.text());
}

#[test]
fn a_deletion_that_looks_too_long_for_what_it_means_is_left_and_deletes_nothing() {
    let server = TestServer::with(|config| config.read_timeout = Duration::from_millis(1));
    let records = fill(&server, 20_000);
    let none = json!({"where_document": {"$regex": "[0-9]*[a-z][0-9]*"}});
    let answer = server.post(&format!("{records}/delete"), &none);
    assert_eq!(answer.status, 504, "{}", answer.text());
    assert!(answer.text().contains("read_timeout"), "{}", answer.text());
    // On a busy machine a count takes longer than that too.
    let counts = std::iter::repeat_with(|| server.get(&format!("{records}/count")));
    let count = counts.take(1000).find(|answer| answer.status != 504);
    assert_eq!(count.expect("one is in time").json(), 20_000);
}
