//! Searches of an index against products made row by row, and damage to its file.

use std::sync::Arc;

use proptest::prelude::*;

use super::SparseIndex;
use super::build::{Vectors, build};
use crate::model::SparseVector;
use crate::segments::RowSet;
use crate::segments::blocks::{Blocks, checksums};

/// The file of an index of `vectors`, each under the row that stands before it.
fn file(vectors: &[(u32, SparseVector)]) -> Vec<u8> {
    let (rows, vectors): (Vec<u32>, Vec<SparseVector>) = vectors.iter().cloned().unzip();
    let keys = [
        Vectors {
            key: "other",
            rows: &[],
            vectors: &[],
        },
        Vectors {
            key: "words",
            rows: &rows,
            vectors: &vectors,
        },
    ];
    build(&keys)
}

fn open(bytes: Vec<u8>) -> crate::Result<SparseIndex> {
    let sums = checksums(&bytes);
    SparseIndex::open(Arc::new(Blocks::new(
        "sparse.index".into(),
        bytes.into(),
        sums,
    )?))
}

type Found = Vec<(f64, u32)>;

/// The best `count` by sum, ties to the lower row: what the index finds, asked as a query does.
fn search(index: &SparseIndex, query: &[(u32, f64)], among: &RowSet, count: usize) -> Found {
    let mut best: Found = Vec::new();
    let mut offer = |row: u32, sum: f64| {
        best.push((sum, row));
        best.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        best.truncate(count);
        match best.last() {
            Some(worst) if best.len() == count => worst.0,
            _ => f64::NEG_INFINITY,
        }
    };
    let index = index.key("words").unwrap();
    index
        .search(query, among, f64::NEG_INFINITY, &mut offer)
        .unwrap();
    best
}

/// The same, row by row.
fn naive(
    vectors: &[(u32, SparseVector)],
    query: &[(u32, f64)],
    among: &RowSet,
    count: usize,
) -> Found {
    let mut best = Found::new();
    for (row, vector) in vectors.iter().filter(|one| among.contains(one.0)) {
        let products = query.iter().filter_map(|(dimension, weight)| {
            let at = vector.indices.binary_search(dimension).ok()?;
            Some(weight * f64::from(vector.values[at]))
        });
        best.extend(products.reduce(|a, b| a + b).map(|sum| (sum, *row)));
    }
    best.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    best.truncate(count);
    best
}

fn any_vector(dimensions: u32) -> impl Strategy<Value = SparseVector> {
    let value = prop_oneof![
        8 => (1..40i8).prop_map(|value| f32::from(value) * 0.1),
        1 => -4f32..4.0,
        1 => prop_oneof![Just(0.0), Just(1e30f32), Just(-1e-30f32)],
    ];
    prop::collection::btree_map(0..dimensions, value, 0..7).prop_map(|cells| SparseVector {
        indices: cells.keys().copied().collect(),
        values: cells.values().copied().collect(),
        tokens: None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn index_finds_what_row_by_row_is_found(
        vectors in prop::collection::vec(any_vector(9), 0..90),
        stride in prop_oneof![Just(1u32), Just(7), Just(997), Just(40_000)],
        queries in prop::collection::vec(any_vector(11), 1..5),
        kept in prop::collection::vec(any::<bool>(), 90),
        masked: bool,
        count in 1..12usize,
    ) {
        let vectors: Vec<(u32, SparseVector)> =
            vectors.into_iter().enumerate().map(|(at, vector)| (at as u32 * stride, vector)).collect();
        let rows = vectors.last().map_or(0, |last| last.0 + 1);
        let mut among = RowSet::all(rows);
        for ((row, _), kept) in vectors.iter().zip(&kept) {
            if masked && !kept {
                among.remove(*row);
            }
        }
        let index = open(file(&vectors)).unwrap();
        prop_assert!(index.key("nothing").is_none());
        for query in queries {
            let query: Vec<(u32, f64)> = query
                .indices
                .iter()
                .zip(&query.values)
                .map(|(&index, &value)| (index, f64::from(value)))
                .collect();
            let expected = naive(&vectors, &query, &among, count);
            prop_assert_eq!(search(&index, &query, &among, count), expected);
        }
    }
}

/// Rows enough for several strides of blocks, and dimensions that nearly all rows have beside rare
/// ones, as words of texts are.
#[test]
fn many_rows_with_common_and_rare_dimensions_are_found_exactly() {
    let mut state = 7u64;
    let mut dice = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut vectors = Vec::new();
    for row in 0..20_000u32 {
        let mut indices: Vec<u32> = (0..12)
            .map(|_| {
                let spread = 1 << dice(10);
                dice(spread) as u32
            })
            .collect();
        indices.sort_unstable();
        indices.dedup();
        let values = indices.iter().map(|_| dice(1000) as f32 / 137.0).collect();
        vectors.push((
            row,
            SparseVector {
                indices,
                values,
                tokens: None,
            },
        ));
    }
    let index = open(file(&vectors)).unwrap();
    let mut some = RowSet::none(20_000);
    (0..20_000)
        .filter(|row| row % 3 == 1)
        .for_each(|row| some.insert(row));
    let mut few = RowSet::none(20_000);
    [5, 4095, 4096, 19_999]
        .into_iter()
        .for_each(|row| few.insert(row));
    for _ in 0..30 {
        let mut query: Vec<u32> = (0..8).map(|_| dice(1 << 9) as u32).chain([0, 1]).collect();
        query.sort_unstable();
        query.dedup();
        let query: Vec<(u32, f64)> = query
            .into_iter()
            .map(|dimension| (dimension, dice(100) as f64 / 31.0))
            .collect();
        for among in [&RowSet::all(20_000), &some, &few] {
            let expected = naive(&vectors, &query, among, 10);
            assert_eq!(search(&index, &query, among, 10), expected);
        }
    }
}

#[test]
fn damaged_files_are_refused_or_answer_something_and_never_panic() {
    let vectors: Vec<(u32, SparseVector)> = (0..300)
        .map(|row| {
            let vector = SparseVector {
                indices: vec![row % 5, 10 + row % 3],
                values: vec![1.0, row as f32],
                tokens: None,
            };
            (row, vector)
        })
        .collect();
    let bytes = file(&vectors);
    let among = RowSet::all(300);
    let query = [(1, 1.0), (10, 0.5), (11, -2.0)];
    for at in (0..bytes.len()).step_by(3) {
        for change in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= change;
            // The checksums are made anew, so that the damage is met where it is used.
            if let Ok(index) = open(damaged)
                && let Some(key) = index.key("words")
            {
                let _ = key.search(&query, &among, f64::NEG_INFINITY, &mut |_, _| 0.0);
            }
        }
        if let Ok(index) = open(bytes[..at].to_vec())
            && let Some(key) = index.key("words")
        {
            let _ = key.search(&query, &among, f64::NEG_INFINITY, &mut |_, _| 0.0);
        }
    }
}
