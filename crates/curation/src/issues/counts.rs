//! What counting tells: classes that are rare in training or unknown to it, probabilities that are missing.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use vermilion_scores::issues::{imbalance, unknown_classes};

use crate::desk::{Row, State};
use crate::fields::Context;

/// Records that are named.
const NAMED: usize = 10;

/// Ids of the first rows that something holds for.
fn first(state: &State, holds: impl Fn(&Row) -> bool) -> Vec<&str> {
    let rows = state.rows.iter().filter(|(_, row)| holds(row));
    rows.take(NAMED).map(|(id, _)| &**id).collect()
}

/// How many rows there are of each class.
fn counts(state: &State, class: impl Fn(&Row) -> Option<u32>) -> Vec<u64> {
    let mut counts = vec![0; state.classes.len()];
    for class in state.rows.values().filter_map(class) {
        counts[class as usize] += 1;
    }
    counts
}

fn labels(state: &State) -> Vec<u64> {
    counts(state, |row| row.label.filter(|_| row.is_reference()))
}

/// Classes with few training records.
pub(super) fn rare(state: &State) -> Vec<Json> {
    let counts = labels(state);
    let filled = counts.iter().filter(|count| **count != 0).count();
    let told = imbalance(&counts).into_iter().map(|rare| {
        let name = state.classes.name(rare.class);
        let expected = 1.0 / filled as f64;
        json!({
            "type": "imbalance",
            "class": name,
            "records": rare.count,
            "share": rare.share,
            "score": 1.0 - rare.share / expected,
            "ids": first(state, |row| row.is_reference() && row.label == Some(rare.class)),
            "explanation": format!(
                "`{name}` has {} of the labelled training records, {:.2} %; all classes alike would have \
                 {:.1} %",
                rare.count,
                rare.share * 100.0,
                expected * 100.0
            ),
        })
    });
    told.collect()
}

/// Classes that the model says in production and that no training record is labelled with.
pub(super) fn unknown(state: &State) -> Vec<Json> {
    let said = counts(state, |row| row.inferred.filter(|_| row.is_production()));
    let all = state.count(Context::Production).max(1) as f64;
    let told = unknown_classes(&said, &labels(state)).into_iter().map(|(class, count)| {
        let name = state.classes.name(class);
        json!({
            "type": "unknown_class",
            "class": name,
            "records": count,
            "score": count as f64 / all,
            "ids": first(state, |row| row.is_production() && row.inferred == Some(class)),
            "explanation": format!(
                "the model says `{name}` of {count} records of production; no training record has that \
                 label"
            ),
        })
    });
    told.collect()
}

/// Datasets some of whose records came without the model's probabilities.
pub(super) fn without_probabilities(state: &State) -> Vec<Json> {
    let mut datasets: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for row in state.rows.values() {
        let counts = datasets.entry(&row.dataset).or_default();
        counts.0 += usize::from(row.top.is_none());
        counts.1 += 1;
    }
    let mut missing: Vec<_> = datasets
        .into_iter()
        .filter(|(_, counts)| counts.0 != 0)
        .collect();
    let share = |counts: (usize, usize)| counts.0 as f64 / counts.1 as f64;
    missing.sort_by(|a, b| share(b.1).total_cmp(&share(a.1)).then(a.0.cmp(b.0)));
    let told = missing.into_iter().map(|(dataset, counts)| {
        json!({
            "type": "missing_probabilities",
            "dataset": dataset,
            "records": counts.0,
            "records_of_dataset": counts.1,
            "score": share(counts),
            "ids": first(state, |row| row.top.is_none() && row.dataset == dataset),
            "explanation": format!(
                "{} of the {} records of `{dataset}` came without the model's probabilities: how unsure \
                 it was is judged by training records near them",
                counts.0, counts.1
            ),
        })
    });
    told.collect()
}
