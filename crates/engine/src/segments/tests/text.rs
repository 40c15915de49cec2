//! Filters of documents through the index of a segment: as without it, sound or damaged.

use std::fmt::Write;
use std::sync::Arc;

use regex::Regex;

use super::sample::{Dice, FOLDER, all, ascending, sealed};
use super::shelf::Shelf;
use crate::model::{DOCUMENT_KEY, DocumentTest, Index, Schema};
use crate::segments::text::TextIndex;
use crate::segments::{
    AnyIndexFile, Chunk, ChunkBuilder, IndexFile, Indexes, RowDocument, RowParts, RowSet, Segment,
    Source, write_segment,
};

const FILE: &str = "segments/collection/segment/documents.index";

/// Rows with enough text for an index: every third without a document, one in a hundred with a word
/// that names it.
fn chunk() -> Chunk {
    let mut dice = Dice(11);
    let mut builder = ChunkBuilder::default();
    let words = [
        "storm",
        "Quiet",
        "r\u{e9}sum\u{e9}",
        "\u{6771}\u{4eac}",
        "window",
        "a",
        "of",
        "42",
    ];
    for row in 0..3000u64 {
        let mut document = String::new();
        for _ in 0..12 + dice.roll(20) {
            document += words[dice.roll(words.len() as u64) as usize];
            document += [" ", ", ", "\n"][dice.roll(3) as usize];
        }
        if row % 100 == 1 {
            write!(document, "needle{row}.").unwrap();
        }
        builder.push(RowParts {
            id: &row.to_string(),
            birth: row + 1,
            seq: row + 1,
            vector: &[1.0],
            document: RowDocument::Own((row % 3 > 0).then_some(&document)),
            uri: None,
            metadata: &[],
        });
    }
    builder.finish()
}

fn tests() -> Vec<DocumentTest> {
    let mut tests = Vec::new();
    for text in [
        "needle1",
        "needle2401.",
        "storm",
        "Needle",
        "\u{6771}\u{4eac}",
        "wi",
        "",
        "nowhere",
    ] {
        tests.push(DocumentTest::Contains(text.to_owned()));
        tests.push(DocumentTest::NotContains(text.to_owned()));
    }
    for pattern in [
        r"needle(101|2401)\.",
        r"(?i)NEEDLE[0-9]+\.$",
        r"^(storm|window)\b.*needle",
        r"(?s)quiet.*r.sum.*needle\d{4}",
        r"\d\d\d",
        "[ab]|c",
    ] {
        let regex = || Box::new(Regex::new(pattern).unwrap());
        tests.push(DocumentTest::Regex(regex()));
        tests.push(DocumentTest::NotRegex(regex()));
    }
    tests
}

/// The rows of all, and of a few, that pass each test.
fn answers(source: &Source) -> Vec<RowSet> {
    let everything = RowSet::all(source.rows());
    let mut some = RowSet::none(source.rows());
    (0..source.rows())
        .filter(|row| row % 100 < 2)
        .for_each(|row| some.insert(row));
    let mut answers = Vec::new();
    for test in tests() {
        for among in [&everything, &some] {
            let mut found = among.clone();
            source.retain_documents(&test, &mut found).unwrap();
            answers.push(found);
        }
    }
    answers
}

fn index(source: &Source) -> &IndexFile<TextIndex> {
    source.text_index().expect("so much text has an index")
}

#[test]
fn filters_through_the_index_find_the_same_as_in_memory() {
    let chunk = all(chunk());
    let (segment, _) = sealed(&Shelf::default(), std::slice::from_ref(&chunk));
    assert!(index(&segment).index().is_some());
    let (expected, found) = (answers(&chunk.0), answers(&segment));
    assert!(expected == found, "rows differ");
    let selective = expected
        .iter()
        .filter(|set| !set.is_empty() && set.len() < 100)
        .count();
    assert!(selective > 5, "the tests are to find a few rows");
    assert!(!index(&segment).is_damaged());
}

#[test]
fn a_flipped_bit_sets_the_index_aside_and_changes_no_answer() {
    let shelf = Shelf::default();
    let (segment, summary) = sealed(&shelf, &[all(chunk())]);
    let expected = answers(&segment);
    let bytes = shelf.0.lock().files[FILE].len();
    let mut dice = Dice(3);
    let edges = [0, 8, bytes - 1, bytes - 16];
    let between = (0..8).map(|_| dice.roll(bytes as u64) as usize);
    for at in edges.into_iter().chain(between.collect::<Vec<_>>()) {
        let damaged = shelf.copy();
        damaged.0.lock().files.get_mut(FILE).unwrap()[at] ^= 1 << dice.roll(8);
        let opened = Segment::open(&damaged, FOLDER, summary.toc_checksum).unwrap();
        assert_eq!(opened.verify().len(), 1, "byte {at}");
        let source = Source::Segment(Arc::new(opened));
        assert!(answers(&source) == expected, "byte {at}");
        // The edges are read by every filter.
        assert!(
            source.has_damaged_index() || !edges.contains(&at),
            "byte {at}"
        );
    }
}

#[test]
fn a_missing_or_cut_index_changes_no_answer() {
    let shelf = Shelf::default();
    let (segment, summary) = sealed(&shelf, &[all(chunk())]);
    let expected = answers(&segment);
    let damages: [fn(&mut Vec<u8>); 3] = [
        Vec::clear,
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.push(0),
    ];
    for damage in damages {
        let damaged = shelf.copy();
        damage(damaged.0.lock().files.get_mut(FILE).unwrap());
        let opened = Segment::open(&damaged, FOLDER, summary.toc_checksum).unwrap();
        let source = Source::Segment(Arc::new(opened));
        assert!(source.has_damaged_index());
        assert!(answers(&source) == expected);
    }
}

#[test]
fn an_index_is_made_where_it_pays_and_the_schema_allows_it() {
    let written = |chunk: Chunk, indexes: Indexes| {
        let shelf = Shelf::default();
        let summary = write_segment(&shelf, FOLDER, &[all(chunk)], indexes, &|| true).unwrap();
        let segment = Segment::open(&shelf, FOLDER, summary.toc_checksum).unwrap();
        let kept = shelf.0.lock().files.contains_key(FILE);
        assert_eq!(kept, segment.text_index().is_some());
        (kept, segment.lacks_text_index())
    };
    let mut schema = Schema::standard(2);
    assert_eq!(written(chunk(), Indexes::from(&schema)), (true, false));
    assert_eq!(
        written(chunk(), Indexes::from(&schema).in_a_hurry()),
        (false, true)
    );
    assert_eq!(
        written(ascending(1, 20), Indexes::from(&schema)),
        (false, false)
    );
    let document = schema.keys.get_mut(DOCUMENT_KEY).unwrap();
    document.string.as_mut().unwrap().fts_index = Some(Index::new(false));
    assert_eq!(written(chunk(), Indexes::from(&schema)), (false, true));
}
