//! Who writes what: ids that are watched while somebody decides about them, and the ids that were
//! written lately, for decisions that began with an earlier read.
//!
//! What must stay true: a batch that is admitted while an id is watched takes it off the watch; of
//! what was written behind the floor of [`RecentWrites`] no write is forgotten, so that it may say
//! that an id has changed which has not, and never the reverse. Both are bounded.

use std::collections::VecDeque;

use hashbrown::{HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_64;

use super::LiveCollection;
use crate::model::{SeqId, SeqRange, Strings};

/// Writes that are remembered of a collection.
const WRITES_MAX: usize = 100_000;

/// The ids that are watched, by the number of their watch.
#[derive(Default)]
pub(super) struct Watches {
    next: u64,
    watched: HashMap<u64, HashSet<String>>,
}

impl Watches {
    /// Takes the ids of an admitted batch off every watch.
    pub(super) fn note(&mut self, ids: &Strings) {
        for watched in self.watched.values_mut() {
            for id in ids.iter() {
                watched.remove(id);
            }
        }
    }

    /// Ends a watch; answers the ids that nobody has written since it began.
    pub(super) fn end(&mut self, number: u64) -> HashSet<String> {
        self.watched.remove(&number).unwrap_or_default()
    }
}

/// A watch, which ends however its owner ends.
pub(super) struct Watch<'a> {
    collection: &'a LiveCollection,
    /// Its number.
    pub(super) number: u64,
}

impl<'a> Watch<'a> {
    /// Begins to watch `ids`, for whoever holds the writers' lock.
    pub(super) fn begin(
        collection: &'a LiveCollection,
        watches: &mut Watches,
        ids: &[String],
    ) -> Self {
        let number = watches.next;
        watches.next += 1;
        watches
            .watched
            .insert(number, ids.iter().cloned().collect());
        Self { collection, number }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.collection.writer.lock().watches.end(self.number);
    }
}

/// The ids that were written behind a floor, each with the last SeqId that it was written at.
/// Ids are kept as hashes.
pub(crate) struct RecentWrites {
    floor: SeqId,
    last: HashMap<u64, SeqId>,
    order: VecDeque<(SeqId, u64)>,
    writes_max: usize,
}

impl RecentWrites {
    /// Nothing is known of what was written at `floor` and before.
    pub(super) fn behind(floor: SeqId) -> Self {
        Self {
            floor,
            last: HashMap::new(),
            order: VecDeque::new(),
            writes_max: WRITES_MAX,
        }
    }

    /// Notes a batch that was applied.
    pub(super) fn note(&mut self, ids: &Strings, seqs: SeqRange) {
        for (row, id) in ids.iter().enumerate() {
            let (seq, id) = (seqs.first.plus(row as u64), xxh3_64(id.as_bytes()));
            self.last.insert(id, seq);
            self.order.push_back((seq, id));
        }
        while self.order.len() > self.writes_max {
            let Some((seq, id)) = self.order.pop_front() else {
                break;
            };
            self.floor = seq;
            if self.last.get(&id) == Some(&seq) {
                self.last.remove(&id);
            }
        }
    }

    /// Whether all that was written behind `seq` is known.
    pub(super) fn reaches_back_to(&self, seq: SeqId) -> bool {
        self.floor <= seq
    }

    /// Whether `id` may have been written behind `seq`.
    pub(super) fn was_written(&self, id: &str, seq: SeqId) -> bool {
        let last = self.last.get(&xxh3_64(id.as_bytes()));
        self.floor > seq || last.is_some_and(|last| *last > seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[&str]) -> Strings {
        ids.iter().copied().collect()
    }

    #[test]
    fn the_last_writes_are_known_and_what_is_older_counts_as_written() {
        let mut recent = RecentWrites::behind(SeqId(10));
        recent.writes_max = 3;
        recent.note(&ids(&["a", "b"]), SeqRange::of(SeqId(11), 2));
        assert!(recent.reaches_back_to(SeqId(10)) && !recent.reaches_back_to(SeqId(9)));
        assert!(recent.was_written("a", SeqId(10)) && !recent.was_written("a", SeqId(11)));
        assert!(!recent.was_written("c", SeqId(10)) && recent.was_written("c", SeqId(9)));
        recent.note(&ids(&["a", "c"]), SeqRange::of(SeqId(13), 2));
        assert!(
            !recent.reaches_back_to(SeqId(10)),
            "its first write is forgotten"
        );
        assert!(recent.was_written("x", SeqId(10)), "nobody knows any more");
        assert!(recent.was_written("a", SeqId(12)) && !recent.was_written("a", SeqId(13)));
        assert!(recent.was_written("b", SeqId(11)) && !recent.was_written("b", SeqId(12)));
        assert_eq!(recent.last.len(), 3);
    }
}
