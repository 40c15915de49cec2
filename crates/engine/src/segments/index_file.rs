//! An index of a segment as a file: opened when it is first asked for, set aside once damage is
//! found.
//!
//! What must stay true: an index is made from records that are in other files, so that damage to
//! it costs no answer: they are read instead until the segment is written again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::blocks::Blocks;
use crate::{Error, ErrorKind, Result};

/// What an [`IndexFile`] holds.
pub trait Index: Sized {
    /// What is set aside, and what happens instead, for the log.
    const SET_ASIDE: &'static str;

    /// Reads what the index is asked with; the rest stays where it lies.
    fn open(blocks: Arc<Blocks>) -> Result<Self>;

    /// Bytes held in memory.
    fn heap_bytes(&self) -> usize;
}

/// What is asked of an [`IndexFile`] whatever is in it.
pub trait AnyIndexFile {
    /// Whether damage was found.
    fn is_damaged(&self) -> bool;

    /// Checks every block; the damaged ones as errors.
    fn damage(&self) -> Vec<Error>;

    /// Bytes in the file.
    fn bytes(&self) -> usize;

    /// Bytes held in memory: those of the index, and the checksums of its file.
    fn heap_bytes(&self) -> usize;
}

/// A file with an index that can be made again.
pub struct IndexFile<I> {
    /// What is in it, or why it cannot be read.
    blocks: Result<Arc<Blocks>>,
    index: OnceLock<Option<I>>,
    damaged: AtomicBool,
}

impl<I: Index> IndexFile<I> {
    /// Takes the file, or the reason why it cannot be read.
    pub fn new(blocks: Result<Blocks>) -> Self {
        let file = Self {
            blocks: blocks.map(Arc::new),
            index: OnceLock::new(),
            damaged: AtomicBool::new(false),
        };
        if let Err(error) = &file.blocks {
            file.set_aside(error);
        }
        file
    }

    /// The index, unless it is damaged.
    pub fn index(&self) -> Option<&I> {
        self.index_after(|_| ())
    }

    /// The same, made ready by `prepare` where this opens it.
    pub(super) fn index_after(&self, prepare: impl FnOnce(&mut I)) -> Option<&I> {
        if self.is_damaged() {
            return None;
        }
        let open = || {
            let opened = I::open(self.blocks.as_ref().ok()?.clone());
            let mut index = opened.map_err(|error| self.set_aside(&error)).ok()?;
            prepare(&mut index);
            Some(index)
        };
        self.index.get_or_init(open).as_ref()
    }

    /// The index, if it has been asked for and could be opened.
    pub(super) fn opened(&self) -> Option<&I> {
        self.index.get().and_then(Option::as_ref)
    }

    /// What the index gave; `None` where that is damaged, and the index is set aside.
    pub fn unless_damaged<T>(&self, given: Result<T>) -> Result<Option<T>> {
        match given {
            Err(error) if error.kind() == ErrorKind::Corrupted => {
                self.set_aside(&error);
                Ok(None)
            }
            given => given.map(Some),
        }
    }

    /// Uses the index no more, since it is damaged as `error` says.
    fn set_aside(&self, error: &Error) {
        if !self.damaged.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "{}", I::SET_ASIDE);
        }
    }

    /// The file.
    pub(super) fn blocks(&self) -> Option<&Blocks> {
        self.blocks.as_ref().ok().map(|blocks| &**blocks)
    }

    /// The bytes of the file, where they lie.
    pub(super) fn mapped(&self) -> &[u8] {
        self.blocks().map_or(&[], Blocks::unchecked)
    }
}

impl<I: Index> AnyIndexFile for IndexFile<I> {
    fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    fn damage(&self) -> Vec<Error> {
        match &self.blocks {
            Ok(blocks) => blocks.damage(),
            Err(error) => vec![error.clone()],
        }
    }

    fn bytes(&self) -> usize {
        self.mapped().len()
    }

    fn heap_bytes(&self) -> usize {
        self.bytes() / 8192 + self.opened().map_or(0, I::heap_bytes)
    }
}
