//! What takes long to work out of all records of a space.
//!
//! What must stay true: a study is of one state of the records and says which; it is made once for it,
//! whoever asks; where it takes more than a request may, the job makes it, and what was found before is
//! told meanwhile with the state that it is of, and stands for many times as long as its making took.

use std::sync::Arc;

use parking_lot::Mutex;

use super::labels::Labels;
use super::near::NearRecords;
use super::shape::Shape;
use crate::assess::InStep;
use crate::desk::{Desk, State};
use crate::list::STANDS;
use crate::map::Map;
use crate::spaces::Space;
use crate::{Curation, Result};

/// The states of the records and of the reference that something is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) epoch: u64,
    pub(crate) as_of: u64,
    /// Records whose scores are missing or of an earlier epoch.
    pub(crate) stale: usize,
}

impl Version {
    pub(crate) fn of(state: &State) -> Self {
        Self {
            epoch: state.epoch,
            as_of: state.as_of,
            stale: state.stale(),
        }
    }
}

/// What was found, of what, and when: begun at so many seconds since 1970, and how many that took.
#[derive(Debug)]
struct Made<T> {
    version: Version,
    found: Arc<T>,
    begun_at: f64,
    took: f64,
}

/// A study of one kind: what was found last, and whether the job is to look again.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    made: Mutex<Option<Made<T>>>,
    wanted: Mutex<bool>,
    /// Held by whoever makes it.
    turn: Mutex<()>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            made: Mutex::default(),
            wanted: Mutex::default(),
            turn: Mutex::default(),
        }
    }
}

impl<T> Slot<T> {
    /// What was found last.
    pub(crate) fn last(&self) -> Option<Arc<T>> {
        self.made.lock().as_ref().map(|made| made.found.clone())
    }

    /// The same if it is of that epoch.
    fn last_of(&self, epoch: u64) -> Option<Arc<T>> {
        let made = self.made.lock();
        let made = made.as_ref().filter(|made| made.version.epoch == epoch);
        made.map(|made| made.found.clone())
    }
}

/// All studies of a space.
#[derive(Debug, Default)]
pub(crate) struct Studies {
    pub(super) labels: Slot<Labels>,
    pub(super) near: Slot<NearRecords>,
    pub(super) shape: Slot<Shape>,
    pub(crate) map: Slot<Map>,
}

impl Studies {
    /// What is thought of labels, where they were looked at since training moved.
    pub(crate) fn labels_of(&self, epoch: u64) -> Option<Arc<Labels>> {
        self.labels.last_of(epoch)
    }

    /// Whether the job is to make one that may have waited for scores.
    pub(crate) fn wants(&self) -> bool {
        *self.shape.wanted.lock()
    }
}

/// A kind of study.
pub(crate) trait Study: Sized {
    /// Records that one request looks at itself.
    const AT_ONCE: usize = 10_000;

    /// Where it is kept.
    fn slot(studies: &Studies) -> &Slot<Self>;
    /// How many records it looks at: all, unless said otherwise.
    fn size(state: &State) -> usize {
        state.rows.len()
    }
    /// Whether it cannot be made before more records are scored.
    fn waits(_state: &State) -> bool {
        false
    }
    /// Whether what was found at `then` still holds `now`.
    fn holds(then: Version, now: Version) -> bool;
    /// Makes it of the records as they are; `None` where it was told to end.
    fn make(
        curation: &Curation,
        space: &Space,
        desk: &Desk,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Self>>;
}

/// What was found, and whether it is of the records as they are.
pub(crate) struct Studied<T> {
    pub(crate) found: Option<(Version, Arc<T>)>,
    pub(crate) is_ready: bool,
}

impl Curation {
    /// A study of a space, made now where that takes not too long and all of the space is read.
    pub(crate) fn study<T: Study>(&self, space: &Space, ready: &InStep) -> Result<Studied<T>> {
        let desk = &*ready.desk;
        let is_quick = {
            let state = desk.state.lock();
            T::size(&state) <= T::AT_ONCE && !T::waits(&state)
        };
        if is_quick && ready.is_read {
            self.make_study::<T>(space, desk, &|| true)?;
        }
        let slot = T::slot(&desk.studies);
        let version = Version::of(&desk.state.lock());
        let now = self.now();
        let (found, stands) = {
            let made = slot.made.lock();
            let stands = |made: &Made<T>| now - made.begun_at < STANDS * made.took;
            let found = made.as_ref().map(|made| (made.version, made.found.clone()));
            (found, made.as_ref().is_some_and(stands))
        };
        let holds = found
            .as_ref()
            .is_some_and(|(then, _)| T::holds(*then, version));
        let is_ready = holds && ready.is_read;
        if !holds && !stands {
            *slot.wanted.lock() = true;
            self.wake_studies(space);
        }
        Ok(Studied { found, is_ready })
    }

    fn make_study<T: Study>(
        &self,
        space: &Space,
        desk: &Desk,
        go_on: &dyn Fn() -> bool,
    ) -> Result<()> {
        let slot = T::slot(&desk.studies);
        let _turn = slot.turn.lock();
        let version = Version::of(&desk.state.lock());
        let known = slot.made.lock().as_ref().map(|made| made.version);
        if known.is_some_and(|then| T::holds(then, version)) {
            return Ok(());
        }
        let begun_at = self.now();
        if let Some(found) = T::make(self, space, desk, go_on)? {
            *slot.made.lock() = Some(Made {
                version,
                found: Arc::new(found),
                begun_at,
                took: self.now() - begun_at,
            });
        }
        Ok(())
    }

    /// Makes the studies that somebody waits for; how many.
    pub(crate) fn study_what_is_wanted(
        &self,
        space: &Space,
        desk: &Desk,
        go_on: &dyn Fn() -> bool,
    ) -> Result<usize> {
        Ok(self.study_if_wanted::<Labels>(space, desk, go_on)?
            + self.study_if_wanted::<NearRecords>(space, desk, go_on)?
            + self.study_if_wanted::<Shape>(space, desk, go_on)?
            + self.study_if_wanted::<Map>(space, desk, go_on)?)
    }

    fn study_if_wanted<T: Study>(
        &self,
        space: &Space,
        desk: &Desk,
        go_on: &dyn Fn() -> bool,
    ) -> Result<usize> {
        let slot = T::slot(&desk.studies);
        if T::waits(&desk.state.lock()) {
            return Ok(0);
        }
        let wanted = std::mem::take(&mut *slot.wanted.lock());
        if wanted && let Err(refusal) = self.make_study::<T>(space, desk, go_on) {
            // So that the next try makes it.
            *slot.wanted.lock() = true;
            return Err(refusal);
        }
        Ok(usize::from(wanted))
    }
}
