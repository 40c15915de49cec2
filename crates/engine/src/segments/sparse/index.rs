//! An opened index, and the postings of a dimension in it.
//!
//! What must stay true: lengths and places are checked against the file and each other before
//! anything is read by them; what does not fit is `Corrupted`.

use std::sync::Arc;

use super::BLOCK_POSTINGS;
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
    /// The code of each value.
    pub(super) codes: &'a [u8],
    /// The values.
    pub(super) values: &'a [f32],
    /// For each [`BLOCK_POSTINGS`] the lowest and the highest code.
    pub(super) bounds: &'a [[u8; 2]],
    /// The lowest value.
    pub(super) low: f64,
    /// What a code is worth.
    pub(super) step: f64,
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
        let pair = |from: u64| {
            let place = from.saturating_add(at as u64 * 8);
            let pair = typed::<u64>(self.blocks, place, 2)?;
            match pair[1].checked_sub(pair[0]) {
                Some(count) => Ok((pair[0], count)),
                None => Err(Error::corrupted(
                    self.blocks.path(),
                    place,
                    "it ends before it begins",
                )),
            }
        };
        let (first, count) = pair(entry.starts_at)?;
        let (first_block, blocks) = pair(entry.blocks_at)?;
        if blocks != count.div_ceil(BLOCK_POSTINGS as u64) {
            let detail = format_args!("{blocks} blocks do not hold {count} postings");
            return Err(Error::corrupted(
                self.blocks.path(),
                entry.blocks_at,
                detail,
            ));
        }
        let place = |from: u64, at: u64, bytes: u64| from.saturating_add(at.saturating_mul(bytes));
        let range = place(entry.ranges_at, at as u64, 8);
        let range = typed::<f32>(self.blocks, range, 2)?;
        Ok(Some(Term {
            rows: typed(self.blocks, place(entry.rows_at, first, 4), count)?,
            codes: typed(self.blocks, place(entry.codes_at, first, 1), count)?,
            values: typed(self.blocks, place(entry.values_at, first, 4), count)?,
            bounds: typed(self.blocks, place(entry.bounds_at, first_block, 2), blocks)?,
            low: range[0].into(),
            step: range[1].into(),
        }))
    }

    /// The rows that have `dimension`, ascending.
    pub fn rows_with(&self, dimension: u32) -> Result<&'a [u32]> {
        Ok(self.term(dimension)?.map_or(&[][..], |term| term.rows))
    }
}
