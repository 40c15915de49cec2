//! Groups of ranked records, and who is kept of each.
//!
//! What must stay true: which group a record is in and who is kept depends on values and scores
//! alone, ties going to the record that is ranked first; types do not mix, except that integers and
//! floats compare as the exact numbers they are.

use std::cmp::Ordering;

use hashbrown::HashMap;

use super::search::Ranked;
use super::{Location, Snapshot};
use crate::Result;
use crate::model::{GroupBy, GroupKey, MetadataColumn, Number, Value};
use crate::segments::compare_numbers;

/// Records whose metadata is read at a time.
const RECORDS_AT_ONCE: usize = 1024;

/// A record with the values that decide whether it is kept.
struct Member {
    /// Its place among the ranked.
    place: usize,
    /// A value for each part of the order; the score's is not here.
    values: Vec<Option<Value>>,
}

/// Those of `ranked` that are kept of their groups, in the same order.
pub(super) fn keep(
    snapshot: &Snapshot,
    ranked: Vec<Ranked>,
    group_by: &GroupBy,
) -> Result<Vec<Ranked>> {
    let mut groups: HashMap<Vec<u8>, Vec<Member>> = HashMap::new();
    for (number, some) in ranked.chunks(RECORDS_AT_ONCE).enumerate() {
        let mut metadata = MetadataColumn::default();
        for record in some {
            let Location { part, row } = record.location;
            let source = &snapshot.parts[part].source;
            source.push_metadata(row, &mut metadata)?;
        }
        for row in 0..some.len() {
            let value = |key: &str| metadata.get(row, metadata.key_number(key)?);
            let mut name = Vec::new();
            for key in &group_by.keys {
                write_value(value(key), &mut name);
            }
            let values = group_by.order.iter().map(|key| match key {
                GroupKey::Score => None,
                GroupKey::Metadata(key) => value(key).cloned(),
            });
            let member = Member {
                place: number * RECORDS_AT_ONCE + row,
                values: values.collect(),
            };
            groups.entry(name).or_default().push(member);
        }
    }
    let mut kept = vec![false; ranked.len()];
    for (_, mut members) in groups {
        members.sort_by(|a, b| order(a, b, &ranked, group_by));
        let first = members.iter().take(group_by.count as usize);
        first.for_each(|member| kept[member.place] = true);
    }
    let both = ranked.into_iter().zip(kept);
    Ok(both
        .filter_map(|(record, kept)| kept.then_some(record))
        .collect())
}

fn order(a: &Member, b: &Member, ranked: &[Ranked], group_by: &GroupBy) -> Ordering {
    let turned = |ordering: Ordering| {
        if group_by.largest {
            ordering.reverse()
        } else {
            ordering
        }
    };
    for (at, key) in group_by.order.iter().enumerate() {
        let ordering = match key {
            GroupKey::Score => {
                let (a, b) = (&ranked[a.place], &ranked[b.place]);
                match (a.score.is_nan(), b.score.is_nan()) {
                    (false, false) => turned(a.by_score(b)),
                    (a, b) => a.cmp(&b),
                }
            }
            GroupKey::Metadata(_) => match (&a.values[at], &b.values[at]) {
                (Some(a), Some(b)) => turned(compare_values(a, b)),
                // Records without a value come last, whichever end is kept.
                (a, b) => a.is_none().cmp(&b.is_none()),
            },
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
    a.place.cmp(&b.place)
}

/// Appends `value` so that equal bytes are equal values of one type.
pub(super) fn write_value(value: Option<&Value>, to: &mut Vec<u8>) {
    let mut kind = |kind: u8| to.push(kind);
    match value {
        None | Some(Value::Null) => kind(0),
        Some(Value::Bool(_)) => kind(1),
        Some(Value::Int(_)) => kind(2),
        Some(Value::Float(_)) => kind(3),
        Some(Value::Str(_)) => kind(4),
        Some(Value::Bools(_)) => kind(5),
        Some(Value::Ints(_)) => kind(6),
        Some(Value::Floats(_)) => kind(7),
        Some(Value::Strs(_)) => kind(8),
        Some(Value::Sparse(_)) => kind(9),
    }
    let mut bytes = |bytes: &[u8]| {
        to.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        to.extend_from_slice(bytes);
    };
    // Zero has two signs, which are equal.
    let float = |value: &f64| (value + 0.0).to_bits().to_le_bytes();
    match value {
        None | Some(Value::Null) => {}
        Some(Value::Bool(value)) => bytes(&[u8::from(*value)]),
        Some(Value::Int(value)) => bytes(&value.to_le_bytes()),
        Some(Value::Float(value)) => bytes(&float(value)),
        Some(Value::Str(value)) => bytes(value.as_bytes()),
        Some(Value::Bools(list)) => bytes(bytemuck::cast_slice(
            &list
                .iter()
                .map(|&value| u8::from(value))
                .collect::<Vec<_>>(),
        )),
        Some(Value::Ints(list)) => bytes(bytemuck::cast_slice(list)),
        Some(Value::Floats(list)) => bytes(&list.iter().flat_map(float).collect::<Vec<_>>()),
        Some(Value::Strs(list)) => {
            bytes(&(list.len() as u64).to_le_bytes());
            list.iter().for_each(|text| bytes(text.as_bytes()));
        }
        Some(Value::Sparse(sparse)) => {
            bytes(bytemuck::cast_slice(&sparse.indices));
            bytes(bytemuck::cast_slice(&sparse.values));
        }
    }
}

/// How `a` stands to `b`: booleans, numbers, strings, lists, sparse vectors, in this order.
pub(super) fn compare_values(a: &Value, b: &Value) -> Ordering {
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return compare_numbers(a, b).unwrap_or(Ordering::Equal);
    }
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Str(a), Value::Str(b)) => a.cmp(b),
        (Value::Bools(a), Value::Bools(b)) => a.cmp(b),
        (Value::Ints(a), Value::Ints(b)) => a.cmp(b),
        (Value::Floats(a), Value::Floats(b)) => a.iter().partial_cmp(b).unwrap_or(Ordering::Equal),
        (Value::Strs(a), Value::Strs(b)) => a.cmp(b),
        (Value::Sparse(a), Value::Sparse(b)) => {
            let values = || a.values.iter().partial_cmp(&b.values);
            let indices = a.indices.cmp(&b.indices);
            indices.then_with(|| values().unwrap_or(Ordering::Equal))
        }
        _ => class(a).cmp(&class(b)),
    }
}

fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Int(value) => Some(Number::Int(*value)),
        Value::Float(value) => Some(Number::Float(*value)),
        _ => None,
    }
}

fn class(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Int(_) | Value::Float(_) => 2,
        Value::Str(_) => 3,
        Value::Bools(_) => 4,
        Value::Ints(_) => 5,
        Value::Floats(_) => 6,
        Value::Strs(_) => 7,
        Value::Sparse(_) => 8,
    }
}
