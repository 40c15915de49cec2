//! Rows in memory: the columns of one applied batch, or of several joined.
//!
//! What must stay true: every row is a whole record (no null metadata value, a vector in each
//! row), each id stands in at most one row, and nothing changes once the chunk is made. A document that an
//! update left as it was may still be in the segment that its record came from, and vectors may be in the log.

use std::borrow::Cow;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::documents::DocumentMatcher;
use super::id_table::{HashedId, IdTable};
use super::lent::LentDocuments;
use super::metadata::comparison;
use super::metadata::operands::Operands;
use super::{ChunkBuilder, Keys, RowDocument, RowSet, Source};
use crate::Result;
use crate::model::{
    Comparison, DocumentTest, MetadataColumn, RecordBatch, SeqId, SparseVector, Value,
};

/// Rows in memory.
pub struct Chunk {
    rows: Arc<RecordBatch>,
    lent: LentDocuments,
    births: Vec<u64>,
    seqs: Vec<u64>,
    order: Option<Vec<u32>>,
    ids: IdTable,
    heap_bytes: usize,
}

impl Chunk {
    /// Takes the columns of `rows` as they are: each row is a whole record with an id of its own.
    /// `births` and `seqs` have one entry for each row.
    pub fn new(rows: Arc<RecordBatch>, births: Vec<u64>, seqs: Vec<u64>) -> Self {
        Self::with_lent(rows, births, seqs, LentDocuments::default())
    }

    /// The same, with documents that are elsewhere.
    pub(super) fn with_lent(
        rows: Arc<RecordBatch>,
        births: Vec<u64>,
        seqs: Vec<u64>,
        lent: LentDocuments,
    ) -> Self {
        assert!(
            births.len() == rows.len() && seqs.len() == rows.len(),
            "a chunk has a birth and a SeqId for each row"
        );
        let order = (!births.is_sorted()).then(|| {
            let mut order: Vec<u32> = (0..births.len() as u32).collect();
            order.sort_by_key(|&row| births[row as usize]);
            order
        });
        let ids = IdTable::new(&rows.ids);
        let heap_bytes = rows.heap_bytes()
            + lent.heap_bytes()
            + (births.capacity() + seqs.capacity()) * 8
            + order.as_ref().map_or(0, |order| order.capacity() * 4)
            + ids.heap_bytes();
        Self {
            rows,
            lent,
            births,
            seqs,
            order,
            ids,
            heap_bytes,
        }
    }

    /// One chunk with the rows of `parts` that are not dead, by ascending birth.
    pub fn join(parts: &[(Source, Arc<RoaringBitmap>)]) -> Result<Self> {
        parts.iter().try_for_each(|(part, _)| part.check_lent())?;
        let rows = live_rows(parts)?;
        let dimension = rows
            .first()
            .map_or(0, |row| parts[row.source as usize].0.dimension());
        let mut builder = ChunkBuilder::with_room(rows.len(), dimension);
        for row in rows {
            builder.push_from(&parts[row.source as usize].0, row.row)?;
        }
        Ok(builder.finish())
    }

    /// How many rows there are.
    pub fn rows(&self) -> u32 {
        self.births.len() as u32
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.births.is_empty()
    }

    pub(super) fn dimension(&self) -> usize {
        self.rows.embeddings.dimension()
    }

    pub(super) fn find(&self, id: HashedId<'_>) -> Option<u32> {
        self.ids.find(&self.rows.ids, id)
    }

    pub(super) fn id(&self, row: u32) -> &str {
        self.rows.ids.get(row as usize)
    }

    pub(super) fn births(&self) -> &[u64] {
        &self.births
    }

    pub(super) fn seqs(&self) -> &[u64] {
        &self.seqs
    }

    pub(super) fn order(&self) -> Option<&[u32]> {
        self.order.as_deref()
    }

    pub(super) fn vectors(&self, first: u32, count: u32) -> &[f32] {
        let (first, count) = (first as usize, count as usize);
        let dimension = self.dimension();
        &self.rows.embeddings.values()[first * dimension..(first + count) * dimension]
    }

    pub(super) fn document(&self, row: u32) -> Result<Option<Cow<'_, str>>> {
        match self.row_document(row) {
            RowDocument::Own(text) => Ok(text.map(Cow::Borrowed)),
            RowDocument::Lent(segment, there) => Ok(segment.document(there)?.map(Cow::Owned)),
        }
    }

    pub(super) fn row_document(&self, row: u32) -> RowDocument<'_> {
        match self.lent.get(row) {
            Some((segment, there)) => RowDocument::Lent(segment, there),
            None => RowDocument::Own(self.rows.documents.get(row as usize)),
        }
    }

    pub(super) fn uri(&self, row: u32) -> Option<&str> {
        self.rows.uris.get(row as usize)
    }

    pub(crate) fn metadata(&self) -> &MetadataColumn {
        &self.rows.metadata
    }

    pub(super) fn push_metadata(&self, row: u32, keys: Keys<'_>, to: &mut MetadataColumn) {
        let cells = self.rows.metadata.row(row as usize);
        let cells = cells.filter(|(key, _)| keys.has(key));
        to.push_row(cells.map(|(key, value)| (key, value.clone())));
    }

    pub(super) fn sparse(&self, row: u32, key: &str) -> Option<&SparseVector> {
        let key = self.rows.metadata.key_number(key)?;
        match self.rows.metadata.get(row as usize, key)? {
            Value::Sparse(sparse) => Some(sparse),
            _ => None,
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    pub(super) fn merge_bytes(&self) -> u64 {
        (self.heap_bytes + self.rows.embeddings.uncounted_bytes()) as u64
    }

    /// Whether what stands elsewhere is still what was written: `Corrupted` otherwise. What is sealed or joined is checked
    /// before, since the copy would be taken for sound.
    pub(super) fn check_lent(&self) -> Result<()> {
        self.rows.embeddings.check()
    }

    pub(super) fn last_seq(&self) -> SeqId {
        SeqId(self.seqs.iter().copied().max().unwrap_or(0))
    }

    pub(super) fn matching(&self, key: &str, test: &Comparison, to: &mut RowSet) {
        let column = &self.rows.metadata;
        let Some(key) = column.key_number(key) else {
            if comparison::is_negative(test) {
                *to = RowSet::all(self.rows());
            }
            return;
        };
        let operands = Operands::of(test);
        let passes = |value: Option<&Value>| match &operands {
            Some(operands) => {
                value.is_some_and(|value| operands.hold(value)) != comparison::is_negative(test)
            }
            None => comparison::passes(value, test),
        };
        for row in 0..self.rows() {
            if passes(column.get(row as usize, key)) {
                to.insert(row);
            }
        }
    }

    pub(super) fn retain_documents(&self, test: &DocumentTest, among: &mut RowSet) -> Result<()> {
        let matcher = DocumentMatcher::new(test);
        let mut kept = RowSet::none(among.rows());
        for row in among.iter() {
            let passes = match self.row_document(row) {
                RowDocument::Own(text) => matcher.passes(text)?,
                // Asked of its segment below, which may have an index of them.
                RowDocument::Lent(..) => true,
            };
            if passes {
                kept.insert(row);
            }
        }
        *among = kept;
        self.lent.retain(test, among)
    }
}

/// A row that is alive, and where.
#[derive(Clone, Copy)]
pub(super) struct LiveRow {
    birth: u64,
    /// The number of its source.
    pub(super) source: u32,
    /// Its row there.
    pub(super) row: u32,
}

/// The rows of `parts` that are not dead, by ascending birth.
pub(super) fn live_rows(parts: &[(Source, Arc<RoaringBitmap>)]) -> Result<Vec<LiveRow>> {
    let mut live = Vec::new();
    for (number, (source, dead)) in parts.iter().enumerate() {
        let births = source.births()?;
        live.reserve(births.len().saturating_sub(dead.len() as usize));
        let mut dead = dead.iter().peekable();
        for (row, &birth) in births.iter().enumerate() {
            let row = row as u32;
            if dead.next_if_eq(&row).is_none() {
                live.push(LiveRow {
                    birth,
                    source: number as u32,
                    row,
                });
            }
        }
    }
    // Sources are nearly sorted runs, which this sort merges in about linear time.
    live.sort_by_key(|row| row.birth);
    Ok(live)
}
