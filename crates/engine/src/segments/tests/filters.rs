//! Segments, chunks and a plain reading of the rules agree on every filter.

use std::cmp::Ordering;

use proptest::prelude::*;
use regex::Regex;

use super::sample::{Row, all, ascending, rows, sealed};
use super::shelf::Shelf;
use crate::model::{Comparison, DocumentTest, Number, Scalar, Value};
use crate::segments::{ChunkBuilder, RowDocument, RowParts, RowSet, Source};

const BIG: i64 = 1 << 53;

fn int() -> impl Strategy<Value = i64> {
    let edges = [
        i64::MIN,
        i64::MIN + 1,
        i64::MAX,
        i64::MAX - 1,
        BIG,
        BIG + 1,
        -BIG - 1,
    ];
    prop_oneof![3 => -3i64..3, 1 => proptest::sample::select(edges.to_vec())]
}

fn float() -> impl Strategy<Value = f64> {
    let edges = [-0.0, 5e-324, -(i64::MIN as f64), i64::MIN as f64, 1e300];
    prop_oneof![
        3 => (-6i32..6).prop_map(|half| f64::from(half) / 2.0),
        1 => proptest::sample::select(edges.to_vec()),
        1 => Just(BIG as f64),
        1 => Just(-(BIG as f64) - 2.0),
    ]
}

fn text() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["", "a", "b", "ab", "\u{e9}", "1", "true"])
        .prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        int().prop_map(Value::Int),
        float().prop_map(Value::Float),
        text().prop_map(|text| Value::Str(text.into())),
        prop::collection::vec(any::<bool>(), 1..3).prop_map(|list| Value::Bools(list.into())),
        prop::collection::vec(int(), 1..4).prop_map(|list| Value::Ints(list.into())),
        prop::collection::vec(float(), 1..4).prop_map(|list| Value::Floats(list.into())),
        prop::collection::vec(text(), 1..4).prop_map(|list| Value::Strs(list.into())),
    ]
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        any::<bool>().prop_map(Scalar::Bool),
        int().prop_map(Scalar::Int),
        float().prop_map(Scalar::Float),
        text().prop_map(Scalar::Str),
    ]
}

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![int().prop_map(Number::Int), float().prop_map(Number::Float)]
}

fn comparison() -> impl Strategy<Value = Comparison> {
    prop_oneof![
        scalar().prop_map(Comparison::Equal),
        scalar().prop_map(Comparison::NotEqual),
        number().prop_map(Comparison::Greater),
        number().prop_map(Comparison::GreaterOrEqual),
        number().prop_map(Comparison::Less),
        number().prop_map(Comparison::LessOrEqual),
        prop::collection::vec(scalar(), 1..4).prop_map(Comparison::In),
        prop::collection::vec(scalar(), 1..4).prop_map(Comparison::NotIn),
        scalar().prop_map(Comparison::Contains),
        scalar().prop_map(Comparison::NotContains),
    ]
}

/// A number as twice its value in wide integers, with a mark for what that rounds away, so that
/// comparing is plain.
fn wide(number: Number) -> (i128, u8) {
    match number {
        Number::Int(int) => (i128::from(int) * 2, 0),
        Number::Float(float) if float.abs() > 1e30 => (i128::MAX, 0),
        Number::Float(float) => {
            let doubled = float * 2.0;
            (doubled.floor() as i128, u8::from(doubled.floor() < doubled))
        }
    }
}

fn naive_order(value: &Value, number: Number) -> Option<Ordering> {
    match value {
        Value::Int(int) => Some(wide(Number::Int(*int)).cmp(&wide(number))),
        Value::Float(float) => Some(wide(Number::Float(*float)).cmp(&wide(number))),
        _ => None,
    }
}

fn naive_equal(value: &Value, scalar: &Scalar) -> bool {
    match (value, scalar) {
        (Value::Bool(a), Scalar::Bool(b)) => a == b,
        (Value::Str(a), Scalar::Str(b)) => **a == **b,
        (_, Scalar::Int(b)) => naive_order(value, Number::Int(*b)) == Some(Ordering::Equal),
        (_, Scalar::Float(b)) => naive_order(value, Number::Float(*b)) == Some(Ordering::Equal),
        _ => false,
    }
}

fn naive(value: Option<&Value>, comparison: &Comparison) -> bool {
    let order = |number| value.and_then(|value| naive_order(value, number));
    let equal = |scalar| value.is_some_and(|value| naive_equal(value, scalar));
    let contains = |scalar: &Scalar| match (value, scalar) {
        (Some(Value::Bools(list)), Scalar::Bool(flag)) => list.contains(flag),
        (Some(Value::Ints(list)), Scalar::Int(int)) => list.contains(int),
        (Some(Value::Floats(list)), Scalar::Float(float)) => list.contains(float),
        (Some(Value::Strs(list)), Scalar::Str(text)) => list.contains(text),
        _ => false,
    };
    match comparison {
        Comparison::Equal(scalar) => equal(scalar),
        Comparison::NotEqual(scalar) => !equal(scalar),
        Comparison::In(scalars) => scalars.iter().any(equal),
        Comparison::NotIn(scalars) => !scalars.iter().any(equal),
        Comparison::Contains(scalar) => contains(scalar),
        Comparison::NotContains(scalar) => !contains(scalar),
        Comparison::Greater(number) => order(*number) == Some(Ordering::Greater),
        Comparison::Less(number) => order(*number) == Some(Ordering::Less),
        Comparison::GreaterOrEqual(number) => {
            matches!(order(*number), Some(Ordering::Greater | Ordering::Equal))
        }
        Comparison::LessOrEqual(number) => {
            matches!(order(*number), Some(Ordering::Less | Ordering::Equal))
        }
    }
}

fn source_of(cells: &[Vec<(String, Value)>]) -> Source {
    let mut builder = ChunkBuilder::default();
    for (row, cells) in cells.iter().enumerate() {
        let metadata: Vec<_> = cells
            .iter()
            .map(|(key, value)| (key.as_str(), value))
            .collect();
        builder.push(RowParts {
            id: &row.to_string(),
            birth: row as u64,
            seq: row as u64,
            vector: &[1.0],
            document: RowDocument::Own(None),
            uri: None,
            metadata: &metadata,
        });
    }
    all(builder.finish()).0
}

fn check(rows: &[Vec<(String, Value)>], key: &str, comparison: &Comparison) {
    let chunk = source_of(rows);
    let (segment, _) = sealed(
        &Shelf::default(),
        &[(chunk.clone(), std::sync::Arc::default())],
    );
    let mut expected = RowSet::none(rows.len() as u32);
    for (row, cells) in rows.iter().enumerate() {
        let value = cells
            .iter()
            .find(|(other, _)| other == key)
            .map(|(_, value)| value);
        if naive(value, comparison) {
            expected.insert(row as u32);
        }
    }
    for (name, source) in [("chunk", chunk), ("segment", segment)] {
        let mut found = RowSet::none(rows.len() as u32);
        source.matching(key, comparison, &mut found).unwrap();
        assert_eq!(
            found, expected,
            "{name}: {key} {comparison:?} over {rows:?}"
        );
    }
}

fn table(rows: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<(String, Value)>>> {
    let row = prop::collection::btree_map(
        proptest::sample::select(vec!["a", "b", "key \u{fc}"]).prop_map(str::to_owned),
        value(),
        0..3,
    );
    prop::collection::vec(row.prop_map(|cells| cells.into_iter().collect()), rows)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn segment_and_chunk_and_plain_rules_agree(
        rows in table(0..140),
        key in proptest::sample::select(vec!["a", "b", "key \u{fc}", "absent"]),
        comparison in comparison(),
    ) {
        check(&rows, key, &comparison);
    }
}

#[test]
fn values_of_few_and_of_many_rows_are_both_found() {
    // One row of 4096 has "rare" (a list), 64 have "some" (a list), 128 "edge" (a bitmap).
    let rows: Vec<Vec<(String, Value)>> = (0..4096)
        .map(|row| {
            let text = match row {
                7 => "rare",
                _ if row % 64 == 1 => "some",
                _ if row % 32 == 2 => "edge",
                _ => "common",
            };
            vec![
                ("a".into(), Value::Str(text.into())),
                ("n".into(), Value::Int(row)),
            ]
        })
        .collect();
    for text in ["rare", "some", "edge", "common", "none", ""] {
        check(&rows, "a", &Comparison::Equal(Scalar::Str(text.into())));
        check(&rows, "a", &Comparison::NotEqual(Scalar::Str(text.into())));
    }
    let both = vec![Scalar::Str("rare".into()), Scalar::Str("edge".into())];
    check(&rows, "a", &Comparison::In(both));
    check(&rows, "n", &Comparison::Less(Number::Float(77.5)));
    check(&rows, "n", &Comparison::GreaterOrEqual(Number::Int(4090)));
}

#[test]
fn one_of_many_operands_in_any_order_is_found() {
    let rows: Vec<Vec<(String, Value)>> = (0..3000i64)
        .map(|row| {
            let number = match row % 3 {
                0 => Value::Int(row),
                1 => Value::Float(row as f64 / 2.0),
                _ => Value::Ints(vec![row].into()),
            };
            let text = Value::Str(format!("text {}", row * 7 % 2000).into());
            vec![("n".into(), number), ("t".into(), text)]
        })
        .collect();
    for count in [1, 63, 64, 65, 700] {
        let mixed = |at: i64| (at * 7919) % 4000 - 200;
        let texts: Vec<Scalar> = (0..count)
            .map(|at| Scalar::Str(format!("text {}", mixed(at))))
            .collect();
        let numbers: Vec<Scalar> = (0..count)
            .map(|at| match at % 3 {
                0 => Scalar::Int(mixed(at)),
                1 => Scalar::Float(mixed(at) as f64 + 0.5),
                _ => Scalar::Float(mixed(at) as f64),
            })
            .chain([Scalar::Int(i64::MAX), Scalar::Bool(true)])
            .collect();
        for (key, operands) in [("t", texts), ("n", numbers)] {
            check(&rows, key, &Comparison::In(operands.clone()));
            check(&rows, key, &Comparison::NotIn(operands));
        }
    }
}

#[test]
fn one_of_many_texts_is_found_whatever_they_have_in_common() {
    // Digits in base 3 and zero bytes: some texts are the beginning of others.
    let text = |common: &str, number: usize| {
        let digits = (0..number % 11).map(|at| match number / 3_usize.pow(at as u32) % 3 {
            0 => '\0',
            1 => 'a',
            _ => '\u{e9}',
        });
        Scalar::Str(common.chars().chain(digits).collect())
    };
    for common in ["", "user-", "one that is long"] {
        for (distinct, wanted) in [(2000, 70), (300, 300), (2000, 2000), (1, 80), (40, 90)] {
            let value = |row: usize| match text(common, row * 31 % distinct) {
                Scalar::Str(text) => Value::Str(text.into()),
                other => panic!("{other:?}"),
            };
            let rows: Vec<Vec<(String, Value)>> = (0..2500)
                .map(|row| vec![("t".into(), value(row))])
                .collect();
            // Others have less in common with them, or come before or after all.
            let others = ["", "u", "user", "one that is", "zz"];
            let operands = (0..wanted).map(|at| text(common, at * 17));
            let others = others.map(|text| Scalar::Str(text.into()));
            let operands: Vec<Scalar> = operands.chain(others).collect();
            check(&rows, "t", &Comparison::In(operands));
        }
    }
}

#[test]
fn what_is_no_number_is_neither_less_nor_more_nor_equal() {
    let rows = [
        vec![("a".into(), Value::Int(1))],
        vec![("a".into(), Value::Float(0.5))],
    ];
    let source = source_of(&rows);
    let (segment, _) = sealed(
        &Shelf::default(),
        &[(source.clone(), std::sync::Arc::default())],
    );
    for source in [source, segment] {
        for comparison in [
            Comparison::Equal(Scalar::Float(f64::NAN)),
            Comparison::GreaterOrEqual(Number::Float(f64::NAN)),
            Comparison::LessOrEqual(Number::Float(f64::NAN)),
            Comparison::In(vec![Scalar::Float(f64::NAN)]),
        ] {
            let mut found = RowSet::none(2);
            source.matching("a", &comparison, &mut found).unwrap();
            assert!(found.is_empty(), "{comparison:?}");
        }
    }
}

fn naive_document(row: &Row, test: &DocumentTest) -> bool {
    let document = row.document.as_deref();
    match test {
        DocumentTest::Contains(text) => document.is_some_and(|d| d.contains(text)),
        DocumentTest::NotContains(text) => !document.is_some_and(|d| d.contains(text)),
        DocumentTest::Regex(regex) => document.is_some_and(|d| regex.is_match(d)),
        DocumentTest::NotRegex(regex) => !document.is_some_and(|d| regex.is_match(d)),
    }
}

#[test]
fn document_tests_agree_over_many_batches() {
    let chunk = all(ascending(20, 900));
    let (segment, _) = sealed(&Shelf::default(), std::slice::from_ref(&chunk));
    let expected = rows(&chunk.0);
    let regex = |pattern| Box::new(Regex::new(pattern).unwrap());
    let some = RowSet::all(900);
    let mut few = RowSet::none(900);
    [0, 1, 450, 899].into_iter().for_each(|row| few.insert(row));
    for test in [
        DocumentTest::Contains("blue".into()),
        DocumentTest::NotContains("blue".into()),
        DocumentTest::Contains(String::new()),
        DocumentTest::NotContains(String::new()),
        DocumentTest::Contains("blue green red".into()),
        DocumentTest::Contains("\u{e4}th".into()),
        DocumentTest::Regex(regex("^red .*er$")),
        DocumentTest::NotRegex(regex("gre+n \\w+")),
    ] {
        for among in [&some, &few, &RowSet::none(900)] {
            for (name, source) in [("chunk", &chunk.0), ("segment", &segment)] {
                let mut found = among.clone();
                source.retain_documents(&test, &mut found).unwrap();
                for (row, content) in expected.iter().enumerate() {
                    let wanted = among.contains(row as u32) && naive_document(content, &test);
                    assert_eq!(
                        found.contains(row as u32),
                        wanted,
                        "{name} {test:?} row {row}"
                    );
                }
            }
        }
    }
}

#[test]
fn without_any_document_positive_tests_match_nothing_and_negative_ones_all() {
    let source = source_of(&vec![Vec::new(); 70]);
    let (segment, _) = sealed(
        &Shelf::default(),
        &[(source.clone(), std::sync::Arc::default())],
    );
    for source in [source, segment] {
        let mut found = RowSet::all(70);
        source
            .retain_documents(&DocumentTest::Contains(String::new()), &mut found)
            .unwrap();
        assert!(found.is_empty());
        let mut found = RowSet::all(70);
        source
            .retain_documents(&DocumentTest::NotContains("x".into()), &mut found)
            .unwrap();
        assert_eq!(found.len(), 70);
        assert_eq!(source.document(3).unwrap(), None);
    }
}
