//! Documents that a chunk leaves in the segments that have them.

use std::sync::Arc;

use regex::Regex;
use roaring::RoaringBitmap;

use super::sample::{FOLDER, Sample, all, chunk, error, rows, sealed};
use super::shelf::Shelf;
use crate::ErrorKind;
use crate::model::{DocumentTest, Space};
use crate::segments::{Chunk, RowSet, Segment, Source, write_segment};

fn sample(seed: u64, birth: u64) -> Chunk {
    chunk(Sample {
        seed,
        rows: 400,
        birth,
        ascending: true,
        documents: true,
    })
}

/// Two segments and a chunk, some rows of each dead.
fn parts() -> Vec<(Source, Arc<RoaringBitmap>)> {
    let dead: Arc<RoaringBitmap> = Arc::new((0..400).step_by(7).collect());
    let (first, _) = sealed(&Shelf::default(), &[all(sample(31, 1))]);
    let (second, _) = sealed(&Shelf::default(), &[all(sample(32, 1001))]);
    vec![
        (first, dead.clone()),
        (Source::Chunk(Arc::new(sample(33, 501))), dead.clone()),
        (second, dead),
    ]
}

fn joined(parts: &[(Source, Arc<RoaringBitmap>)]) -> Source {
    Source::Chunk(Arc::new(Chunk::join(parts).unwrap()))
}

#[test]
fn they_are_read_as_if_they_were_in_the_chunk() {
    let parts = parts();
    let (segment, _) = sealed(&Shelf::default(), &parts);
    let once = joined(&parts);
    let twice = joined(&[(once.clone(), Arc::default())]);
    assert_eq!(rows(&once), rows(&segment));
    assert_eq!(rows(&twice), rows(&segment));
    let (sealed_again, _) = sealed(&Shelf::default(), &[(twice, Arc::default())]);
    assert_eq!(rows(&sealed_again), rows(&segment));
}

#[test]
fn they_take_no_memory() {
    let parts = parts();
    let text = |source: &Source| -> usize {
        let rows = rows(source).into_iter();
        rows.filter_map(|row| row.document)
            .map(|text| text.len())
            .sum()
    };
    let lent = joined(&parts[..1]);
    let own = joined(&[all(sample(31, 1))]);
    assert!(text(&lent) > 400 * 200);
    assert!(lent.heap_bytes() + text(&lent) < own.heap_bytes() + 400 * 16);
}

#[test]
fn filters_ask_for_them_where_they_are() {
    let parts = parts();
    let (segment, _) = sealed(&Shelf::default(), &parts);
    let lent = joined(&parts);
    let regex = |pattern| Box::new(Regex::new(pattern).unwrap());
    let mut few = RowSet::none(lent.rows());
    [0, 1, 450, 899].into_iter().for_each(|row| few.insert(row));
    for test in [
        DocumentTest::Contains("blue".into()),
        DocumentTest::NotContains("blue".into()),
        DocumentTest::Contains("nowhere at all".into()),
        DocumentTest::NotContains("nowhere at all".into()),
        DocumentTest::Contains(String::new()),
        DocumentTest::Regex(regex("^red .*er$")),
        DocumentTest::NotRegex(regex("gre+n \\w+")),
    ] {
        for among in [&RowSet::all(lent.rows()), &few, &RowSet::none(lent.rows())] {
            let (mut found, mut expected) = (among.clone(), among.clone());
            lent.retain_documents(&test, &mut found).unwrap();
            segment.retain_documents(&test, &mut expected).unwrap();
            assert_eq!(found, expected, "{test:?}");
        }
    }
}

#[test]
fn damage_of_their_segment_is_told() {
    let shelf = Shelf::default();
    let (_, summary) = sealed(&shelf, &[all(sample(31, 1))]);
    let path = format!("{FOLDER}/documents.arrow");
    shelf.0.lock().files.get_mut(&path).unwrap()[5_000] ^= 1;
    let segment = Segment::open(&shelf, FOLDER, summary.toc_checksum).unwrap();
    let lent = joined(&[(Source::Segment(Arc::new(segment)), Arc::default())]);
    let failures = (0..lent.rows()).filter_map(|row| lent.document(row).err());
    let failures: Vec<_> = failures.collect();
    assert!(!failures.is_empty());
    assert!(
        failures
            .iter()
            .all(|error| error.kind() == ErrorKind::Corrupted)
    );
    let again = write_segment(
        &shelf,
        "again",
        &[(lent, Arc::default())],
        Space::L2,
        &|| true,
    );
    assert_eq!(error(again).kind(), ErrorKind::Corrupted);
}
