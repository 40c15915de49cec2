//! How long bodies take to decode, and answers to write, for each record.
//!
//! `cargo run --release -p vermilion-protocol --example decode_speed`

use std::io::Write;
use std::time::{Duration, Instant};

use base64::Engine;
use vermilion_engine::model::{Embeddings, Fetched, Operation, OptionalStrings, RecordBatch};
use vermilion_protocol::answers::write_fetched;
use vermilion_protocol::reads::Column;
use vermilion_protocol::records::decode;

const RECORDS: usize = 5000;
const DIMENSION: usize = 384;
const ROUNDS: u32 = 20;

/// One of many vectors that differ.
fn vector(record: usize) -> Vec<f32> {
    let number = |i: usize| ((record * DIMENSION + i) as f32 * 0.618_034).fract() - 0.5;
    (0..DIMENSION).map(number).collect()
}

/// A body with documents of 300 characters and five metadata cells.
fn body(base64: bool) -> String {
    let embeddings: Vec<serde_json::Value> = (0..RECORDS)
        .map(|record| {
            let vector = vector(record);
            if base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|n| n.to_le_bytes()).collect();
                base64::engine::general_purpose::STANDARD
                    .encode(bytes)
                    .into()
            } else {
                vector.into()
            }
        })
        .collect();
    let metadata = |i: usize| {
        serde_json::json!({"section": format!("part {}", i % 40), "number": i, "score": i as f64 / 7.0,
            "ready": i.is_multiple_of(2), "source": "a file somewhere"})
    };
    serde_json::json!({
        "ids": (0..RECORDS).map(|i| format!("record-{i:08}")).collect::<Vec<_>>(),
        "embeddings": embeddings,
        "documents": (0..RECORDS).map(|i| format!("{i} {}", "words of it ".repeat(25))).collect::<Vec<_>>(),
        "metadatas": (0..RECORDS).map(metadata).collect::<Vec<_>>(),
    })
    .to_string()
}

/// The shortest time that `work` takes.
fn shortest<T>(mut work: impl FnMut() -> T) -> Duration {
    let time = |_| {
        let begun = Instant::now();
        std::hint::black_box(work());
        begun.elapsed()
    };
    (0..ROUNDS).map(time).min().unwrap_or_default()
}

fn answer(batch: RecordBatch) -> Fetched {
    Fetched {
        uris: Some(OptionalStrings::absent(batch.len())),
        ids: batch.ids,
        embeddings: Some(batch.embeddings),
        documents: Some(batch.documents),
        metadatas: Some(batch.metadata),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / RECORDS as f64;
    for base64 in [true, false] {
        let body = body(base64);
        let time = shortest(|| decode(body.as_bytes(), Operation::Add, RECORDS));
        let form = if base64 { "base64" } else { "arrays" };
        let megabytes = body.len() as f64 / 1e6;
        writeln!(
            out,
            "decode {form}: {:.2} us a record ({megabytes:.1} MB)",
            each(time)
        )?;
    }
    let fetched = answer(decode(body(true).as_bytes(), Operation::Add, RECORDS)?);
    let columns = [Column::Documents, Column::Metadatas];
    let time = shortest(|| write_fetched(&fetched, &columns));
    writeln!(out, "write with embeddings: {:.2} us a record", each(time))?;
    let plain = Fetched {
        embeddings: None::<Embeddings>,
        ..fetched
    };
    let time = shortest(|| write_fetched(&plain, &columns));
    writeln!(out, "write without: {:.2} us a record", each(time))?;
    Ok(())
}
