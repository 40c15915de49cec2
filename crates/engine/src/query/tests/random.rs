//! Random collections and requests: the engine's answers are the naive ones.

use proptest::prelude::*;
use regex::Regex;

use super::naive::{distance, passes};
use super::search::any_sparse;
use super::*;
use crate::model::{
    Comparison, DocumentTest, Embeddings, Fetched, Filter, GetRequest, Include, Number,
    QueryRequest, Recall, RecordSelection, Scalar,
};
use crate::query::{get, query, select};

const DIMENSION: usize = 3;

fn any_int() -> impl Strategy<Value = i64> {
    prop_oneof![8 => -3..4i64, 1 => Just(i64::MAX), 1 => Just(1 << 53), 1 => Just((1 << 53) + 1)]
}

fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (-6..7i32).prop_map(|half| f64::from(half) / 2.0),
        1 => Just(9_007_199_254_740_992.0),
        1 => Just(9_223_372_036_854_775_808.0),
        1 => Just(-0.0)
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any_int().prop_map(Value::Int),
        any_float().prop_map(Value::Float),
        "[abA1]{0,2}".prop_map(|text| Value::Str(text.into())),
        prop::collection::vec(any::<bool>(), 1..3).prop_map(|list| Value::Bools(list.into())),
        prop::collection::vec(any_int(), 1..4).prop_map(|list| Value::Ints(list.into())),
        prop::collection::vec(any_float(), 1..4).prop_map(|list| Value::Floats(list.into())),
        prop::collection::vec("[ab1]{0,2}", 1..3).prop_map(|list| Value::Strs(list.into())),
    ]
}

fn any_scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        any::<bool>().prop_map(Scalar::Bool),
        any_int().prop_map(Scalar::Int),
        any_float().prop_map(Scalar::Float),
        "[abA1]{0,2}".prop_map(Scalar::Str),
    ]
}

fn any_comparison() -> impl Strategy<Value = Comparison> {
    let number = || {
        prop_oneof![
            any_int().prop_map(Number::Int),
            any_float().prop_map(Number::Float)
        ]
    };
    let scalars = || prop::collection::vec(any_scalar(), 1..4);
    prop_oneof![
        any_scalar().prop_map(Comparison::Equal),
        any_scalar().prop_map(Comparison::NotEqual),
        number().prop_map(Comparison::Greater),
        number().prop_map(Comparison::GreaterOrEqual),
        number().prop_map(Comparison::Less),
        number().prop_map(Comparison::LessOrEqual),
        scalars().prop_map(Comparison::In),
        scalars().prop_map(Comparison::NotIn),
        any_scalar().prop_map(Comparison::Contains),
        any_scalar().prop_map(Comparison::NotContains),
    ]
}

pub(super) fn any_filter() -> impl Strategy<Value = Filter> {
    let regex = || {
        prop_oneof![
            Just("^a"),
            Just("b+"),
            Just("a.b"),
            Just("(?i)AB"),
            Just("")
        ]
        .prop_map(|text| Box::new(Regex::new(text).unwrap()))
    };
    let test = prop_oneof![
        4 => ("[abc]", any_comparison())
            .prop_map(|(key, comparison)| Filter::Metadata { key, comparison }),
        1 => "[ab ]{0,2}".prop_map(|part| Filter::Document(DocumentTest::Contains(part))),
        1 => "[ab ]{0,2}".prop_map(|part| Filter::Document(DocumentTest::NotContains(part))),
        1 => regex().prop_map(|regex| Filter::Document(DocumentTest::Regex(regex))),
        1 => regex().prop_map(|regex| Filter::Document(DocumentTest::NotRegex(regex))),
        1 => (prop::collection::vec(any_id(), 0..4), any::<bool>())
            .prop_map(|(ids, negated)| Filter::Id { ids, negated }),
    ];
    test.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Filter::And),
            prop::collection::vec(inner, 0..4).prop_map(Filter::Or),
        ]
    })
}

fn any_id() -> impl Strategy<Value = String> {
    (0..24u8).prop_map(|number| format!("id{number}"))
}

fn any_record() -> impl Strategy<Value = Record> {
    (
        any_id(),
        prop::collection::vec((-2..3i8).prop_map(f32::from), DIMENSION),
        prop::option::of("[ab ]{0,4}"),
        prop::option::of("u[ab]?"),
        prop::collection::btree_map("[abc]", any_value(), 0..3),
        prop::collection::btree_map("[st]", any_sparse(1).prop_map(Value::from), 0..3),
    )
        .prop_map(|(id, vector, document, uri, mut metadata, sparse)| {
            metadata.extend(sparse);
            Record {
                id,
                vector,
                document,
                uri,
                metadata,
            }
        })
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Upsert(Vec<Record>),
    Delete(Vec<String>),
    Join { on_disk: bool },
}

pub(super) fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => prop::collection::vec(any_record(), 1..12).prop_map(Change::Upsert),
        1 => prop::collection::vec(any_id(), 1..5).prop_map(Change::Delete),
        1 => any::<bool>().prop_map(|on_disk| Change::Join { on_disk }),
    ]
}

pub(super) fn world(changes: &[Change]) -> World {
    let mut world = World::new(DIMENSION);
    for change in changes {
        match change {
            Change::Upsert(records) => {
                let mut batch: Vec<Record> = Vec::new();
                for record in records {
                    if batch.iter().all(|other| other.id != record.id) {
                        batch.push(record.clone());
                    }
                }
                world.upsert(&batch);
            }
            Change::Join { on_disk } => world.join(*on_disk),
            Change::Delete(ids) => ids.iter().for_each(|id| world.delete(id)),
        }
    }
    world
}

fn any_selection() -> impl Strategy<Value = RecordSelection> {
    let ids = prop::option::weighted(0.3, prop::collection::vec(any_id(), 0..12));
    (ids, prop::option::weighted(0.8, any_filter()))
        .prop_map(|(ids, filter)| RecordSelection { ids, filter })
}

fn any_include() -> impl Strategy<Value = Include> {
    any::<[bool; 4]>().prop_map(|[documents, metadatas, embeddings, uris]| Include {
        documents,
        metadatas,
        embeddings,
        uris,
        distances: false,
    })
}

/// The live records that a selection means, by birth.
fn selected<'a>(world: &'a World, selection: &RecordSelection) -> Vec<&'a Record> {
    let named = |record: &Record| {
        selection
            .ids
            .as_ref()
            .is_none_or(|ids| ids.contains(&record.id))
    };
    let passing = |record: &Record| {
        selection
            .filter
            .as_ref()
            .is_none_or(|filter| passes(record, filter))
    };
    world
        .records
        .values()
        .filter(|record| named(record) && passing(record))
        .collect()
}

/// That the columns of `fetched` are those of `records`, and no others.
pub(super) fn check_columns(fetched: &Fetched, records: &[&Record], include: Include) {
    let ids: Vec<&str> = records.iter().map(|record| record.id.as_str()).collect();
    assert_eq!(fetched.ids.iter().collect::<Vec<_>>(), ids);
    assert_eq!(fetched.embeddings.is_some(), include.embeddings);
    assert_eq!(fetched.documents.is_some(), include.documents);
    assert_eq!(fetched.uris.is_some(), include.uris);
    assert_eq!(fetched.metadatas.is_some(), include.metadatas);
    for (row, record) in records.iter().enumerate() {
        if let Some(embeddings) = &fetched.embeddings {
            assert_eq!(embeddings.get(row), Some(record.vector.as_slice()));
        }
        if let Some(documents) = &fetched.documents {
            assert_eq!(documents.get(row), record.document.as_deref());
        }
        if let Some(uris) = &fetched.uris {
            assert_eq!(uris.get(row), record.uri.as_deref());
        }
        if let Some(metadatas) = &fetched.metadatas {
            let mut cells: Vec<_> = metadatas.row(row).collect();
            cells.sort_by_key(|cell| cell.0);
            let expected: Vec<_> = record
                .metadata
                .iter()
                .map(|(key, value)| (key.as_str(), value))
                .collect();
            assert_eq!(cells, expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn get_answers_as_the_naive_evaluator_does(
        changes in prop::collection::vec(any_change(), 0..9),
        selection in any_selection(),
        limit in prop::option::of(0..20u32),
        offset in prop_oneof![Just(0), 0..20u32],
        include in any_include(),
    ) {
        let world = world(&changes);
        let snapshot = world.snapshot(Space::L2);
        let expected = selected(&world, &selection);
        let all = select(&snapshot, &selection, None).unwrap();
        prop_assert_eq!(all.len(), expected.len());
        let page: Vec<&Record> = expected
            .into_iter()
            .skip(offset as usize)
            .take(limit.map_or(usize::MAX, |limit| limit as usize))
            .collect();
        let request = GetRequest { selection, limit, offset, include, ..GetRequest::default() };
        check_columns(&get(&snapshot, &request).unwrap(), &page, include);
    }

    #[test]
    fn query_answers_as_the_naive_evaluator_does(
        changes in prop::collection::vec(any_change(), 1..9),
        filter in prop::option::weighted(0.6, any_filter()),
        named in prop::option::weighted(0.3, prop::collection::vec(any::<prop::sample::Index>(), 0..9)),
        queries in prop::collection::vec((-2..3i8).prop_map(f32::from), DIMENSION..=3 * DIMENSION),
        n_results in prop_oneof![4 => 0..12u32, 1 => Just(u32::MAX)],
        space in prop_oneof![Just(Space::L2), Just(Space::Cosine), Just(Space::Ip)],
        include in any_include(),
    ) {
        let world = world(&changes);
        let snapshot = world.snapshot(space);
        let live: Vec<&Record> = world.records.values().collect();
        let ids = named.filter(|_| !live.is_empty()).map(|named| {
            named.iter().map(|index| index.get(&live).id.clone()).collect::<Vec<_>>()
        });
        let rows = queries.len() / DIMENSION;
        let embeddings =
            Embeddings::new(DIMENSION, queries[..rows * DIMENSION].to_vec()).unwrap();
        let selection = RecordSelection { ids, filter };
        let mut candidates = selected(&world, &selection);
        if world.parts.is_empty() {
            candidates.clear();
        }
        let request = QueryRequest { embeddings, n_results, selection, include, ..QueryRequest::default() };
        let answers = query(&snapshot, &request, Recall::EXACT).unwrap();
        prop_assert_eq!(answers.len(), rows);
        for (row, answer) in answers.iter().enumerate() {
            let vector = request.embeddings.get(row).unwrap();
            // Distances of small whole numbers: sums are exact, so that ties are ties. Cosine
            // divides, and is compared with room for rounding.
            let mut expected: Vec<(f64, &Record)> = candidates
                .iter()
                .map(|record| (distance(space, vector, &record.vector), *record))
                .collect();
            expected.sort_by(|a, b| a.0.total_cmp(&b.0));
            expected.truncate(n_results as usize);
            prop_assert_eq!(answer.distances.len(), expected.len());
            for (found, (expected, _)) in answer.distances.iter().zip(&expected) {
                prop_assert!((f64::from(*found) - expected).abs() < 1e-6);
            }
            let answered: Vec<&Record> = answer
                .records
                .ids
                .iter()
                .map(|id| live.iter().copied().find(|record| record.id == id).unwrap())
                .collect();
            check_columns(&answer.records, &answered, include);
            if space == Space::Cosine {
                for (record, found) in answered.iter().zip(&answer.distances) {
                    let exact = distance(space, vector, &record.vector);
                    prop_assert!((exact - f64::from(*found)).abs() < 1e-6);
                    prop_assert!(candidates.iter().any(|other| other.id == record.id));
                }
            } else {
                let expected: Vec<&Record> = expected.iter().map(|(_, record)| *record).collect();
                prop_assert_eq!(answered, expected);
            }
        }
    }
}
