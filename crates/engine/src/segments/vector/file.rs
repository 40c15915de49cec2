//! The file of a vector index, with what is known of its searches.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use roaring::RoaringBitmap;

use super::{Mask, VectorIndex, Watch};
use crate::Result;
use crate::segments::RowSet;
use crate::segments::blocks::Blocks;
use crate::segments::index_file::IndexFile;

/// A file with a vector index.
pub struct VectorFile {
    file: IndexFile<VectorIndex>,
    watch: Arc<Watch>,
    use_of: Use,
    living: Mutex<Option<Living>>,
}

/// Rows that are dead, and the mask that admits the others.
type Living = (Arc<RoaringBitmap>, Arc<Mask>);

/// When an index was searched.
#[derive(Debug, Default)]
struct Use {
    /// Searches since the file was opened.
    searches: AtomicU64,
    /// How many there were at the last round, and rounds since there was one.
    known: AtomicU64,
    idle_rounds: AtomicU64,
}

impl VectorFile {
    /// Takes the file, or the reason why it cannot be read.
    pub fn new(blocks: Result<Blocks>) -> Self {
        Self {
            file: IndexFile::new(blocks),
            watch: Arc::default(),
            use_of: Use::default(),
            living: Mutex::default(),
        }
    }

    /// The mask that admits all rows but those that are `dead`. It is kept, and brought in step where the next
    /// search knows more rows to be dead, so that no search looks at all of them.
    pub fn living(&self, index: &VectorIndex, dead: &Arc<RoaringBitmap>) -> Result<Arc<Mask>> {
        let mut kept = self.living.lock();
        let living = match kept.take() {
            Some((known, mask)) if Arc::ptr_eq(&known, dead) => mask,
            Some((known, mut mask)) => {
                let own = Arc::make_mut(&mut mask);
                index.admit(own, (&**dead - &*known).iter(), false)?;
                index.admit(own, (&*known - &**dead).iter(), true)?;
                mask
            }
            None => {
                let mut rows = RowSet::all(index.rows());
                let known = dead.range(..index.rows());
                known.for_each(|row| rows.remove(row));
                Arc::new(index.mask(&rows)?)
            }
        };
        *kept = Some((dead.clone(), living.clone()));
        Ok(living)
    }

    /// Bytes held in memory besides those of the index.
    pub(in crate::segments) fn living_bytes(&self) -> usize {
        let kept = self.living.lock();
        kept.as_ref().map_or(0, |(_, mask)| mask.heap_bytes())
    }

    /// The index for a search, unless it is damaged.
    pub fn searched(&self) -> Option<&VectorIndex> {
        self.use_of.searches.fetch_add(1, Ordering::Relaxed);
        self.index()
    }

    /// The index, unless it is damaged.
    pub fn index(&self) -> Option<&VectorIndex> {
        self.file
            .index_after(|index| index.watch = self.watch.clone())
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

    /// Where the levels begin; before them is what every search reads some of.
    pub(in crate::segments) fn levels_at(&self) -> usize {
        let index = self.file.opened();
        index.map_or(0, |index| index.sections.levels.start)
    }

    /// What is known of its searches.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Goes on with what `other`, the same file opened before, knows of its searches.
    pub fn go_on_with(&mut self, other: &Self) {
        self.watch = other.watch.clone();
    }
}

impl Deref for VectorFile {
    type Target = IndexFile<VectorIndex>;

    fn deref(&self) -> &IndexFile<VectorIndex> {
        &self.file
    }
}
