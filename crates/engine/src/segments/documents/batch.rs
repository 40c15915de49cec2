//! Reads `documents.arrow` batch by batch.
//!
//! What must stay true: a batch is decoded from the places that the table of contents records,
//! and only after its bytes have been checked.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use zstd::bulk::Decompressor;

use super::DocumentMatcher;
use crate::segments::RowSet;
use crate::segments::blocks::Blocks;
use crate::segments::column::typed;
use crate::{Error, Result};

/// Decoded batches kept for the next call.
const KEPT_BATCHES: usize = 16;
/// Bytes of text beyond which a decoded batch is not kept.
const KEPT_BYTES: usize = 64 << 10;

thread_local! {
    /// The decompressor of this thread; making one costs as much as a small batch.
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Where a batch is: `buffers` are validity bits, offsets and text, each as offset from `at` and
/// length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::segments) struct DocumentBatch {
    /// The row of its first document.
    pub(in crate::segments) first_row: u32,
    /// Where its buffers begin in the file.
    pub(in crate::segments) at: u64,
    /// Its buffers.
    pub(in crate::segments) buffers: [(u64, u64); 3],
}

/// A batch does not fit together.
struct Misfit;

/// A decoded batch.
struct Decoded {
    first_row: u32,
    present: Vec<u8>,
    offsets: Vec<u32>,
    text: String,
}

impl Decoded {
    /// The document of `row`.
    fn get(&self, row: u32) -> Result<Option<&str>, Misfit> {
        let at = (row - self.first_row) as usize;
        let present = match self.present.get(at / 8) {
            Some(bits) => bits >> (at % 8) & 1 == 1,
            None if self.present.is_empty() => true,
            None => return Err(Misfit),
        };
        if !present {
            return Ok(None);
        }
        let (Some(&start), Some(&end)) = (self.offsets.get(at), self.offsets.get(at + 1)) else {
            return Err(Misfit);
        };
        let text = self.text.get(start as usize..end as usize);
        text.map(Some).ok_or(Misfit)
    }
}

/// The documents of a segment.
pub(in crate::segments) struct Documents {
    blocks: Blocks,
    batches: Vec<DocumentBatch>,
    kept: Mutex<VecDeque<Arc<Decoded>>>,
}

impl Documents {
    /// The documents in `blocks`, whose batches ascend from row 0.
    pub(in crate::segments) fn new(blocks: Blocks, batches: Vec<DocumentBatch>) -> Self {
        Self {
            blocks,
            batches,
            kept: Mutex::default(),
        }
    }

    /// The file.
    pub(in crate::segments) fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Bytes held in memory.
    pub(in crate::segments) fn heap_bytes(&self) -> usize {
        let kept: usize = self.kept.lock().iter().map(|batch| batch.text.len()).sum();
        kept + self.batches.capacity() * size_of::<DocumentBatch>()
            + self.blocks.len().div_ceil(8192)
    }

    /// The document of `row`.
    pub(in crate::segments) fn get(&self, row: u32) -> Result<Option<String>> {
        let batch = self.batch_of(row)?;
        let document = batch.get(row).map_err(|Misfit| self.misfit(row))?;
        Ok(document.map(str::to_owned))
    }

    /// How many batches there are.
    pub(in crate::segments) fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Takes from `among` the rows whose document does not have the pattern of `matcher`; batches
    /// without a row of `among` are not decoded.
    pub(in crate::segments) fn search(
        &self,
        matcher: &DocumentMatcher<'_>,
        among: &mut RowSet,
    ) -> Result<()> {
        let mut found = RowSet::none(among.rows());
        let mut rows = among.iter().peekable();
        while let Some(&first) = rows.peek() {
            let number = self.number_of(first)?;
            let batch = self.decode(number)?;
            let end = self
                .batches
                .get(number + 1)
                .map_or(u32::MAX, |next| next.first_row);
            while let Some(row) = rows.next_if(|&row| row < end) {
                if matcher.finds(batch.get(row).map_err(|Misfit| self.misfit(row))?)? {
                    found.insert(row);
                }
            }
        }
        drop(rows);
        *among = found;
        Ok(())
    }

    fn batch_of(&self, row: u32) -> Result<Arc<Decoded>> {
        let number = self.number_of(row)?;
        let first_row = self.batches[number].first_row;
        let found = self
            .kept
            .lock()
            .iter()
            .find(|batch| batch.first_row == first_row)
            .cloned();
        if let Some(batch) = found {
            return Ok(batch);
        }
        let batch = Arc::new(self.decode(number)?);
        if batch.text.len() <= KEPT_BYTES {
            let mut kept = self.kept.lock();
            if kept.len() >= KEPT_BATCHES {
                kept.pop_front();
            }
            kept.push_back(batch.clone());
        }
        Ok(batch)
    }

    fn number_of(&self, row: u32) -> Result<usize> {
        self.batches
            .partition_point(|batch| batch.first_row <= row)
            .checked_sub(1)
            .ok_or_else(|| self.misfit(row))
    }

    fn misfit(&self, row: u32) -> Error {
        let detail = format_args!("the batches of documents do not hold row {row}");
        Error::corrupted(self.blocks.path(), 0, detail)
    }

    fn decode(&self, number: usize) -> Result<Decoded> {
        let batch = self.batches[number];
        let [present, offsets, text] = batch.buffers;
        let buffer =
            |(offset, bytes): (u64, u64)| self.inflate(batch.at.saturating_add(offset), bytes);
        let text = String::from_utf8(buffer(text)?).map_err(|error| {
            Error::corrupted(
                self.blocks.path(),
                batch.at,
                format_args!("no UTF-8: {error}"),
            )
        })?;
        let offsets = buffer(offsets)?
            .chunks_exact(4)
            .map(|bytes| u32::from_le_bytes(bytes.try_into().expect("chunks of 4 bytes")))
            .collect();
        Ok(Decoded {
            first_row: batch.first_row,
            present: buffer(present)?,
            offsets,
            text,
        })
    }

    /// The bytes of a compressed buffer: their count (-1 where they are stored as they are), then
    /// a zstd frame.
    fn inflate(&self, at: u64, bytes: u64) -> Result<Vec<u8>> {
        let stored = typed::<u8>(&self.blocks, at, bytes)?;
        let Some((count, frame)) = stored.split_first_chunk::<8>() else {
            return Ok(Vec::new());
        };
        let count = i64::from_le_bytes(*count);
        if count == -1 {
            return Ok(frame.to_vec());
        }
        let corrupted =
            |detail: &dyn std::fmt::Display| Error::corrupted(self.blocks.path(), at, detail);
        let count = usize::try_from(count)
            .ok()
            .filter(|&count| count <= i32::MAX as usize * 2)
            .ok_or_else(|| corrupted(&"the length of a compressed buffer is out of range"))?;
        let inflated = DECOMPRESSOR.with_borrow_mut(|slot| {
            let decompressor = match slot {
                Some(decompressor) => decompressor,
                None => slot.insert(Decompressor::new()?),
            };
            decompressor.decompress(frame, count)
        });
        let inflated = inflated.map_err(|error| corrupted(&error))?;
        if inflated.len() != count {
            return Err(corrupted(
                &"a compressed buffer has another length than recorded",
            ));
        }
        Ok(inflated)
    }
}
