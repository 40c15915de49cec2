//! Hash tables from ids to rows: one in memory for chunks, one in a file for segments.
//!
//! What must stay true: both probe one slot after the other from the low bits of the id's xxh3
//! and at least a quarter of the slots is empty, so that every search ends at an empty slot.

use xxhash_rust::xxh3::xxh3_64;

use crate::model::Strings;

/// The hash of an id.
pub(super) fn hash(id: &str) -> u64 {
    xxh3_64(id.as_bytes())
}

/// Slots of a table for `rows` ids.
fn capacity(rows: usize) -> usize {
    (rows * 4 / 3 + 1).next_power_of_two()
}

/// The table of a chunk: each slot is a row and 1, or 0 where it is empty.
pub(super) struct IdTable {
    slots: Vec<u32>,
}

impl IdTable {
    /// The table of `ids`, each of which stands there once.
    pub(super) fn new(ids: &Strings) -> Self {
        let mut slots = vec![0u32; capacity(ids.len())];
        let mask = slots.len() - 1;
        for (row, id) in ids.iter().enumerate() {
            let mut at = hash(id) as usize & mask;
            while slots[at] != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = row as u32 + 1;
        }
        Self { slots }
    }

    /// The row of `id` in `ids`.
    pub(super) fn find(&self, ids: &Strings, id: &str) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = hash(id) as usize & mask;
        while self.slots[at] != 0 {
            let row = self.slots[at] - 1;
            if ids.get(row as usize) == id {
                return Some(row);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// Bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        self.slots.capacity() * 4
    }
}

/// The slots of a segment's table: the high half of the id's hash, then its row and 1.
pub(super) fn file_slots(hashes: &[u64]) -> Vec<u64> {
    let mut slots = vec![0u64; capacity(hashes.len())];
    let mask = slots.len() - 1;
    for (row, &hash) in hashes.iter().enumerate() {
        let mut at = hash as usize & mask;
        while slots[at] != 0 {
            at = (at + 1) & mask;
        }
        slots[at] = hash >> 32 << 32 | (row as u64 + 1);
    }
    slots
}

/// The row of a segment's slot, if the slot may be the id with this hash.
pub(super) fn slot_row(slot: u64, hash: u64) -> Option<u32> {
    (slot >> 32 == hash >> 32).then(|| (slot as u32).wrapping_sub(1))
}
