//! Measures sparse vectors: prints one JSON object for each figure. Times are of this thread's
//! processor (Linux).
//!
//! `cargo run --release -p vermilion-engine --example sparse -- synthetic ROWS` searches BM25 weights
//! of ROWS made-up texts, whose words are as frequent as in language, for the best ten.
//!
//! `cargo run --release -p vermilion-engine --example sparse -- hybrid FOLDER TEXTS` fuses the ranks
//! of dense and sparse vectors in a database, with FOLDER/base.npy and FOLDER/query.npy of `float32`,
//! and TEXTS, a file with the text of each vector of the base on a line of its own.

#![expect(clippy::print_stdout, reason = "printing is what this program is for")]
#![allow(clippy::disallowed_methods, reason = "it reads vectors from files")]

#[allow(dead_code, reason = "each program uses some of it")]
mod support;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use support::{cpu_seconds, fill, floats, scope_of};
use vermilion_engine::model::{
    EMBEDDING_KEY, Embeddings, Index, Knn, KnnQuery, MetadataColumn, Operation, OptionalStrings,
    Rank, RecordBatch, Schema, Search, SearchRequest, Select, SparseSettings, SparseVector,
    SparseVectorType, ValueTypes,
};
use vermilion_engine::segments::RowSet;
use vermilion_engine::segments::blocks::{Blocks, checksums};
use vermilion_engine::segments::sparse::{SparseIndex, Vectors, build};

const K: usize = 10;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn share(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, end: usize) -> usize {
        (self.share() * end as f64) as usize
    }
}

/// Words of texts, with how often each is in the text.
type Text = BTreeMap<u32, u32>;

/// Texts of about a hundred words from a vocabulary in which the n-th word is about 1/n as frequent
/// as the first.
fn made_up(rows: usize, dice: &mut Dice) -> Vec<Text> {
    let vocabulary = 200_000;
    let mut until = Vec::with_capacity(vocabulary);
    let mut sum = 0.0;
    for word in 0..vocabulary {
        sum += 1.0 / (word as f64 + 2.7);
        until.push(sum);
    }
    let text = |_| {
        let length = 40 + dice.below(120);
        let mut text = Text::new();
        for _ in 0..length {
            let point = dice.share() * sum;
            let word = until.partition_point(|&until| until < point);
            *text.entry(word as u32).or_default() += 1;
        }
        text
    };
    (0..rows).map(text).collect()
}

/// The weights that BM25 gives the words of each text.
fn weights(texts: &[Text]) -> Vec<SparseVector> {
    let length = |text: &Text| f64::from(text.values().sum::<u32>());
    let mean = texts.iter().map(length).sum::<f64>() / texts.len() as f64;
    let weigh = |text: &Text| {
        let norm = 1.2 * (0.25 + 0.75 * length(text) / mean);
        let weight = |&count: &u32| (f64::from(count) * 2.2 / (f64::from(count) + norm)) as f32;
        SparseVector {
            indices: text.keys().copied().collect(),
            values: text.values().map(weight).collect(),
            tokens: None,
        }
    };
    texts.iter().map(weigh).collect()
}

/// Queries of some words of a text each, weighted by how rare they are.
fn queries(texts: &[Text], count: usize, dice: &mut Dice) -> Vec<Vec<(u32, f64)>> {
    let mut having: HashMap<u32, u32> = HashMap::new();
    for word in texts.iter().flat_map(BTreeMap::keys) {
        *having.entry(*word).or_default() += 1;
    }
    let rarity = |word: u32| {
        let having = f64::from(having[&word]);
        (1.0 + (texts.len() as f64 - having + 0.5) / (having + 0.5)).ln()
    };
    let query = |_| {
        let text = &texts[dice.below(texts.len())];
        let words: Vec<u32> = text.keys().copied().collect();
        let mut picked: Vec<u32> = (0..3 + dice.below(6))
            .map(|_| words[dice.below(words.len())])
            .collect();
        picked.sort_unstable();
        picked.dedup();
        picked
            .into_iter()
            .map(|word| (word, rarity(word)))
            .collect()
    };
    (0..count).map(query).collect()
}

type Found = Vec<(f64, u32)>;

fn keep(best: &mut Found, sum: f64, row: u32) -> f64 {
    let at = best.partition_point(|one| one.0 > sum || one.0 >= sum && one.1 < row);
    best.insert(at, (sum, row));
    best.truncate(K);
    let full = best.last().filter(|_| best.len() == K);
    full.map_or(f64::NEG_INFINITY, |worst| worst.0)
}

fn by_index(index: &SparseIndex, query: &[(u32, f64)], among: &RowSet) -> Found {
    let mut best = Found::new();
    let mut offer = |row: u32, sum: f64| keep(&mut best, sum, row);
    let index = index.key("words").expect("the key was built");
    let searched = index.search(query, among, f64::NEG_INFINITY, &mut offer);
    searched.expect("the file is sound");
    best
}

fn row_by_row(vectors: &[SparseVector], query: &[(u32, f64)]) -> Found {
    let mut best = Found::new();
    for (row, vector) in vectors.iter().enumerate() {
        let products = query.iter().filter_map(|(dimension, weight)| {
            let at = vector.indices.binary_search(dimension).ok()?;
            Some(weight * f64::from(vector.values[at]))
        });
        if let Some(sum) = products.reduce(|a, b| a + b) {
            keep(&mut best, sum, row as u32);
        }
    }
    best
}

fn synthetic(rows: usize) {
    let mut dice = Dice(11);
    let texts = made_up(rows, &mut dice);
    let vectors = weights(&texts);
    let queries = queries(&texts, 500, &mut dice);
    drop(texts);
    let numbers: Vec<u32> = (0..rows as u32).collect();
    let keys = [Vectors {
        key: "words",
        rows: &numbers,
        vectors: &vectors,
    }];
    let begun = cpu_seconds();
    let bytes = build(&keys);
    let seconds = cpu_seconds() - begun;
    let postings: usize = vectors.iter().map(|vector| vector.indices.len()).sum();
    println!(
        "{{\"rows\":{rows},\"postings\":{postings},\"build_cpu_s\":{seconds:.1},\"bytes_per_posting\":{:.2}}}",
        bytes.len() as f64 / postings as f64
    );
    let sums = checksums(&bytes);
    let blocks = Blocks::new("sparse.index".to_owned(), bytes.into(), sums).expect("sums fit");
    let index = SparseIndex::open(Arc::new(blocks)).expect("what was built opens");
    let all = RowSet::all(rows as u32);
    let mut some = RowSet::none(rows as u32);
    (0..rows as u32)
        .filter(|row| row % 10 == 3)
        .for_each(|row| some.insert(row));
    for query in queries.iter().take(25) {
        assert_eq!(
            by_index(&index, query, &all),
            row_by_row(&vectors, query),
            "exact"
        );
    }
    for (name, among) in [("all", &all), ("one in ten", &some)] {
        let mut times: Vec<f64> = Vec::new();
        for query in &queries {
            let begun = cpu_seconds();
            let found = by_index(&index, query, among);
            times.push((cpu_seconds() - begun) * 1e3);
            assert!(found.len() <= K);
        }
        times.sort_by(f64::total_cmp);
        println!(
            "{{\"among\":\"{name}\",\"mean_cpu_ms\":{:.3},\"median_cpu_ms\":{:.3},\"p99_cpu_ms\":{:.3}}}",
            times.iter().sum::<f64>() / times.len() as f64,
            times[times.len() / 2],
            times[times.len() * 99 / 100]
        );
    }
}

fn batch(vectors: &[f32], dimension: usize, words: &[SparseVector], first: usize) -> RecordBatch {
    let rows = words.len();
    let mut metadata = MetadataColumn::default();
    for words in words {
        metadata.push_row([("words", words.clone().into())]);
    }
    let ids: Vec<String> = (first..first + rows).map(|row| row.to_string()).collect();
    RecordBatch {
        operations: vec![Operation::Add; rows],
        ids: ids.iter().map(String::as_str).collect(),
        embeddings: Embeddings::new(dimension, vectors.to_vec()).expect("whole rows"),
        documents: OptionalStrings::absent(rows),
        uris: OptionalStrings::absent(rows),
        metadata,
    }
}

/// A place from 60 on, turned round: what fusion adds up.
fn share(query: KnnQuery, key: &str) -> Rank {
    let knn = Rank::Knn(Knn {
        query,
        key: key.to_owned(),
        limit: 100,
        default: Some(1000.0),
        by_place: true,
    });
    let place = Rank::Sum(vec![Rank::Value(60.0), knn]);
    Rank::Quotient(Box::new([Rank::Value(1.0), place]))
}

fn schema() -> Schema {
    let mut schema = Schema::default();
    let index = Index {
        enabled: true,
        config: SparseSettings {
            bm25: Some(true),
            ..SparseSettings::default()
        },
    };
    let words = ValueTypes {
        sparse_vector: Some(SparseVectorType {
            sparse_vector_index: Some(index),
        }),
        ..ValueTypes::default()
    };
    schema.keys.insert("words".to_owned(), words);
    schema
}

/// The words of each line of the file `path`, as numbers.
fn read_texts(path: &str) -> Vec<Text> {
    let lines = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut number = |word: &str| {
        let next = numbers.len() as u32;
        *numbers.entry(word.to_lowercase()).or_insert(next)
    };
    let text = |line: &str| {
        let words = line.split(|c: char| !c.is_alphanumeric());
        let mut text = Text::new();
        words
            .filter(|word| !word.is_empty())
            .for_each(|word| *text.entry(number(word)).or_default() += 1);
        text
    };
    lines.lines().map(text).collect()
}

/// A search for what is near `vector` or has some words of `text`.
fn fused(vector: &[f32], text: &Text, dice: &mut Dice) -> Search {
    let query: BTreeMap<u32, f32> = (0..8)
        .filter_map(|_| text.keys().nth(dice.below(text.len())))
        .map(|&word| (word, 1.0))
        .collect();
    let query = SparseVector {
        indices: query.keys().copied().collect(),
        values: query.values().copied().collect(),
        tokens: None,
    };
    let fused = Rank::Sum(vec![
        share(KnnQuery::Dense(vector.to_vec()), EMBEDDING_KEY),
        share(KnnQuery::Sparse(query), "words"),
    ]);
    Search {
        rank: Some(Rank::Product(vec![Rank::Value(-1.0), fused])),
        limit: Some(10),
        select: Select {
            scores: true,
            ..Select::default()
        },
        ..Search::default()
    }
}

fn hybrid(folder: &str, texts: &str) {
    let texts = read_texts(texts);
    let words = weights(&texts);
    let (dimension, base) = floats(&format!("{folder}/base.npy"));
    let (_, asked) = floats(&format!("{folder}/query.npy"));
    assert_eq!(
        base.len(),
        words.len() * dimension,
        "as many texts as vectors"
    );
    let batches = words.chunks(1000).enumerate().map(|(at, words)| {
        let vectors = &base[at * 1000 * dimension..][..words.len() * dimension];
        batch(vectors, dimension, words, at * 1000)
    });
    let (database, collection) = fill(schema(), batches);
    let scope = scope_of(&collection);
    let mut dice = Dice(5);
    let mut times: Vec<f64> = Vec::new();
    for vector in asked.chunks(dimension) {
        let text = &texts[dice.below(texts.len())];
        let request = SearchRequest {
            searches: vec![fused(vector, text, &mut dice)],
            ..SearchRequest::default()
        };
        let begun = cpu_seconds();
        let found = database.search(scope, &request).expect("a sound search");
        times.push((cpu_seconds() - begun) * 1e3);
        assert_eq!(found[0].records.ids.len(), 10);
    }
    times.sort_by(f64::total_cmp);
    println!(
        "{{\"hybrid\":{},\"queries\":{},\"mean_cpu_ms\":{:.3},\"median_cpu_ms\":{:.3}}}",
        texts.len(),
        times.len(),
        times.iter().sum::<f64>() / times.len() as f64,
        times[times.len() / 2]
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["synthetic", rows] => synthetic(rows.parse().expect("a number of rows")),
        ["hybrid", folder, texts] => hybrid(folder, texts),
        _ => println!("synthetic ROWS, or hybrid FOLDER TEXTS"),
    }
}
