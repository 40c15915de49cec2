//! Vectors that are used in the memory in which they were received.

use bytes::Bytes;

use super::*;

const DIMENSION: i32 = 100;
const ROWS: usize = 800;
const WIDE: Limits = Limits {
    records_max: 10_000,
    bytes_max: 64 << 20,
};

fn numbers(rows: usize) -> Vec<f32> {
    (0..rows * DIMENSION as usize)
        .map(|at| at as f32 / 7.0)
        .collect()
}

/// A table of `rows` records, whose documents have `letters` each.
fn table(rows: usize, letters: usize) -> Rows {
    let names: Vec<String> = (0..rows).map(|row| format!("{row:09}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let document = "d".repeat(letters);
    super::rows(vec![
        ("id", ids(&names)),
        ("embedding", vectors(DIMENSION, numbers(rows))),
        ("document", texts(&vec![Some(document.as_str()); rows])),
    ])
}

/// Decodes `body`; whether the vectors are still in it.
fn in_body(body: &Bytes) -> (RecordBatch, bool) {
    let batch = decode(body.clone(), Operation::Add, WIDE).unwrap();
    let vectors = batch.embeddings.values().as_ptr().addr();
    let from = body.as_ptr().addr();
    let inside = (from..from + body.len()).contains(&vectors);
    (batch, inside)
}

#[test]
fn many_vectors_are_used_where_they_are_if_they_are_most_of_the_body() {
    for (letters, rows, expected) in [
        (10, ROWS, true),
        (350, ROWS, true),
        (450, ROWS, false),
        (10, 600, false),
    ] {
        let body = Bytes::from(stream(&[table(rows, letters)]));
        let (batch, inside) = in_body(&body);
        assert_eq!(inside, expected, "{rows} rows, {letters} letters");
        assert_eq!(batch.embeddings.values(), numbers(rows));
        assert!(batch.embeddings.all_present() && batch.embeddings.len() == rows);
        let own = 4 * rows * DIMENSION as usize;
        let held = if inside { body.len() } else { own };
        assert_eq!(batch.embeddings.heap_bytes(), held);
    }
}

#[test]
fn vectors_of_a_stream_of_batches_are_copied_into_one_block() {
    let second = super::rows(vec![
        ("id", ids(&["none"])),
        ("embedding", vectors(DIMENSION, numbers(1))),
        ("document", texts(&[None])),
    ]);
    let first = table(ROWS, 10);
    let body = Bytes::from(stream(&[first.clone(), second.clone()]));
    let (batch, inside) = in_body(&body);
    assert!(!inside);
    assert_eq!(batch.embeddings.len(), ROWS + 1);
    assert_eq!(
        batch.embeddings.values()[..numbers(ROWS).len()],
        numbers(ROWS)
    );
    assert_eq!(batch.embeddings.get(ROWS), Some(&numbers(1)[..]));
    // The other way round, the many come behind what is copied already.
    let (batch, inside) = in_body(&Bytes::from(stream(&[second, first])));
    assert!(!inside);
    assert_eq!(batch.embeddings.get(1), Some(&numbers(ROWS)[..100]));
}

#[test]
fn a_body_that_lies_anywhere_gives_the_same_vectors() {
    let body = stream(&[table(ROWS, 10)]);
    for skipped in 0..9 {
        let mut padded = vec![0; skipped];
        padded.extend_from_slice(&body);
        let (batch, _) = in_body(&Bytes::from(padded).slice(skipped..));
        assert_eq!(batch.embeddings.values(), numbers(ROWS), "{skipped}");
    }
}

#[test]
fn a_number_that_is_none_is_refused_where_it_is_used_too() {
    let mut wrong = numbers(ROWS);
    wrong[40_050] = f32::NAN;
    let names: Vec<String> = (0..ROWS).map(|row| row.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let table = super::rows(vec![
        ("id", ids(&names)),
        ("embedding", vectors(DIMENSION, wrong)),
    ]);
    let error = decode(stream(&[table]).into(), Operation::Add, WIDE).unwrap_err();
    assert!(error.to_string().contains("row 400"), "{error}");
}
