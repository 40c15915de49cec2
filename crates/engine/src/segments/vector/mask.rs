//! The rows that a search may find, in the order of an index.
//!
//! What must stay true: a mask belongs to the index that made it; its bit for a slot without a row
//! is never set.

use super::VectorIndex;
use crate::segments::RowSet;
use crate::{Error, Result};

/// The rows that a search may find: for each block of an index a word, for each slot a bit.
#[derive(Clone, Debug)]
pub struct Mask {
    words: Vec<u32>,
    rows: u32,
}

impl Mask {
    /// Takes out what is not in `other`, a mask of the same index.
    pub fn intersect(&mut self, other: &Self) {
        let words = self.words.iter_mut().zip(&other.words);
        words.for_each(|(word, other)| *word &= other);
        self.rows = count(&self.words);
    }

    /// How many rows it admits.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Bytes held in memory.
    pub fn heap_bytes(&self) -> usize {
        self.words.len() * 4
    }

    /// The words of `blocks`.
    pub(super) fn words(&self, blocks: std::ops::Range<u32>) -> &[u32] {
        &self.words[blocks.start as usize..blocks.end as usize]
    }

    /// The slots it admits, ascending.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        bits(&self.words)
    }
}

/// The numbers of the bits that are set, ascending.
pub(super) fn bits(words: &[u32]) -> impl Iterator<Item = u32> + '_ {
    (0..).zip(words).flat_map(|(at, &word)| {
        let mut rest: u32 = word;
        std::iter::from_fn(move || {
            (rest != 0).then(|| {
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                at * 32 + bit
            })
        })
    })
}

/// How many bits are set.
pub(super) fn count(words: &[u32]) -> u32 {
    words.iter().map(|word| word.count_ones()).sum()
}

impl VectorIndex {
    /// The mask that admits `rows`.
    pub fn mask(&self, rows: &RowSet) -> Result<Mask> {
        if rows.rows() != self.rows() {
            return Err(Error::internal(format!(
                "the set is over {} rows, the index has {}",
                rows.rows(),
                self.rows()
            )));
        }
        let mut words = vec![0; self.header.blocks as usize];
        match self.row_slots()? {
            None => {
                for (at, word) in words.iter_mut().enumerate() {
                    *word = (rows.words()[at / 2] >> (at % 2 * 32)) as u32;
                }
            }
            Some(slots) => {
                for row in rows.iter() {
                    let slot = u32::from_le_bytes(slots[row as usize]);
                    if let Some(word) = words.get_mut(slot as usize / 32) {
                        *word |= 1 << (slot % 32);
                    }
                }
            }
        }
        let rows = count(&words);
        Ok(Mask { words, rows })
    }
}
