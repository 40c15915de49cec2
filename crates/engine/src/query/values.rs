//! Metadata values of many records: read, compared, and told apart.
//!
//! What must stay true: types do not mix, except that integers and floats compare as the exact
//! numbers they are; however many records there are, the metadata of few is in memory at a time.

use std::cmp::Ordering;

use super::{Location, Snapshot};
use crate::Result;
use crate::model::{MetadataColumn, Number, Value};
use crate::segments::{Keys, compare_numbers};

/// Records whose metadata is read at a time.
const RECORDS_AT_ONCE: usize = 1024;

/// The metadata of one record.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    metadata: &'a MetadataColumn,
    row: usize,
}

impl<'a> Values<'a> {
    /// The value of a key.
    pub(super) fn of(self, key: &str) -> Option<&'a Value> {
        let number = self.metadata.key_number(key)?;
        self.metadata.get(self.row, number)
    }

    /// Every key with its value.
    pub(super) fn all(self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.metadata.row(self.row)
    }
}

/// Gives `note` the place of each of `locations` among them, and its metadata under `keys`.
pub(super) fn each_metadata(
    snapshot: &Snapshot,
    locations: impl Iterator<Item = Location>,
    keys: Keys<'_>,
    mut note: impl FnMut(usize, Values<'_>) -> Result<()>,
) -> Result<()> {
    let mut locations = locations.enumerate().peekable();
    while let Some(&(first, _)) = locations.peek() {
        let mut metadata = MetadataColumn::default();
        let some = locations.by_ref().take(RECORDS_AT_ONCE);
        let mut rows = 0;
        for (_, Location { part, row }) in some {
            let source = &snapshot.parts[part].source;
            source.push_metadata(row, keys, &mut metadata)?;
            rows += 1;
        }
        for row in 0..rows {
            let metadata = &metadata;
            note(first + row, Values { metadata, row })?;
        }
    }
    Ok(())
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
