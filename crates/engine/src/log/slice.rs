//! Part of a batch, for those who want the log from the middle of one.

use crate::model::{Embeddings, MetadataColumn, OptionalStrings, RecordBatch};

/// Rows `from..to` of `batch`.
pub(super) fn slice(batch: &RecordBatch, from: usize, to: usize) -> RecordBatch {
    let rows = from..to;
    let dimension = batch.embeddings.dimension();
    let embeddings = if batch.embeddings.is_empty() {
        Embeddings::new(dimension, Vec::new())
    } else {
        let values = batch.embeddings.values()[from * dimension..to * dimension].to_vec();
        match batch.embeddings.present() {
            None => Embeddings::new(dimension, values),
            Some(present) => Embeddings::with_absent(dimension, values, present[from..to].to_vec()),
        }
    };
    let optional = |column: &OptionalStrings| -> OptionalStrings {
        rows.clone().map(|row| column.get(row)).collect()
    };
    let mut metadata = MetadataColumn::default();
    for row in rows.clone() {
        metadata.push_row(
            batch
                .metadata
                .row(row)
                .map(|(key, value)| (key, value.clone())),
        );
    }
    RecordBatch {
        operations: batch.operations[rows.clone()].to_vec(),
        ids: rows.clone().map(|row| batch.ids.get(row)).collect(),
        embeddings: embeddings.expect("a slice of whole rows is whole rows"),
        documents: optional(&batch.documents),
        uris: optional(&batch.uris),
        metadata,
    }
}
