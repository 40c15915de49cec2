//! Which columns of a stream are what, known from its schema alone.
//!
//! A stream of records names its columns as records do. One of a log names some metadata keys without
//! `metadata.` in front: its fields, which then are no keys of anybody else's.

use std::collections::HashSet;

use arrow_schema::{DataType, Schema};
use vermilion_engine::model::Operation;

use super::{
    DISTANCE, DOCUMENT, EMBEDDING, ID, INPUT_URI, METADATA, METADATA_KEY, QUERY_INDEX, RANK,
    THUMBNAIL, URI, answered, broken, bytes, cells, shown, texts, vectors, wrong_column,
};
use crate::ApiError;
use crate::records::problem_of_key;

/// What names the columns of a stream may have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Layout<'a> {
    /// Those of records for this operation.
    Records(Operation),
    /// Those of a log with these fields.
    Log(&'a [&'a str]),
    /// Those of an answer to `get` or `query`.
    Answer,
}

/// The numbers of the columns that a stream has.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) id: Option<usize>,
    pub(super) embedding: Option<usize>,
    pub(super) document: Option<usize>,
    /// Bytes that become the document of their record, as base64.
    pub(super) thumbnail: Option<usize>,
    pub(super) uri: Option<usize>,
    /// Metadata as JSON texts.
    pub(super) metadata: Option<usize>,
    /// Which query of an answer a record is for.
    pub(super) query: Option<usize>,
    pub(super) distance: Option<usize>,
    /// Vectors of an answer, which are read where they are.
    pub(super) answered_embedding: Option<usize>,
    /// Columns of one metadata key each.
    pub(super) keys: Vec<KeyColumn>,
    /// Keys that the column `metadata` may not have.
    pub(super) reserved: Vec<String>,
}

/// The column of a metadata key.
#[derive(Debug)]
pub(super) struct KeyColumn {
    pub(super) number: usize,
    pub(super) key: String,
}

impl Columns {
    /// The columns of `schema`, each of a type that it can have.
    pub(super) fn of(schema: &Schema, layout: Layout<'_>) -> Result<Self, ApiError> {
        let (uri, fields, may_miss) = match layout {
            Layout::Records(operation) => (URI, &[][..], operation == Operation::Update),
            Layout::Log(fields) => (INPUT_URI, fields, false),
            Layout::Answer => (URI, &[][..], true),
        };
        let is_answer = matches!(layout, Layout::Answer);
        let mut columns = Self {
            reserved: fields.iter().map(|&field| field.to_owned()).collect(),
            ..Self::default()
        };
        let mut names = HashSet::new();
        for (number, field) in schema.fields().iter().enumerate() {
            let (name, holds) = (field.name().as_str(), field.data_type());
            if !names.insert(name) {
                return Err(wrong_column(name, "is there more than once"));
            }
            let place = match name {
                ID => &mut columns.id,
                EMBEDDING if is_answer => {
                    answered::check_vectors(holds)?;
                    columns.answered_embedding = Some(number);
                    continue;
                }
                EMBEDDING => {
                    vectors::check(holds)?;
                    columns.embedding = Some(number);
                    continue;
                }
                QUERY_INDEX if is_answer => {
                    check_kind(name, holds, &DataType::UInt32)?;
                    columns.query = Some(number);
                    continue;
                }
                DISTANCE if is_answer => {
                    check_kind(name, holds, &DataType::Float32)?;
                    columns.distance = Some(number);
                    continue;
                }
                // Rows are in this order as they come.
                RANK if is_answer => continue,
                THUMBNAIL if !fields.is_empty() => {
                    bytes::check(name, holds)?;
                    columns.thumbnail = Some(number);
                    continue;
                }
                DOCUMENT if fields.is_empty() => &mut columns.document,
                METADATA => &mut columns.metadata,
                _ if name == uri => &mut columns.uri,
                _ => {
                    columns.take_key(name, holds, number)?;
                    continue;
                }
            };
            texts::check(name, holds)?;
            *place = Some(number);
        }
        if columns.id.is_none() && !matches!(layout, Layout::Log(_)) {
            return Err(missing(ID));
        }
        if columns.embedding.is_none() && !may_miss {
            return Err(missing(EMBEDDING));
        }
        Ok(columns)
    }

    fn take_key(&mut self, name: &str, holds: &DataType, number: usize) -> Result<(), ApiError> {
        let is_field = |name: &str| self.reserved.iter().any(|field| field == name);
        let key = match name.strip_prefix(METADATA_KEY) {
            Some(key) if is_field(key) => {
                return Err(wrong_column(name, "has the key of a field of the log"));
            }
            Some(key) => key,
            None if is_field(name) => name,
            None => return Err(wrong_column(name, self.allowed())),
        };
        if let Some(problem) = problem_of_key(key) {
            let problem = format!("has a key that metadata cannot have: {}", shown(&problem));
            return Err(wrong_column(name, problem));
        }
        let is_field = is_field(name);
        cells::check(name, holds, is_field)?;
        self.keys.push(KeyColumn {
            number,
            key: key.to_owned(),
        });
        Ok(())
    }

    /// Says which columns there can be.
    fn allowed(&self) -> String {
        if self.reserved.is_empty() {
            return "is none of `id`, `embedding`, `document`, `uri`, `metadata` and `metadata.KEY`"
                .to_owned();
        }
        let fields = self.reserved.join("`, `");
        format!(
            "is none of `id`, `embedding`, `{INPUT_URI}`, `{fields}`, `{THUMBNAIL}`, `metadata` and `metadata.KEY`"
        )
    }
}

/// Refuses a column of another type than the one that it always has.
fn check_kind(column: &str, holds: &DataType, kind: &DataType) -> Result<(), ApiError> {
    if holds == kind {
        return Ok(());
    }
    let problem = format!("holds {}; it must hold {}", shown(holds), shown(kind));
    Err(wrong_column(column, problem))
}

fn missing(column: &str) -> ApiError {
    broken(&format!("it has no column `{column}`"))
}
