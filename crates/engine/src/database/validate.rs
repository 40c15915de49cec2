//! What a batch must be before it may be logged: applying a logged batch cannot fail.

use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashSet};

use super::Inner;
use crate::config::Limits;
use crate::expiry::EXPIRES_AT;
use crate::indexing::LiveCollection;
use crate::model::{MetadataColumn, Operation, RecordBatch, Schema, Value, all_finite};
use crate::query;
use crate::segments::Keys;
use crate::{Error, Result};

impl Inner {
    /// Fails where a record would have more metadata than it may with what it has already, as far as readers
    /// see that.
    pub(super) fn expect_room_for_cells(
        &self,
        collection: &LiveCollection,
        schema: &Schema,
        batch: &RecordBatch,
    ) -> Result<()> {
        let most = self.config.limits.metadata_cells_max;
        // No record has more keys than all together.
        if schema.keys.len() + batch.metadata.keys().len() <= most {
            return Ok(());
        }
        let snapshot = collection.snapshot(self.config.storage.as_ref())?;
        let mut keys: HashMap<&str, HashSet<String>> = HashMap::new();
        for row in 0..batch.len() {
            let (id, operation) = (batch.ids.get(row), batch.operations[row]);
            if operation == Operation::Delete {
                keys.insert(id, HashSet::new());
                continue;
            }
            let keys = match keys.entry(id) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let mut cells = MetadataColumn::default();
                    if let Some(at) = query::find(&snapshot, id)? {
                        let source = &snapshot.parts[at.part].source;
                        source.push_metadata(at.row, Keys::All, &mut cells)?;
                    }
                    let there = (0..cells.len()).flat_map(|row| cells.row(row));
                    entry.insert(there.map(|(key, _)| key.to_owned()).collect())
                }
            };
            for (key, value) in batch.metadata.row(row) {
                if *value == Value::Null {
                    keys.remove(key);
                } else {
                    keys.insert(key.to_owned());
                }
            }
            if keys.len() > most {
                return Err(Error::invalid(format!(
                    "The metadata of record {row} would have {} keys with those that it has; at most {most} are \
                     allowed.",
                    keys.len()
                )));
            }
        }
        Ok(())
    }
}

/// Checks every row of `batch` against the limits; the first fault as an error that names the row.
pub(super) fn validate_batch(batch: &RecordBatch, limits: &Limits) -> Result<()> {
    let rows = batch.len();
    if rows > limits.batch_records_max {
        return Err(Error::invalid(format!(
            "The batch has {rows} records; at most {} are allowed in one request.",
            limits.batch_records_max
        )));
    }
    let columns = [
        batch.operations.len(),
        batch.documents.len(),
        batch.uris.len(),
        batch.metadata.len(),
    ];
    let vectors = batch.embeddings.len();
    if columns.iter().any(|&len| len != rows) || (vectors != rows && vectors != 0) {
        return Err(Error::invalid(
            "Inconsistent number of IDs, embeddings, documents, URIs and metadatas",
        ));
    }
    if batch.embeddings.dimension() > limits.dimension_max {
        return Err(Error::invalid(format!(
            "Embeddings have dimension {}; at most {} is allowed.",
            batch.embeddings.dimension(),
            limits.dimension_max
        )));
    }
    if !all_finite(batch.embeddings.values()) {
        return Err(Error::invalid(
            "Embeddings must not contain NaN or Infinity values",
        ));
    }
    // Keys are few and cells are many: most batches have no key that each cell would have to be asked about.
    let is_odd = |key: &str| key.len() > limits.key_bytes_max || key == EXPIRES_AT;
    let has_odd_key = batch.metadata.keys().iter().any(|key| is_odd(key));
    (0..rows).try_for_each(|row| {
        validate_row(batch, row, limits)?;
        if has_odd_key {
            validate_keys(batch, row, limits)?;
        }
        validate_values(batch, row, limits)
    })
}

fn validate_row(batch: &RecordBatch, row: usize, limits: &Limits) -> Result<()> {
    // Texts are not looked at: they are far apart, and where they begin and end says how long they are.
    let id_bytes = batch.ids.bytes_of(row);
    if id_bytes == 0 {
        return Err(Error::invalid(
            "Empty ID, ID must have at least one character",
        ));
    }
    at_most("The ID", row, id_bytes, limits.id_bytes_max)?;
    let inserts = matches!(batch.operations[row], Operation::Add | Operation::Upsert);
    if inserts && batch.embeddings.get(row).is_none() {
        return Err(Error::invalid(format!(
            "Record {row} has no embedding; insertions need one."
        )));
    }
    let texts = [("The document", &batch.documents), ("The URI", &batch.uris)];
    for (what, texts) in texts {
        let bytes = texts.values().bytes_of(row);
        at_most(what, row, bytes, limits.document_bytes_max)?;
    }
    let cells = batch.metadata.cells(row).len();
    if cells > limits.metadata_cells_max {
        return Err(Error::invalid(format!(
            "The metadata of record {row} has {cells} keys; at most {} are allowed.",
            limits.metadata_cells_max
        )));
    }
    Ok(())
}

fn validate_keys(batch: &RecordBatch, row: usize, limits: &Limits) -> Result<()> {
    for (key, value) in batch.metadata.row(row) {
        at_most("A metadata key", row, key.len(), limits.key_bytes_max)?;
        let number = matches!(value, Value::Int(_) | Value::Float(_) | Value::Null);
        if key == EXPIRES_AT && !number {
            return Err(Error::invalid(format!(
                "The metadata {EXPIRES_AT} of record {row} is no number; seconds since 1970 are \
                 allowed."
            )));
        }
    }
    Ok(())
}

fn validate_values(batch: &RecordBatch, row: usize, limits: &Limits) -> Result<()> {
    for (key, value) in batch.metadata.cells(row) {
        let finite = match value {
            Value::Float(number) => number.is_finite(),
            Value::Floats(numbers) => numbers.iter().all(|number| number.is_finite()),
            Value::Sparse(sparse) => sparse.values.iter().all(|number| number.is_finite()),
            Value::Str(text) => {
                at_most(
                    "A metadata value",
                    row,
                    text.len(),
                    limits.document_bytes_max,
                )?;
                true
            }
            _ => true,
        };
        if !finite {
            let key = &batch.metadata.keys()[*key as usize];
            return Err(Error::invalid(format!(
                "The metadata value of '{key}' in record {row} is no finite number."
            )));
        }
    }
    Ok(())
}

fn at_most(what: &str, row: usize, bytes: usize, allowed: usize) -> Result<()> {
    if bytes > allowed {
        return Err(Error::invalid(format!(
            "{what} of record {row} has {bytes} bytes; at most {allowed} are allowed."
        )));
    }
    Ok(())
}
