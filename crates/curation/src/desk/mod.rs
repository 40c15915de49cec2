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
//! | `tally` | how many rows there are of each dataset, context and label |
//! | `follow` | from the collection to the desk |
//! | `neighbours` | the nearest records of vectors, of one context |
//! | `directions` | the same of spaces whose index compares more than directions |
//! | `score` | signals of records that have none yet, or old ones |

mod directions;
mod follow;
mod neighbours;
mod row;
mod score;
mod state;
mod tally;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use vermilion_engine::model::CollectionId;

pub(crate) use follow::{EPOCHS, places};
pub(crate) use neighbours::{Among, By, Near, NearTraining, Sought, having};
pub(crate) use row::{Decision, Rival, Row, Said, most_frequent, number_of};
pub(crate) use score::{CHUNK, Scored, scored};
pub(crate) use state::{Mark, Names, Reference, State};

use crate::Curation;
use crate::accuracy::Correctness;
use crate::drift::KnownDrift;
use crate::fields::Context;
use crate::issues::Studies;
use crate::list::Lists;
use crate::spaces::Space;
use crate::standing::Standing;

/// A desk. `turn` is held by whoever brings it in step, across reads of the database, and by
/// whoever makes a study the turn of that; the others never are, and none is held while another is taken.
#[derive(Default)]
pub(crate) struct Desk {
    turn: Mutex<()>,
    pub(crate) state: Mutex<State>,
    directions: RwLock<directions::Directions>,
    pub(crate) lists: Mutex<Lists>,
    pub(crate) standing: Mutex<Option<Standing>>,
    pub(crate) correctness: Mutex<Option<Arc<Correctness>>>,
    pub(crate) studies: Studies,
    pub(crate) drift: Mutex<Option<Arc<KnownDrift>>>,
}

/// The records that the reference was made from, by id.
pub(crate) struct ReferenceRows {
    pub(crate) reference: Arc<Reference>,
    pub(crate) ids: Vec<String>,
    pub(crate) labels: Vec<u32>,
    /// Their vectors, one after the other.
    pub(crate) vectors: Vec<f32>,
    pub(crate) dimension: usize,
}

impl Desk {
    /// See [`ReferenceRows`]; `None` without a reference.
    pub(crate) fn reference_rows(&self) -> Option<ReferenceRows> {
        // Between two pages of a batch the rows are not those of the reference.
        let _turn = self.turn.lock();
        let state = self.state.lock();
        let mut rows = ReferenceRows {
            reference: state.reference.clone()?,
            ids: Vec::new(),
            labels: Vec::new(),
            vectors: Vec::new(),
            dimension: 1,
        };
        for (id, row) in state.rows.iter().filter(|(_, row)| row.is_reference()) {
            if let (Some(label), Some(vector)) = (row.label, &row.vector) {
                rows.ids.push(id.clone());
                rows.labels.push(label);
                rows.vectors.extend_from_slice(vector);
                rows.dimension = vector.len();
            }
        }
        Some(rows)
    }

    /// Does `work` while it is somebody's turn.
    #[cfg(test)]
    pub(crate) fn while_somebody_follows(&self, work: impl FnOnce()) {
        let _turn = self.turn.lock();
        work();
    }

    /// The ids of all records of a context, in their order.
    pub(crate) fn ids_of(&self, context: Context) -> Vec<String> {
        let state = self.state.lock();
        let rows = state.rows.iter();
        let of_it = rows.filter(|(_, row)| row.context == Some(context));
        of_it.map(|(id, _)| id.clone()).collect()
    }
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
