//! The Unix socket: found from the port, the same HTTP, and records in memory that is handed over.

use std::fs::File;
use std::io::{BufReader, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::json;

use crate::harness::{Answer, Connection, TestServer};
use crate::hostile::arrow::{good, stream};

const STREAM: &str = "content-type: application/vnd.apache.arrow.stream";
/// The fewest that are taken.
const SEALS: SealFlags = SealFlags::FUTURE_WRITE.union(SealFlags::SHRINK);

/// A server with a socket, and the folder of that.
fn serve() -> (TestServer, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    let server = TestServer::with(|config| {
        config.socket = Some(path);
        config.body_bytes_max = 1 << 20;
    });
    (server, folder)
}

fn connect(folder: &tempfile::TempDir) -> Connection<UnixStream> {
    let stream = UnixStream::connect(folder.path().join("s.sock")).unwrap();
    let limit = Some(Duration::from_secs(20));
    stream.set_read_timeout(limit).unwrap();
    Connection {
        stream: BufReader::new(stream),
    }
}

/// Memory that holds `bytes`, sealed with `seals`.
fn memory(bytes: &[u8], seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
    let mut file = File::from(memfd_create("test", flags).unwrap());
    file.write_all(bytes).unwrap();
    fcntl_add_seals(&file, seals).unwrap();
    file.into()
}

/// Sends `head` with `descriptors`.
fn hand_over(connection: &Connection<UnixStream>, head: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
    let parts = [IoSlice::new(head)];
    let socket = connection.stream.get_ref();
    let sent = sendmsg(socket, &parts, &mut control, SendFlags::empty()).unwrap();
    assert_eq!(sent, head.len());
}

fn head(path: &str, lines: &[&str]) -> Vec<u8> {
    let lines = lines.join("\r\n");
    format!("POST {path} HTTP/1.1\r\nhost: t\r\n{lines}\r\n\r\n").into_bytes()
}

/// The head of a request whose body is the first `bytes` of memory.
fn head_of(path: &str, bytes: usize) -> Vec<u8> {
    head(path, &[STREAM, &format!("x-vermilion-memory: {bytes}")])
}

/// What `add` answers for records in all of `memory`.
fn add(folder: &tempfile::TempDir, records: &str, memory: &OwnedFd) -> Answer {
    let mut connection = connect(folder);
    let bytes = rustix::fs::fstat(memory).unwrap().st_size as usize;
    let head = head_of(&format!("{records}/add"), bytes);
    hand_over(&connection, &head, &[memory.as_fd()]);
    connection.answer()
}

#[test]
fn socket_is_found_from_the_port_and_is_the_same_server() {
    let (mut server, folder) = serve();
    let told = server.get("/local-socket").json();
    let path = folder.path().canonicalize().unwrap().join("s.sock");
    assert_eq!(told["path"].as_str().unwrap(), path.to_str().unwrap());
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(told["boot_id"], boot_id.trim());
    assert_eq!(told["memory"], true);
    let mut connection = connect(&folder);
    let here = connection.request("GET", "/local-socket", &[], b"");
    assert_eq!(here.json(), told, "nonce included");
    server.wait().unwrap();
    assert!(connection.is_closed());
    assert!(!path.exists());
    let without = TestServer::start();
    let told = without.get("/local-socket").json();
    let nothing = json!({"path": null, "boot_id": null, "nonce": null, "memory": false});
    assert_eq!(told, nothing);
}

#[test]
fn large_bodies_come_through_the_socket_in_parts() {
    let (server, folder) = serve();
    let records = server.collection("abc");
    let long = "x".repeat(300_000);
    let body = json!({"ids": ["a"], "embeddings": [[1.0, 2.0]], "documents": [long]}).to_string();
    let json = ["content-type: application/json"];
    let mut connection = connect(&folder);
    let added = connection.request("POST", &format!("{records}/add"), &json, body.as_bytes());
    assert_eq!(added.status, 201, "{}", added.text());
    let found = connection.request("POST", &format!("{records}/get"), &json, b"{}");
    assert_eq!(found.json()["documents"][0], long);
    let over = connection.request(
        "POST",
        &format!("{records}/get"),
        &json,
        &vec![b' '; 2 << 20],
    );
    assert_eq!(over.status, 413);
}

#[test]
fn records_in_memory_are_those_of_a_body() {
    let (server, folder) = serve();
    let bytes = stream(&good(), None);
    let (by_body, by_memory) = (server.collection("body"), server.collection("memory"));
    let sent = connect(&folder).request("POST", &format!("{by_body}/add"), &[STREAM], &bytes);
    assert_eq!(sent.status, 201, "{}", sent.text());
    let passed = add(&folder, &by_memory, &memory(&bytes, SEALS));
    assert_eq!((passed.status, passed.text()), (201, sent.text()));
    let everything = json!({"include": ["embeddings", "documents", "metadatas", "uris"]});
    let get = |records: &str| server.post(&format!("{records}/get"), &everything);
    assert_eq!(get(&by_memory).text(), get(&by_body).text());
    assert!(!get(&by_memory).json()["ids"][0].is_null());
}

#[test]
fn memory_that_could_go_away_or_is_none_is_refused_and_nothing_is_written() {
    let (server, folder) = serve();
    let records = server.collection("abc");
    let bytes = stream(&good(), None);
    let cut = &bytes[..bytes.len() - 9];
    let file = tempfile::tempfile().unwrap();
    let (pipe, _other_end) = std::io::pipe().unwrap();
    let flags = MemfdFlags::ALLOW_SEALING;
    let hole = File::from(memfd_create("test", flags).unwrap());
    hole.set_len(1 << 19).unwrap();
    fcntl_add_seals(&hole, SEALS).unwrap();
    let large = vec![0; (1 << 20) + 1];
    let vast = vec![0; (2 << 20) + 1];
    let cases: [(OwnedFd, u16, &str); 10] = [
        (memory(&bytes, SealFlags::empty()), 400, "must be sealed"),
        (
            memory(&bytes, SealFlags::SHRINK),
            400,
            "F_SEAL_FUTURE_WRITE",
        ),
        (
            memory(&bytes, SealFlags::FUTURE_WRITE),
            400,
            "F_SEAL_SHRINK",
        ),
        (memory(&bytes, SealFlags::WRITE), 400, "F_SEAL_SHRINK"),
        (memory(b"", SEALS), 400, "it is empty"),
        (memory(cut, SEALS), 400, "Arrow stream"),
        (memory(&large, SEALS), 413, "1048577 bytes"),
        (hole.into(), 400, "never written"),
        (file.into(), 400, "not of memory"),
        (pipe.into(), 400, "not of memory"),
    ];
    for (descriptor, status, message) in cases {
        let answer = add(&folder, &records, &descriptor);
        assert_eq!(answer.status, status, "{message}: {}", answer.text());
        assert!(
            answer.text().contains(message),
            "{message}: {}",
            answer.text()
        );
    }
    let mut connection = connect(&folder);
    let head = head_of(&format!("{records}/add"), bytes.len());
    hand_over(&connection, &head, &[memory(&vast, SEALS).as_fd()]);
    let answer = connection.answer();
    assert_eq!(answer.status, 413);
    assert!(answer.text().contains("2097153 bytes"), "{}", answer.text());
    assert_eq!(server.get(&format!("{records}/count")).text(), "0");
}

#[test]
fn requests_that_say_they_have_memory_must_have_it_and_no_body() {
    let (server, folder) = serve();
    let records = server.collection("abc");
    let path = format!("{records}/add");
    let bytes = stream(&good(), None);
    let sealed = memory(&bytes, SEALS);
    let header = &format!("x-vermilion-memory: {}", bytes.len());
    let missing = "no descriptor came with the request";
    let answer = connect(&folder).request("POST", &path, &[STREAM, header], b"");
    answer.fails(400, "InvalidArgumentError", missing);
    let answer = server
        .connect()
        .request("POST", &path, &[STREAM, header], b"");
    answer.fails(400, "InvalidArgumentError", missing);
    let answer = connect(&folder).request("POST", &path, &[STREAM, header], &bytes);
    answer.fails(400, "InvalidArgumentError", "not both");
    let json = "content-type: application/json";
    let mut connection = connect(&folder);
    hand_over(
        &connection,
        &head(&path, &[json, header]),
        &[sealed.as_fd()],
    );
    assert_eq!(connection.answer().status, 415);
    for wrong in ["", "-1", "1.5", "all", "99999999999999999999"] {
        let header = format!("x-vermilion-memory: {wrong}");
        let answer = connect(&folder).request("POST", &path, &[STREAM, &header], b"");
        answer.fails(400, "InvalidArgumentError", "the number of bytes");
    }
    let mut connection = connect(&folder);
    let beyond = head_of(&path, bytes.len() + 1);
    hand_over(&connection, &beyond, &[sealed.as_fd()]);
    let told = format!("it has {} bytes", bytes.len());
    connection
        .answer()
        .fails(400, "InvalidArgumentError", &told);
    // A connection that says nothing of it keeps the last one, and takes no two at once.
    let mut connection = connect(&folder);
    let quiet = b"GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n";
    for _ in 0..3 {
        hand_over(&connection, quiet, &[sealed.as_fd()]);
        assert_eq!(connection.answer().status, 200);
    }
    let mut connection = connect(&folder);
    hand_over(&connection, quiet, &[sealed.as_fd(), sealed.as_fd()]);
    assert!(connection.is_closed());
    assert_eq!(server.get(&format!("{records}/count")).text(), "0");
    assert_eq!(add(&folder, &records, &sealed).status, 201);
}

/// How many mappings of memory of this file this process has.
fn mapped() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.matches("memfd:test").count()
}

#[test]
fn memory_serves_the_requests_of_its_connection_until_other_memory_comes() {
    let (server, folder) = serve();
    let bytes = stream(&good(), None);
    // As a client that keeps room for more than it needs now.
    let mut roomy = bytes.clone();
    roomy.resize((1 << 20) + 5000, 7);
    let (small, large) = (memory(&bytes, SEALS), memory(&roomy, SEALS));
    let places: Vec<String> = (0..6)
        .map(|number| server.collection(&format!("abc{number}")))
        .collect();
    let path = |number: usize| format!("{}/add", places[number]);
    let mut connection = connect(&folder);
    let mut add = |number: usize, descriptor: &[BorrowedFd<'_>]| {
        let head = head_of(&path(number), bytes.len());
        hand_over(&connection, &head, descriptor);
        let answer = connection.answer();
        assert_eq!(answer.status, 201, "{number}: {}", answer.text());
    };
    add(0, &[small.as_fd()]);
    add(1, &[]);
    add(2, &[]);
    add(3, &[large.as_fd()]);
    add(4, &[]);
    // Another connection has none of it, and its own.
    let mut other = connect(&folder);
    let head = head_of(&path(5), bytes.len());
    hand_over(&other, &head, &[]);
    assert_eq!(other.answer().status, 400);
    let mut other = connect(&folder);
    hand_over(&other, &head, &[large.as_fd()]);
    assert_eq!(other.answer().status, 201);
    let all = json!({"include": ["embeddings", "documents", "metadatas", "uris"]});
    let get = |place: &String| server.post(&format!("{place}/get"), &all);
    let first = get(&places[0]);
    for place in &places {
        assert_eq!(get(place).text(), first.text());
    }
}

#[test]
fn descriptors_and_memory_are_given_back() {
    let (server, folder) = serve();
    let records = server.collection("abc");
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let refused = vec![1; 5000];
    let before = open();
    for round in 0..50 {
        let bytes = if round % 2 == 0 {
            &refused[..]
        } else {
            &stream(&good(), None)
        };
        add(&folder, &records, &memory(bytes, SEALS));
        let connection = connect(&folder);
        let half = b"GET /healthz HT";
        hand_over(&connection, half, &[memory(bytes, SEALS).as_fd()]);
    }
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while (open() > before + 8 || mapped() > 0) && std::time::Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(open() <= before + 8, "{} of {before}", open());
    assert_eq!(mapped(), 0);
}

#[test]
fn keys_are_asked_for_at_the_socket_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    let server = TestServer::with(|config| {
        config.socket = Some(path);
        config.admin_key = Some(vermilion_server::Secret::new("k".repeat(40)));
    });
    let mut connection = connect(&folder);
    let collections = format!("{}/collections", crate::harness::DATABASE);
    assert_eq!(
        connection.request("GET", &collections, &[], b"").status,
        401
    );
    let key = format!("x-chroma-token: {}", "k".repeat(40));
    let mut connection = connect(&folder);
    assert_eq!(
        connection.request("GET", &collections, &[&key], b"").status,
        200
    );
    drop(server);
}
