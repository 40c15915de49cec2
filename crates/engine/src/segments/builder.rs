//! Builds a chunk row by row.
//!
//! What must stay true: every column has a row for each push, whatever is absent.

use std::sync::Arc;

use super::lent::LentDocuments;
use super::{Chunk, Keys, RowDocument, Source};
use crate::Result;
use crate::model::{
    Embeddings, MetadataColumn, Operation, OptionalStrings, RecordBatch, Strings, Value,
};

/// Builds a chunk row by row. Every row has a vector of the same dimension.
#[derive(Default)]
pub struct ChunkBuilder {
    ids: Strings,
    births: Vec<u64>,
    seqs: Vec<u64>,
    dimension: usize,
    vectors: Vec<f32>,
    documents: OptionalStrings,
    lent: LentDocuments,
    uris: OptionalStrings,
    metadata: MetadataColumn,
}

/// One whole record to be pushed to a [`ChunkBuilder`].
#[derive(Clone, Copy)]
pub struct RowParts<'a> {
    /// Its id, pushed once.
    pub id: &'a str,
    /// SeqId of its first insertion.
    pub birth: u64,
    /// SeqId of the operation that wrote it.
    pub seq: u64,
    /// Its vector.
    pub vector: &'a [f32],
    /// Its document.
    pub document: RowDocument<'a>,
    /// Its uri.
    pub uri: Option<&'a str>,
    /// Its metadata, without nulls.
    pub metadata: &'a [(&'a str, &'a Value)],
}

impl<'a> RowParts<'a> {
    /// All of `row` of `source` but its metadata, which is read into a column.
    pub(crate) fn of(source: &'a Source, row: u32) -> Result<Self> {
        Ok(Self {
            id: source.id(row)?,
            birth: source.births()?[row as usize],
            seq: source.seqs()?[row as usize],
            vector: source.vector(row)?,
            document: source.row_document(row),
            uri: source.uri(row)?,
            metadata: &[],
        })
    }
}

impl ChunkBuilder {
    /// A builder with room for so many vectors, so that no memory is left over.
    pub fn with_room(rows: usize, dimension: usize) -> Self {
        Self {
            births: Vec::with_capacity(rows),
            seqs: Vec::with_capacity(rows),
            vectors: Vec::with_capacity(rows * dimension),
            ..Self::default()
        }
    }

    /// Appends a row.
    pub fn push(&mut self, row: RowParts<'_>) {
        let cells = row
            .metadata
            .iter()
            .map(|&(key, value)| (key, value.clone()));
        self.metadata.push_row(cells);
        self.push_columns(row);
    }

    /// Appends `row` of `source`.
    pub(super) fn push_from(&mut self, source: &Source, row: u32) -> Result<()> {
        let parts = RowParts::of(source, row)?;
        source.push_metadata(row, Keys::All, &mut self.metadata)?;
        self.push_columns(parts);
        Ok(())
    }

    /// The chunk of the rows pushed.
    pub fn finish(self) -> Chunk {
        let embeddings = Embeddings::new(self.dimension, self.vectors)
            .expect("every row has a vector of the same dimension");
        let rows = RecordBatch {
            operations: vec![Operation::Add; self.ids.len()],
            ids: self.ids,
            embeddings,
            documents: self.documents,
            uris: self.uris,
            metadata: self.metadata,
        };
        Chunk::with_lent(Arc::new(rows), self.births, self.seqs, self.lent)
    }

    fn push_columns(&mut self, row: RowParts<'_>) {
        self.ids.push(row.id);
        self.births.push(row.birth);
        self.seqs.push(row.seq);
        self.dimension = row.vector.len();
        self.vectors.extend_from_slice(row.vector);
        let own = match row.document {
            RowDocument::Own(document) => document,
            RowDocument::Lent(segment, there) => {
                let row = self.documents.len() as u32;
                self.lent.push(row, segment, there);
                None
            }
        };
        self.documents.push(own);
        self.uris.push(row.uri);
    }
}
