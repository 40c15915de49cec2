//! Lists of metadata objects, decoded into cells; and the metadata of a collection.
//!
//! What must stay true: a key stands once in a record, the last value of it; an integer beyond 64
//! bits is a float; a list has one type, integers and floats together being floats; an empty list
//! is no cell in an insertion, and takes the key away in a change.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use vermilion_engine::model::{MetadataColumn, SparseVector, Value, all_finite};

/// What is said of a value that metadata cannot hold, in words that clients know.
const WRONG_VALUE: &str = "data did not match any variant of untagged enum MetadataValue";

/// Reads null or a list of metadata objects and nulls; answers the column and the first row that
/// breaks a rule.
pub(super) struct MetadataSeed {
    /// Whether a value may be null, which deletes the key.
    pub(super) nulls: bool,
}

impl<'de> DeserializeSeed<'de> for MetadataSeed {
    type Value = Option<(MetadataColumn, Option<usize>)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for MetadataSeed {
    type Value = Option<(MetadataColumn, Option<usize>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence of metadata objects and nulls")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut rows = MetadataRows::new(self.nulls);
        while list
            .next_element_seed(RowSeed { rows: &mut rows })?
            .is_some()
        {
            rows.finish_row();
        }
        Ok(Some((rows.column, rows.problem)))
    }
}

/// The column being written.
pub(crate) struct MetadataRows {
    column: MetadataColumn,
    /// For each key, one more than the last row that has it, so that a key that comes twice in
    /// one record is found without a search.
    seen_in: Vec<usize>,
    problem: Option<usize>,
    nulls: bool,
}

impl MetadataRows {
    /// A column without rows; `nulls` says whether a value may be null, which deletes the key.
    pub(crate) fn new(nulls: bool) -> Self {
        Self {
            column: MetadataColumn::default(),
            seen_in: Vec::new(),
            problem: None,
            nulls,
        }
    }

    /// Adds the cells of an object, or of null, to the record being written; says what is wrong.
    pub(crate) fn read(&mut self, text: &str) -> Result<(), String> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = RowSeed { rows: self }.deserialize(&mut deserializer);
        read.and_then(|()| deserializer.end())
            .map_err(|error| error.to_string())?;
        match self.problem {
            Some(_) => Err("a key or a sparse vector that metadata cannot have".to_owned()),
            None => Ok(()),
        }
    }

    /// The number of `key`.
    pub(crate) fn intern(&mut self, key: &str) -> u32 {
        self.column.intern(key)
    }

    /// Whether the record being written has a cell under `key`.
    pub(crate) fn has(&self, key: u32) -> bool {
        let mark = self.column.len() + 1;
        self.seen_in.get(key as usize) == Some(&mark)
    }

    /// Adds a cell to the record being written, if it may be null where it is.
    pub(crate) fn put(&mut self, key: u32, cell: Cell) -> Result<(), &'static str> {
        match cell {
            Cell::Value(Value::Null) if !self.nulls => return Err(WRONG_VALUE),
            Cell::Value(value) => self.push(key, value),
            Cell::EmptyList if self.nulls => self.push(key, Value::Null),
            Cell::EmptyList => {}
            Cell::BadSparse => self.note(),
        }
        Ok(())
    }

    /// Ends the record being written.
    pub(crate) fn finish_row(&mut self) {
        self.column.finish_row();
    }

    /// The records.
    pub(crate) fn into_column(self) -> MetadataColumn {
        self.column
    }

    fn push(&mut self, key: u32, value: Value) {
        let mark = self.column.len() + 1;
        let number = key as usize;
        if number >= self.seen_in.len() {
            self.seen_in.resize(number + 1, 0);
        }
        if std::mem::replace(&mut self.seen_in[number], mark) == mark {
            let cell = self.column.open_row().iter_mut().find(|cell| cell.0 == key);
            cell.expect("a key marked in this row has a cell in it").1 = value;
        } else {
            self.column.push_cell(key, value);
        }
    }

    fn note(&mut self) {
        self.problem.get_or_insert(self.column.len());
    }
}

struct RowSeed<'a> {
    rows: &'a mut MetadataRows,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a metadata object or null")
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let rows = self.rows;
        while let Some(key) = map.next_key_seed(KeySeed { rows: &mut *rows })? {
            let cell = map.next_value::<Cell>()?;
            match key {
                Some(key) => rows.put(key, cell).map_err(A::Error::custom)?,
                None if matches!(cell, Cell::Value(Value::Null)) && !rows.nulls => {
                    return Err(A::Error::custom(WRONG_VALUE));
                }
                None => rows.note(),
            }
        }
        Ok(())
    }
}

/// Reads a key to its number; `None` for one that metadata cannot have.
struct KeySeed<'a> {
    rows: &'a mut MetadataRows,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Option<u32>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Option<u32>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a metadata key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        let allowed = problem_of_key(key).is_none();
        Ok(allowed.then(|| self.rows.column.intern(key)))
    }
}

/// Says what is wrong with a metadata key, if anything.
pub(crate) fn problem_of_key(key: &str) -> Option<String> {
    if key.is_empty() {
        return Some("Metadata key cannot be empty".to_owned());
    }
    key.starts_with(['#', '$'])
        .then(|| format!("Metadata key cannot start with '#' or '$': {key}"))
}

/// A value as it was read.
pub(crate) enum Cell {
    /// What metadata can hold.
    Value(Value),
    /// A list without items.
    EmptyList,
    /// A sparse vector that breaks a rule.
    BadSparse,
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, number, boolean, list of one of these, or sparse vector")
    }

    fn visit_unit<E: Error>(self) -> Result<Cell, E> {
        Ok(Cell::Value(Value::Null))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Cell, E> {
        Ok(Cell::Value(Value::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Cell, E> {
        Ok(Cell::Value(Value::Int(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Cell, E> {
        let beyond = Value::Float(value as f64);
        Ok(Cell::Value(i64::try_from(value).map_or(beyond, Value::Int)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Cell, E> {
        Ok(Cell::Value(Value::Float(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Cell, E> {
        Ok(Cell::Value(Value::Str(value.into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Cell, A::Error> {
        let mut values = List::default();
        while let Some(cell) = list.next_element::<Cell>()? {
            if !values.append(cell) {
                return Err(A::Error::custom(WRONG_VALUE));
            }
        }
        Ok(values.finish())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Cell, A::Error> {
        read_sparse(map)
    }
}

/// The list of these items, which must be of one type.
pub(crate) fn list_of(
    items: impl Iterator<Item = Result<Cell, &'static str>>,
) -> Result<Cell, &'static str> {
    let mut values = List::default();
    for item in items {
        if !values.append(item?) {
            return Err(WRONG_VALUE);
        }
    }
    Ok(values.finish())
}

/// A list while its items are read; they are of one type, which the first one says.
#[derive(Default)]
enum List {
    #[default]
    Empty,
    Bools(Vec<bool>),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Strs(Vec<String>),
}

impl List {
    /// Appends an item; false where its type is another one.
    fn append(&mut self, item: Cell) -> bool {
        let Cell::Value(value) = item else {
            return false;
        };
        match (&mut *self, value) {
            (Self::Empty, Value::Bool(value)) => *self = Self::Bools(vec![value]),
            (Self::Empty, Value::Int(value)) => *self = Self::Ints(vec![value]),
            (Self::Empty, Value::Float(value)) => *self = Self::Floats(vec![value]),
            (Self::Empty, Value::Str(value)) => *self = Self::Strs(vec![value.into()]),
            (Self::Bools(list), Value::Bool(value)) => list.push(value),
            (Self::Ints(list), Value::Int(value)) => list.push(value),
            (Self::Floats(list), Value::Float(value)) => list.push(value),
            (Self::Floats(list), Value::Int(value)) => list.push(value as f64),
            (Self::Strs(list), Value::Str(value)) => list.push(value.into()),
            (Self::Ints(ints), Value::Float(value)) => {
                let mut floats: Vec<f64> = ints.iter().map(|&int| int as f64).collect();
                floats.push(value);
                *self = Self::Floats(floats);
            }
            _ => return false,
        }
        true
    }

    fn finish(self) -> Cell {
        Cell::Value(match self {
            Self::Empty => return Cell::EmptyList,
            Self::Bools(list) => Value::Bools(list.into()),
            Self::Ints(list) => Value::Ints(list.into()),
            Self::Floats(list) => Value::Floats(list.into()),
            Self::Strs(list) => Value::Strs(list.into()),
        })
    }
}

/// Reads the members of a sparse vector; any other object is no metadata value.
fn read_sparse<'de, A: MapAccess<'de>>(mut map: A) -> Result<Cell, A::Error> {
    let (mut indices, mut values, mut tokens) = (None, None, None);
    while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
        match &*key {
            "#type" => {
                let tag = map.next_value::<Option<String>>()?;
                if tag.is_some_and(|tag| tag != "sparse_vector") {
                    return Err(A::Error::custom(WRONG_VALUE));
                }
            }
            "indices" => indices = Some(map.next_value::<Vec<u32>>()?),
            "values" => values = Some(map.next_value::<Vec<f32>>()?),
            "tokens" => tokens = map.next_value::<Option<Vec<String>>>()?,
            _ => {
                map.next_value::<IgnoredAny>()?;
            }
        }
    }
    let (Some(indices), Some(values)) = (indices, values) else {
        return Err(A::Error::custom(WRONG_VALUE));
    };
    let ascending = indices.windows(2).all(|pair| pair[0] < pair[1]);
    let equal = indices.len() == values.len()
        && tokens
            .as_ref()
            .is_none_or(|tokens| tokens.len() == indices.len());
    if !ascending || !equal || !all_finite(&values) {
        return Ok(Cell::BadSparse);
    }
    Ok(Cell::Value(Value::from(SparseVector {
        indices,
        values,
        tokens,
    })))
}

/// The metadata of a collection: a JSON object whose values are what the metadata of a record can
/// hold, or with `NULLS` also null, which deletes the key.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct CollectionMetadata<const NULLS: bool>(BTreeMap<String, CollectionValue<NULLS>>);

/// One value of a collection's metadata, as it is told again.
struct CollectionValue<const NULLS: bool>(serde_json::Value);

impl<'de, const NULLS: bool> Deserialize<'de> for CollectionValue<NULLS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let cell = Cell::deserialize(&value).map_err(|_| D::Error::custom(WRONG_VALUE))?;
        match cell {
            Cell::BadSparse => Err(D::Error::custom("Invalid sparse vector")),
            Cell::Value(Value::Null) if !NULLS => Err(D::Error::custom(WRONG_VALUE)),
            // Numbers that are kept as floats are also told as floats.
            Cell::Value(Value::Float(float)) => Ok(Self(float.into())),
            Cell::Value(Value::Floats(floats)) => Ok(Self(floats.into_vec().into())),
            Cell::Value(_) | Cell::EmptyList => Ok(Self(value)),
        }
    }
}

impl<const NULLS: bool> CollectionMetadata<NULLS> {
    /// Whether the object has `key`, with null as its value.
    pub(crate) fn says_null(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|value| value.0.is_null())
    }

    /// The object without its nulls, if its keys keep the rules; says otherwise what is wrong.
    pub(crate) fn check(self) -> Result<serde_json::Map<String, serde_json::Value>, String> {
        if self.0.is_empty() {
            return Err("Metadata cannot be empty".to_owned());
        }
        if let Some(problem) = self.0.keys().find_map(|key| problem_of_key(key)) {
            return Err(problem);
        }
        let members = self.0.into_iter().map(|(key, value)| (key, value.0));
        Ok(members.filter(|(_, value)| !value.is_null()).collect())
    }
}
