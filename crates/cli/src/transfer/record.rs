//! One record on its way between a file and a collection.

use serde_json::{Map, Value};
use vermilion_engine::model::{
    Embeddings, Fetched, MetadataColumn, Operation, OptionalStrings, RecordBatch, Strings,
};

use super::metadata;
use crate::failure::Failure;

/// The members that records have in files; others are metadata under their names.
pub(super) const MEMBERS: [&str; 5] = ["id", "embedding", "document", "metadata", "uri"];

/// The member that `name`, in the singular or the plural, stands for in a file; otherwise the name itself.
pub(super) fn member_named(name: &str) -> &str {
    let singular = name.strip_suffix('s').unwrap_or(name);
    if MEMBERS.contains(&singular) {
        singular
    } else {
        name
    }
}

/// A record with everything it has.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) embedding: Vec<f32>,
    pub(crate) document: Option<String>,
    pub(crate) metadata: Option<Map<String, Value>>,
    pub(crate) uri: Option<String>,
}

impl Record {
    /// Refuses what no collection takes; with `to_embed` a document does in place of a vector.
    pub(crate) fn validate(&self, to_embed: bool) -> Result<(), String> {
        if self.id.is_empty() {
            return Err("the id is empty; an id has at least one character".to_owned());
        }
        if self.embedding.is_empty() && !to_embed {
            return Err(format!("record `{}` has no embedding", self.id));
        }
        if self.embedding.is_empty() && self.document.is_none() {
            return Err(format!(
                "record `{}` has neither an embedding nor a document to make one of",
                self.id
            ));
        }
        if self.embedding.iter().any(|number| !number.is_finite()) {
            return Err(format!(
                "the embedding of record `{}` holds a number that no 32-bit float can be",
                self.id
            ));
        }
        let cells = self.metadata.iter().flatten();
        for (key, value) in cells.filter(|(_, value)| !value.is_null()) {
            metadata::validate_key(key)
                .and_then(|()| metadata::to_value(value).map(|_| ()))
                .map_err(|why| format!("metadata `{key}` of record `{}`: {why}", self.id))?;
        }
        Ok(())
    }

    /// Adds what a file says under other names than [`MEMBERS`]; it counts before the same names in the
    /// column of metadata.
    pub(super) fn add_metadata(&mut self, others: Map<String, Value>) {
        if !others.is_empty() {
            self.metadata.get_or_insert_default().extend(others);
        }
    }

    /// Bytes held, near enough.
    pub(crate) fn bytes(&self) -> usize {
        let document = self.document.as_ref().map_or(0, String::len);
        let cells = self.metadata.as_ref().map_or(0, Map::len);
        self.id.len() + self.embedding.len() * 4 + document + cells * 64
    }
}

/// The records as one batch of `operation`; they have passed [`Record::validate`].
pub(crate) fn to_batch(records: &[Record], operation: Operation) -> Result<RecordBatch, Failure> {
    let dimension = check_dimensions(records)?;
    let mut values = Vec::with_capacity(records.len() * dimension);
    for record in records {
        values.extend_from_slice(&record.embedding);
    }
    let mut cells = MetadataColumn::default();
    for record in records {
        for (key, value) in record.metadata.iter().flatten() {
            if value.is_null() {
                continue;
            }
            let value = metadata::to_value(value).map_err(Failure::new)?;
            if let Some(value) = value {
                let key = cells.intern(key);
                cells.push_cell(key, value);
            }
        }
        cells.finish_row();
    }
    Ok(RecordBatch {
        operations: vec![operation; records.len()],
        ids: records
            .iter()
            .map(|record| record.id.as_str())
            .collect::<Strings>(),
        embeddings: Embeddings::new(dimension, values).expect("whole rows were appended"),
        documents: records
            .iter()
            .map(|record| record.document.as_deref())
            .collect::<OptionalStrings>(),
        uris: records
            .iter()
            .map(|record| record.uri.as_deref())
            .collect::<OptionalStrings>(),
        metadata: cells,
    })
}

/// The dimension of the vectors, which must be that of the first of them.
pub(super) fn check_dimensions<'a>(
    records: impl IntoIterator<Item = &'a Record>,
) -> Result<usize, Failure> {
    let mut records = records.into_iter();
    let Some(first) = records.next() else {
        return Ok(0);
    };
    let dimension = first.embedding.len();
    match records.find(|record| record.embedding.len() != dimension) {
        None => Ok(dimension),
        Some(other) => Err(Failure::new(format!(
            "record `{}` has {} numbers in its embedding, and record `{}` has {dimension}",
            other.id,
            other.embedding.len(),
            first.id
        ))
        .hint("all vectors of a collection have one dimension")),
    }
}

/// The records of an answer of the engine.
pub(crate) fn from_fetched(fetched: &Fetched) -> Vec<Record> {
    (0..fetched.ids.len())
        .map(|row| Record {
            id: fetched.ids.get(row).to_owned(),
            embedding: fetched
                .embeddings
                .as_ref()
                .and_then(|column| column.get(row))
                .unwrap_or_default()
                .to_vec(),
            document: fetched
                .documents
                .as_ref()
                .and_then(|column| column.get(row))
                .map(str::to_owned),
            metadata: fetched
                .metadatas
                .as_ref()
                .map(|column| metadata::to_json(column.row(row)))
                .filter(|cells| !cells.is_empty()),
            uri: fetched
                .uris
                .as_ref()
                .and_then(|column| column.get(row))
                .map(str::to_owned),
        })
        .collect()
}
