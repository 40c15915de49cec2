//! What a client asks to be done to records: one batch of operations in columns.

use super::{Embeddings, MetadataColumn, OptionalStrings, Strings};

/// What one record of a batch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    /// Insert the record; an id that exists is left as it is.
    Add = 1,
    /// Change the record; an id that does not exist is ignored. Absent columns keep their value.
    Update = 2,
    /// Insert or change the record.
    Upsert = 3,
    /// Remove the record; an id that does not exist is ignored.
    Delete = 4,
}

impl Operation {
    /// The operation with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Add),
            2 => Some(Self::Update),
            3 => Some(Self::Upsert),
            4 => Some(Self::Delete),
            _ => None,
        }
    }
}

/// A batch of operations on one collection (the sources' OperationRecords), in columns.
///
/// Every column has as many rows as `ids`, but for `embeddings`, whose block is empty
/// (dimension 0) where no row has a vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordBatch {
    /// What each row asks for.
    pub operations: Vec<Operation>,
    /// The record that each row is about.
    pub ids: Strings,
    /// Its vector.
    pub embeddings: Embeddings,
    /// Its document.
    pub documents: OptionalStrings,
    /// Its uri.
    pub uris: OptionalStrings,
    /// Its metadata; a null value deletes the key.
    pub metadata: MetadataColumn,
}

impl RecordBatch {
    /// How many records the batch has.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether the batch has no record.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// A batch that deletes `ids`.
    pub fn deletion(ids: Strings) -> Self {
        let rows = ids.len();
        Self {
            operations: vec![Operation::Delete; rows],
            ids,
            embeddings: Embeddings::default(),
            documents: OptionalStrings::absent(rows),
            uris: OptionalStrings::absent(rows),
            metadata: MetadataColumn::absent(rows),
        }
    }

    /// The rows of `range` as a batch of their own.
    #[must_use]
    pub fn rows(&self, range: std::ops::Range<usize>) -> Self {
        let dimension = self.embeddings.dimension();
        let values = match dimension {
            0 => Vec::new(),
            _ => self.embeddings.values()[range.start * dimension..range.end * dimension].to_vec(),
        };
        let embeddings = match self.embeddings.present() {
            Some(present) => {
                Embeddings::with_absent(dimension, values, present[range.clone()].to_vec())
            }
            None => Embeddings::new(dimension, values),
        };
        let mut metadata = MetadataColumn::default();
        for row in range.clone() {
            metadata.push_row(
                self.metadata
                    .row(row)
                    .map(|(key, value)| (key, value.clone())),
            );
        }
        Self {
            operations: self.operations[range.clone()].to_vec(),
            ids: range.clone().map(|row| self.ids.get(row)).collect(),
            embeddings: embeddings.expect("whole rows of a whole column"),
            documents: range.clone().map(|row| self.documents.get(row)).collect(),
            uris: range.map(|row| self.uris.get(row)).collect(),
            metadata,
        }
    }

    /// The rows of `batches`, one after the other; `None` where their vectors differ in dimension.
    pub fn join(batches: &[Self]) -> Option<Self> {
        let dimensions = batches.iter().map(|batch| batch.embeddings.dimension());
        let dimension = dimensions.max().unwrap_or(0);
        let mut joined = Self::default();
        let (mut values, mut present) = (Vec::new(), Vec::new());
        for batch in batches {
            if ![0, dimension].contains(&batch.embeddings.dimension()) {
                return None;
            }
            for row in 0..batch.len() {
                joined.operations.push(batch.operations[row]);
                joined.ids.push(batch.ids.get(row));
                joined.documents.push(batch.documents.get(row));
                joined.uris.push(batch.uris.get(row));
                let cells = batch.metadata.row(row);
                joined
                    .metadata
                    .push_row(cells.map(|(key, value)| (key, value.clone())));
                let vector = batch.embeddings.get(row);
                present.push(vector.is_some());
                match vector {
                    Some(vector) => values.extend_from_slice(vector),
                    None => values.resize(values.len() + dimension, 0.0),
                }
            }
        }
        if dimension > 0 {
            joined.embeddings = Embeddings::with_absent(dimension, values, present)?;
        }
        Some(joined)
    }

    /// Bytes held, near enough.
    pub fn heap_bytes(&self) -> usize {
        self.operations.capacity()
            + self.ids.heap_bytes()
            + self.embeddings.heap_bytes()
            + self.documents.heap_bytes()
            + self.uris.heap_bytes()
            + self.metadata.heap_bytes()
    }

    /// Gives back room that was made ahead in columns that grew row by row.
    pub fn shrink_to_fit(&mut self) {
        self.documents.shrink_to_fit();
        self.uris.shrink_to_fit();
        self.metadata.shrink_to_fit();
    }
}
