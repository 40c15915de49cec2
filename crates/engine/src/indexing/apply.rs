//! Applies one logged batch to the working set of a collection.
//!
//! What must stay true: an id is alive in at most one part; a batch changes the working set as a
//! whole or, when a damaged segment cannot be read, not at all; an update writes the whole merged
//! record anew (but for a document that it leaves as it was, which its segment lends) and keeps the
//! record's birth, so its place in the `get` order.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use roaring::RoaringBitmap;

use super::chunks::Chunks;
use super::watch::RecentWrites;
use crate::Result;
use crate::model::{
    MetadataColumn, Operation, RecordBatch, Schema, SegmentId, SeqId, SeqRange, Value, ValueKind,
};
use crate::query::{Part, Snapshot};
use crate::segments::{Chunk, ChunkBuilder, HashedId, Keys, RowDocument, RowParts, Source};

/// A collection's records as the applying thread works on them.
pub(crate) struct WorkingSet {
    /// Published segments, oldest first.
    pub(crate) segments: Vec<(SegmentId, Part)>,
    /// What is in memory.
    pub(crate) chunks: Chunks,
    /// Records alive.
    pub(crate) count: u64,
    /// The last SeqId applied.
    pub(crate) applied: SeqId,
    /// Numbers in a vector, once known.
    pub(crate) dimension: Option<u32>,
    /// Index settings and the metadata keys seen.
    pub(crate) schema: Arc<Schema>,
    /// What was written lately, once somebody has read for a conditional commit.
    pub(crate) recent: Option<RecentWrites>,
}

/// Where a live record is.
#[derive(Clone, Copy)]
enum Place {
    Segment(usize, u32),
    Chunk(usize, u32),
}

/// A record as it is after the operations of the batch so far: what it begins with, and the rows of
/// the batch that were merged into that, in order. Nothing of it is copied before its chunk is built,
/// since small changes may name many large records.
struct NewRow {
    base: Base,
    merged: Vec<usize>,
}

/// What a new row begins with.
#[derive(Clone, Copy)]
enum Base {
    /// The row of the batch that inserts it.
    Batch(usize),
    /// The record as it stood before the batch.
    Old(Place),
}

/// A whole record: what it has of the batch, and what it keeps of what it was.
struct MergedRow<'a> {
    /// All but its metadata.
    parts: RowParts<'a>,
    metadata: Vec<(String, Value)>,
}

/// Bytes of text after which the next row begins another chunk: a column holds under 4 GiB.
pub(super) const CHUNK_TEXT_BYTES: usize = 64 << 20;

/// How many ids ahead the tables of segments are asked for.
const IDS_AHEAD: usize = 8;

/// What a batch does, worked out before anything changes.
#[derive(Default)]
struct Plan<'a> {
    dead: Vec<Place>,
    /// New rows in order; `None` where a later operation of the batch removed the record again.
    rows: Vec<Option<NewRow>>,
    /// For each id the batch has touched: its new row, or `None` where it is deleted.
    touched: HashMap<&'a str, Option<usize>>,
}

impl WorkingSet {
    /// The records as readers are to see them.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let segments = self.segments.iter().map(|(_, part)| part.clone());
        Snapshot {
            parts: segments
                .chain(self.chunks.parts().iter().cloned())
                .collect(),
            visible: self.applied,
            count: self.count,
            dimension: self.dimension,
            schema: self.schema.clone(),
        }
    }

    /// Bytes of records in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.chunks.heap_bytes()
    }

    /// Rows in memory, dead ones too.
    pub(crate) fn memory_rows(&self) -> usize {
        self.chunks.rows()
    }

    /// Applies `batch`. A batch at or below the applied SeqId has been applied before.
    pub(crate) fn apply(&mut self, batch: &Arc<RecordBatch>, seqs: SeqRange) -> Result<()> {
        if seqs.last <= self.applied {
            return Ok(());
        }
        let ids: Vec<HashedId<'_>> = batch.ids.iter().map(HashedId::new).collect();
        if self.is_plain_insertion(batch, &ids)? {
            let positions: Vec<u64> = (seqs.first.0..=seqs.last.0).collect();
            let chunk = Chunk::new(batch.clone(), positions.clone(), positions);
            self.push_chunk(chunk)?;
            self.discover(&batch.metadata);
        } else {
            let plan = self.plan(batch, &ids)?;
            let chunks = self.build_chunks(batch, seqs, &plan.rows)?;
            for place in plan.dead {
                self.kill(place);
            }
            for chunk in chunks {
                self.discover(chunk.metadata());
                self.push_chunk(chunk)?;
            }
        }
        if batch.embeddings.dimension() > 0 && self.dimension.is_none() {
            self.dimension = Some(batch.embeddings.dimension() as u32);
        }
        if let Some(recent) = &mut self.recent {
            recent.note(&batch.ids, seqs);
        }
        self.applied = seqs.last;
        Ok(())
    }

    /// Whether every row inserts a whole record whose id is new, so that the batch's columns can
    /// serve as they are.
    fn is_plain_insertion(&self, batch: &RecordBatch, ids: &[HashedId<'_>]) -> Result<bool> {
        let inserts = batch
            .operations
            .iter()
            .all(|op| matches!(op, Operation::Add | Operation::Upsert));
        if !inserts || batch.embeddings.len() != batch.len() || !batch.embeddings.all_present() {
            return Ok(false);
        }
        if (0..batch.len()).any(|row| has_null(&batch.metadata, row)) {
            return Ok(false);
        }
        let mut seen = HashSet::with_capacity(batch.len());
        for (row, id) in ids.iter().enumerate() {
            if !seen.insert(id.id()) || self.find_next(ids, row)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn plan<'a>(&self, batch: &'a RecordBatch, ids: &[HashedId<'a>]) -> Result<Plan<'a>> {
        let mut plan = Plan::default();
        for row in 0..batch.len() {
            let (id, operation) = (ids[row].id(), batch.operations[row]);
            let (place, earlier) = match plan.touched.get(id) {
                Some(earlier) => (None, *earlier),
                None => (self.find_next(ids, row)?, None),
            };
            let exists = place.is_some() || earlier.is_some();
            match operation {
                Operation::Delete => {
                    if let Some(at) = earlier {
                        plan.rows[at] = None;
                    }
                    plan.dead.extend(place);
                    plan.touched.insert(id, None);
                }
                Operation::Add | Operation::Upsert if !exists => {
                    plan.touched.insert(id, Some(plan.rows.len()));
                    plan.rows.push(Some(NewRow {
                        base: Base::Batch(row),
                        merged: Vec::new(),
                    }));
                }
                Operation::Update | Operation::Upsert if exists => {
                    if let Some(at) = earlier {
                        let new = plan.rows[at].as_mut();
                        let new = new.expect("a touched id points at a row that stands");
                        new.merged.push(row);
                    } else if let Some(place) = place {
                        plan.dead.push(place);
                        plan.touched.insert(id, Some(plan.rows.len()));
                        plan.rows.push(Some(NewRow {
                            base: Base::Old(place),
                            merged: vec![row],
                        }));
                    }
                }
                // An addition of what exists, or an update of what does not.
                Operation::Add | Operation::Update | Operation::Upsert => {}
            }
        }
        Ok(plan)
    }

    /// When the live record `id` was last written.
    pub(super) fn written(&self, id: &str) -> Result<Option<SeqId>> {
        let Some(place) = self.find(HashedId::new(id))? else {
            return Ok(None);
        };
        let (source, row) = self.source_of(place);
        Ok(Some(SeqId(source.seqs()?[row as usize])))
    }

    /// The same as [`Self::find`], for the id at `row` of many that are looked for in turn: the tables of large segments
    /// are in no cache, so what later ids need is asked for now.
    fn find_next(&self, ids: &[HashedId<'_>], row: usize) -> Result<Option<Place>> {
        if let Some(id) = ids.get(row + IDS_AHEAD) {
            for (_, part) in &self.segments {
                part.source.prefetch_id(*id)?;
            }
        }
        self.find(ids[row])
    }

    /// Finds the live record `id`, newest sources first.
    fn find(&self, id: HashedId<'_>) -> Result<Option<Place>> {
        if let Some((at, row)) = self.chunks.find(id) {
            return Ok(Some(Place::Chunk(at, row)));
        }
        for (at, (_, part)) in self.segments.iter().enumerate().rev() {
            if let Some(row) = part.source.find_hashed(id)?
                && !part.dead.contains(row)
            {
                return Ok(Some(Place::Segment(at, row)));
            }
        }
        Ok(None)
    }

    /// The source that has a record, and its row there.
    fn source_of(&self, place: Place) -> (&Source, u32) {
        match place {
            Place::Segment(at, row) => (&self.segments[at].1.source, row),
            Place::Chunk(at, row) => (&self.chunks.parts()[at].source, row),
        }
    }

    fn read(&self, place: Place) -> Result<MergedRow<'_>> {
        let (source, row) = self.source_of(place);
        let mut metadata = MetadataColumn::default();
        source.push_metadata(row, Keys::All, &mut metadata)?;
        let cells = metadata.row(0);
        Ok(MergedRow {
            parts: RowParts::of(source, row)?,
            metadata: cells
                .map(|(key, value)| (key.to_owned(), value.clone()))
                .collect(),
        })
    }

    /// The chunks of new rows, in their order.
    fn build_chunks(
        &self,
        batch: &RecordBatch,
        seqs: SeqRange,
        rows: &[Option<NewRow>],
    ) -> Result<Vec<Chunk>> {
        let mut chunks = Vec::new();
        let (mut builder, mut text_bytes) = (ChunkBuilder::default(), 0);
        let mut rows = rows.iter().flatten().peekable();
        while let Some(new) = rows.next() {
            text_bytes += match (new.base, &new.merged[..]) {
                (Base::Batch(row), []) => push_inserted(batch, seqs, row, &mut builder),
                _ => self.whole(batch, seqs, new)?.push_to(&mut builder),
            };
            if text_bytes >= CHUNK_TEXT_BYTES || rows.peek().is_none() {
                chunks.push(std::mem::take(&mut builder).finish());
                text_bytes = 0;
            }
        }
        Ok(chunks)
    }

    /// A new row with everything that its record has.
    fn whole<'a>(
        &'a self,
        batch: &'a RecordBatch,
        seqs: SeqRange,
        new: &NewRow,
    ) -> Result<MergedRow<'a>> {
        let mut row = match new.base {
            Base::Old(place) => self.read(place)?,
            Base::Batch(row) => {
                let birth = seqs.first.0 + row as u64;
                let blank = MergedRow {
                    parts: RowParts {
                        id: batch.ids.get(row),
                        birth,
                        seq: birth,
                        vector: &[],
                        document: RowDocument::Own(None),
                        uri: None,
                        metadata: &[],
                    },
                    metadata: Vec::new(),
                };
                blank.merge(batch, row, birth)
            }
        };
        for &from in &new.merged {
            row = row.merge(batch, from, seqs.first.0 + from as u64);
        }
        Ok(row)
    }

    fn kill(&mut self, place: Place) {
        let was_alive = match place {
            Place::Segment(at, row) => Arc::make_mut(&mut self.segments[at].1.dead).insert(row),
            Place::Chunk(at, row) => self.chunks.kill(at, row),
        };
        self.count -= u64::from(was_alive);
    }

    fn push_chunk(&mut self, chunk: Chunk) -> Result<()> {
        self.count += u64::from(chunk.rows());
        self.chunks.push(chunk)
    }

    /// Notes the keys of records that are stored; what a batch says of others is nowhere.
    fn discover(&mut self, metadata: &MetadataColumn) {
        let mut seen: HashSet<(u32, ValueKind)> = HashSet::new();
        for row in 0..metadata.len() {
            for (key, value) in metadata.cells(row) {
                if let Some(kind) = ValueKind::of(value)
                    && seen.insert((*key, kind))
                {
                    let name = &metadata.keys()[*key as usize];
                    if !self.schema.has_discovered(name, kind) {
                        Arc::make_mut(&mut self.schema).discover(name, kind);
                    }
                }
            }
        }
    }
}

impl<'a> MergedRow<'a> {
    /// Answers the bytes of its columns of text.
    fn push_to(&self, builder: &mut ChunkBuilder) -> usize {
        let cells = self.metadata.iter();
        let cells: Vec<_> = cells.map(|(key, value)| (key.as_str(), value)).collect();
        push(
            builder,
            RowParts {
                metadata: &cells,
                ..self.parts
            },
        )
    }

    /// Takes over what `row` of `batch` gives; a null metadata value deletes its key.
    fn merge(mut self, batch: &'a RecordBatch, row: usize, seq: u64) -> Self {
        let parts = &mut self.parts;
        parts.seq = seq;
        parts.vector = batch.embeddings.get(row).unwrap_or(parts.vector);
        parts.uri = batch.uris.get(row).or(parts.uri);
        if let Some(document) = batch.documents.get(row) {
            parts.document = RowDocument::Own(Some(document));
        }
        for (key, value) in batch.metadata.row(row) {
            self.metadata.retain(|(old, _)| old != key);
            if *value != Value::Null {
                self.metadata.push((key.to_owned(), value.clone()));
            }
        }
        self
    }
}

/// Pushes `row` of a batch, which inserts its record; answers the bytes of its columns of text.
fn push_inserted(
    batch: &RecordBatch,
    seqs: SeqRange,
    row: usize,
    builder: &mut ChunkBuilder,
) -> usize {
    let cells = batch.metadata.row(row);
    let cells: Vec<_> = cells.filter(|(_, value)| **value != Value::Null).collect();
    let seq = seqs.first.0 + row as u64;
    let vector = batch.embeddings.get(row);
    let row = RowParts {
        id: batch.ids.get(row),
        birth: seq,
        seq,
        vector: vector.expect("an insertion has a vector"),
        document: RowDocument::Own(batch.documents.get(row)),
        uri: batch.uris.get(row),
        metadata: &cells,
    };
    push(builder, row)
}

/// Pushes a row; answers the bytes of its columns of text.
fn push(builder: &mut ChunkBuilder, row: RowParts<'_>) -> usize {
    let optional = |text: Option<&str>| text.map_or(0, str::len);
    let bytes = row.id.len() + row.document.bytes() + optional(row.uri);
    builder.push(row);
    bytes
}

fn has_null(metadata: &MetadataColumn, row: usize) -> bool {
    metadata
        .cells(row)
        .iter()
        .any(|(_, value)| *value == Value::Null)
}

/// The rows of a source after `row_of` moved them; rows that were dropped are passed over.
pub(super) fn translate(rows: &RoaringBitmap, row_of: &[u32]) -> RoaringBitmap {
    rows.iter()
        .map(|row| row_of[row as usize])
        .filter(|&row| row != u32::MAX)
        .collect()
}
