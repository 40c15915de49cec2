//! The rows that a search may find, in the order of an index.
//!
//! What must stay true: a mask belongs to the index that made it; its bit for a slot without a row
//! is never set.

use super::VectorIndex;
use crate::segments::RowSet;
use crate::segments::row_set::set_bits;
use crate::{Error, Result};

/// The rows that a search may find: for each block of an index a word, for each slot a bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    words: Vec<u32>,
    rows: u32,
    /// For each partition how many rows are admitted.
    counts: Vec<u32>,
}

impl Mask {
    /// How many rows it admits.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// How many rows of `partition` it admits.
    pub(super) fn rows_of(&self, partition: usize) -> u32 {
        self.counts[partition]
    }

    /// How many partitions have rows that it admits.
    pub(super) fn partitions_with_rows(&self) -> usize {
        self.counts.iter().filter(|&&count| count > 0).count()
    }

    /// A bit for each partition that has rows it admits.
    pub(super) fn partitions(&self) -> Vec<u32> {
        let few = self.counts.chunks(32);
        few.map(|counts| {
            let bits = counts.iter().zip(0..);
            bits.fold(0, |word, (&count, bit)| word | u32::from(count > 0) << bit)
        })
        .collect()
    }

    /// The words of `blocks`.
    pub(super) fn words(&self, blocks: std::ops::Range<u32>) -> &[u32] {
        &self.words[blocks.start as usize..blocks.end as usize]
    }

    /// Bytes held in memory.
    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.words) + size_of_val(&*self.counts)
    }

    /// The slots it admits, ascending.
    #[cfg(test)]
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        bits(&self.words)
    }
}

/// The numbers of the bits that are set, ascending.
pub(super) fn bits(words: &[u32]) -> impl Iterator<Item = u32> + '_ {
    (0..)
        .zip(words)
        .flat_map(|(at, &word)| set_bits(word.into()).map(move |bit| at * 32 + bit))
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
        Ok(self.counted(words))
    }

    /// The mask that admits what both admit.
    pub fn mask_of_both(&self, one: &Mask, other: &Mask) -> Mask {
        let words = one.words.iter().zip(&other.words);
        self.counted(words.map(|(one, other)| one & other).collect())
    }

    /// Has `mask` admit these rows, or refuse them.
    pub(super) fn admit(
        &self,
        mask: &mut Mask,
        rows: impl Iterator<Item = u32>,
        admitted: bool,
    ) -> Result<()> {
        let slots = self.row_slots()?;
        for row in rows.take_while(|&row| row < self.rows()) {
            let slot = slots.map_or(row, |slots| u32::from_le_bytes(slots[row as usize]));
            let Some(word) = mask.words.get_mut(slot as usize / 32) else {
                continue;
            };
            let bit = 1 << (slot % 32);
            if (*word & bit != 0) != admitted {
                *word ^= bit;
                let count = &mut mask.counts[self.partition_of(slot)];
                *count = count.wrapping_add_signed(if admitted { 1 } else { -1 });
            }
        }
        mask.rows = mask.counts.iter().sum();
        Ok(())
    }

    fn counted(&self, words: Vec<u32>) -> Mask {
        let ends = self.first_blocks.windows(2);
        let counts: Vec<u32> = ends
            .map(|ends| count(&words[ends[0] as usize..ends[1] as usize]))
            .collect();
        Mask {
            rows: counts.iter().sum(),
            words,
            counts,
        }
    }
}
