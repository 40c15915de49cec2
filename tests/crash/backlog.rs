//! Kills while a hundred thousand acknowledged operations wait to be indexed, or are being indexed.
//!
//! What must stay true: after each kill the log has what was acknowledged, to the operation; once
//! it is indexed, records and their order are those of every batch applied once, in its turn. A
//! batch applied twice would show: it would bring back what a later one deleted, or move it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::rounds;
use crate::support::{Client, Server, output, vermilion};

/// Operations that wait when the indexing begins, at least.
const WAITING: u64 = 100_000;
/// Records of a batch.
const BATCH: usize = 2_500;
/// Groups of records that batches write and delete, each as a whole.
const GROUPS: u64 = 16;
/// Little memory: most batches are read from the log again, and a start leaves most for later. No
/// more is indexed than memory takes while sealing is paused.
const FLAGS: &[&str] = &[
    "--seal-rows",
    "20000",
    "--log-file-bytes",
    "1MiB",
    "--log-bytes",
    "4MiB",
    "--seal-idle-after",
    "100ms",
    "--batch-ingest",
    "--ingest-memory-bytes",
    "1MiB",
    "--memory-bytes",
    "2MiB",
];

/// What a group of records is after some batches.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Group {
    number: u64,
    /// The batch that wrote it last.
    version: u64,
}

/// What the n-th batch does: it deletes a group or writes it, each group in its turn.
fn is_deletion(batch: u64) -> bool {
    batch % 5 == 3
}

fn group_of(batch: u64) -> u64 {
    // A step without a common divisor with the groups; some batches meet the group just written.
    (batch * 5 / 3) % GROUPS
}

/// The groups in the order of `get` after the first `batches` batches.
fn expected(batches: u64) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for version in 0..batches {
        let number = group_of(version);
        let at = groups.iter().position(|group| group.number == number);
        match (is_deletion(version), at) {
            (true, Some(at)) => drop(groups.remove(at)),
            (true, None) => {}
            (false, Some(at)) => groups[at].version = version,
            (false, None) => groups.push(Group { number, version }),
        }
    }
    groups
}

fn ids(group: u64) -> Vec<String> {
    (0..BATCH).map(|row| format!("{group}-{row}")).collect()
}

/// Sends a batch; answers the status, or `None` where no answer came.
fn send(client: &Client, collection: &str, batch: u64) -> Option<u16> {
    let ids = ids(group_of(batch));
    let (path, body) = if is_deletion(batch) {
        ("delete", json!({ "ids": ids }))
    } else {
        let vectors: Vec<[u64; 2]> = (0..BATCH as u64).map(|row| [batch, row]).collect();
        let metadatas = vec![json!({"batch": batch}); BATCH];
        let body = json!({"ids": ids, "embeddings": vectors, "metadatas": metadatas});
        ("upsert", body)
    };
    let answer = client.try_post(&format!("/collections/{collection}/{path}"), &body);
    answer.map(|(status, _)| status)
}

/// Waits until everything is indexed and compares all records with what `batches` batches make.
fn check(client: &Client, collection: &str, batches: u64) {
    let begun = Instant::now();
    while waiting(client, collection).0 > 0 {
        assert!(
            begun.elapsed() < Duration::from_mins(3),
            "indexing stands still"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let body = json!({"include": ["metadatas", "embeddings"], "read_level": "index_only"});
    let (status, answer) = client.post(&format!("/collections/{collection}/get"), &body);
    assert_eq!(status, 200, "{answer}");
    let groups = expected(batches);
    let found = answer["ids"].as_array().expect("ids").len();
    assert_eq!(found, groups.len() * BATCH, "after {batches} batches");
    for (place, group) in groups.iter().enumerate() {
        for (row, id) in ids(group.number).iter().enumerate() {
            let at = place * BATCH + row;
            assert_eq!(
                answer["ids"][at], *id,
                "place {at}, after {batches} batches"
            );
            assert_eq!(answer["metadatas"][at]["batch"], group.version, "{id}");
            let vector: Vec<Option<f64>> = answer["embeddings"][at]
                .as_array()
                .map(|numbers| numbers.iter().map(Value::as_f64).collect())
                .unwrap_or_default();
            let wanted = [Some(group.version as f64), Some(row as f64)];
            assert_eq!(vector, wanted, "{id}");
        }
    }
}

/// Operations that wait to be indexed, and all operations.
fn waiting(client: &Client, collection: &str) -> (u64, u64) {
    let told = client.get(&format!("/collections/{collection}/indexing_status"));
    let number = |key: &str| told[key].as_u64().unwrap_or_else(|| panic!("{told}"));
    let total = number("total_ops");
    (total - number("num_visible_ops"), total)
}

/// Fills the queue, lets the indexing begin, and kills the server so much later, while one more
/// client writes. Answers how many batches were sent.
fn fill_and_kill(server: Server, collection: &str, first: u64, after: Duration) -> u64 {
    let client = server.client();
    server.control("components/indexing/pause");
    let mut next = first;
    while waiting(&client, collection).0 < WAITING {
        assert_eq!(send(&client, collection, next), Some(200));
        next += 1;
    }
    let (next, killed) = (AtomicU64::new(next), AtomicBool::new(false));
    std::thread::scope(|threads| {
        server.control("components/indexing/resume");
        threads.spawn(|| {
            while !killed.load(Ordering::SeqCst) {
                // Sent before it is known whether an answer comes.
                let batch = next.fetch_add(1, Ordering::SeqCst);
                if send(&client, collection, batch) != Some(200) {
                    return;
                }
            }
        });
        std::thread::sleep(after);
        server.kill();
        killed.store(true, Ordering::SeqCst);
    });
    next.into_inner()
}

#[test]
fn a_kill_with_a_hundred_thousand_operations_to_index_loses_none_and_applies_each_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut batches, mut left) = (0, Vec::new());
    for round in 0..rounds() {
        let server = Server::start(folder.path(), FLAGS);
        let collection = server.client().collection("records");
        // Before any of it is indexed, while it is, and after most of it.
        let after = Duration::from_millis(round * 83 % 900);
        let sent = fill_and_kill(server, &collection, batches, after);
        let server = Server::start(folder.path(), FLAGS);
        let client = server.client();
        let (behind, logged) = waiting(&client, &collection);
        left.push(behind);
        // The last batch was perhaps not acknowledged: it is there whole, or not at all.
        let whole = logged / BATCH as u64;
        assert!(
            logged == whole * BATCH as u64 && (sent - 1..=sent).contains(&whole),
            "{logged} operations are logged; {sent} batches of {BATCH} were sent"
        );
        batches = whole;
        if round % 2 == 0 {
            check(&client, &collection, batches);
            assert_eq!(server.stop().0, 0);
        } else {
            // Killed again while it reads the log of the first kill.
            server.kill();
        }
    }
    let server = Server::start(folder.path(), FLAGS);
    let client = server.client();
    let collection = client.collection("records");
    check(&client, &collection, batches);
    assert_eq!(server.stop().0, 0);
    let path = folder.path().to_str().expect("a path in UTF-8");
    let (status, out, err) = output(vermilion().args(["verify", "--path", path]));
    assert_eq!(status, 0, "{out} {err}");
    println!("{batches} batches of {BATCH}; to index after each kill: {left:?}");
    assert!(
        left.iter().any(|behind| *behind > 0),
        "no kill cut indexing off: {left:?}"
    );
}
