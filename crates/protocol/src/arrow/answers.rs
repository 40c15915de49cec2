//! Answers to `get`, `query` and `search` as one table each.
//!
//! What must stay true: a table says what the JSON answer says. A metadata key has a column of its own
//! where all its values are of one type and it is not rare; whatever has none is in the column
//! `metadata`, as JSON.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float32Array, Float64Array};
use arrow_schema::ArrowError;
use vermilion_engine::model::{
    Aggregated, Embeddings, Fetched, Found, MetadataColumn, Nearest, OptionalStrings, Search,
    SelectMetadata, Survey, Value,
};

use super::table::{Column, Items, Table, Texts, floats, numbers, vectors};
use super::{DISTANCE, DOCUMENT, EMBEDDING, ID, METADATA, METADATA_KEY, QUERY_INDEX, RANK, URI};
use crate::ApiError;
use crate::answers::{HIDDEN_KEYS, metadata_text};
use crate::survey::tell_all;

/// One record of so many at least must have a key for it to have a column, so that rare keys do not
/// make a table many times what it holds.
const RECORDS_FOR_A_COLUMN: usize = 16;

/// The answer to `get`. Aggregates, as JSON, become a note of the schema.
pub fn write_fetched(
    fetched: Fetched,
    survey: &Survey,
    aggregated: &[Aggregated],
) -> Result<Vec<u8>, ApiError> {
    let mut table = Table::default();
    if let Some(aggregates) = tell_all(survey, aggregated) {
        table.note("aggregates", aggregates.to_string());
    }
    let written = Parts::of(vec![fetched]).write(table, |table, parts| {
        table.push(ID, parts.ids()?, false);
        Ok(())
    });
    written.map_err(unwritable)
}

/// The cells of a column of any table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cells {
    /// Texts.
    Texts(Vec<Option<String>>),
    /// Numbers of double precision.
    Numbers(Vec<Option<f64>>),
    /// Numbers of single precision, all there.
    Floats(Vec<f32>),
    /// Truths.
    Truths(Vec<Option<bool>>),
}

impl Cells {
    fn len(&self) -> usize {
        match self {
            Self::Texts(cells) => cells.len(),
            Self::Numbers(cells) => cells.len(),
            Self::Floats(cells) => cells.len(),
            Self::Truths(cells) => cells.len(),
        }
    }
}

/// A table of columns of one length, with notes of its schema; 500 where they are not of one length.
pub fn write_columns(
    columns: Vec<(String, Cells)>,
    notes: &[(&str, String)],
) -> Result<Vec<u8>, ApiError> {
    let rows = columns.first().map_or(0, |(_, cells)| cells.len());
    let mut table = Table::default();
    for (name, text) in notes {
        table.note(name, text.clone());
    }
    for (name, cells) in columns {
        let (array, nullable): (ArrayRef, bool) = match cells {
            Cells::Texts(cells) => {
                let mut texts = Texts::default();
                for (row, text) in cells.iter().enumerate() {
                    if let Some(text) = text {
                        texts.put(row, text);
                    }
                }
                (texts.finish(cells.len()).map_err(unwritable)?, true)
            }
            Cells::Numbers(cells) => (Arc::new(Float64Array::from(cells)), true),
            Cells::Floats(cells) => (Arc::new(Float32Array::from(cells)), false),
            Cells::Truths(cells) => (Arc::new(BooleanArray::from(cells)), true),
        };
        table.push(&name, array, nullable);
    }
    table.write(rows).map_err(unwritable)
}

/// The answer to `query`: records under the number of their query vector, nearest first.
pub fn write_nearest(answers: Vec<Nearest>, distances: bool) -> Result<Vec<u8>, ApiError> {
    let (records, found): (Vec<_>, Vec<_>) = answers
        .into_iter()
        .map(|answer| (answer.records, answer.distances))
        .unzip();
    let written = Parts::of(records).write(Table::default(), |table, parts| {
        parts.write_places(table)?;
        if distances {
            let found = found.iter().flatten().copied().map(Some);
            table.push(DISTANCE, floats(found), true);
        }
        Ok(())
    });
    written.map_err(unwritable)
}

/// The answer to `search`: records under the number of their search. A column that one of the searches
/// selects is null for the others.
pub fn write_found(answers: Vec<Found>, searches: &[Search]) -> Result<Vec<u8>, ApiError> {
    let (records, scores): (Vec<_>, Vec<_>) = answers
        .into_iter()
        .map(|answer| (answer.records, answer.scores))
        .unzip();
    let mut parts = Parts::of(records);
    for (part, search) in parts.0.iter_mut().zip(searches) {
        if let SelectMetadata::Keys(keys) = &search.select.metadata {
            part.keys = Some(keys);
        }
    }
    let written = parts.write(Table::default(), |table, parts| {
        parts.write_places(table)?;
        if searches.iter().any(|search| search.select.scores) {
            let of = parts.0.iter().zip(searches).zip(&scores);
            let column = of.flat_map(|((part, search), scores)| {
                let scores = scores.as_ref().filter(|_| search.select.scores);
                (0..part.rows).map(move |row| scores.map(|scores| scores[row]))
            });
            table.push("score", floats(column), true);
        }
        Ok(())
    });
    written.map_err(unwritable)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is the argument of map_err"
)]
fn unwritable(error: ArrowError) -> ApiError {
    ApiError::new(
        500,
        format!("The answer cannot be written as Arrow: {error}"),
    )
}

/// Records of several queries or searches, one after the other.
struct Parts<'a>(Vec<Part<'a>>);

struct Part<'a> {
    records: Fetched,
    rows: usize,
    /// The metadata keys that are told; `None` for all.
    keys: Option<&'a std::collections::BTreeSet<String>>,
}

impl Parts<'_> {
    fn of(records: Vec<Fetched>) -> Self {
        let part = |records: Fetched| Part {
            rows: records.ids.len(),
            records,
            keys: None,
        };
        Self(records.into_iter().map(part).collect())
    }

    fn rows(&self) -> usize {
        self.0.iter().map(|part| part.rows).sum()
    }

    /// The stream of what `first` puts first and all columns of the records.
    fn write(
        mut self,
        mut table: Table,
        first: impl FnOnce(&mut Table, &Self) -> Result<(), ArrowError>,
    ) -> Result<Vec<u8>, ArrowError> {
        let rows = self.rows();
        first(&mut table, &self)?;
        self.write_embeddings(&mut table)?;
        self.write_texts(&mut table, DOCUMENT, |part| part.documents.as_ref())?;
        self.write_texts(&mut table, URI, |part| part.uris.as_ref())?;
        self.write_metadata(&mut table)?;
        table.write(rows)
    }

    fn ids(&self) -> Result<arrow_array::ArrayRef, ArrowError> {
        let mut ids = Texts::default();
        let all = self.0.iter().flat_map(|part| part.records.ids.iter());
        all.enumerate().for_each(|(row, id)| ids.put(row, id));
        ids.finish(self.rows())
    }

    /// Which query or search each record answers, and its place in that answer.
    fn write_places(&self, table: &mut Table) -> Result<(), ArrowError> {
        let parts = || self.0.iter().enumerate();
        let of = parts().flat_map(|(number, part)| std::iter::repeat_n(number, part.rows));
        table.push(QUERY_INDEX, numbers(of), false);
        let places = parts().flat_map(|(_, part)| 0..part.rows);
        table.push(RANK, numbers(places), false);
        table.push(ID, self.ids()?, false);
        Ok(())
    }

    /// Vectors; those of a single part, as of a `get`, are not copied.
    fn write_embeddings(&mut self, table: &mut Table) -> Result<(), ArrowError> {
        let rows = self.rows();
        if let [part] = &mut self.0[..] {
            let Some(column) = part.records.embeddings.take() else {
                return Ok(());
            };
            let (dimension, values, present) = column.into_parts();
            // A column without any vector has no dimension, and no place for its rows.
            let none = vec![false; rows];
            let present = if dimension == 0 {
                Some(&none[..])
            } else {
                present.as_deref()
            };
            table.push(EMBEDDING, vectors(dimension, values, present, rows)?, true);
            return Ok(());
        }
        let columns = || self.0.iter().map(|part| part.records.embeddings.as_ref());
        if columns().all(|column| column.is_none()) {
            return Ok(());
        }
        let dimension = columns().flatten().map(Embeddings::dimension).max();
        let dimension = dimension.unwrap_or(0);
        let (mut values, mut present) = (Vec::with_capacity(rows * dimension), Vec::new());
        for part in &self.0 {
            for row in 0..part.rows {
                let column = part.records.embeddings.as_ref();
                let vector = column.and_then(|column| column.get(row));
                present.push(vector.is_some());
                match vector {
                    Some(vector) => values.extend_from_slice(vector),
                    None => values.resize(values.len() + dimension, 0.0),
                }
            }
        }
        let column = vectors(dimension, values, Some(&present), rows)?;
        table.push(EMBEDDING, column, true);
        Ok(())
    }

    fn write_texts(
        &self,
        table: &mut Table,
        name: &str,
        column: impl Fn(&Fetched) -> Option<&OptionalStrings>,
    ) -> Result<(), ArrowError> {
        if self.0.iter().all(|part| column(&part.records).is_none()) {
            return Ok(());
        }
        let mut texts = Texts::default();
        let mut first = 0;
        for part in &self.0 {
            let column = column(&part.records)
                .into_iter()
                .flat_map(OptionalStrings::iter);
            for (row, text) in column.enumerate() {
                if let Some(text) = text {
                    texts.put(first + row, text);
                }
            }
            first += part.rows;
        }
        table.push(name, texts.finish(self.rows())?, true);
        Ok(())
    }

    fn write_metadata(&self, table: &mut Table) -> Result<(), ArrowError> {
        let metadata = |part: &Part| part.records.metadatas.is_some();
        if !self.0.iter().any(metadata) {
            return Ok(());
        }
        let rows = self.rows();
        let mut columns = self.key_columns(rows);
        let mut texts = Texts::default();
        let mut first = 0;
        for part in &self.0 {
            if let Some(column) = &part.records.metadatas {
                write_cells(part, column, first, &mut columns, &mut texts);
            }
            first += part.rows;
        }
        let mut columns: Vec<_> = columns.into_iter().collect();
        columns.sort_by_key(|(key, _)| *key);
        for (key, column) in columns {
            table.push(&format!("{METADATA_KEY}{key}"), column.finish(rows)?, true);
        }
        table.push(METADATA, texts.finish(rows)?, true);
        Ok(())
    }

    /// An empty column for each key that has one.
    fn key_columns(&self, rows: usize) -> HashMap<&str, Column> {
        // How often each key comes, and the type of its values if it is one.
        let mut seen: HashMap<&str, (usize, Option<Kind>)> = HashMap::new();
        for part in &self.0 {
            for (row, column) in part.metadata_rows() {
                for (key, value) in column.row(row).filter(|(key, _)| part.tells(key)) {
                    let kind = Kind::of(value);
                    let (count, same) = seen.entry(key).or_insert((0, kind));
                    *count += 1;
                    *same = same.filter(|same| Some(*same) == kind);
                }
            }
        }
        let often = |count: usize| count.saturating_mul(RECORDS_FOR_A_COLUMN) >= rows;
        let column = |(key, (count, kind)): (_, (usize, Option<Kind>))| {
            let kind = kind.filter(|_| often(count))?;
            Some((key, kind.column()))
        };
        seen.into_iter().filter_map(column).collect()
    }
}

impl Part<'_> {
    /// Whether the metadata under `key` is told.
    fn tells(&self, key: &str) -> bool {
        !key.starts_with(HIDDEN_KEYS) && self.keys.is_none_or(|keys| keys.contains(key))
    }

    fn metadata_rows(&self) -> impl Iterator<Item = (usize, &MetadataColumn)> {
        let column = self.records.metadatas.iter();
        column.flat_map(|column| (0..column.len()).map(move |row| (row, column)))
    }
}

/// Puts the cells of `part`, whose first row is `first`, into the columns of their keys, and those
/// without one into `texts`.
fn write_cells(
    part: &Part,
    column: &MetadataColumn,
    first: usize,
    columns: &mut HashMap<&str, Column>,
    texts: &mut Texts,
) {
    for row in 0..column.len() {
        let mut rest = Vec::new();
        for (key, value) in column.row(row).filter(|(key, _)| part.tells(key)) {
            match columns.get_mut(key) {
                Some(column) => column.put(first + row, |items| append(items, value)),
                None => rest.push((key, value)),
            }
        }
        if !rest.is_empty() {
            texts.put(first + row, &metadata_text(rest.into_iter()));
        }
    }
}

/// The type of a column's values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool { lists: bool },
    Int { lists: bool },
    Float { lists: bool },
    Text { lists: bool },
}

impl Kind {
    /// The type of `value`, if columns can have it.
    fn of(value: &Value) -> Option<Self> {
        let lists = matches!(
            value,
            Value::Bools(_) | Value::Ints(_) | Value::Floats(_) | Value::Strs(_)
        );
        match value {
            Value::Bool(_) | Value::Bools(_) => Some(Self::Bool { lists }),
            Value::Int(_) | Value::Ints(_) => Some(Self::Int { lists }),
            Value::Float(_) | Value::Floats(_) => Some(Self::Float { lists }),
            Value::Str(_) | Value::Strs(_) => Some(Self::Text { lists }),
            Value::Null | Value::Sparse(_) => None,
        }
    }

    fn column(self) -> Column {
        match self {
            Self::Bool { lists } => Column::new(Items::Bools(Vec::new()), lists),
            Self::Int { lists } => Column::new(Items::Ints(Vec::new()), lists),
            Self::Float { lists } => Column::new(Items::Floats(Vec::new()), lists),
            Self::Text { lists } => Column::new(Items::Texts(Texts::default()), lists),
        }
    }
}

/// Appends a value, or the items of a list, to items of its type.
fn append(items: &mut Items, value: &Value) {
    match (items, value) {
        (Items::Bools(items), Value::Bool(value)) => items.push(*value),
        (Items::Bools(items), Value::Bools(list)) => items.extend(list),
        (Items::Ints(items), Value::Int(value)) => items.push(*value),
        (Items::Ints(items), Value::Ints(list)) => items.extend(list),
        (Items::Floats(items), Value::Float(value)) => items.push(*value),
        (Items::Floats(items), Value::Floats(list)) => items.extend(list),
        (Items::Texts(items), Value::Str(text)) => items.append(text),
        (Items::Texts(items), Value::Strs(list)) => list.iter().for_each(|text| items.append(text)),
        _ => unreachable!("a key has a column where all its values are of one type"),
    }
}
