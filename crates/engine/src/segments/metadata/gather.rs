//! The metadata of the rows of a new segment, gathered into one typed column a key and kind.
//!
//! What must stay true: a column's rows ascend; memory is in proportion to the cells that exist,
//! whether keys are few and dense or many and rare.

use std::borrow::Cow;
use std::sync::Arc;

use hashbrown::HashMap;

use super::Kind;
use crate::model::{SparseVector, Value};

/// A cell that may be borrowed from where it is stored.
pub(in crate::segments) enum Cell<'a> {
    /// true or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A string.
    Str(&'a str),
    /// A list or a sparse vector.
    Other(Cow<'a, Value>),
}

impl<'a> From<&'a Value> for Cell<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Bool(flag) => Self::Bool(*flag),
            Value::Int(int) => Self::Int(*int),
            Value::Float(float) => Self::Float(*float),
            Value::Str(text) => Self::Str(text),
            other => Self::Other(Cow::Borrowed(other)),
        }
    }
}

impl Cell<'_> {
    /// The cell as a value of its own.
    pub(in crate::segments) fn into_value(self) -> Value {
        match self {
            Self::Bool(flag) => Value::Bool(flag),
            Self::Int(int) => Value::Int(int),
            Self::Float(float) => Value::Float(float),
            Self::Str(text) => Value::Str(text.into()),
            Self::Other(value) => value.into_owned(),
        }
    }
}

/// Strings one after the other.
pub(in crate::segments) struct Text {
    /// Where each string begins, and where the last one ends.
    pub(in crate::segments) offsets: Vec<u64>,
    /// The strings.
    pub(in crate::segments) bytes: Vec<u8>,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            offsets: vec![0],
            bytes: Vec::new(),
        }
    }
}

impl Text {
    /// Appends a string.
    pub(in crate::segments) fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.offsets.push(self.bytes.len() as u64);
    }

    /// How many strings there are.
    pub(in crate::segments) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The bytes of a string.
    pub(in crate::segments) fn get(&self, at: usize) -> &[u8] {
        &self.bytes[self.offsets[at] as usize..self.offsets[at + 1] as usize]
    }

    fn string(&self, at: usize) -> String {
        String::from_utf8(self.get(at).to_vec()).expect("only strings are pushed")
    }
}

/// The values of a column, or of its lists one after the other.
pub(in crate::segments) enum Values {
    /// Booleans.
    Bools(Vec<bool>),
    /// Integers.
    Ints(Vec<i64>),
    /// Floats.
    Floats(Vec<f64>),
    /// Strings.
    Text(Text),
    /// Sparse vectors.
    Sparse(Vec<SparseVector>),
}

/// The cells of one key and kind.
pub(in crate::segments) struct GatheredColumn {
    /// The key.
    pub(in crate::segments) key: Arc<str>,
    /// The kind of the values.
    pub(in crate::segments) kind: Kind,
    /// The rows that have a cell, ascending.
    pub(in crate::segments) rows: Vec<u32>,
    /// For lists: where each cell's elements end among the values.
    pub(in crate::segments) ends: Vec<u64>,
    /// The values.
    pub(in crate::segments) values: Values,
}

impl GatheredColumn {
    fn new(key: Arc<str>, kind: Kind) -> Self {
        let values = match kind {
            Kind::Bool | Kind::Bools => Values::Bools(Vec::new()),
            Kind::Int | Kind::Ints => Values::Ints(Vec::new()),
            Kind::Float | Kind::Floats => Values::Floats(Vec::new()),
            Kind::Str | Kind::Strs => Values::Text(Text::default()),
            Kind::Sparse => Values::Sparse(Vec::new()),
        };
        Self {
            key,
            kind,
            rows: Vec::new(),
            ends: Vec::new(),
            values,
        }
    }

    fn push(&mut self, row: u32, cell: Cell<'_>) {
        self.rows.push(row);
        match (&mut self.values, cell) {
            (Values::Bools(to), Cell::Bool(value)) => to.push(value),
            (Values::Ints(to), Cell::Int(value)) => to.push(value),
            (Values::Floats(to), Cell::Float(value)) => to.push(value),
            (Values::Text(to), Cell::Str(value)) => to.push(value),
            (_, Cell::Other(value)) => self.push_other(&value),
            _ => unreachable!("a column is pushed cells of its kind"),
        }
    }

    fn push_other(&mut self, value: &Value) {
        let end = match (&mut self.values, value) {
            (Values::Bools(to), Value::Bools(list)) => {
                to.extend_from_slice(list);
                to.len()
            }
            (Values::Ints(to), Value::Ints(list)) => {
                to.extend_from_slice(list);
                to.len()
            }
            (Values::Floats(to), Value::Floats(list)) => {
                to.extend_from_slice(list);
                to.len()
            }
            (Values::Text(to), Value::Strs(list)) => {
                for text in list {
                    to.push(text);
                }
                to.len()
            }
            (Values::Sparse(to), Value::Sparse(sparse)) => {
                to.push(SparseVector::clone(sparse));
                return;
            }
            _ => unreachable!("a column is pushed cells of its kind"),
        };
        self.ends.push(end as u64);
    }

    /// Whether the column has cells enough of `rows` for a column of its own on disk.
    pub(in crate::segments) fn is_dense(&self, rows: usize) -> bool {
        self.kind != Kind::Sparse && self.rows.len() >= rows.div_ceil(16)
    }

    /// Where the elements of the cell at `at` are among the values.
    pub(in crate::segments) fn elements(&self, at: usize) -> std::ops::Range<usize> {
        if self.kind.is_list() {
            let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
            start as usize..self.ends[at] as usize
        } else {
            at..at + 1
        }
    }

    /// The cell at `at`, which is the one of row `rows[at]`.
    fn value(&self, at: usize) -> Value {
        let range = self.elements(at);
        match (&self.values, self.kind.is_list()) {
            (Values::Bools(values), false) => Value::Bool(values[at]),
            (Values::Bools(values), true) => Value::Bools(values[range].into()),
            (Values::Ints(values), false) => Value::Int(values[at]),
            (Values::Ints(values), true) => Value::Ints(values[range].into()),
            (Values::Floats(values), false) => Value::Float(values[at]),
            (Values::Floats(values), true) => Value::Floats(values[range].into()),
            (Values::Text(values), false) => Value::Str(values.string(at).into()),
            (Values::Text(values), true) => {
                Value::Strs(range.map(|at| values.string(at)).collect())
            }
            (Values::Sparse(values), _) => values[at].clone().into(),
        }
    }
}

/// All columns of a new segment's metadata.
#[derive(Default)]
pub(in crate::segments) struct Gathered {
    /// The columns; sorted by key and kind after [`Self::sort`].
    pub(in crate::segments) columns: Vec<GatheredColumn>,
    numbers: HashMap<Arc<str>, [Option<u32>; Kind::COUNT]>,
}

impl Gathered {
    /// The number of the column of `key` and `kind`, made if it is new.
    pub(in crate::segments) fn column(&mut self, key: &str, kind: Kind) -> u32 {
        let (key, numbers) = match self.numbers.get_key_value(key) {
            Some((key, numbers)) => (key.clone(), *numbers),
            None => (key.into(), [None; Kind::COUNT]),
        };
        if let Some(number) = numbers[kind as usize] {
            return number;
        }
        let number = self.columns.len() as u32;
        self.columns.push(GatheredColumn::new(key.clone(), kind));
        self.numbers.entry(key).or_insert([None; Kind::COUNT])[kind as usize] = Some(number);
        number
    }

    /// Appends the cell of `row` to the column with number `column`, which is of its kind.
    pub(in crate::segments) fn push(&mut self, column: u32, row: u32, cell: Cell<'_>) {
        self.columns[column as usize].push(row, cell);
    }

    /// Sorts the columns by key and kind; numbers given out before count no more.
    pub(in crate::segments) fn sort(&mut self) {
        self.numbers = HashMap::new();
        self.columns
            .sort_unstable_by(|a, b| (&*a.key, a.kind).cmp(&(&*b.key, b.kind)));
    }

    /// For each of `rows` rows the JSON object of its cells in rare columns, empty where it has
    /// none; `None` where no row has any.
    pub(in crate::segments) fn rare(&self, rows: usize) -> Option<Text> {
        let rare = || {
            self.columns
                .iter()
                .enumerate()
                .filter(|(_, c)| !c.is_dense(rows))
        };
        let mut starts = vec![0u32; rows + 1];
        for (_, column) in rare() {
            column
                .rows
                .iter()
                .for_each(|&row| starts[row as usize + 1] += 1);
        }
        for row in 0..rows {
            starts[row + 1] += starts[row];
        }
        let mut cells = vec![(0u32, 0u32); starts[rows] as usize];
        if cells.is_empty() {
            return None;
        }
        let mut next = starts.clone();
        for (number, column) in rare() {
            for (at, &row) in column.rows.iter().enumerate() {
                cells[next[row as usize] as usize] = (number as u32, at as u32);
                next[row as usize] += 1;
            }
        }
        let mut text = Text::default();
        let mut object = String::new();
        for row in 0..rows {
            object.clear();
            for &(number, at) in &cells[starts[row] as usize..starts[row + 1] as usize] {
                let column = &self.columns[number as usize];
                if object.is_empty() {
                    object.push('{');
                }
                super::extra::write(&column.key, &column.value(at as usize), &mut object);
            }
            if !object.is_empty() {
                object.push('}');
            }
            text.push(&object);
        }
        Some(text)
    }
}
