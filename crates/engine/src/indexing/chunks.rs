//! The chunks of a working set, oldest first, and where each of their live records is.
//!
//! What must stay true: `places` has each row that is alive in a chunk and no other; chunks that
//! are being sealed (`frozen`) stay as they are, but for rows that die.

use std::sync::Arc;

use hashbrown::HashTable;

use crate::Result;
use crate::query::Part;
use crate::segments::{Chunk, HashedId, Source};

/// Chunks of one size class that are joined into one of the next.
const JOIN_FAN_OUT: usize = 8;
/// Chunks of so many rows, or of so many bytes, are joined no further: copying them would cost more
/// than it saves.
const JOIN_ROWS_MAX: u32 = 512;
/// See [`JOIN_ROWS_MAX`].
const JOIN_BYTES_MAX: u64 = 8 << 20;

/// See the file's comment.
#[derive(Default)]
pub(crate) struct Chunks {
    parts: Vec<Part>,
    /// For each chunk a number of its own; they ascend from that of the oldest, and wrap.
    numbers: Vec<u32>,
    next_number: u32,
    places: HashTable<LivePlace>,
    /// How many of the oldest chunks are being sealed.
    frozen: usize,
}

/// Where a live record is.
#[derive(Clone, Copy)]
struct LivePlace {
    hash: u64,
    /// The number of its chunk.
    chunk: u32,
    row: u32,
}

impl Chunks {
    /// The chunks, oldest first.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Bytes in memory.
    pub(crate) fn heap_bytes(&self) -> usize {
        let rows = self.parts.iter().map(|part| part.source.heap_bytes());
        rows.sum::<usize>() + self.places.allocation_size()
    }

    /// Rows, dead ones too.
    pub(crate) fn rows(&self) -> usize {
        let rows = self.parts.iter().map(|part| part.source.rows() as usize);
        rows.sum()
    }

    /// The place of the live record `id`: a chunk and its row.
    pub(crate) fn find(&self, id: HashedId<'_>) -> Option<(usize, u32)> {
        let is_it = |place: &LivePlace| {
            place.hash == id.hash()
                && self
                    .position(place.chunk)
                    .and_then(|at| self.parts[at].source.id(place.row).ok())
                    == Some(id.id())
        };
        let place = self.places.find(id.hash(), is_it)?;
        Some((self.position(place.chunk)?, place.row))
    }

    /// Notes that a row died; whether it was alive.
    pub(crate) fn kill(&mut self, at: usize, row: u32) -> bool {
        let part = &mut self.parts[at];
        if !Arc::make_mut(&mut part.dead).insert(row) {
            return false;
        }
        let hash = part.source.id(row).map(|id| HashedId::new(id).hash());
        if let Ok(hash) = hash {
            self.forget(hash, self.numbers[at], row);
        }
        true
    }

    /// Appends a chunk all of whose rows are alive.
    pub(crate) fn push(&mut self, chunk: Chunk) -> Result<()> {
        self.append(chunk)?;
        self.drop_dead();
        self.join()
    }

    /// Freezes all chunks.
    pub(crate) fn freeze(&mut self) {
        self.frozen = self.parts.len();
    }

    /// Ends what [`Self::freeze`] began.
    pub(crate) fn thaw(&mut self) {
        self.frozen = 0;
    }

    /// Gives the frozen chunks away: their rows are elsewhere now.
    pub(crate) fn take_frozen(&mut self) -> Result<Vec<Part>> {
        let count = std::mem::take(&mut self.frozen);
        self.forget_rows(0, count)?;
        self.numbers.drain(..count);
        // What a rush needed is not kept for the quiet time behind it.
        self.places.shrink_to_fit(|place| place.hash);
        Ok(self.parts.drain(..count).collect())
    }

    fn append(&mut self, chunk: Chunk) -> Result<()> {
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        let source = Source::Chunk(Arc::new(chunk));
        self.places
            .reserve(source.rows() as usize, |place| place.hash);
        for row in 0..source.rows() {
            let place = LivePlace {
                hash: HashedId::new(source.id(row)?).hash(),
                chunk: number,
                row,
            };
            self.places
                .insert_unique(place.hash, place, |place| place.hash);
        }
        self.numbers.push(number);
        self.parts.push(Part {
            source,
            dead: Arc::default(),
        });
        Ok(())
    }

    /// Forgets open chunks none of whose rows is alive.
    fn drop_dead(&mut self) {
        let is_kept = |at: usize, part: &Part| {
            at < self.frozen || part.dead.len() < u64::from(part.source.rows())
        };
        let parts = self.parts.iter().enumerate();
        let kept: Vec<bool> = parts.map(|(at, part)| is_kept(at, part)).collect();
        if kept.iter().all(|kept| *kept) {
            return;
        }
        let mut of_part = kept.iter();
        self.parts
            .retain(|_| of_part.next().is_some_and(|kept| *kept));
        let mut of_number = kept.iter();
        self.numbers
            .retain(|_| of_number.next().is_some_and(|kept| *kept));
    }

    /// Joins the newest chunks while there are enough of one size class, so that many small
    /// batches leave few chunks and each row is copied a few times at most.
    fn join(&mut self) -> Result<()> {
        loop {
            let open = &self.parts[self.frozen..];
            let Some(newest) = open.last() else {
                return Ok(());
            };
            let class = size_class(newest.source.rows());
            let alike = open
                .iter()
                .rev()
                .take_while(|part| {
                    part.source.rows() < JOIN_ROWS_MAX
                        && size_class(part.source.rows()) <= class
                        && part.source.merge_bytes() < JOIN_BYTES_MAX
                })
                .count();
            if alike < JOIN_FAN_OUT {
                return Ok(());
            }
            let from = self.parts.len() - alike;
            let parts: Vec<_> = self.parts[from..]
                .iter()
                .map(|part| (part.source.clone(), part.dead.clone()))
                .collect();
            let joined = Chunk::join(&parts)?;
            self.forget_rows(from, self.parts.len())?;
            self.parts.truncate(from);
            self.numbers.truncate(from);
            if !joined.is_empty() {
                self.append(joined)?;
            }
        }
    }

    fn position(&self, number: u32) -> Option<usize> {
        let oldest = *self.numbers.first()?;
        let age = |number: &u32| number.wrapping_sub(oldest);
        self.numbers.binary_search_by_key(&age(&number), age).ok()
    }

    /// Forgets where the live rows of some chunks are.
    fn forget_rows(&mut self, from: usize, end: usize) -> Result<()> {
        for at in from..end {
            let (part, number) = (self.parts[at].clone(), self.numbers[at]);
            for row in 0..part.source.rows() {
                if !part.dead.contains(row) {
                    self.forget(HashedId::new(part.source.id(row)?).hash(), number, row);
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self, hash: u64, chunk: u32, row: u32) {
        let is_it = |place: &LivePlace| place.chunk == chunk && place.row == row;
        if let Ok(entry) = self.places.find_entry(hash, is_it) {
            entry.remove();
        }
    }
}

/// 0 for 1 to 7 rows, 1 for 8 to 63, and so on.
fn size_class(rows: u32) -> u32 {
    rows.max(1).ilog2() / 3
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{
        Embeddings, FileHold, LentNumbers, MetadataColumn, Numbers, Operation, OptionalStrings,
        RecordBatch,
    };
    use crate::segments::{ChunkBuilder, RowDocument, RowParts};

    fn chunk(id: &str, document: &str) -> Chunk {
        let mut builder = ChunkBuilder::default();
        builder.push(RowParts {
            id,
            birth: 1,
            seq: 1,
            vector: &[1.0],
            document: RowDocument::Own(Some(document)),
            uri: None,
            metadata: &[],
        });
        builder.finish()
    }

    #[test]
    fn records_are_found_when_the_numbers_of_chunks_wrap() {
        let mut chunks = Chunks {
            next_number: u32::MAX - 2,
            ..Chunks::default()
        };
        let ids: Vec<String> = (0..6).map(|number| format!("r{number}")).collect();
        for id in &ids {
            chunks.push(chunk(id, "")).unwrap();
        }
        assert_eq!(chunks.next_number, 3);
        let found = ids.iter().map(|id| chunks.find(HashedId::new(id)));
        let expected: Vec<_> = (0..6).map(|at| Some((at, 0))).collect();
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn chunks_of_many_bytes_are_not_joined() {
        let large = "x".repeat(JOIN_BYTES_MAX as usize);
        for (document, parts) in [("small", 1), (&large, JOIN_FAN_OUT)] {
            let mut chunks = Chunks::default();
            for number in 0..JOIN_FAN_OUT {
                chunks.push(chunk(&number.to_string(), document)).unwrap();
            }
            assert_eq!((chunks.parts().len(), chunks.rows()), (parts, JOIN_FAN_OUT));
        }
    }

    #[test]
    fn vectors_that_a_join_would_copy_out_of_the_log_count_whole() {
        for (bytes, parts) in [(1 << 20, 1), (JOIN_BYTES_MAX as usize, JOIN_FAN_OUT)] {
            let vector = bytes::Bytes::from(vec![0; bytes]);
            let checksum = crc32c::crc32c(&vector);
            let mut chunks = Chunks::default();
            for number in 0..JOIN_FAN_OUT {
                let lent =
                    LentNumbers::new(vector.clone(), "log", 0, checksum, FileHold::default());
                let lent = Numbers::Lent(lent.expect("numbers are aligned"));
                let batch = RecordBatch {
                    operations: vec![Operation::Add],
                    ids: [&*number.to_string()].into_iter().collect(),
                    embeddings: Embeddings::of_numbers(bytes / 4, lent, None).expect("one row"),
                    documents: OptionalStrings::absent(1),
                    uris: OptionalStrings::absent(1),
                    metadata: MetadataColumn::absent(1),
                };
                let chunk = Chunk::new(Arc::new(batch), vec![1], vec![1]);
                chunks.push(chunk).unwrap();
            }
            assert_eq!((chunks.parts().len(), chunks.rows()), (parts, JOIN_FAN_OUT));
        }
    }
}
