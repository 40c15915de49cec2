//! Random searches: the engine's answers are the naive ones, score for score and tie for tie.
//!
//! `SEARCH_CASES` says how many are made.

use std::cmp::Ordering;

use proptest::prelude::*;

use super::naive::{distance, passes};
use super::random::{any_change, any_filter, check_columns, world};
use super::*;
use crate::model::{
    EMBEDDING_KEY, Filter, GroupBy, GroupKey, Include, Knn, KnnQuery, Rank, Recall, Search, Select,
    SelectMetadata, SparseVector,
};
use crate::query::search;

const DIMENSION: usize = 3;

fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var("SEARCH_CASES").ok();
    let asked = asked.and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(asked.unwrap_or(usual))
}

fn any_query() -> impl Strategy<Value = (KnnQuery, String)> {
    let dense = prop::collection::vec((-2..3i8).prop_map(f32::from), DIMENSION)
        .prop_map(|vector| (KnnQuery::Dense(vector), EMBEDDING_KEY.to_owned()));
    let sparse = (any_sparse(0), "[st]").prop_map(|(query, key)| (KnnQuery::Sparse(query), key));
    prop_oneof![dense, sparse]
}

/// Values that have no exact sum in `f32`, so that the order of additions shows.
pub(super) fn any_sparse(least: usize) -> impl Strategy<Value = SparseVector> {
    let value = prop_oneof![4 => 1..9i8, 1 => -9..9i8].prop_map(|value| f32::from(value) * 0.3);
    prop::collection::btree_map(0..6u32, value, least..5).prop_map(|cells| SparseVector {
        indices: cells.keys().copied().collect(),
        values: cells.values().copied().collect(),
        tokens: None,
    })
}

fn any_rank() -> impl Strategy<Value = Rank> {
    let small = || (-4..5i8).prop_map(f64::from);
    let knn = (
        any_query(),
        prop_oneof![4 => 1..12u32, 1 => Just(u32::MAX)],
        prop::option::of(small()),
        any::<bool>(),
    )
        .prop_map(|((query, key), limit, default, by_place)| {
            Rank::Knn(Knn {
                query,
                key,
                limit,
                default,
                by_place,
            })
        });
    let leaf = prop_oneof![3 => knn, 1 => small().prop_map(Rank::Value)];
    leaf.prop_recursive(4, 10, 3, |inner| {
        let members = || prop::collection::vec(inner.clone(), 1..4);
        let pair = || (inner.clone(), inner.clone()).prop_map(|(a, b)| Box::new([a, b]));
        let one = || inner.clone().prop_map(Box::new);
        prop_oneof![
            3 => members().prop_map(Rank::Sum),
            1 => members().prop_map(Rank::Product),
            1 => members().prop_map(Rank::Max),
            1 => members().prop_map(Rank::Min),
            1 => pair().prop_map(Rank::Difference),
            1 => pair().prop_map(Rank::Quotient),
            1 => one().prop_map(Rank::Absolute),
            1 => one().prop_map(Rank::Exponential),
            1 => one().prop_map(Rank::Logarithm),
        ]
    })
}

fn any_group_by() -> impl Strategy<Value = GroupBy> {
    let part = prop_oneof![
        Just(GroupKey::Score),
        "[abc]".prop_map(GroupKey::Metadata),
        Just(GroupKey::Metadata("s".to_owned()))
    ];
    (
        prop::collection::vec("[abcs]", 1..3),
        prop::collection::vec(part, 1..3),
        any::<bool>(),
        1..4u32,
    )
        .prop_map(|(keys, order, largest, count)| GroupBy {
            keys,
            order,
            largest,
            count,
        })
}

fn any_search() -> impl Strategy<Value = Search> {
    let select = any::<[bool; 4]>().prop_map(|[documents, embeddings, scores, metadata]| Select {
        documents,
        embeddings,
        scores,
        metadata: if metadata {
            SelectMetadata::Everything
        } else {
            SelectMetadata::Nothing
        },
    });
    (
        prop::option::weighted(0.5, any_filter()),
        prop::option::weighted(0.9, any_rank()),
        prop::option::weighted(0.4, any_group_by()),
        prop_oneof![3 => Just(0), 1 => 0..8u32],
        prop::option::weighted(0.5, 0..12u32),
        select,
    )
        .prop_map(|(filter, rank, group_by, offset, limit, select)| Search {
            filter,
            group_by: group_by.filter(|_| rank.is_some()),
            rank,
            offset,
            limit,
            select,
        })
}

/// What an expression says of one record: its score, whether it is supported, and the default.
type Said = (Option<f64>, bool, Option<f64>);

struct Naive<'a> {
    world: &'a World,
    space: Space,
    filter: Option<&'a Filter>,
}

impl Naive<'_> {
    fn candidates(&self) -> Vec<(u64, &Record)> {
        let records = self.world.records.iter();
        records
            .map(|(birth, record)| (*birth, record))
            .filter(|(_, record)| self.filter.is_none_or(|filter| passes(record, filter)))
            .collect()
    }

    fn dot(&self, query: &SparseVector, key: &str, record: &Record) -> Option<f64> {
        let Some(Value::Sparse(vector)) = record.metadata.get(key) else {
            return None;
        };
        let holds = |record: &Record, index: &u32| match record.metadata.get(key) {
            Some(Value::Sparse(vector)) => vector.indices.contains(index),
            _ => false,
        };
        let mut sum = None;
        for (index, weight) in query.indices.iter().zip(&query.values) {
            let Some(at) = vector.indices.iter().position(|other| other == index) else {
                continue;
            };
            let mut weight = f64::from(*weight);
            if key == "t" {
                let all = self.world.records.len() as f64;
                let records = self.world.records.values();
                let having = records.filter(|record| holds(record, index)).count() as f64;
                weight *= (1.0 + (all - having + 0.5) / (having + 0.5)).ln();
            }
            sum = Some(sum.unwrap_or(0.0) + weight * f64::from(vector.values[at]));
        }
        sum
    }

    /// The scores of a `$knn` by birth.
    fn knn(&self, knn: &Knn) -> Vec<(u64, f64)> {
        let mut near: Vec<(f32, u64)> = Vec::new();
        for (birth, record) in self.candidates() {
            let distance = match &knn.query {
                KnnQuery::Dense(query) => Some(distance(self.space, query, &record.vector)),
                KnnQuery::Sparse(query) => self.dot(query, &knn.key, record).map(|dot| 1.0 - dot),
            };
            near.extend(distance.map(|distance| (distance as f32, birth)));
        }
        near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let near = near.into_iter().take(knn.limit as usize).enumerate();
        near.map(|(place, (distance, birth))| {
            let score = if knn.by_place {
                place as f64
            } else {
                f64::from(distance)
            };
            (birth, score)
        })
        .collect()
    }

    fn say(&self, rank: &Rank, birth: u64) -> Said {
        let map = |inner: &Rank, of: fn(f64) -> f64| {
            let (score, supported, default) = self.say(inner, birth);
            (score.map(of), supported, default.map(of))
        };
        match rank {
            Rank::Value(value) => (Some(*value), false, Some(*value)),
            Rank::Knn(knn) => {
                let found = self.knn(knn).into_iter().find(|found| found.0 == birth);
                let score = found.map(|found| found.1);
                (score.or(knn.default), score.is_some(), knn.default)
            }
            Rank::Sum(members) => self.fold(members, birth, |a, b| a + b),
            Rank::Product(members) => self.fold(members, birth, |a, b| a * b),
            Rank::Max(members) => self.fold(members, birth, f64::max),
            Rank::Min(members) => self.fold(members, birth, f64::min),
            Rank::Difference(pair) => self.fold(&pair[..], birth, |a, b| a - b),
            Rank::Quotient(pair) => self.fold(&pair[..], birth, |a, b| a / b),
            Rank::Absolute(inner) => map(inner, f64::abs),
            Rank::Exponential(inner) => map(inner, f64::exp),
            Rank::Logarithm(inner) => map(inner, f64::ln),
        }
    }

    fn fold(&self, members: &[Rank], birth: u64, of: fn(f64, f64) -> f64) -> Said {
        let mut said = members.iter().map(|member| self.say(member, birth));
        let first = said.next().unwrap();
        said.fold(first, |a, b| {
            let supported = match (a.2, b.2) {
                (Some(_), Some(_)) => a.1 || b.1,
                (None, Some(_)) => a.1,
                (Some(_), None) => b.1,
                (None, None) => a.1 && b.1,
            };
            let both = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| of(a, b));
            (both(a.0, b.0), supported, both(a.2, b.2))
        })
    }

    /// The answer to `search`: records and their scores.
    fn search(&self, search: &Search) -> Vec<(&Record, Option<f32>)> {
        let mut found: Vec<(u64, &Record, Option<f32>)> = Vec::new();
        for (birth, record) in self.candidates() {
            match search.rank.as_ref().map(|rank| self.say(rank, birth)) {
                None => found.push((birth, record, None)),
                Some((score, true, _)) => found.push((birth, record, Some(score.unwrap() as f32))),
                Some(_) => {}
            }
        }
        found.sort_by(|a, b| by_score(a.2, b.2).then(a.0.cmp(&b.0)));
        if let Some(group_by) = &search.group_by {
            let all = found.clone();
            found.retain(|one| {
                let better = all.iter().filter(|other| {
                    same_group(one.1, other.1, group_by) && precedes(other, one, group_by)
                });
                better.count() < group_by.count as usize
            });
        }
        let limit = search.limit.map_or(usize::MAX, |limit| limit as usize);
        let page = found.into_iter().skip(search.offset as usize).take(limit);
        page.map(|(_, record, score)| (record, score)).collect()
    }
}

fn by_score(a: Option<f32>, b: Option<f32>) -> Ordering {
    let (a, b) = (a.unwrap_or(0.0), b.unwrap_or(0.0));
    match (a.is_finite(), b.is_finite()) {
        (true, true) => a.partial_cmp(&b).unwrap(),
        (a, b) => b.cmp(&a),
    }
}

fn same_group(a: &Record, b: &Record, group_by: &GroupBy) -> bool {
    let mut keys = group_by.keys.iter();
    keys.all(|key| a.metadata.get(key) == b.metadata.get(key))
}

type Placed<'a> = (u64, &'a Record, Option<f32>);

fn precedes(a: &Placed<'_>, b: &Placed<'_>, group_by: &GroupBy) -> bool {
    for key in &group_by.order {
        let (ordering, fixed) = match key {
            GroupKey::Score => {
                let finite = a.2.unwrap().is_finite() && b.2.unwrap().is_finite();
                (by_score(a.2, b.2), !finite)
            }
            GroupKey::Metadata(key) => match (a.1.metadata.get(key), b.1.metadata.get(key)) {
                (Some(a), Some(b)) => (by_value(a, b), false),
                (a, b) => (a.is_none().cmp(&b.is_none()), true),
            },
        };
        let turned = group_by.largest && !fixed;
        let ordering = if turned { ordering.reverse() } else { ordering };
        if ordering.is_ne() {
            return ordering.is_lt();
        }
    }
    by_score(a.2, b.2).then(a.0.cmp(&b.0)).is_lt()
}

fn by_value(a: &Value, b: &Value) -> Ordering {
    let class = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Int(_) | Value::Float(_) => 2,
        Value::Str(_) => 3,
        Value::Bools(_) => 4,
        Value::Ints(_) => 5,
        Value::Floats(_) => 6,
        Value::Strs(_) => 7,
        Value::Sparse(_) => 8,
    };
    let float = |value: &Value| match value {
        Value::Float(float) => Some(*float),
        _ => None,
    };
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Int(a), b) if float(b).is_some() => {
            super::naive::int_with_float(*a, float(b).unwrap())
        }
        (a, Value::Int(b)) if float(a).is_some() => {
            super::naive::int_with_float(*b, float(a).unwrap()).reverse()
        }
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b).unwrap(),
        (Value::Str(a), Value::Str(b)) => a.cmp(b),
        (Value::Bools(a), Value::Bools(b)) => a.cmp(b),
        (Value::Ints(a), Value::Ints(b)) => a.cmp(b),
        (Value::Floats(a), Value::Floats(b)) => a.partial_cmp(b).unwrap(),
        (Value::Strs(a), Value::Strs(b)) => a.cmp(b),
        (Value::Sparse(a), Value::Sparse(b)) => {
            let values = a.values.partial_cmp(&b.values).unwrap();
            a.indices.cmp(&b.indices).then(values)
        }
        _ => class(a).cmp(&class(b)),
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn search_answers_as_the_naive_evaluator_does(
        changes in prop::collection::vec(any_change(), 0..9),
        searches in prop::collection::vec(any_search(), 1..4),
        space in prop_oneof![Just(Space::L2), Just(Space::Ip)],
    ) {
        let world = world(&changes);
        let snapshot = world.snapshot(space);
        let answers = search(&snapshot, &searches, Recall::EXACT).unwrap();
        prop_assert_eq!(answers.len(), searches.len());
        for (search, answer) in searches.iter().zip(&answers) {
            let filter = search.filter.as_ref();
            let naive = Naive { world: &world, space, filter };
            let expected = naive.search(search);
            let records: Vec<&Record> = expected.iter().map(|found| found.0).collect();
            let include = Include {
                documents: search.select.documents,
                embeddings: search.select.embeddings,
                metadatas: search.select.metadata == SelectMetadata::Everything,
                ..Include::default()
            };
            check_columns(&answer.records, &records, include);
            prop_assert_eq!(answer.scores.is_some(), search.rank.is_some());
            for (found, (_, expected)) in answer.scores.iter().flatten().zip(&expected) {
                // Zero has two signs, and no number many bits.
                let bits = |score: f32| {
                    let score = if score.is_nan() { f32::NAN } else { score + 0.0 };
                    score.to_bits()
                };
                prop_assert_eq!(bits(*found), bits(expected.unwrap()));
            }
        }
    }
}

#[test]
fn scores_that_are_no_finite_number_come_last() {
    let mut world = World::new(DIMENSION);
    let record = |id: &str, first: f32| Record {
        id: id.into(),
        vector: vec![first, 0.0, 0.0],
        ..Record::default()
    };
    world.upsert(&[record("same", 0.0), record("far", 3.0), record("near", 1.0)]);
    let knn = Rank::Knn(Knn {
        query: KnnQuery::Dense(vec![0.0; DIMENSION]),
        key: EMBEDDING_KEY.to_owned(),
        limit: 10,
        default: None,
        by_place: false,
    });
    let ask = |group_by| Search {
        rank: Some(Rank::Logarithm(Box::new(knn.clone()))),
        group_by,
        ..Search::default()
    };
    // The one group of all keeps the largest two, none of which is minus infinity.
    let largest = GroupBy {
        keys: vec!["k".into()],
        order: vec![GroupKey::Score],
        largest: true,
        count: 2,
    };
    let searches = [ask(None), ask(Some(largest))];
    let found = search(&world.snapshot(Space::L2), &searches, Recall::EXACT).unwrap();
    let ids = |at: usize| found[at].records.ids.iter().collect::<Vec<_>>();
    assert_eq!(ids(0), ["near", "far", "same"]);
    assert_eq!(ids(1), ["near", "far"]);
}
