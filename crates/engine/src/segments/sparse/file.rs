//! The index of sparse vectors of a segment as a file: opened when it is first asked for, set aside once
//! damage is found.
//!
//! What must stay true: an index is made from records that are in other files, so that damage to
//! it costs no answer: reading every vector does until the segment is written again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::SparseIndex;
use crate::segments::blocks::Blocks;
use crate::{Error, Result};

/// A file with an index of sparse vectors.
pub struct SparseFile {
    /// What is in it, or why it cannot be read.
    blocks: Result<Arc<Blocks>>,
    index: OnceLock<Option<SparseIndex>>,
    damaged: AtomicBool,
}

impl SparseFile {
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
    pub fn index(&self) -> Option<&SparseIndex> {
        if self.is_damaged() {
            return None;
        }
        let open = || {
            let blocks = self.blocks.as_ref().ok()?.clone();
            let opened = SparseIndex::open(blocks);
            opened.map_err(|error| self.set_aside(&error)).ok()
        };
        self.index.get_or_init(open).as_ref()
    }

    /// Uses the index no more, since it is damaged as `error` says.
    pub fn set_aside(&self, error: &Error) {
        if !self.damaged.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "an index of sparse vectors is set aside; searches read every vector until it is rebuilt");
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
        self.bytes() / 8192 + index.map_or(0, SparseIndex::heap_bytes)
    }
}
