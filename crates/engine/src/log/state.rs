//! What the log knows of its collections and files, behind one lock.
//!
//! What must stay true: the lock is never held across I/O or a callback. `files` has the files
//! that are on disk, oldest first, their numbers without a gap, each with its durable bytes only.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex};

use super::payload::{Checksums, Encoded};
use super::ticket::{Completion, Ticket};
use super::{Beside, Keep, LogHead, LogOptions, LogStatistics};
use crate::clock::Clock;
use crate::model::{CollectionId, FileHold, FlushKey, SeqId, SeqRange};
use crate::storage::Storage;
use crate::{Error, ErrorKind};

/// Flush keys that are remembered at least, even when their files are gone.
const FLUSH_KEYS_KEPT: usize = 10_000;

/// What the log's thread, its owner and its subscribers share.
pub(super) struct Shared {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) options: LogOptions,
    /// Tells when groups are written, once there is one.
    pub(super) clock: OnceLock<Arc<dyn Clock>>,
    /// The catalogue, once there is one.
    pub(super) beside: OnceLock<Beside>,
    pub(super) state: Mutex<State>,
    /// The log's thread waits here for work.
    pub(super) work: Condvar,
    /// Subscribers wait here for durable frames, others for the log's thread to be idle.
    pub(super) progress: Condvar,
}

impl Shared {
    /// The catalogue's generation, as far as it is known here.
    pub(super) fn generation(&self) -> u64 {
        let beside = self.beside.get();
        beside.map_or(self.options.catalog.generation, |beside| {
            beside.generation.load(Ordering::SeqCst)
        })
    }

    /// The time, and the catalogue's generation; `None` where there is no clock.
    pub(super) fn now(&self) -> Option<(u64, u64)> {
        let clock = self.clock.get()?;
        // The generation first: what is committed later need not be told.
        let generation = self.generation();
        Some((clock.wall_nanoseconds(), generation))
    }

    /// Lets the log's thread look for files that can go.
    pub(super) fn wake_for_upkeep(&self, state: &mut State) {
        if !state.upkeep_due {
            state.upkeep_due = true;
            self.work.notify_one();
        }
    }
}

/// What is to be done to give space back.
pub(super) enum Removal {
    /// Nothing.
    None,
    /// A new file is to be begun, so that the last one can go.
    AfterNextFile,
    /// This file is to be removed; nobody begins to read it any more.
    Of(LiveFile),
}

#[derive(Default)]
pub(super) struct State {
    pub(super) queue: VecDeque<Pending>,
    /// Bytes of the queue.
    pub(super) queue_bytes: u64,
    /// The log's thread is to look for files that can go.
    pub(super) upkeep_due: bool,
    /// The log's thread is at work.
    pub(super) busy: bool,
    pub(super) ending: Option<Ending>,
    pub(super) failure: Option<Error>,
    pub(super) heads: HashMap<CollectionId, Head>,
    pub(super) files: VecDeque<LiveFile>,
    pub(super) flushes: Flushes,
    pub(super) statistics: LogStatistics,
    /// What is kept for backups.
    pub(super) keep: Keep,
    /// Backups that read the files now; none is removed meanwhile.
    pub(super) readers: usize,
}

/// How the log's thread is to end, once the queue is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With a mark that the end is clean.
    Clean,
    /// Just so.
    Dropped,
}

/// An append that waits to be written.
pub(super) struct Pending {
    pub(super) collection: CollectionId,
    pub(super) count: u32,
    pub(super) flush: Option<FlushKey>,
    pub(super) encoded: Encoded,
    pub(super) bytes: u64,
    pub(super) checksums: Checksums,
    pub(super) completion: Completion,
}

/// What is known of a collection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    /// Records at and below are in segments.
    pub(super) purged: SeqId,
    /// The last durable SeqId.
    pub(super) highest: SeqId,
}

impl Head {
    pub(super) fn public(self) -> LogHead {
        LogHead {
            lowest: self.purged.plus(1),
            highest: self.highest,
        }
    }
}

/// A file on disk.
#[derive(Clone, Debug)]
pub(super) struct LiveFile {
    pub(super) header: super::format::FileHeader,
    /// The chain that the first frame carries on.
    pub(super) chain: u32,
    /// Its durable bytes.
    pub(super) end: u64,
    /// The last SeqId in it of each collection.
    pub(super) highest: HashMap<CollectionId, SeqId>,
    /// It is about to be removed; nobody starts to read it.
    pub(super) going: bool,
    /// Whoever reads or maps it has a clone.
    pub(super) hold: FileHold,
}

impl State {
    /// Why appends are refused, where they are.
    pub(super) fn refusal(&self) -> Option<Error> {
        if let Some(failure) = &self.failure {
            return Some(failure.clone());
        }
        self.ending
            .map(|_| Error::new(ErrorKind::Closed, "The log is closed; open it again."))
    }

    /// Whether `collection` keeps `file` from being removed.
    pub(super) fn holds(&self, collection: CollectionId, highest: SeqId) -> bool {
        self.heads
            .get(&collection)
            .is_some_and(|head| head.purged < highest)
    }

    /// Whether nobody needs `file` any more.
    pub(super) fn is_free(&self, file: &LiveFile) -> bool {
        !file
            .highest
            .iter()
            .any(|(collection, highest)| self.holds(*collection, *highest))
    }

    /// Whether files that no segment waits for are kept for backups.
    fn keeps_any(&self) -> bool {
        self.readers > 0 || self.keep.from.is_some()
    }

    /// Bytes of the oldest files, which are there for backups alone.
    pub(super) fn kept_bytes(&self) -> u64 {
        if !self.keeps_any() {
            return 0;
        }
        let free = self.files.iter().take_while(|file| self.is_free(file));
        free.map(|file| file.end).sum()
    }

    /// Whether the oldest file stays for a backup, needed otherwise or not.
    pub(super) fn keeps_oldest(&self) -> bool {
        let wanted = |file: &LiveFile| {
            self.keep
                .from
                .is_some_and(|from| file.header.number >= from)
        };
        self.readers > 0
            || self.files.front().is_some_and(wanted) && self.kept_bytes() <= self.keep.bytes_max
    }

    /// Whether nobody needs any file: nothing waits to be sealed.
    pub(super) fn is_idle(&self) -> bool {
        // The newest first, which is needed the longest.
        self.files.iter().rev().all(|file| self.is_free(file))
    }

    /// Which file is to be removed next: the oldest, once nobody needs it. The last one goes once it has `idle_bytes` and
    /// another has taken its place.
    pub(super) fn next_removal(&mut self, idle_bytes: u64) -> Removal {
        if self.failure.is_some() || self.keeps_oldest() {
            return Removal::None;
        }
        let is_last = self.files.len() == 1;
        match self.files.front() {
            Some(file) if !self.is_free(file) => Removal::None,
            Some(file) if is_last && file.end > idle_bytes => Removal::AfterNextFile,
            Some(_) if !is_last => {
                let file = &mut self.files[0];
                file.going = true;
                Removal::Of(file.clone())
            }
            _ => Removal::None,
        }
    }

    /// Notes a durable frame.
    pub(super) fn note(&mut self, collection: CollectionId, seqs: SeqRange) {
        if let Some(file) = self.files.back_mut() {
            file.highest.insert(collection, seqs.last);
        }
        if let Some(head) = self.heads.get_mut(&collection) {
            head.highest = head.highest.max(seqs.last);
        }
    }

    /// Takes back flush keys that are old and whose files are gone.
    pub(super) fn forget_flushes(&mut self) {
        let oldest = self.files.front().map_or(0, |file| file.header.number);
        self.flushes.forget_before(oldest);
    }
}

/// The appends that carried a flush key.
#[derive(Default)]
pub(super) struct Flushes {
    known: HashMap<FlushKey, Flushed>,
    /// In the order of the log, with the number of the file.
    order: VecDeque<(FlushKey, u64)>,
}

/// What became of an append with a flush key.
#[derive(Clone)]
pub(super) enum Flushed {
    /// It waits.
    Queued(CollectionId, Ticket),
    /// It is durable.
    Done(CollectionId, SeqRange),
}

impl Flushes {
    /// The append of that key.
    pub(super) fn find(&self, key: FlushKey) -> Option<&Flushed> {
        self.known.get(&key)
    }

    /// Notes that an append with this key waits.
    pub(super) fn queued(&mut self, key: FlushKey, collection: CollectionId, ticket: Ticket) {
        self.known.insert(key, Flushed::Queued(collection, ticket));
    }

    /// Notes that the append with this key is durable, in the file with this number.
    pub(super) fn done(
        &mut self,
        key: FlushKey,
        collection: CollectionId,
        seqs: SeqRange,
        file: u64,
    ) {
        self.known.insert(key, Flushed::Done(collection, seqs));
        self.order.push_back((key, file));
    }

    /// Notes that the append with this key failed; it can be tried again.
    pub(super) fn failed(&mut self, key: FlushKey) {
        self.known.remove(&key);
    }

    fn forget_before(&mut self, oldest_file: u64) {
        while self.order.len() > FLUSH_KEYS_KEPT {
            match self.order.front() {
                Some((key, file)) if *file < oldest_file => {
                    self.known.remove(key);
                    self.order.pop_front();
                }
                _ => break,
            }
        }
    }
}
