//! The book of retrainings: what the catalogue has of them, in memory too.
//!
//! What must stay true: a change is durable before it is in memory, so that what is told is what a
//! restart finds. Whoever changes something holds the book meanwhile, across the write; so one change
//! sees the one before it.

use std::collections::BTreeMap;

use vermilion_engine::Database;
use vermilion_engine::catalog::Document;
use vermilion_engine::model::CollectionId;

use super::run::Run;
use crate::Result;

/// Documents about retrainings.
const RUNS: &str = "curation_retraining";
/// Ended retrainings of a space that are kept.
const KEPT: usize = 500;

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Book {
    /// By space, then by number.
    runs: BTreeMap<(CollectionId, u64), Run>,
}

impl Book {
    /// The book as the catalogue has it.
    pub(crate) fn read(database: &Database) -> vermilion_engine::Result<Self> {
        let mut book = Self::default();
        for document in database.documents(RUNS, "")? {
            let place = place_of(&document.key);
            match (place, serde_json::from_value::<Run>(document.body)) {
                (Some(place), Ok(run)) => {
                    book.runs.insert(place, run);
                }
                // It stays as it is: the release that wrote it can read it.
                (_, unread) => {
                    let why = unread.err().map(|error| error.to_string());
                    tracing::warn!(key = document.key, why, "a retraining is passed over");
                }
            }
        }
        Ok(book)
    }

    /// A retraining.
    pub(super) fn run(&self, space: CollectionId, number: u64) -> Option<&Run> {
        self.runs.get(&(space, number))
    }

    /// Those of a space, oldest first.
    pub(super) fn runs(&self, space: CollectionId) -> impl DoubleEndedIterator<Item = &Run> {
        let runs = self.runs.range((space, 0)..=(space, u64::MAX));
        runs.map(|(_, run)| run)
    }

    /// All of them, by space.
    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = &Run> {
        self.runs.values()
    }

    /// The number of the next of a space.
    pub(super) fn next_number(&self, space: CollectionId) -> u64 {
        self.runs(space).next_back().map_or(1, |run| run.number + 1)
    }

    /// Stores a retraining in the place of the one with its number.
    pub(super) fn put(&mut self, database: &Database, space: CollectionId, run: Run) -> Result<()> {
        let body = serde_json::to_value(&run).expect("texts and numbers are always JSON");
        database.put_document(Document {
            kind: RUNS.to_owned(),
            key: key_of(space, run.number),
            body,
        })?;
        self.runs.insert((space, run.number), run);
        self.forget_old(database, space)
    }

    /// Forgets the oldest that have ended, past those that are kept.
    fn forget_old(&mut self, database: &Database, space: CollectionId) -> Result<()> {
        let ended: Vec<u64> = self
            .runs(space)
            .filter(|run| !run.state.is_open())
            .map(|run| run.number)
            .collect();
        for number in &ended[..ended.len().saturating_sub(KEPT)] {
            database.delete_document(RUNS, &key_of(space, *number))?;
            self.runs.remove(&(space, *number));
        }
        Ok(())
    }

    /// Forgets all that there is of a space.
    pub(crate) fn forget_space(&mut self, database: &Database, space: CollectionId) -> Result<()> {
        let numbers: Vec<u64> = self.runs(space).map(|run| run.number).collect();
        for number in numbers {
            database.delete_document(RUNS, &key_of(space, number))?;
            self.runs.remove(&(space, number));
        }
        Ok(())
    }
}

/// Numbers have leading zeros, so that keys are in their order.
fn key_of(space: CollectionId, number: u64) -> String {
    format!("{space}/{number:010}")
}

fn place_of(key: &str) -> Option<(CollectionId, u64)> {
    let (space, number) = key.split_once('/')?;
    Some((collection_id(space)?, number.parse().ok()?))
}

/// The id that a text is.
pub(super) fn collection_id(text: &str) -> Option<CollectionId> {
    uuid::Uuid::try_parse(text).ok().map(CollectionId)
}
