//! Tests of applying.

use std::sync::Arc;

use super::WorkingSet;
use super::apply::CHUNK_TEXT_BYTES;
use super::chunks::Chunks;
use super::settle::unpanicked;
use crate::ErrorKind;
use crate::model::{
    Embeddings, MetadataColumn, Operation, OptionalStrings, RecordBatch, Schema, SeqId, SeqRange,
    Strings, Value, ValueKind,
};

fn empty() -> WorkingSet {
    WorkingSet {
        segments: Vec::new(),
        chunks: Chunks::default(),
        count: 0,
        applied: SeqId(0),
        dimension: None,
        schema: Arc::new(Schema::default()),
        recent: None,
    }
}

/// `operation` of records `0..rows`, with the documents and the one cell that each is given.
fn batch(
    operation: Operation,
    rows: usize,
    embeddings: Embeddings,
    document: Option<&str>,
    cell: i64,
) -> Arc<RecordBatch> {
    let mut batch = RecordBatch {
        operations: vec![operation; rows],
        ids: Strings::default(),
        embeddings,
        documents: OptionalStrings::default(),
        uris: OptionalStrings::absent(rows),
        metadata: MetadataColumn::default(),
    };
    for row in 0..rows {
        batch.ids.push(&format!("r{row}"));
        batch.documents.push(document);
        batch.metadata.push_row([("n", Value::Int(cell))]);
    }
    Arc::new(batch)
}

#[test]
fn a_small_change_of_large_records_makes_chunks_of_bounded_size() {
    let rows = 6;
    let large = "x".repeat(CHUNK_TEXT_BYTES / 4);
    let mut working = empty();
    let vectors = Embeddings::new(1, vec![1.0; rows]).unwrap();
    let insertion = batch(Operation::Add, rows, vectors, Some(&large), 1);
    working
        .apply(&insertion, SeqRange::of(SeqId(1), rows))
        .unwrap();
    let absent = Embeddings::with_absent(1, vec![0.0; rows], vec![false; rows]).unwrap();
    let change = batch(Operation::Update, rows, absent, None, 2);
    working
        .apply(&change, SeqRange::of(SeqId(7), rows))
        .unwrap();
    let snapshot = working.snapshot();
    assert_eq!(snapshot.count, rows as u64);
    let living = |part: &crate::query::Part| u64::from(part.source.rows()) - part.dead.len();
    let chunks: Vec<u64> = snapshot.parts.iter().map(living).collect();
    assert_eq!(chunks, [4, 2]);
    for part in &snapshot.parts {
        for row in 0..part.source.rows() {
            assert_eq!(part.source.document(row).unwrap().as_deref(), Some(&*large));
        }
        let (first, births) = (
            part.source.births().unwrap()[0],
            part.source.seqs().unwrap(),
        );
        assert!(first <= 6 && births.iter().all(|seq| *seq > 6));
    }
}

#[test]
fn rows_of_one_batch_are_merged_in_their_order() {
    let mut working = empty();
    let both = |operations: [Operation; 3]| {
        let mut batch = RecordBatch {
            operations: operations.to_vec(),
            ids: ["a", "a", "a"].into_iter().collect(),
            embeddings: Embeddings::new(1, vec![1.0, 2.0, 3.0]).unwrap(),
            documents: OptionalStrings::absent(3),
            uris: OptionalStrings::absent(3),
            metadata: MetadataColumn::default(),
        };
        batch
            .metadata
            .push_row([("x", Value::Int(1)), ("y", Value::Int(1))]);
        batch.metadata.push_row([("y", Value::Int(2))]);
        batch.metadata.push_row([("x", Value::Null)]);
        Arc::new(batch)
    };
    let operations = [Operation::Add, Operation::Update, Operation::Upsert];
    working
        .apply(&both(operations), SeqRange::of(SeqId(1), 3))
        .unwrap();
    let snapshot = working.snapshot();
    let source = &snapshot.parts[0].source;
    assert_eq!((snapshot.count, source.rows()), (1, 1));
    assert_eq!(source.births().unwrap(), [1]);
    assert_eq!(source.seqs().unwrap(), [3]);
    assert_eq!(source.vector(0).unwrap(), [3.0]);
    let mut cells = MetadataColumn::default();
    let keys = crate::segments::Keys::All;
    source.push_metadata(0, keys, &mut cells).unwrap();
    let cells: Vec<_> = cells.row(0).collect();
    assert_eq!(cells, [("y", &Value::Int(2))]);
}

#[test]
fn only_keys_of_records_that_are_stored_are_known() {
    let mut working = empty();
    let one = |operation, id: &str, key: &str, value: Value, vector: Option<f32>| {
        let mut batch = RecordBatch {
            operations: vec![operation],
            ids: [id].into_iter().collect(),
            embeddings: Embeddings::with_absent(
                1,
                vec![vector.unwrap_or_default()],
                vec![vector.is_some()],
            )
            .unwrap(),
            documents: OptionalStrings::absent(1),
            uris: OptionalStrings::absent(1),
            metadata: MetadataColumn::default(),
        };
        batch.metadata.push_row([(key, value)]);
        Arc::new(batch)
    };
    let batches = [
        one(Operation::Add, "a", "kept", Value::Int(1), Some(1.0)),
        one(Operation::Add, "a", "ignored", Value::Int(1), Some(1.0)),
        one(Operation::Update, "missing", "lost", Value::Int(1), None),
        one(
            Operation::Update,
            "a",
            "later",
            Value::Str("x".into()),
            None,
        ),
        one(Operation::Update, "a", "kept", Value::Str("x".into()), None),
    ];
    for (seq, batch) in (1..).zip(&batches) {
        working.apply(batch, SeqRange::of(SeqId(seq), 1)).unwrap();
    }
    let knows = |key, kind| working.schema.has_discovered(key, kind);
    assert!(knows("kept", ValueKind::Int) && knows("kept", ValueKind::Str));
    assert!(knows("later", ValueKind::Str));
    assert!(!knows("ignored", ValueKind::Int) && !knows("lost", ValueKind::Int));
}

#[test]
fn a_panic_while_a_batch_is_applied_is_an_error() {
    let error = unpanicked(|| panic!("a row that is not there")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
}
