//! Measures filters of documents: prints one JSON object for each figure. Times are of this thread's
//! processor (Linux).
//!
//! `cargo run --release -p vermilion-engine --example text -- DOCUMENTS ROWS` reads DOCUMENTS, a file of
//! JSON objects with a `document` each, one a line, and filters ROWS documents: the first ROWS of
//! them, or as many made of pieces of theirs. Every pattern is looked for with and without the index.

#![expect(clippy::print_stdout, reason = "printing is what this program is for")]
#![allow(
    clippy::disallowed_methods,
    reason = "it reads documents and its own time"
)]

#[allow(dead_code, reason = "each program uses some of it")]
mod support;

use std::collections::HashMap;
use std::sync::Arc;

use regex::Regex;
use support::cpu_seconds;
use vermilion_engine::model::{DocumentTest, Schema};
use vermilion_engine::segments::{
    ChunkBuilder, Indexes, RowDocument, RowParts, RowSet, Segment, Source, write_segment,
};
use vermilion_engine::storage::{MemoryStorage, Storage};

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

fn documents(path: &str, rows: usize, dice: &mut Dice) -> Vec<String> {
    let lines = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let read = lines.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        line["document"].as_str().unwrap_or_default().to_owned()
    });
    let read: Vec<String> = read.collect();
    if rows <= read.len() {
        return read[..rows].to_vec();
    }
    let words: Vec<Vec<&str>> = read.iter().map(|text| text.split(' ').collect()).collect();
    let made = (0..rows).map(|_| {
        let like = &read[dice.below(read.len())];
        let mut text = String::with_capacity(like.len() + 64);
        while text.len() < like.len() {
            let from = &words[dice.below(words.len())];
            let first = dice.below(from.len());
            for word in &from[first..from.len().min(first + 8)] {
                text += word;
                text.push(' ');
            }
        }
        text
    });
    made.collect()
}

/// Words of 5 letters and more that few documents have.
fn rare_words(documents: &[String], dice: &mut Dice) -> Vec<String> {
    let mut having: HashMap<&str, u32> = HashMap::new();
    for document in documents {
        let mut words: Vec<&str> = document
            .split(|c: char| !c.is_ascii_alphabetic())
            .filter(|word| word.len() >= 5)
            .collect();
        words.sort_unstable();
        words.dedup();
        words
            .into_iter()
            .for_each(|word| *having.entry(word).or_default() += 1);
    }
    let most = documents.len() as u32 / 1000;
    let mut rare: Vec<&str> = having
        .into_iter()
        .filter(|&(_, count)| count >= most / 20 && count <= most)
        .map(|(word, _)| word)
        .collect();
    rare.sort_unstable();
    (0..40)
        .map(|_| rare[dice.below(rare.len())].to_owned())
        .collect()
}

fn regex(pattern: &str) -> DocumentTest {
    DocumentTest::Regex(Box::new(Regex::new(pattern).expect("a sound pattern")))
}

/// Writes a segment and opens it; the seconds that took.
fn write(folder: &str, source: &Source, indexes: Indexes) -> (Source, f64, u64) {
    let storage = MemoryStorage::default();
    storage
        .create_dir("segments")
        .expect("memory takes folders");
    let begun = cpu_seconds();
    let summary = write_segment(
        &storage,
        folder,
        &[(source.clone(), Arc::default())],
        indexes,
        &|| true,
    )
    .expect("memory takes segments");
    let seconds = cpu_seconds() - begun;
    let segment = Segment::open(&storage, folder, summary.toc_checksum).expect("it was written");
    (Source::Segment(Arc::new(segment)), seconds, summary.bytes)
}

/// The best of three times, in milliseconds, and how many rows pass.
fn time(source: &Source, test: &DocumentTest, times: usize) -> (f64, u32) {
    let mut best = f64::INFINITY;
    let mut passed = 0;
    for _ in 0..times {
        let mut among = RowSet::all(source.rows());
        let begun = cpu_seconds();
        source
            .retain_documents(test, &mut among)
            .expect("a sound segment");
        best = best.min((cpu_seconds() - begun) * 1e3);
        passed = among.len();
    }
    (best, passed)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, rows] = &arguments[..] else {
        println!("DOCUMENTS ROWS");
        return;
    };
    let mut dice = Dice(7);
    let documents = documents(path, rows.parse().expect("a number of rows"), &mut dice);
    let bytes: usize = documents.iter().map(String::len).sum();
    let mut builder = ChunkBuilder::default();
    for (row, document) in documents.iter().enumerate() {
        builder.push(RowParts {
            id: &row.to_string(),
            birth: row as u64 + 1,
            seq: row as u64 + 1,
            vector: &[1.0],
            document: RowDocument::Own(Some(document)),
            uri: None,
            metadata: &[],
        });
    }
    let chunk = Source::Chunk(Arc::new(builder.finish()));
    let indexes = Indexes::from(&Schema::standard(1));
    let (plain, plain_seconds, plain_bytes) =
        write("segments/plain", &chunk, indexes.clone().in_a_hurry());
    let (indexed, seconds, indexed_bytes) = write("segments/indexed", &chunk, indexes);
    drop(chunk);
    println!(
        "{{\"rows\":{},\"text_bytes\":{bytes},\"segment_bytes\":{plain_bytes},\"index_bytes\":{},\
         \"write_cpu_s\":{plain_seconds:.2},\"index_cpu_s\":{:.2}}}",
        documents.len(),
        indexed_bytes - plain_bytes,
        seconds - plain_seconds
    );
    let words = rare_words(&documents, &mut dice);
    drop(documents);
    let mut tests: Vec<(&str, DocumentTest)> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        tests.push(match at % 4 {
            0 => ("regex", regex(&format!(r"\b{word}\b"))),
            1 => ("regex without case", regex(&format!("(?i){word}"))),
            _ => ("contains", DocumentTest::Contains(word.clone())),
        });
    }
    for common in ["the", "e", "package", "library for", "zzzzz"] {
        tests.push(("other", DocumentTest::Contains(common.to_owned())));
    }
    for common in [
        ".",
        "[a-z]+ing",
        "(the|and|for|with)",
        "lib(foo|perl|python).*module",
    ] {
        tests.push(("other regex", regex(common)));
    }
    for (what, test) in tests {
        let (ms, passed) = time(&indexed, &test, 3);
        let (scan_ms, scan_passed) = time(&plain, &test, 1);
        assert_eq!(passed, scan_passed, "{test:?}");
        println!(
            "{{\"{what}\":{:?},\"passed\":{passed},\"cpu_ms\":{ms:.3},\"scan_cpu_ms\":{scan_ms:.1}}}",
            shown(&test)
        );
    }
}

fn shown(test: &DocumentTest) -> String {
    match test {
        DocumentTest::Contains(text) | DocumentTest::NotContains(text) => text.clone(),
        DocumentTest::Regex(regex) | DocumentTest::NotRegex(regex) => regex.as_str().to_owned(),
    }
}
