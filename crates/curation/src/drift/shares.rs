//! What classes and metadata tell of the difference of two sides.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use vermilion_engine::model::Value;

use super::side::Side;
use crate::desk::Names;

/// Values or classes that are told of one key.
const VALUES: usize = 20;
/// Keys that are told.
const KEYS: usize = 20;

/// How often each value is there on either side.
type Counts<'a> = BTreeMap<&'a str, [usize; 2]>;

/// The shares of each class on both sides, the one that changed most first.
pub(super) fn by_class(reference: &Side, window: &Side, names: &Names) -> Json {
    let mut counts = Counts::new();
    for (side, members) in [&reference.members, &window.members]
        .into_iter()
        .enumerate()
    {
        for class in members.iter().filter_map(|member| member.class) {
            counts.entry(names.name(class)).or_default()[side] += 1;
        }
    }
    json!({ "shift": shift(&counts), "values": told(&counts) })
}

/// What changed of each key of metadata: shares of texts and truths, means of numbers. The key that
/// changed most comes first.
pub(super) fn by_metadata(reference: &Side, window: &Side) -> Json {
    let mut texts: BTreeMap<&str, BTreeMap<String, [usize; 2]>> = BTreeMap::new();
    let mut numbers: BTreeMap<&str, [Vec<f64>; 2]> = BTreeMap::new();
    for (side, members) in [&reference.members, &window.members]
        .into_iter()
        .enumerate()
    {
        for (key, value) in members.iter().flat_map(|member| &member.cells) {
            let mut count = |text: String| {
                texts.entry(key).or_default().entry(text).or_default()[side] += 1;
            };
            match value {
                Value::Str(text) => count(text.to_string()),
                Value::Bool(value) => count(value.to_string()),
                Value::Int(value) => numbers.entry(key).or_default()[side].push(*value as f64),
                Value::Float(value) => numbers.entry(key).or_default()[side].push(*value),
                _ => {}
            }
        }
    }
    let mut keys: Vec<(f64, Json)> = Vec::new();
    for (key, counts) in &texts {
        let counts = counts
            .iter()
            .map(|(text, counts)| (&**text, *counts))
            .collect();
        let shift = shift(&counts);
        keys.push((
            shift,
            json!({"key": key, "shift": shift, "values": told(&counts)}),
        ));
    }
    for (key, [before, now]) in &numbers {
        let sides = [mean(before), mean(now)];
        let apart = match sides {
            [Some((before, spread)), Some((now, other))] => {
                let spread = spread.max(other);
                let apart = (now - before).abs();
                // In [0, 1) as a shift of shares is: half where the means are a deviation apart.
                if apart > 0.0 {
                    apart / (apart + spread)
                } else {
                    0.0
                }
            }
            _ => 1.0,
        };
        let side = |side: Option<(f64, f64)>, count: usize| {
            let (mean, deviation) = side.unzip();
            json!({"mean": mean, "deviation": deviation, "records": count})
        };
        keys.push((
            apart,
            json!({
                "key": key,
                "shift": apart,
                "reference": side(sides[0], before.len()),
                "window": side(sides[1], now.len()),
            }),
        ));
    }
    keys.sort_by(|a, b| b.0.total_cmp(&a.0));
    keys.into_iter().take(KEYS).map(|(_, told)| told).collect()
}

fn totals(counts: &Counts<'_>) -> [f64; 2] {
    [0, 1].map(|side| {
        counts
            .values()
            .map(|count| count[side])
            .sum::<usize>()
            .max(1) as f64
    })
}

fn share_of(count: [usize; 2], totals: [f64; 2]) -> [f64; 2] {
    [0, 1].map(|side| count[side] as f64 / totals[side])
}

/// Half the sum of the differences of the shares, in [0, 1].
fn shift(counts: &Counts<'_>) -> f64 {
    let totals = totals(counts);
    let apart = counts.values().map(|count| {
        let [before, now] = share_of(*count, totals);
        (now - before).abs()
    });
    0.5 * apart.sum::<f64>()
}

fn told(counts: &Counts<'_>) -> Json {
    let totals = totals(counts);
    let mut all: Vec<_> = counts
        .iter()
        .map(|(value, count)| (value, share_of(*count, totals)))
        .collect();
    let apart = |shares: [f64; 2]| (shares[1] - shares[0]).abs();
    all.sort_by(|a, b| apart(b.1).total_cmp(&apart(a.1)).then(a.0.cmp(b.0)));
    let told = all.into_iter().take(VALUES).map(|(value, [before, now])| {
        json!({"value": value, "reference": before, "window": now, "change": now - before})
    });
    told.collect()
}

/// Mean and deviation.
fn mean(values: &[f64]) -> Option<(f64, f64)> {
    let count = values.len() as f64;
    (count > 0.0).then(|| {
        let mean = values.iter().sum::<f64>() / count;
        let square = values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>();
        (mean, (square / count).sqrt())
    })
}
