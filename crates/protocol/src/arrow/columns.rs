//! Which columns of a stream are what, known from its schema alone.

use std::collections::HashSet;

use arrow_schema::{DataType, Schema};
use vermilion_engine::model::Operation;

use super::{
    DOCUMENT, EMBEDDING, ID, METADATA, METADATA_KEY, URI, broken, cells, shown, texts, vectors,
    wrong_column,
};
use crate::ApiError;
use crate::records::problem_of_key;

/// The numbers of the columns that a stream has.
#[derive(Debug, Default)]
pub(super) struct Columns {
    pub(super) id: usize,
    pub(super) embedding: Option<usize>,
    pub(super) document: Option<usize>,
    pub(super) uri: Option<usize>,
    /// Metadata as JSON texts.
    pub(super) metadata: Option<usize>,
    /// Columns of one metadata key each.
    pub(super) keys: Vec<KeyColumn>,
}

/// The column of a metadata key.
#[derive(Debug)]
pub(super) struct KeyColumn {
    pub(super) number: usize,
    pub(super) key: String,
}

impl Columns {
    /// The columns of `schema`, each of a type that it can have.
    pub(super) fn of(schema: &Schema, operation: Operation) -> Result<Self, ApiError> {
        let mut columns = Self::default();
        let (mut names, mut id) = (HashSet::new(), None);
        for (number, field) in schema.fields().iter().enumerate() {
            let (name, holds) = (field.name().as_str(), field.data_type());
            if !names.insert(name) {
                return Err(wrong_column(name, "is there more than once"));
            }
            let place = match name {
                ID => &mut id,
                EMBEDDING => {
                    vectors::check(holds)?;
                    columns.embedding = Some(number);
                    continue;
                }
                DOCUMENT => &mut columns.document,
                URI => &mut columns.uri,
                METADATA => &mut columns.metadata,
                _ => {
                    columns.take_key(name, holds, number)?;
                    continue;
                }
            };
            texts::check(name, holds)?;
            *place = Some(number);
        }
        columns.id = id.ok_or_else(|| missing(ID))?;
        if columns.embedding.is_none() && operation != Operation::Update {
            return Err(missing(EMBEDDING));
        }
        Ok(columns)
    }

    fn take_key(&mut self, name: &str, holds: &DataType, number: usize) -> Result<(), ApiError> {
        let Some(key) = name.strip_prefix(METADATA_KEY) else {
            return Err(wrong_column(
                name,
                "is none of `id`, `embedding`, `document`, `uri`, `metadata` and `metadata.KEY`",
            ));
        };
        if let Some(problem) = problem_of_key(key) {
            let problem = format!("has a key that metadata cannot have: {}", shown(&problem));
            return Err(wrong_column(name, problem));
        }
        cells::check(name, holds)?;
        self.keys.push(KeyColumn {
            number,
            key: key.to_owned(),
        });
        Ok(())
    }
}

fn missing(column: &str) -> ApiError {
    broken(&format!("it has no column `{column}`"))
}
