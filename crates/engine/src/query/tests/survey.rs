//! Orders by metadata values, and what values come to: equal to a naive evaluator, however rows are
//! spread.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::model::{
    Aggregate, Aggregated, Comparison, Filter, GetRequest, OrderBy, RecordSelection, Survey,
};
use crate::query::{count, survey};

/// A scalar as a tuple whose order is that of values: booleans, numbers, strings.
type Key = (u8, f64, String);

fn key_of(value: &Value) -> Key {
    match value {
        Value::Bool(value) => (0, f64::from(u8::from(*value)), String::new()),
        Value::Int(value) => (1, *value as f64, String::new()),
        Value::Float(value) => (1, *value, String::new()),
        Value::Str(value) => (2, 0.0, value.to_string()),
        other => panic!("{other:?} is no scalar"),
    }
}

fn scalars(value: &Value) -> Vec<Value> {
    match value {
        Value::Strs(list) => list
            .iter()
            .map(|one| Value::Str(one.as_str().into()))
            .collect(),
        Value::Ints(list) => list.iter().copied().map(Value::Int).collect(),
        other => vec![other.clone()],
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        (-3..4i64).prop_map(Value::Int),
        (-6..7i32).prop_map(|half| Value::Float(f64::from(half) / 2.0)),
        "[abA]{0,2}".prop_map(|text| Value::Str(text.into())),
    ]
}

fn any_list() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => any_value(),
        1 => prop::collection::vec(-2..3i64, 1..4).prop_map(|list| Value::Ints(list.into())),
        1 => prop::collection::vec("[ab]{1}", 1..4).prop_map(|list| Value::Strs(list.into())),
    ]
}

/// Records with an ordered key `o` and a counted key `c`, in batches; each batch may be followed
/// by joining all parts, in memory or on disk.
fn any_batches() -> impl Strategy<Value = Vec<(Vec<Record>, u8)>> {
    let record = (
        0..30u8,
        prop::option::weighted(0.8, any_value()),
        prop::option::weighted(0.8, any_list()),
    );
    let record = record.prop_map(|(id, ordered, counted)| {
        let cells = [("o", ordered), ("c", counted)];
        let metadata = cells
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)));
        Record {
            id: format!("r{id}"),
            vector: vec![0.0; 2],
            metadata: metadata.collect(),
            ..Record::default()
        }
    });
    let batch = prop::collection::vec(record, 1..12).prop_map(|mut records| {
        let mut seen = BTreeSet::new();
        records.retain(|record| seen.insert(record.id.clone()));
        records
    });
    prop::collection::vec((batch, 0..4u8), 1..6)
}

fn world(batches: &[(Vec<Record>, u8)]) -> World {
    let mut world = World::new(2);
    for (batch, then) in batches {
        world.upsert(batch);
        match then {
            0 => world.join(true),
            1 => world.join(false),
            _ => {}
        }
    }
    world
}

fn naive_order(world: &World, descending: bool) -> Vec<String> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for (birth, record) in &world.records {
        match record.metadata.get("o") {
            Some(value) => with.push((key_of(value), *birth, record.id.clone())),
            None => without.push(record.id.clone()),
        }
    }
    with.sort_by(|a, b| {
        let by_key = a.0.partial_cmp(&b.0).unwrap();
        let by_key = if descending { by_key.reverse() } else { by_key };
        by_key.then(a.1.cmp(&b.1))
    });
    with.into_iter()
        .map(|(_, _, id)| id)
        .chain(without)
        .collect()
}

fn answered(found: &crate::model::Fetched) -> Vec<String> {
    found.ids.iter().map(str::to_owned).collect()
}

proptest! {
    #[test]
    fn records_come_in_the_order_of_values_page_by_page(
        batches in any_batches(), descending: bool, limit in 1..9u32,
    ) {
        let world = world(&batches);
        let snapshot = world.snapshot(Space::L2);
        let asked = Survey {
            order_by: vec![OrderBy { key: "o".to_owned(), descending }],
            aggregates: Vec::new(),
        };
        let expected = naive_order(&world, descending);
        let mut paged = Vec::new();
        while paged.len() < expected.len() {
            let offset = paged.len() as u32;
            let page = GetRequest { limit: Some(limit), offset, ..GetRequest::default() };
            paged.extend(answered(&survey(&snapshot, &page, &asked).unwrap().0));
        }
        prop_assert_eq!(&paged, &expected);
        let (whole, _) = survey(&snapshot, &GetRequest::default(), &asked).unwrap();
        prop_assert_eq!(answered(&whole), expected);
    }

    #[test]
    fn aggregates_are_those_of_a_naive_evaluator(batches in any_batches(), limit in 1..6usize) {
        let world = world(&batches);
        let key = || "c".to_owned();
        let asked = Survey {
            order_by: Vec::new(),
            aggregates: vec![
                Aggregate::CountBy { key: key(), limit },
                Aggregate::Distinct { key: key(), limit: 100 },
                Aggregate::Min { key: key() },
                Aggregate::Max { key: key() },
            ],
        };
        let page = GetRequest { limit: Some(0), ..GetRequest::default() };
        let (records, found) = survey(&world.snapshot(Space::L2), &page, &asked).unwrap();
        prop_assert!(records.ids.is_empty());

        let (mut counts, mut missing): (Vec<(Value, u64)>, u64) = (Vec::new(), 0);
        for record in world.records.values() {
            let Some(value) = record.metadata.get("c") else {
                missing += 1;
                continue;
            };
            let mut of_record: Vec<Value> = Vec::new();
            for scalar in scalars(value) {
                if !of_record.contains(&scalar) {
                    of_record.push(scalar);
                }
            }
            for scalar in of_record {
                match counts.iter_mut().find(|(known, _)| *known == scalar) {
                    Some((_, count)) => *count += 1,
                    None => counts.push((scalar, 1)),
                }
            }
        }
        let order = |value: &Value| (key_of(value), u8::from(matches!(value, Value::Float(_))));
        counts.sort_by(|a, b| order(&a.0).partial_cmp(&order(&b.0)).unwrap());
        let distinct = counts.len() as u64;
        let values: Vec<Value> = counts.iter().map(|(value, _)| value.clone()).collect();
        let least = values.first().map(key_of);
        let greatest = values.last().map(key_of);
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts.truncate(limit);
        let expected = Aggregated::Counts { values: counts, distinct, missing };
        prop_assert_eq!(&found[0], &expected);
        prop_assert_eq!(&found[1], &Aggregated::Values { values, distinct });
        for (found, expected) in [(&found[2], least), (&found[3], greatest)] {
            let Aggregated::Value(value) = found else {
                panic!("{found:?} is no value");
            };
            prop_assert_eq!(value.as_ref().map(key_of), expected);
        }
    }
}

#[test]
fn a_survey_means_what_the_selection_means_and_counts_go_with_it() {
    let record = |id: &str, n: i64, tag: &str| Record {
        id: id.to_owned(),
        vector: vec![1.0, 2.0],
        metadata: BTreeMap::from([
            ("n".to_owned(), Value::Int(n)),
            ("tag".to_owned(), Value::Str(tag.into())),
        ]),
        ..Record::default()
    };
    let mut world = World::new(2);
    world.upsert(&[
        record("a", 3, "x"),
        record("b", 1, "y"),
        record("c", 2, "x"),
    ]);
    let snapshot = world.snapshot(Space::L2);
    let selection = RecordSelection {
        ids: None,
        filter: Some(Filter::Metadata {
            key: "tag".to_owned(),
            comparison: Comparison::Equal(crate::model::Scalar::Str("x".to_owned())),
        }),
    };
    assert_eq!(count(&snapshot, &selection).unwrap(), 2);
    assert_eq!(count(&snapshot, &RecordSelection::default()).unwrap(), 3);
    let asked = Survey {
        order_by: vec![OrderBy {
            key: "n".to_owned(),
            descending: false,
        }],
        aggregates: vec![Aggregate::Max {
            key: "n".to_owned(),
        }],
    };
    let request = GetRequest {
        selection,
        limit: Some(1),
        ..GetRequest::default()
    };
    let (found, aggregated) = survey(&snapshot, &request, &asked).unwrap();
    assert_eq!(answered(&found), ["c"]);
    assert_eq!(aggregated, [Aggregated::Value(Some(Value::Int(3)))]);
}
