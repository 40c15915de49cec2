//! The desk of a space: what is worked out of its records, in memory.
//!
//! What must stay true: a desk is a function of the records and of nothing else, so that one that
//! followed every batch and one that read everything anew say the same; whatever it says, it says as
//! of a position of the log. Vectors of production stay in the database; those of training are kept,
//! since what is taken back from class statistics must be known.
//!
//! | file | what |
//! |---|---|
//! | `row` | what is known of one record |
//! | `state` | the rows, class statistics and sketches, kept in step with each other |
//! | `follow` | from the collection to the desk |
//! | `neighbours` | the nearest records of vectors, of one context |
//! | `score` | signals of records that have none yet, or old ones |

mod follow;
mod neighbours;
mod row;
mod score;
mod state;

use std::sync::Arc;

use parking_lot::Mutex;
use vermilion_engine::model::CollectionId;

pub(crate) use neighbours::Near;
pub(crate) use row::{Decision, Row, Said};
pub(crate) use score::{CHUNK, signals};
pub(crate) use state::{Names, State};

use crate::Curation;
use crate::list::Lists;
use crate::spaces::Space;

/// A desk. `turn` is held by whoever brings it in step, across reads of the database; `state` and
/// `lists` never are, and neither is held while the other is taken.
#[derive(Default)]
pub(crate) struct Desk {
    turn: Mutex<()>,
    pub(crate) state: Mutex<State>,
    pub(crate) lists: Mutex<Lists>,
}

impl Curation {
    /// The desk of a space, empty until it is brought in step.
    pub(crate) fn desk(&self, space: &Space) -> Arc<Desk> {
        self.desks
            .lock()
            .entry(space.collection.id)
            .or_default()
            .clone()
    }

    /// Forgets the desk of a space that is gone.
    pub(crate) fn clear_desk(&self, id: CollectionId) {
        self.desks.lock().remove(&id);
    }
}
