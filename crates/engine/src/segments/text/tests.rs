//! Queries of patterns, and what an index leaves of a set of rows: all that match, and few more.

use std::sync::Arc;

use proptest::prelude::*;
use regex::Regex;

use super::letters::letter;
use super::{BATCHES_MIN, Query, TextIndex, TextWriter};
use crate::model::DocumentTest;
use crate::segments::RowSet;
use crate::segments::blocks::{Blocks, checksums};
use crate::segments::documents::DocumentMatcher;
use crate::segments::index_file::Index;
use crate::storage::{MemoryStorage, Storage};

/// The bytes of an index with blocks of about `postings_max` postings.
fn file(documents: &[Option<String>], postings_max: usize) -> Vec<u8> {
    let storage = MemoryStorage::default();
    storage.create_dir("segment").unwrap();
    let mut writer = TextWriter::with_blocks_of(postings_max, &storage, "segment");
    for document in documents {
        writer.push(document.as_deref()).unwrap();
    }
    let entry = writer.finish(BATCHES_MIN).unwrap();
    assert_eq!(entry.is_some(), !documents.is_empty());
    storage.read("segment/documents.index").unwrap()
}

fn open(bytes: Vec<u8>) -> crate::Result<TextIndex> {
    let sums = checksums(&bytes);
    TextIndex::open(Arc::new(Blocks::new(
        "documents.index".into(),
        bytes.into(),
        sums,
    )?))
}

fn regex(pattern: &str) -> DocumentTest {
    DocumentTest::Regex(Box::new(Regex::new(pattern).unwrap()))
}

/// What the index leaves of all rows, and what of it is proved; it may read as long as it likes.
fn left(index: &TextIndex, rows: usize, test: &DocumentTest) -> (RowSet, RowSet) {
    let mut among = RowSet::all(rows as u32);
    let proved = match Query::of(test) {
        Some(query) => index.narrow(&query, 1 << 40, &mut among).unwrap(),
        None => RowSet::none(rows as u32),
    };
    (among, proved)
}

/// Checks that every row that matches is left, and none proved that does not.
fn check(documents: &[Option<String>], test: &DocumentTest) {
    if documents.is_empty() {
        return;
    }
    let matcher = DocumentMatcher::new(test);
    for postings_max in [1, 300, 1 << 20] {
        let index = open(file(documents, postings_max)).unwrap();
        let (left, proved) = left(&index, documents.len(), test);
        for (row, document) in documents.iter().enumerate() {
            let matches = matcher.finds(document.as_deref()).unwrap();
            let (is_left, is_proved) = (left.contains(row as u32), proved.contains(row as u32));
            assert!(
                if matches { is_left } else { !is_proved },
                "{test:?}: row {row} of {documents:?}"
            );
        }
    }
}

/// A query's trigrams, in lower-case letters, `&` and `|`.
fn shown(query: &Query) -> String {
    let list = |members: &[Query], between: &str| {
        let members: Vec<String> = members.iter().map(shown).collect();
        format!("({})", members.join(between))
    };
    match query {
        Query::Has(trigrams) if trigrams.is_empty() => "everything".to_owned(),
        Query::Has(trigrams) => {
            let letter =
                |trigram: &u32, at: u32| char::from(b'a' + (trigram >> (6 * at) & 63) as u8);
            let three = |one: &u32| (0..3).rev().map(|at| letter(one, at)).collect::<String>();
            trigrams.iter().map(three).collect::<Vec<_>>().join("&")
        }
        Query::Word { .. } => "everything".to_owned(),
        Query::All(members) => {
            let of_words = |member: &&Query| matches!(member, Query::Word { .. });
            let members: Vec<Query> = members
                .iter()
                .filter(|one| !of_words(one))
                .cloned()
                .collect();
            match &members[..] {
                [] => "everything".to_owned(),
                [one] => shown(one),
                several => list(several, " & "),
            }
        }
        Query::Any(members) => list(members, " | "),
    }
}

#[test]
fn literals_of_an_expression_become_trigrams() {
    for (pattern, expected) in [
        ("abc", "abc"),
        ("abcd", "abc&bcd"),
        ("ab", "everything"),
        ("", "everything"),
        ("a.c", "everything"),
        ("abc.*xyz", "abc&xyz"),
        ("(?i)AbC", "abc"),
        ("abc|xyz", "(abc | xyz)"),
        ("abc|x", "everything"),
        ("ab(c|d)e", "(abc&bce | abd&bde)"),
        ("abx?c", "(abc | abx&bxc)"),
        ("abx?cd", "(abc&bcd | abx&bxc&xcd)"),
        ("a+bcd", "abc&bcd"),
        ("ab{2}c", "abb&bbc"),
        ("x(abc)+y", "abc&bcy&xab"),
        ("(abc)*", "everything"),
        ("^abc$", "abc"),
        (r"\babc\b", "abc"),
        ("ab[cd]", "(abc | abd)"),
        (r"abc\w+(def|ghi)", "(abc & (def | ghi))"),
        (r"(abc\d|x\dy)z", "everything"),
        (r"(abc\d|\dxyz)z", "(abc | xyz)"),
    ] {
        let test = regex(pattern);
        let found = Query::of(&test).map_or_else(|| "everything".to_owned(), |query| shown(&query));
        assert_eq!(found, expected, "{pattern}");
    }
}

#[test]
fn sets_that_grow_too_large_leave_what_is_known_and_the_ends() {
    let query = |pattern: &str| Query::of(&regex(pattern)).map(|query| shown(&query));
    let found = query("abcd(e|f)(g|h)(i|j)(k|l)(m|n)op").unwrap();
    assert!(
        found.contains("abc&bcd") && found.contains("mop"),
        "{found}"
    );
    let many: Vec<String> = (0..40).map(|n| format!("word{n:02}x")).collect();
    let found = query(&many.join("|")).unwrap();
    assert_eq!(found.matches(" | ").count(), 39, "{found}");
    // However deep and long: this must come to an end, and soon.
    assert!(query(&format!("{}a{}", "(".repeat(80), "{3}b)?c".repeat(80))).is_none());
    assert!(query(&"(ab|cd)".repeat(500)).is_some());
}

#[test]
fn few_rows_are_left_of_many() {
    let documents: Vec<Option<String>> = (0..5000)
        .map(|row| (row % 7 > 0).then(|| format!("document number {row:05}")))
        .collect();
    let index = open(file(&documents, 20_000)).unwrap();
    let rows = |test: &DocumentTest| {
        let (left, _) = left(&index, documents.len(), test);
        left.iter().collect::<Vec<_>>()
    };
    let contains = |text: &str| DocumentTest::Contains(text.to_owned());
    assert_eq!(rows(&contains("02345")), [] as [u32; 0]);
    assert_eq!(rows(&contains("02346")), [2346]);
    assert_eq!(rows(&DocumentTest::NotContains("02346".to_owned())), [2346]);
    assert_eq!(rows(&regex(r"number 0234[67]$")), [2346, 2347]);
    assert_eq!(rows(&regex(r"(?i)DOCUMENT.*04999")), [4999]);
    assert_eq!(rows(&contains("nowhere")), [] as [u32; 0]);
    assert_eq!(
        rows(&contains("number")).len(),
        5000 - 5000_usize.div_ceil(7)
    );
    assert_eq!(rows(&contains("er")).len(), 5000);
}

#[test]
fn an_index_is_read_no_longer_than_it_can_spare() {
    let documents: Vec<Option<String>> = (0..5000)
        .map(|row| Some(format!("text {row:05}")))
        .collect();
    let index = open(file(&documents, 1 << 20)).unwrap();
    let query = Query::of(&DocumentTest::Contains("text 01234".to_owned())).unwrap();
    // One row costs less to read than eight lists to find.
    let mut among = RowSet::none(5000);
    among.insert(7);
    index.narrow(&query, 5000, &mut among).unwrap();
    assert!(among.contains(7));
    let mut among = RowSet::all(5000);
    index.narrow(&query, 5000, &mut among).unwrap();
    assert_eq!(among.iter().collect::<Vec<_>>(), [1234]);
    // Ten thousand alternatives would take longer than reading the documents.
    let many: Vec<Query> = (0..10_000)
        .map(|n| Query::text(format!("{n:05}").as_bytes()))
        .collect();
    let mut among = RowSet::all(5000);
    index.narrow(&Query::any(many), 5, &mut among).unwrap();
    assert_eq!(among.len(), 5000);
}

#[test]
fn another_number_of_rows_and_another_form_are_damage() {
    let bytes = file(&vec![Some("some text".to_owned()); 100], 1 << 20);
    let index = open(bytes.clone()).unwrap();
    let query = Query::text(&[letter(b's'), letter(b'o'), letter(b'm')]);
    assert!(index.narrow(&query, 100, &mut RowSet::all(99)).is_err());
    for (at, length) in [(0, bytes.len()), (8, bytes.len()), (0, 8), (0, 0)] {
        let mut changed = bytes[..length].to_vec();
        if let Some(byte) = changed.get_mut(at) {
            *byte ^= 1;
        }
        assert!(open(changed).is_err(), "{at} {length}");
    }
}

fn document() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(String::new())),
        6 => "[abcABC \n]{0,12}".prop_map(Some),
        3 => "[ab\u{e9}\u{20ac}\u{1f600}k\u{212a}]{0,8}".prop_map(Some),
        1 => "\\PC{0,20}".prop_map(Some),
    ]
}

/// Regular expressions that match some of such documents.
fn pattern() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        6 => "[abcABCk\u{e9}\u{20ac}]{1,4}",
        1 => proptest::sample::select(vec![
            ".", r"\w", r"\s", "[ab]", "[^a]", "(?i:abc)", "(?i:k)", "^", "$", r"\b", "(?s:.)", "[a-z]",
        ]).prop_map(str::to_owned),
    ];
    atom.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 1..4).prop_map(|all| all.concat()),
            2 => prop::collection::vec(inner.clone(), 2..4)
                .prop_map(|all| format!("(?:{})", all.join("|"))),
            2 => (inner, proptest::sample::select(vec!["?", "*", "+", "{2}", "{1,2}", "{2,}", "{0}"]))
                .prop_map(|(one, times)| format!("({one}){times}")),
        ]
    })
}

fn test() -> impl Strategy<Value = DocumentTest> {
    prop_oneof![
        "[abcABC \n]{0,6}".prop_map(DocumentTest::Contains),
        "[ab\u{e9}\u{20ac}]{0,4}".prop_map(DocumentTest::Contains),
        pattern().prop_filter_map("compiles", |pattern| {
            Regex::new(&pattern)
                .ok()
                .map(|regex| DocumentTest::Regex(Box::new(regex)))
        }),
    ]
}

/// Documents of few words that come often, so that looking through these pays.
fn wordy() -> impl Strategy<Value = Option<String>> {
    let words = vec![
        "stata",
        "Stata",
        "STATA",
        "status",
        "state",
        "data",
        "metadata",
        "meta_data",
        "of",
        "a",
        "as\u{17f}ess",
        "assess",
        "\u{212a}elvin",
        "kelvin",
        "\u{4e2d}\u{6587}\u{5b57}",
        "caf\u{e9}",
    ];
    let long = format!("{}stata", "x".repeat(70));
    let word = prop_oneof![
        30 => proptest::sample::select(words).prop_map(str::to_owned),
        1 => Just(long),
    ];
    // Beyond ASCII a letter or a mark goes on with a word, and all else ends it, as at `\b` of a pattern.
    let between = proptest::sample::select(vec![
        " ",
        " ",
        " ",
        "-",
        ".\n",
        "",
        "\u{2014}",
        "\u{a0}",
        "\u{301}",
        "\u{e9}",
        "\u{1f600}",
    ]);
    prop::collection::vec((word, between), 20..60)
        .prop_map(|words| Some(words.into_iter().map(|(word, end)| word + end).collect()))
}

fn wordy_test() -> impl Strategy<Value = DocumentTest> {
    let pattern = proptest::sample::select(vec![
        "stata",
        r"\bstata\b",
        "(?i)stata",
        r"(?i)\bSTATA\b",
        r"\Btata",
        r"stat\B",
        "sta(ta|te|tus)x?",
        r"meta\w+",
        "(?i)assess",
        "(?i)kelvin",
        "caf[\u{e9}e]of",
        "(stata )+of",
        "(?:stata-){2}",
        r"^stata",
        r"tata$",
        r"(?m)^data",
        "meta_?data",
        "\u{4e2d}\u{6587}",
        r"[a-z]{4}stata",
        r"\w{60,}",
        "status.*kelvin",
        r"(?-u:\b)stata",
        "[^ ]tata",
        "(stata|data)+",
        r"(?s-u:.)tata\b",
        r"\bstat(a|e)\b",
        r"(?i)\bstat(a|us)\b",
        r"(?-u:\b)stat(a|e)(?-u:\b)",
        r"\b{start}stat[ae]\b{end}",
        r"\b{start-half}tat[ae]\b{end-half}",
        r"\b\w+tata\b",
        r"\Btat[ae]\B",
        "\\bcaf(\u{e9}|e)\\b",
        "\\b\u{4e2d}\u{6587}\\w\\b",
        "stata\\b\u{2014}",
        "stat[ae]\\b.\\bmeta",
    ]);
    let text = proptest::sample::select(vec![
        "stata",
        "tata",
        "tat",
        "stata ",
        " stata",
        " stata ",
        "stata-data",
        "ata of me",
        "data-metadata",
        "\u{6587}\u{5b57}",
        "xstata",
        "nowhere",
        "data\nof",
        "\u{e9} as",
        "STATA.\nof",
    ]);
    prop_oneof![
        pattern.prop_filter_map("compiles", |pattern| Regex::new(pattern)
            .ok()
            .map(|regex| DocumentTest::Regex(Box::new(regex)))),
        text.prop_map(|text| DocumentTest::Contains(text.to_owned())),
    ]
}

#[test]
fn words_tell_what_trigrams_do_not() {
    // Each has all trigrams of `stata`, in either case.
    let others = ["static data tata", "Static DATA, tata", "sta tat ata"];
    let documents: Vec<Option<String>> = (0..2000)
        .map(|row| match row % 100 {
            7 => Some("the stata of data".to_owned()),
            8 => Some("STATA".to_owned()),
            9 => Some(format!("{}stata", "x".repeat(80))),
            _ => Some(others[row % 3].to_owned()),
        })
        .collect();
    let index = open(file(&documents, 1 << 20)).unwrap();
    let distinct = |rows: &RowSet| {
        let mut distinct: Vec<u32> = rows.iter().map(|row| row % 100).collect();
        distinct.sort_unstable();
        distinct.dedup();
        distinct
    };
    let contains = |text: &str| DocumentTest::Contains(text.to_owned());
    // The documents with a long word are left for a reader, and those of whose words the pattern
    // asks what stands beside them.
    for (test, expected, expected_proved) in [
        (contains("stata"), &[7, 9][..], &[7][..]),
        (regex("stata"), &[7, 9], &[7]),
        (regex(r"\bstata\b"), &[7, 9], &[]),
        (regex("(?i)stata"), &[7, 8, 9], &[7, 8]),
        (regex("STATA|s(?:tata)"), &[7, 8, 9], &[7, 8]),
        (regex("(?i)stata of"), &[7], &[]),
        (contains("stata of"), &[7], &[]),
        (contains(" stata"), &[7], &[]),
    ] {
        let (left, proved) = left(&index, documents.len(), &test);
        assert_eq!(distinct(&left), expected, "{test:?}");
        assert_eq!(distinct(&proved), expected_proved, "{test:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_row_that_matches_is_left_where_words_tell(
        documents in prop::collection::vec(wordy(), 1..60),
        test in wordy_test(),
    ) {
        check(&documents, &test);
    }

    #[test]
    fn every_row_that_matches_is_left(
        documents in prop::collection::vec(document(), 0..200),
        test in test(),
    ) {
        check(&documents, &test);
    }

    #[test]
    fn bytes_that_mean_nothing_are_an_error_or_an_answer_and_no_panic(
        documents in prop_oneof![
            prop::collection::vec(document(), 1..100),
            prop::collection::vec(wordy(), 1..20),
        ],
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        test in prop_oneof![test(), wordy_test()],
    ) {
        let mut bytes = file(&documents, 100);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // The checksums are those of the changed bytes.
        if let (Ok(index), Some(query)) = (open(bytes), Query::of(&test)) {
            let mut among = RowSet::all(documents.len() as u32);
            if index.narrow(&query, 1 << 40, &mut among).is_err() {
                prop_assert_eq!(among.len() as usize, documents.len());
            }
        }
    }
}
