//! The vector index of a segment as a file: opened when it is first asked for, set aside once
//! damage is found.
//!
//! What must stay true: an index is made from records that are in other files, so that damage to
//! it costs no answer: an exact search does until the segment is written again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::{VectorIndex, Watch};
use crate::segments::blocks::Blocks;
use crate::{Error, Result};

/// A file with a vector index.
pub struct IndexFile {
    /// What is in it, or why it cannot be read.
    blocks: Result<Arc<Blocks>>,
    index: OnceLock<Option<VectorIndex>>,
    watch: Arc<Watch>,
    use_of: Use,
    damaged: AtomicBool,
}

/// When an index was searched.
#[derive(Debug, Default)]
struct Use {
    /// Searches since the file was opened.
    searches: AtomicU64,
    /// How many there were at the last round, and rounds since there was one.
    known: AtomicU64,
    idle_rounds: AtomicU64,
}

impl IndexFile {
    /// Takes the file, or the reason why it cannot be read.
    pub fn new(blocks: Result<Blocks>) -> Self {
        let file = Self {
            blocks: blocks.map(Arc::new),
            index: OnceLock::new(),
            watch: Arc::default(),
            use_of: Use::default(),
            damaged: AtomicBool::new(false),
        };
        if let Err(error) = &file.blocks {
            file.set_aside(error);
        }
        file
    }

    /// Notes that one more round of upkeep has passed.
    pub(in crate::segments) fn note_round(&self) {
        let searches = self.use_of.searches.load(Ordering::Relaxed);
        if self.use_of.known.swap(searches, Ordering::Relaxed) == searches {
            self.use_of.idle_rounds.fetch_add(1, Ordering::Relaxed);
        } else {
            self.use_of.idle_rounds.store(0, Ordering::Relaxed);
        }
    }

    /// Rounds since the index was searched.
    pub(in crate::segments) fn idle_rounds(&self) -> u64 {
        self.use_of.idle_rounds.load(Ordering::Relaxed)
    }

    /// The bytes of the file.
    pub(in crate::segments) fn mapped(&self) -> &[u8] {
        self.blocks
            .as_ref()
            .map_or(&[], |blocks| blocks.unchecked())
    }

    /// Where the levels begin; before them is what every search reads some of.
    pub(in crate::segments) fn levels_at(&self) -> usize {
        let index = self.index.get().and_then(Option::as_ref);
        index.map_or(0, |index| index.sections.levels.start)
    }

    /// The index for a search, unless it is damaged.
    pub fn index(&self) -> Option<&VectorIndex> {
        self.use_of.searches.fetch_add(1, Ordering::Relaxed);
        self.opened()
    }

    /// The index, unless it is damaged.
    pub fn opened(&self) -> Option<&VectorIndex> {
        if self.is_damaged() {
            return None;
        }
        let open = || {
            let blocks = self.blocks.as_ref().ok()?.clone();
            let mut opened = VectorIndex::open(blocks)
                .map_err(|error| self.set_aside(&error))
                .ok()?;
            opened.watch = self.watch.clone();
            Some(opened)
        };
        self.index.get_or_init(open).as_ref()
    }

    /// What is known of its searches.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Goes on with what `other`, the same file opened before, knows of its searches.
    pub fn go_on_with(&mut self, other: &Self) {
        self.watch = other.watch.clone();
    }

    /// Uses the index no more, since it is damaged as `error` says.
    pub fn set_aside(&self, error: &Error) {
        if !self.damaged.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "a vector index is set aside; searches are exact until it is rebuilt");
        }
    }

    /// Whether damage was found.
    pub fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Checks every block; the damaged ones as errors.
    pub fn damage(&self) -> Vec<Error> {
        match &self.blocks {
            Ok(blocks) => blocks.damage(),
            Err(error) => vec![error.clone()],
        }
    }

    /// Bytes in the file.
    pub fn bytes(&self) -> usize {
        self.blocks.as_ref().map_or(0, |blocks| blocks.len())
    }

    /// Bytes held in memory.
    pub fn heap_bytes(&self) -> usize {
        let index = self.index.get().and_then(Option::as_ref);
        self.bytes() / 8192 + index.map_or(0, VectorIndex::heap_bytes)
    }
}
