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

/// An id with its hash, to be looked for in many sources.
#[derive(Clone, Copy, Debug)]
pub struct HashedId<'a> {
    /// The id.
    pub(super) id: &'a str,
    /// Its hash.
    pub(super) hash: u64,
}

impl<'a> HashedId<'a> {
    /// Hashes `id`.
    pub fn new(id: &'a str) -> Self {
        Self { id, hash: hash(id) }
    }

    /// The id.
    pub fn id(&self) -> &'a str {
        self.id
    }

    /// Its hash.
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

/// Slots of a table for `rows` ids.
fn capacity(rows: usize) -> usize {
    (rows * 4 / 3 + 1).next_power_of_two()
}

/// The table of a chunk; its slots are those of a segment's, so that an id that is not there is
/// told by the table alone.
pub(super) struct IdTable {
    slots: Vec<u64>,
}

impl IdTable {
    /// The table of `ids`, each of which stands there once.
    pub(super) fn new(ids: &Strings) -> Self {
        let hashes: Vec<u64> = ids.iter().map(hash).collect();
        Self {
            slots: file_slots(&hashes),
        }
    }

    /// The row of the id in `ids`.
    pub(super) fn find(&self, ids: &Strings, wanted: HashedId<'_>) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = wanted.hash as usize & mask;
        while self.slots[at] != 0 {
            if let Some(row) = slot_row(self.slots[at], wanted.hash)
                && ids.get(row as usize) == wanted.id
            {
                return Some(row);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// Bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        self.slots.capacity() * 8
    }
}

/// The slots of a table: the high half of the id's hash, then its row and 1; 0 where it is empty.
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

/// The row of a slot, if the slot may be the id with this hash.
pub(super) fn slot_row(slot: u64, hash: u64) -> Option<u32> {
    (slot >> 32 == hash >> 32).then(|| (slot as u32).wrapping_sub(1))
}
