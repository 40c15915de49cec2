//! The book of retrainings: what the catalogue has of them, in memory too.
//!
//! What must stay true: a change is durable before it is in memory, so that what is told is what a
//! restart finds. Whoever changes something holds the book meanwhile, across the write; so one change
//! sees the one before it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use vermilion_engine::Database;
use vermilion_engine::catalog::Document;
use vermilion_engine::model::CollectionId;

use super::run::Run;
use super::trigger::Trigger;
use crate::Result;
use crate::spaces::place_of_document;

/// Documents about retrainings.
const RUNS: &str = "curation_retraining";
/// Documents about triggers.
const TRIGGERS: &str = "curation_trigger";
/// The document that says whether receivers are told nothing for now.
const NOTIFIER: (&str, &str) = ("curation_switch", "notifier");
/// Ended retrainings of a space that are kept.
const KEPT: usize = 500;

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Book {
    /// By space, then by number.
    runs: BTreeMap<(CollectionId, u64), Run>,
    /// By space, then by id.
    triggers: BTreeMap<(CollectionId, String), Trigger>,
    /// Whether receivers are told nothing for now.
    is_silent: bool,
    /// Retrainings whose receivers are told once all the same; in memory only.
    hurried: BTreeSet<(CollectionId, u64)>,
}

impl Book {
    /// The book as the catalogue has it.
    pub(crate) fn read(database: &Database) -> vermilion_engine::Result<Self> {
        let mut book = Self::default();
        for document in database.documents(RUNS, "")? {
            let place =
                place_of_document(&document.key).map(|(space, number)| (space, number.parse()));
            let run = serde_json::from_value::<Run>(document.body);
            match (place, run) {
                (Some((space, Ok(number))), Ok(run)) => {
                    book.runs.insert((space, number), run);
                }
                (_, unread) => pass_over(&document.key, unread.err()),
            }
        }
        for document in database.documents(TRIGGERS, "")? {
            let place = place_of_document(&document.key);
            let trigger = serde_json::from_value::<Trigger>(document.body);
            match (place, trigger) {
                (Some((space, id)), Ok(trigger)) if trigger.policy().is_ok() => {
                    book.triggers.insert((space, id.to_owned()), trigger);
                }
                (_, unread) => pass_over(&document.key, unread.err()),
            }
        }
        book.is_silent = database.document(NOTIFIER.0, NOTIFIER.1)?.is_some();
        Ok(book)
    }

    /// Whether receivers are told nothing for now.
    pub(super) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Has receivers told nothing until it is taken back.
    pub(super) fn silence(&mut self, database: &Database, silent: bool) -> Result<()> {
        let (kind, key) = NOTIFIER;
        if silent {
            database.put_document(Document {
                kind: kind.to_owned(),
                key: key.to_owned(),
                body: Json::Bool(true),
            })?;
        } else {
            database.delete_document(kind, key)?;
        }
        self.is_silent = silent;
        self.hurried.clear();
        Ok(())
    }

    /// Has the receiver of a retraining told once although others are told nothing.
    pub(super) fn hurry(&mut self, key: (CollectionId, u64)) {
        if self.is_silent {
            self.hurried.insert(key);
        }
    }

    /// Whether the receiver of a retraining may be told for now.
    pub(super) fn may_tell(&self, key: &(CollectionId, u64)) -> bool {
        !self.is_silent || self.hurried.contains(key)
    }

    /// Notes that the receiver of a retraining is being told.
    pub(super) fn note_told(&mut self, key: &(CollectionId, u64)) {
        self.hurried.remove(key);
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

    /// The same for what the clock and receivers do: where it cannot be stored, as on a full disk, it
    /// holds until the next start, which finds the same by itself, or tells a receiver once more.
    pub(super) fn put_or_keep(&mut self, database: &Database, space: CollectionId, run: Run) {
        if let Err(refusal) = self.put(database, space, run.clone()) {
            tracing::warn!(why = refusal.message, "a retraining cannot be stored");
            self.runs.insert((space, run.number), run);
        }
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

    /// The spaces with a trigger or a retraining.
    pub(super) fn spaces(&self) -> BTreeSet<CollectionId> {
        let of_runs = self.runs.keys().map(|(space, _)| *space);
        let of_triggers = self.triggers.keys().map(|(space, _)| *space);
        of_runs.chain(of_triggers).collect()
    }

    /// Open retrainings, each with its space.
    pub(super) fn open(&self) -> impl Iterator<Item = (CollectionId, &Run)> {
        let all = self.runs.iter().map(|((space, _), run)| (*space, run));
        all.filter(|(_, run)| run.state.is_open())
    }

    /// A trigger.
    pub(super) fn trigger(&self, space: CollectionId, id: &str) -> Option<&Trigger> {
        self.triggers.get(&(space, id.to_owned()))
    }

    /// Notes when a trigger was judged, and how; in memory only.
    pub(super) fn note_judged(&mut self, space: CollectionId, id: &str, at: f64, judged: Json) {
        if let Some(trigger) = self.triggers.get_mut(&(space, id.to_owned())) {
            trigger.judged = Some((at, judged));
        }
    }

    /// Those of a space, by id.
    pub(super) fn triggers(&self, space: CollectionId) -> impl Iterator<Item = &Trigger> {
        let triggers = self.triggers.range((space, String::new())..);
        let of_space = triggers.take_while(move |((other, _), _)| *other == space);
        of_space.map(|(_, trigger)| trigger)
    }

    /// Whether a space has any.
    pub(crate) fn has_triggers(&self, space: CollectionId) -> bool {
        self.triggers(space).next().is_some()
    }

    /// Stores a trigger in the place of the one with its id.
    pub(super) fn put_trigger(
        &mut self,
        database: &Database,
        space: CollectionId,
        trigger: Trigger,
    ) -> Result<()> {
        let body = serde_json::to_value(&trigger).expect("texts and numbers are always JSON");
        database.put_document(Document {
            kind: TRIGGERS.to_owned(),
            key: format!("{space}/{}", trigger.id),
            body,
        })?;
        self.triggers.insert((space, trigger.id.clone()), trigger);
        Ok(())
    }

    /// Forgets a trigger; whether there was one.
    pub(super) fn forget_trigger(
        &mut self,
        database: &Database,
        space: CollectionId,
        id: &str,
    ) -> Result<bool> {
        if self.trigger(space, id).is_none() {
            return Ok(false);
        }
        database.delete_document(TRIGGERS, &format!("{space}/{id}"))?;
        self.triggers.remove(&(space, id.to_owned()));
        Ok(true)
    }

    /// Forgets all that there is of a space.
    pub(crate) fn forget_space(&mut self, database: &Database, space: CollectionId) -> Result<()> {
        let numbers: Vec<u64> = self.runs(space).map(|run| run.number).collect();
        for number in numbers {
            database.delete_document(RUNS, &key_of(space, number))?;
            self.runs.remove(&(space, number));
        }
        let ids: Vec<String> = self.triggers(space).map(|one| one.id.clone()).collect();
        for id in ids {
            self.forget_trigger(database, space, &id)?;
        }
        Ok(())
    }
}

/// Numbers have leading zeros, so that keys are in their order.
fn key_of(space: CollectionId, number: u64) -> String {
    format!("{space}/{number:010}")
}

/// A document stays as it is that this release cannot read: the one that wrote it can.
fn pass_over(key: &str, why: Option<serde_json::Error>) {
    let why = why.map(|error| error.to_string());
    tracing::warn!(key, why, "a document about retraining is passed over");
}
