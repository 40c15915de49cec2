//! Metadata of records: a dictionary of keys and, row after row, the cells that a record has.
//!
//! The form suits both few dense keys and thousands of rare ones: memory is in proportion to the
//! cells that exist. Lists are never empty and never hold another list.

use std::sync::Arc;

use compact_str::CompactString;
use hashbrown::HashMap;
use serde_json::{Value as Json, json};

/// A sparse vector: `indices` ascend strictly, `values` go with them, `tokens` are optional labels.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseVector {
    /// Dimensions that have a value, ascending.
    pub indices: Vec<u32>,
    /// Their values.
    pub values: Vec<f32>,
    /// Their labels, where the client gave any.
    pub tokens: Option<Vec<String>>,
}

/// The value of one metadata cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// In an operation: delete the key. Never stored.
    Null,
    /// true or false.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// A finite 64-bit float.
    Float(f64),
    /// A string; one of up to 24 bytes, as most are, stands in the cell itself.
    Str(CompactString),
    /// A list of booleans.
    Bools(Box<[bool]>),
    /// A list of integers.
    Ints(Box<[i64]>),
    /// A list of floats.
    Floats(Box<[f64]>),
    /// A list of strings.
    Strs(Box<[String]>),
    /// A sparse vector, elsewhere: it would make every other cell three times as large.
    Sparse(Box<SparseVector>),
}

impl Value {
    /// The value as JSON, as clients send and get it: a sparse vector is an object that says so.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(flag) => json!(flag),
            Self::Int(int) => json!(int),
            Self::Float(float) => json!(float),
            Self::Str(text) => json!(text.as_str()),
            Self::Bools(list) => json!(list),
            Self::Ints(list) => json!(list),
            Self::Floats(list) => json!(list),
            Self::Strs(list) => json!(list),
            Self::Sparse(sparse) => {
                let mut object = json!({
                    "#type": "sparse_vector",
                    "indices": sparse.indices,
                    "values": sparse.values,
                });
                if let Some(tokens) = &sparse.tokens {
                    object["tokens"] = json!(tokens);
                }
                object
            }
        }
    }

    /// Bytes held beside the value itself, near enough.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Str(text) if text.is_heap_allocated() => text.len(),
            Self::Strs(list) => list.iter().map(|text| text.len() + 24).sum(),
            Self::Ints(list) => list.len() * 8,
            Self::Floats(list) => list.len() * 8,
            Self::Bools(list) => list.len(),
            Self::Sparse(sparse) => size_of::<SparseVector>() + sparse.indices.len() * 8,
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Str(_) => 0,
        }
    }
}

impl From<SparseVector> for Value {
    fn from(vector: SparseVector) -> Self {
        Self::Sparse(Box::new(vector))
    }
}

// Batches have ten cells a record and more.
const _: () = assert!(size_of::<(u32, Value)>() == 32);

/// Metadata of many records.
#[derive(Clone, Debug)]
pub struct MetadataColumn {
    keys: Vec<Arc<str>>,
    key_numbers: HashMap<Arc<str>, u32>,
    /// The number of the key that comes next where records have the same keys in the same order, as most have.
    next_key: usize,
    offsets: Vec<u32>,
    cells: Vec<(u32, Value)>,
    /// What the values of all records that were ended hold beside themselves, summed up as they are
    /// written, while they are near.
    value_bytes: usize,
}

impl Default for MetadataColumn {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            key_numbers: HashMap::new(),
            next_key: 0,
            offsets: vec![0],
            cells: Vec::new(),
            value_bytes: 0,
        }
    }
}

impl PartialEq for MetadataColumn {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && (0..self.len()).all(|row| {
                let (mut a, mut b): (Vec<_>, Vec<_>) =
                    (self.row(row).collect(), other.row(row).collect());
                a.sort_by_key(|cell| cell.0);
                b.sort_by_key(|cell| cell.0);
                a == b
            })
    }
}

impl MetadataColumn {
    /// A column of `rows` records without metadata.
    pub fn absent(rows: usize) -> Self {
        Self {
            offsets: vec![0; rows + 1],
            ..Self::default()
        }
    }

    /// The number of `key` in the dictionary, added to it if new.
    pub fn intern(&mut self, key: &str) -> u32 {
        let expected = self.keys.get(self.next_key);
        let number = if expected.is_some_and(|expected| **expected == *key) {
            self.next_key as u32
        } else if let Some(&number) = self.key_numbers.get(key) {
            number
        } else {
            let (key, number): (Arc<str>, u32) = (key.into(), self.keys.len() as u32);
            self.keys.push(key.clone());
            self.key_numbers.insert(key, number);
            number
        };
        self.next_key = (number as usize + 1) % self.keys.len();
        number
    }

    /// The number of `key`, or `None` where no record of the column ever had it.
    pub fn key_number(&self, key: &str) -> Option<u32> {
        self.key_numbers.get(key).copied()
    }

    /// The dictionary: the key of each number.
    pub fn keys(&self) -> &[Arc<str>] {
        &self.keys
    }

    /// Adds a cell to the record being written. The caller gives each key once.
    pub fn push_cell(&mut self, key: u32, value: Value) {
        self.cells.push((key, value));
    }

    /// Takes back the cells pushed since the last [`Self::finish_row`].
    pub fn discard_row(&mut self) {
        self.cells
            .truncate(*self.offsets.last().expect("there is always a first offset") as usize);
    }

    /// Cells pushed since the last [`Self::finish_row`], to be changed in place.
    pub fn open_row(&mut self) -> &mut [(u32, Value)] {
        let from = *self.offsets.last().expect("there is always a first offset") as usize;
        &mut self.cells[from..]
    }

    /// Ends the record being written; a record without cells has no metadata.
    pub fn finish_row(&mut self) {
        let written = self.open_row().iter().map(|cell| cell.1.heap_bytes());
        self.value_bytes += written.sum::<usize>();
        self.offsets.push(self.cells.len() as u32);
    }

    /// Appends a record with the given cells.
    pub fn push_row<'a>(&mut self, cells: impl IntoIterator<Item = (&'a str, Value)>) {
        for (key, value) in cells {
            let key = self.intern(key);
            self.push_cell(key, value);
        }
        self.finish_row();
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cells of `row` as key numbers and values.
    pub fn cells(&self, row: usize) -> &[(u32, Value)] {
        &self.cells[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    /// The cells of `row` as keys and values.
    pub fn row(&self, row: usize) -> impl Iterator<Item = (&str, &Value)> {
        self.cells(row)
            .iter()
            .map(|(key, value)| (&*self.keys[*key as usize], value))
    }

    /// The value of the key with number `key` in `row`.
    pub fn get(&self, row: usize, key: u32) -> Option<&Value> {
        self.cells(row)
            .iter()
            .find(|cell| cell.0 == key)
            .map(|cell| &cell.1)
    }

    /// How many cells all records have together.
    pub fn cell_count(&self) -> usize {
        self.cells.len()
    }

    /// Bytes held, near enough.
    pub fn heap_bytes(&self) -> usize {
        self.value_bytes
            + self.cells.capacity() * size_of::<(u32, Value)>()
            + self.offsets.capacity() * 4
            + self.keys.iter().map(|key| key.len() + 64).sum::<usize>()
    }

    /// Gives back room that was made ahead.
    pub fn shrink_to_fit(&mut self) {
        self.offsets.shrink_to_fit();
        self.cells.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_values_hold_counts_once_their_record_is_ended() {
        let mut column = MetadataColumn::default();
        let key = column.intern("key");
        let mut empty = column.clone();
        empty.cells.reserve_exact(2);
        column.cells.reserve_exact(2);
        column.push_cell(key, Value::Str("x".repeat(1000).into()));
        column.discard_row();
        column.push_cell(key, Value::Int(1));
        column.open_row()[0].1 = Value::Ints(vec![0; 50].into());
        column.push_cell(key, Value::Str("y".repeat(30).into()));
        column.finish_row();
        empty.finish_row();
        assert_eq!(column.heap_bytes(), empty.heap_bytes() + 400 + 30);
    }

    #[test]
    fn a_key_has_one_number_in_whatever_order_records_have_their_keys() {
        let mut column = MetadataColumn::default();
        let records = ["a b c", "a b c", "c a", "b", "b", "", "a c d b", "d", "a"];
        for keys in records {
            column.push_row(keys.split_whitespace().map(|key| (key, Value::Int(1))));
        }
        let keys: Vec<&str> = column.keys().iter().map(|key| &**key).collect();
        assert_eq!(keys, ["a", "b", "c", "d"]);
        for (row, keys) in records.into_iter().enumerate() {
            let found: Vec<&str> = column.row(row).map(|(key, _)| key).collect();
            assert_eq!(found.join(" "), keys);
        }
        for (number, key) in (0..).zip(keys) {
            assert_eq!(column.key_number(key), Some(number));
        }
    }

    #[test]
    fn strings_take_memory_of_their_own_from_25_bytes_on() {
        for (bytes, held) in [(0, 0), (24, 0), (25, 25), (1000, 1000)] {
            assert_eq!(Value::Str("x".repeat(bytes).into()).heap_bytes(), held);
            assert_eq!(
                Value::Str("x".repeat(bytes).as_str().into()).heap_bytes(),
                held
            );
        }
    }
}
