//! Batches come back from their bytes as they were, and no bytes whatever make decoding panic.

use super::*;
use crate::model::{SparseVector, Value};

/// One batch with every kind of value, absent vectors, documents and uris.
fn rich_batch() -> Arc<RecordBatch> {
    let mut metadata = MetadataColumn::default();
    metadata.push_row([
        ("null", Value::Null),
        ("bool", Value::Bool(true)),
        ("int", Value::Int(i64::MIN)),
        ("float", Value::Float(-0.5)),
        ("str", Value::Str("grüße".into())),
    ]);
    metadata.push_row([]);
    metadata.push_row([
        ("bools", Value::Bools(vec![true, false].into())),
        ("ints", Value::Ints(vec![1, -2].into())),
        ("floats", Value::Floats(vec![0.1].into())),
        (
            "strs",
            Value::Strs(vec![String::new(), "b".to_owned()].into()),
        ),
        (
            "sparse",
            Value::from(SparseVector {
                indices: vec![1, 7],
                values: vec![0.5, 1.5],
                tokens: Some(vec!["x".to_owned(), "yy".to_owned()]),
            }),
        ),
    ]);
    let values = vec![1.0, 2.0, 0.0, 0.0, f32::MAX, -0.0];
    Arc::new(RecordBatch {
        operations: vec![Operation::Add, Operation::Delete, Operation::Update],
        ids: ["a", "", "ü"].into_iter().collect(),
        embeddings: Embeddings::with_absent(2, values, vec![true, false, true]).unwrap(),
        documents: [Some("text"), None, Some("")].into_iter().collect(),
        uris: [None, None, Some("file:///x")].into_iter().collect(),
        metadata,
    })
}

pub(super) fn bytes_of(batch: &Arc<RecordBatch>) -> Vec<u8> {
    encode(batch.clone()).unwrap().parts().concat()
}

#[test]
fn every_kind_of_batch_is_decoded_as_it_was() {
    let deletion = RecordBatch::deletion(["x", "y"].into_iter().collect());
    for batch in [rich_batch(), batch(1, 7), Arc::new(deletion)] {
        let encoded = encode(batch.clone()).unwrap();
        let bytes = bytes_of(&batch);
        assert_eq!(encoded.bytes(), bytes.len() as u64);
        assert_eq!(encoded.checksums().whole, crc32c::crc32c(&bytes));
        let decoded = decode(&bytes, batch.len() as u32).unwrap();
        assert_eq!(decoded, *batch);
        for row in 0..batch.len() {
            let part = batch.rows(row..row + 1);
            assert_eq!(part.ids.get(0), batch.ids.get(row));
            assert_eq!(part.embeddings.get(0), batch.embeddings.get(row));
            assert_eq!(part.documents.get(0), batch.documents.get(row));
            assert_eq!(part.uris.get(0), batch.uris.get(row));
            assert_eq!(
                part.metadata.cells(0).len(),
                batch.metadata.cells(row).len()
            );
        }
    }
}

#[test]
fn a_batch_cut_anywhere_is_refused() {
    let bytes = bytes_of(&rich_batch());
    for length in 0..bytes.len() {
        decode(&bytes[..length], 3).expect_err("a part of a batch is no batch");
    }
    decode(&[&bytes[..], &[0]].concat(), 3).expect_err("a byte too many");
    decode(&bytes, 4).expect_err("another number of rows");
}

proptest::proptest! {
    #[test]
    fn decoding_changed_bytes_never_panics(
        changes in proptest::collection::vec((0..1000_usize, 0..=255_u8), 1..6),
        cut in 0..1000_usize,
    ) {
        let mut bytes = bytes_of(&rich_batch());
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let _ = decode(&bytes, 3);
        bytes.truncate(cut % bytes.len());
        let _ = decode(&bytes, 3);
    }

    #[test]
    fn decoding_random_bytes_never_panics(
        bytes in proptest::collection::vec(0..=255_u8, 0..300),
        rows in 0..4_u32,
    ) {
        let mut bytes = bytes;
        if bytes.len() > 4 {
            bytes[..4].copy_from_slice(&rows.to_le_bytes());
        }
        let _ = decode(&bytes, rows);
        let _ = format::FrameHeader::decode(&bytes, 0, 0);
        let _ = format::FileHeader::decode(&bytes, 0);
    }
}
