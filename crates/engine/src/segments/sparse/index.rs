//! An opened index, and the postings of a dimension in it.
//!
//! What must stay true: lengths and places are checked against the file and each other before
//! anything is read by them; what does not fit is `Corrupted`.

use std::sync::Arc;

use super::layout::{Entry, entries};
use crate::segments::blocks::Blocks;
use crate::segments::column::typed;
use crate::segments::index_file::Index;
use crate::{Error, Result};

/// An opened index of sparse vectors.
pub struct SparseIndex {
    blocks: Arc<Blocks>,
    entries: Vec<(String, Entry)>,
}

impl Index for SparseIndex {
    const SET_ASIDE: &'static str = "an index of sparse vectors is set aside; searches read every \
                                     vector until it is rebuilt";

    fn open(blocks: Arc<Blocks>) -> Result<Self> {
        Self::open(blocks)
    }

    fn heap_bytes(&self) -> usize {
        let keys: usize = self.entries.iter().map(|(key, _)| key.len()).sum();
        keys + self.entries.capacity() * size_of::<(String, Entry)>()
    }
}

impl SparseIndex {
    /// Opens the index that is in `blocks`.
    pub fn open(blocks: Arc<Blocks>) -> Result<Self> {
        let entries = entries(&blocks)?;
        Ok(Self { blocks, entries })
    }

    /// The index of the vectors under `key`, unless it was not asked for when the file was made.
    pub fn key(&self, key: &str) -> Option<KeyIndex<'_>> {
        let entry = self.entries.iter().find(|(name, _)| name == key);
        entry.map(|(_, entry)| KeyIndex {
            blocks: &self.blocks,
            entry,
        })
    }
}

/// The index of the vectors under one key.
#[derive(Clone, Copy)]
pub struct KeyIndex<'a> {
    blocks: &'a Blocks,
    entry: &'a Entry,
}

/// The postings of one dimension.
#[derive(Clone, Copy)]
pub(super) struct Term<'a> {
    /// The rows, ascending.
    pub(super) rows: &'a [u32],
    /// The values.
    pub(super) values: &'a [f32],
    /// What is known of each block of rows, where many rows have the dimension.
    pub(super) blocks: Option<RowBlocks<'a>>,
}

/// Bounds of a dimension's values by blocks of [`BLOCK_ROWS`](super::BLOCK_ROWS) rows.
#[derive(Clone, Copy)]
pub(super) struct RowBlocks<'a> {
    /// The lowest code and the highest, of blocks with postings.
    pub(super) lowest: &'a [u8],
    pub(super) highest: &'a [u8],
    /// How many postings a block has; together as many as there are.
    pub(super) counts: &'a [u8],
    /// The lowest value.
    pub(super) low: f64,
    /// What a code is worth.
    pub(super) step: f64,
}

impl RowBlocks<'_> {
    /// The most that a value with `code` can be.
    pub(super) fn bound(&self, code: u8) -> f64 {
        self.low + self.step * (f64::from(code) + 1.0)
    }
}

impl<'a> KeyIndex<'a> {
    /// The postings of `dimension`; `None` where no row has it.
    pub(super) fn term(&self, dimension: u32) -> Result<Option<Term<'a>>> {
        let entry = self.entry;
        let terms = u64::from(entry.terms);
        let dimensions = typed::<u32>(self.blocks, entry.dimensions_at, terms)?;
        let Ok(at) = dimensions.binary_search(&dimension) else {
            return Ok(None);
        };
        let place = |from: u64, at: u64, bytes: u64| from.saturating_add(at.saturating_mul(bytes));
        let pair = typed::<u64>(self.blocks, place(entry.starts_at, at as u64, 8), 2)?;
        let first = pair[0];
        let count = (pair[1].checked_sub(first))
            .ok_or_else(|| self.damaged(entry.starts_at, "postings end before they begin"))?;
        Ok(Some(Term {
            rows: typed(self.blocks, place(entry.rows_at, first, 4), count)?,
            values: typed(self.blocks, place(entry.values_at, first, 4), count)?,
            blocks: self.row_blocks(at as u32, count)?,
        }))
    }

    /// The bounds of dimension number `term`, which has `postings`, if it has any.
    fn row_blocks(&self, term: u32, postings: u64) -> Result<Option<RowBlocks<'a>>> {
        let entry = self.entry;
        let commons = typed::<u32>(self.blocks, entry.commons_at, entry.commons.into())?;
        let Ok(at) = commons.binary_search(&term) else {
            return Ok(None);
        };
        let (at, blocks) = (at as u64, u64::from(entry.blocks));
        let of_blocks = |from: u64| typed(self.blocks, from.saturating_add(at * blocks), blocks);
        let range = typed::<f32>(self.blocks, entry.ranges_at.saturating_add(at * 8), 2)?;
        let counts: &[u8] = of_blocks(entry.counts_at)?;
        // Places are computed from counts without another look.
        if counts.iter().map(|&count| u64::from(count)).sum::<u64>() != postings {
            return Err(self.damaged(entry.counts_at, "blocks have other postings than there are"));
        }
        Ok(Some(RowBlocks {
            lowest: of_blocks(entry.lowest_at)?,
            highest: of_blocks(entry.highest_at)?,
            counts,
            low: range[0].into(),
            step: range[1].into(),
        }))
    }

    fn damaged(&self, at: u64, what: &str) -> Error {
        Error::corrupted(self.blocks.path(), at, what)
    }

    /// The rows that have `dimension`, ascending.
    pub fn rows_with(&self, dimension: u32) -> Result<&'a [u32]> {
        Ok(self.term(dimension)?.map_or(&[][..], |term| term.rows))
    }
}
