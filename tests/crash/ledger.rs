//! What the writers asked for and what they were told, and the check of a server against it.
//!
//! What must stay true: a batch is noted before it is sent; it is acknowledged only by its answer.
//! A batch whose answer never came is undecided: the first check finds it whole or absent, and so
//! it must stay.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::Client;

/// Numbers in a vector.
const DIMENSION: usize = 8;
/// Records of the n-th batch of a writer: from 1 to 60.
fn size_of(batch: u64) -> usize {
    1 + (batch as usize * 17) % 60
}

/// What is known of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Present,
    Absent,
    /// Sent, and not answered.
    Undecided,
}

/// All batches, by writer and number.
#[derive(Default)]
pub(crate) struct Ledger {
    batches: BTreeMap<(usize, u64), Known>,
    acknowledged: u64,
}

impl Ledger {
    /// How many requests were acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    fn next(&mut self, writer: usize) -> u64 {
        let own = self.batches.range((writer, 0)..=(writer, u64::MAX));
        let number = own.last().map_or(0, |((_, number), _)| number + 1);
        self.batches.insert((writer, number), Known::Undecided);
        number
    }

    fn note(&mut self, writer: usize, batch: u64, known: Known) {
        self.batches.insert((writer, batch), known);
    }

    /// Notes what an answer with the status 200 says of the batch.
    fn acknowledge(&mut self, writer: usize, batch: u64, known: Known) {
        self.note(writer, batch, known);
        self.acknowledged += 1;
    }

    /// Asks the server for every record and compares.
    pub(crate) fn check(&mut self, client: &Client, collection: &str) {
        let include = ["embeddings", "documents", "metadatas"];
        let body = json!({"include": include, "read_level": "index_and_wal"});
        let (status, answer) = client.post(&format!("/collections/{collection}/get"), &body);
        assert_eq!(status, 200, "{answer}");
        let ids = answer["ids"].as_array().unwrap();
        assert_eq!(client.count(collection), ids.len() as u64);
        let mut found: HashMap<(usize, u64), usize> = HashMap::new();
        for (row, id) in ids.iter().enumerate() {
            let (writer, batch, number) = parse(id.as_str().unwrap());
            let expected = record(writer, batch, number);
            assert_eq!(answer["documents"][row], expected.document, "{id}");
            assert_eq!(answer["metadatas"][row], expected.metadata, "{id}");
            let embedding = answer["embeddings"][row].as_array().unwrap();
            let numbers: Vec<f64> = embedding.iter().map(|one| one.as_f64().unwrap()).collect();
            assert_eq!(numbers, expected.embedding, "{id}");
            *found.entry((writer, batch)).or_default() += 1;
        }
        for ((writer, batch), known) in &mut self.batches {
            let count = found.remove(&(*writer, *batch)).unwrap_or(0);
            let now = match count {
                0 => Known::Absent,
                all if all == size_of(*batch) => Known::Present,
                some => panic!("batch {batch} of writer {writer} is there in part: {some} records"),
            };
            assert!(
                *known == Known::Undecided || *known == now,
                "batch {batch} of writer {writer} must be {known:?} and is {now:?}"
            );
            *known = now;
        }
        assert!(found.is_empty(), "nobody wrote these: {found:?}");
    }
}

struct Record {
    id: String,
    embedding: Vec<f64>,
    document: Value,
    metadata: Value,
}

/// A record is told by its id alone, so that any mix-up shows.
fn record(writer: usize, batch: u64, number: usize) -> Record {
    let embedding = (0..DIMENSION).map(|at| (writer * 1000 + number * 10 + at) as f64 + 0.5);
    Record {
        id: format!("{writer}-{batch}-{number}"),
        embedding: embedding.collect(),
        document: json!(format!(
            "record {number} of batch {batch} of writer {writer}"
        )),
        metadata: json!({"writer": writer, "batch": batch}),
    }
}

fn parse(id: &str) -> (usize, u64, usize) {
    let mut parts = id.split('-');
    let mut part = || parts.next().unwrap().parse::<u64>().unwrap();
    (part() as usize, part(), part() as usize)
}

/// Sends one batch; answers the status, or `None` where no answer came.
pub(crate) fn send(client: &Client, collection: &str, writer: usize, batch: u64) -> Option<u16> {
    let records: Vec<Record> = (0..size_of(batch))
        .map(|number| record(writer, batch, number))
        .collect();
    let column = |of: fn(&Record) -> Value| records.iter().map(of).collect::<Vec<_>>();
    let body = json!({
        "ids": column(|one| json!(one.id)),
        "embeddings": column(|one| json!(one.embedding)),
        "documents": column(|one| one.document.clone()),
        "metadatas": column(|one| one.metadata.clone()),
    });
    let answer = client.try_post(&format!("/collections/{collection}/upsert"), &body);
    answer.map(|(status, _)| status)
}

fn send_deletion(client: &Client, collection: &str, writer: usize, batch: u64) -> Option<u16> {
    let ids: Vec<String> = (0..size_of(batch))
        .map(|number| record(writer, batch, number).id)
        .collect();
    let answer = client.try_post(
        &format!("/collections/{collection}/delete"),
        &json!({"ids": ids}),
    );
    answer.map(|(status, _)| status)
}

/// Writes batches, and deletes every fifth of them again, until it is told to stop or the server
/// is gone.
pub(crate) fn write_until(
    client: &Client,
    collection: &str,
    writer: usize,
    ledger: &Mutex<Ledger>,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::SeqCst) {
        let batch = ledger.lock().unwrap().next(writer);
        match send(client, collection, writer, batch) {
            Some(200) => ledger
                .lock()
                .unwrap()
                .acknowledge(writer, batch, Known::Present),
            // A server that is stopping says so; nothing of the batch is there then.
            Some(503) => return ledger.lock().unwrap().note(writer, batch, Known::Absent),
            Some(status) => panic!("an upsert got the status {status}"),
            None => return,
        }
        if batch.is_multiple_of(5) {
            ledger.lock().unwrap().note(writer, batch, Known::Undecided);
            match send_deletion(client, collection, writer, batch) {
                Some(200) => ledger
                    .lock()
                    .unwrap()
                    .acknowledge(writer, batch, Known::Absent),
                Some(503) => return ledger.lock().unwrap().note(writer, batch, Known::Present),
                Some(status) => panic!("a deletion got the status {status}"),
                None => return,
            }
        }
    }
}

/// The same with statuses: writes batches until one is refused; answers that status.
pub(crate) fn write_until_refused(
    client: &Client,
    collection: &str,
    ledger: &mut Ledger,
    batches_max: usize,
) -> Option<u16> {
    for _ in 0..batches_max {
        let batch = ledger.next(0);
        match send(client, collection, 0, batch)? {
            200 => ledger.acknowledge(0, batch, Known::Present),
            status => {
                ledger.note(0, batch, Known::Absent);
                return Some(status);
            }
        }
    }
    None
}
