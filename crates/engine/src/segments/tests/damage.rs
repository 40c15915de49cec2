//! Damaged files are found and named, or the damage is harmless; answers are never wrong.

use std::sync::Arc;

use super::sample::{Dice, FOLDER, Row, all, ascending, error, row, sealed};
use super::shelf::Shelf;
use crate::model::{Comparison, DocumentTest, Number, Scalar};
use crate::segments::{RowSet, Segment, Source};
use crate::{Error, ErrorKind, Result};

/// Every answer of a source that a caller can get, each an answer or an error.
struct Answers {
    rows: Vec<Result<Row>>,
    found: Vec<Result<Option<u32>>>,
    sets: Vec<Result<RowSet>>,
}

fn answers(source: &Source, ids: &[String]) -> Answers {
    let mut sets = Vec::new();
    for key in ["number", "id", "flag", "mixed", "tags", "rare 7", "none"] {
        for comparison in [
            Comparison::Less(Number::Float(150.5)),
            Comparison::GreaterOrEqual(Number::Int(2)),
            Comparison::Equal(Scalar::Str("not the id 3".into())),
            Comparison::NotEqual(Scalar::Bool(true)),
            Comparison::Contains(Scalar::Str("blue".into())),
        ] {
            let mut set = RowSet::none(source.rows());
            sets.push(source.matching(key, &comparison, &mut set).map(|()| set));
        }
    }
    for needle in ["red", "nowhere", ""] {
        let mut set = RowSet::all(source.rows());
        let test = DocumentTest::Contains(needle.into());
        sets.push(source.retain_documents(&test, &mut set).map(|()| set));
    }
    Answers {
        rows: (0..source.rows()).map(|at| row(source, at)).collect(),
        found: ids.iter().map(|id| source.find(id)).collect(),
        sets,
    }
}

/// Checks that each answer is the expected one, or an error that names `file`.
fn compare<T: PartialEq>(found: &[Result<T>], expected: &[Result<T>], file: &str) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        match found {
            Ok(found) => assert!(
                expected.as_ref().is_ok_and(|expected| found == expected),
                "a wrong answer came from a damaged {file}"
            ),
            Err(error) => check_error(error, file),
        }
    }
}

fn check_error(error: &Error, file: &str) {
    assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    assert!(error.message().contains(file), "{error} is about {file}");
}

#[test]
fn a_flipped_bit_anywhere_is_found_and_named_or_harmless() {
    let shelf = Shelf::default();
    let (segment, summary) = sealed(&shelf, &[all(ascending(1, 250))]);
    let mut ids: Vec<String> = (0..segment.rows())
        .map(|row| segment.id(row).unwrap().to_owned())
        .collect();
    ids.extend((0..50).map(|number| format!("missing {number}")));
    let expected = answers(&segment, &ids);
    let mut dice = Dice(2);
    let files: Vec<String> = shelf.0.lock().files.keys().cloned().collect();
    for path in files {
        let bytes = shelf.0.lock().files[&path].len() as u64;
        let step = bytes.div_ceil(60).max(1);
        for from in (0..bytes).step_by(step as usize) {
            let at = (from + dice.roll(step)).min(bytes - 1) as usize;
            let damaged = shelf.copy();
            damaged.0.lock().files.get_mut(&path).unwrap()[at] ^= 1 << dice.roll(8);
            match Segment::open(&damaged, FOLDER, summary.toc_checksum) {
                Err(error) => check_error(&error, &path),
                Ok(segment) => {
                    assert!(!path.ends_with("toc.bin"), "byte {at} of {path}");
                    let damage = segment.verify();
                    assert_eq!(damage.len(), 1, "byte {at} of {path}");
                    check_error(&damage[0], &path);
                    let found = answers(&Source::Segment(Arc::new(segment)), &ids);
                    compare(&found.rows, &expected.rows, &path);
                    compare(&found.found, &expected.found, &path);
                    compare(&found.sets, &expected.sets, &path);
                }
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_one_block_leaves_rows_of_other_blocks_readable() {
    let shelf = Shelf::default();
    let (segment, summary) = sealed(&shelf, &[all(ascending(3, 6000))]);
    let expected = segment.vector(5999).unwrap().to_vec();
    let path = format!("{FOLDER}/vectors.f32");
    shelf.0.lock().files.get_mut(&path).unwrap()[100] ^= 1;
    let segment = Segment::open(&shelf, FOLDER, summary.toc_checksum).unwrap();
    assert_eq!(segment.vectors(5999, 1).unwrap(), expected);
    check_error(&error(segment.vectors(3, 1)), &path);
}

#[test]
fn a_missing_or_cut_or_grown_file_is_named() {
    let shelf = Shelf::default();
    let (_, summary) = sealed(&shelf, &[all(ascending(4, 100))]);
    let files: Vec<String> = shelf.0.lock().files.keys().cloned().collect();
    assert_eq!(files.len(), 5);
    for path in files {
        let damages: [fn(&mut Vec<u8>); 4] = [
            |bytes| bytes.truncate(bytes.len() - 1),
            |bytes| bytes.truncate(bytes.len() / 2),
            Vec::clear,
            |bytes| bytes.push(0),
        ];
        for damage in damages {
            let damaged = shelf.copy();
            damage(damaged.0.lock().files.get_mut(&path).unwrap());
            check_error(
                &error(Segment::open(&damaged, FOLDER, summary.toc_checksum)),
                &path,
            );
        }
        let damaged = shelf.copy();
        damaged.0.lock().files.remove(&path);
        check_error(
            &error(Segment::open(&damaged, FOLDER, summary.toc_checksum)),
            &path,
        );
    }
}

#[test]
fn the_files_of_another_segment_are_noticed() {
    let (shelf, other) = (Shelf::default(), Shelf::default());
    let (_, summary) = sealed(&shelf, &[all(ascending(5, 50))]);
    sealed(&other, &[all(ascending(6, 50))]);
    let toc = format!("{FOLDER}/toc.bin");
    check_error(
        &error(Segment::open(&other, FOLDER, summary.toc_checksum)),
        &toc,
    );
    let mixed = shelf.copy();
    let vectors = format!("{FOLDER}/vectors.f32");
    let bytes = other.0.lock().files[&vectors].clone();
    mixed.0.lock().files.insert(vectors.clone(), bytes);
    let segment = Segment::open(&mixed, FOLDER, summary.toc_checksum).unwrap();
    check_error(&error(segment.vectors(0, 1)), &vectors);
}
