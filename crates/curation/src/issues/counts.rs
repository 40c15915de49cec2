//! What counting tells: classes that are rare in training or unknown to it, probabilities that are missing.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use vermilion_scores::issues::{imbalance, unknown_classes};

use crate::desk::{Row, State};
use crate::fields::Context;

/// Records that are named.
const NAMED: usize = 10;

/// How many rows there are of something, and the ids of the first.
#[derive(Clone, Default)]
struct Tally<'a> {
    count: u64,
    ids: Vec<&'a str>,
}

impl<'a> Tally<'a> {
    fn add(&mut self, id: &'a str) {
        self.count += 1;
        if self.ids.len() < NAMED {
            self.ids.push(id);
        }
    }
}

/// The rows of each class, and how many those are.
fn by_class(state: &State, class: impl Fn(&Row) -> Option<u32>) -> (Vec<Tally<'_>>, Vec<u64>) {
    let mut tallies = vec![Tally::default(); state.classes.len()];
    for (id, row) in &state.rows {
        if let Some(class) = class(row) {
            tallies[class as usize].add(id);
        }
    }
    let counts = tallies.iter().map(|tally| tally.count).collect();
    (tallies, counts)
}

fn by_label(state: &State) -> (Vec<Tally<'_>>, Vec<u64>) {
    by_class(state, |row| row.label.filter(|_| row.is_reference()))
}

/// Classes with few training records.
pub(super) fn rare(state: &State) -> Vec<Json> {
    let (labelled, counts) = by_label(state);
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
            "ids": labelled[rare.class as usize].ids,
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
    let (said, counts) = by_class(state, |row| row.inferred.filter(|_| row.is_production()));
    let mut labelled = vec![0; state.classes.len()];
    let classes = state.reference.iter().flat_map(|reference| {
        let classes = reference.statistics.classes().iter().enumerate();
        classes.map(|(class, moments)| (class, moments.count()))
    });
    classes.for_each(|(class, count)| labelled[class] = count);
    let all = state.count(Context::Production).max(1) as f64;
    let told = unknown_classes(&counts, &labelled).into_iter().map(|(class, count)| {
        let name = state.classes.name(class);
        json!({
            "type": "unknown_class",
            "class": name,
            "records": count,
            "score": count as f64 / all,
            "ids": said[class as usize].ids,
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
    let mut datasets: BTreeMap<&str, (Tally<'_>, u64)> = BTreeMap::new();
    for (id, row) in &state.rows {
        let (without, all) = datasets.entry(&row.dataset).or_default();
        if row.unsure.is_none() {
            without.add(id);
        }
        *all += 1;
    }
    let mut missing: Vec<_> = datasets
        .into_iter()
        .filter(|(_, (without, _))| without.count != 0)
        .collect();
    let share = |(without, all): &(Tally<'_>, u64)| without.count as f64 / *all as f64;
    missing.sort_by(|a, b| share(&b.1).total_cmp(&share(&a.1)).then(a.0.cmp(b.0)));
    let told = missing.into_iter().map(|(dataset, counts)| {
        json!({
            "type": "missing_probabilities",
            "dataset": dataset,
            "records": counts.0.count,
            "records_of_dataset": counts.1,
            "score": share(&counts),
            "ids": counts.0.ids,
            "explanation": format!(
                "{} of the {} records of `{dataset}` came without the model's probabilities: how unsure \
                 it was is judged by training records near them",
                counts.0.count, counts.1
            ),
        })
    });
    told.collect()
}
