//! How a retraining begins, and what is told of those that there are.
//!
//! What must stay true: of a space and a trigger one is open at a time; one is found only from the
//! tenant and database of its space.

use serde::Deserialize;
use serde_json::{Value as Json, json};
use vermilion_engine::model::{CollectionScope, Page};

use super::Listed;
use super::book::Book;
use super::delivery::Delivery;
use super::event::{event, links};
use super::run::{Run, State, random_hex, seconds, text};
use super::trigger::{Trigger, no_trigger};
use crate::fields;
use crate::spaces::{Place, Space, collection_id};
use crate::{Curation, Refusal, Result};

/// How long a retraining waits to be taken unless something else is said.
pub(super) const EXPIRES_AFTER_SECONDS: f64 = 86_400.0;
/// How long at least and at most.
const EXPIRES_MIN: f64 = 10.0;
/// See [`EXPIRES_MIN`].
const EXPIRES_MAX: f64 = 30.0 * 86_400.0;
/// Entries of a page, unless more or fewer are asked for.
const PAGE: u32 = 100;
/// Entries of a page at most.
pub const PAGE_MAX: u32 = 1000;

/// What somebody who begins a retraining says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fire {
    /// The trigger that it is of: its receiver is told.
    pub trigger: Option<String>,
    /// Why, in words.
    pub note: Option<String>,
    /// Whether only to tell what would be begun.
    pub dry_run: Option<bool>,
    /// How long it waits to be taken, in seconds.
    pub expires_after_seconds: Option<f64>,
}

/// Which retrainings of a space are meant.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Those in this state.
    pub state: Option<String>,
    /// Those of this trigger.
    pub trigger: Option<String>,
    /// Entries of the page.
    pub limit: Option<u32>,
    /// Entries to pass over.
    pub offset: Option<u32>,
}

/// What a retraining begins with, besides the state of its space.
pub(super) struct Firing {
    pub(super) trigger: Option<String>,
    pub(super) reason: Json,
    pub(super) expires_after_seconds: f64,
    /// Who is told.
    pub(super) url: Option<String>,
}

impl Curation {
    /// Begins a retraining of a space because somebody says so; answers it, and whether it was begun.
    pub fn fire(&self, place: &Place, name: &str, asked: &Fire) -> Result<(Json, bool)> {
        let space = self.space(place, name)?;
        let note = text("note", asked.note.as_ref())?;
        let trigger = asked.trigger.as_deref().map(|id| {
            let book = self.book.lock();
            let trigger = book.trigger(space.collection.id, id).cloned();
            trigger.ok_or_else(|| no_trigger(id))
        });
        let trigger = trigger.transpose()?;
        let usual = trigger
            .as_ref()
            .map(|trigger| trigger.expires_after_seconds);
        let firing = Firing {
            trigger: trigger.as_ref().map(|trigger| trigger.id.clone()),
            reason: json!({
                "type": "manual",
                "text": note.as_deref().unwrap_or("Somebody asked for it."),
            }),
            expires_after_seconds: expires_after(asked.expires_after_seconds.or(usual))?,
            url: trigger.as_ref().and_then(Trigger::url),
        };
        let dry_run = asked
            .dry_run
            .unwrap_or(trigger.is_some_and(|trigger| trigger.dry_run));
        let run = self.begin_retraining(&space, firing, dry_run)?;
        let mut told = run.told();
        told["event"] = event(&run, &space.collection, &space.embedding_set);
        Ok((told, !dry_run))
    }

    /// Begins a retraining, unless one of its trigger is open.
    pub(super) fn begin_retraining(
        &self,
        space: &Space,
        firing: Firing,
        dry_run: bool,
    ) -> Result<Run> {
        let (as_of_seq, epoch) = {
            let desk = self.desk(space);
            self.follow(space, &desk)?;
            let state = desk.state.lock();
            (state.as_of, state.epoch)
        };
        let id = space.collection.id;
        let mut book = self.book.lock();
        let now = self.now();
        let open = open_of(&book, space, firing.trigger.as_deref(), now);
        if let Some(open) = open {
            let message = format!(
                "The retraining `{}` of this space is {}.",
                open.id,
                open.state.name()
            );
            return Err(Refusal::new(409, "retraining_open", message)
                .field("trigger")
                .state(open.state)
                .hint("complete, fail or cancel it first"));
        }
        let number = book.next_number(id);
        let previous = book.runs(id).next_back().map(Run::summary);
        let run = Run {
            id: format!("{}-{number}", id.0.simple()),
            number,
            space: space.collection.name.clone(),
            trigger: firing.trigger,
            state: State::Pending,
            reason: firing.reason,
            fired_at: now,
            as_of_seq,
            epoch,
            previous,
            event_id: format!("evt-{}", random_hex::<16>()?),
            expires_after_seconds: firing.expires_after_seconds,
            expires_at: now + firing.expires_after_seconds,
            claims: 0,
            leases_lost: 0,
            lease: None,
            progress: None,
            message: None,
            delivery: firing.url.map(|url| Delivery::new(&url, now)),
            finished_at: None,
            outcome: None,
        };
        if !dry_run {
            book.put(&self.database, id, run.clone())?;
            drop(book);
            self.bell.ring();
        }
        Ok(run)
    }

    /// Retrainings of a space, newest first, and how many there are.
    pub fn retrainings(&self, place: &Place, name: &str, which: &Which) -> Result<Json> {
        let space = self.space(place, name)?;
        let state = which.state.as_deref().map(State::named).transpose()?;
        let page = page(which.limit, which.offset)?;
        let now = self.now();
        let book = self.book.lock();
        let settled = book.runs(space.collection.id).rev().map(|run| {
            let mut run = run.clone();
            run.settle(now);
            run
        });
        let wanted: Vec<Run> = settled
            .filter(|run| state.is_none_or(|state| run.state == state))
            .filter(|run| which.trigger.is_none() || run.trigger == which.trigger)
            .collect();
        let told: Vec<Json> = page.of(&wanted).map(Run::told).collect();
        Ok(json!({ "retrainings": told, "total": wanted.len() }))
    }

    /// All that is known of a retraining.
    pub fn retraining(&self, place: &Place, id: &str) -> Result<Json> {
        let (space, run) = self.found_run(place, id)?;
        self.told_run(&space, &run)
    }

    /// A retraining with where everything is, and how it is before and after.
    pub(super) fn told_run(&self, space: &Space, run: &Run) -> Result<Json> {
        let mut told = run.told();
        told["links"] = links(run, &space.collection);
        told["before_after"] = self.before_after(space, run)?;
        Ok(told)
    }

    /// A retraining as it is now, with its space.
    pub(super) fn found_run(&self, place: &Place, id: &str) -> Result<(Space, Run)> {
        let (space, number) = self.place_of_run(place, id)?;
        let book = self.book.lock();
        let run = book.run(space.collection.id, number);
        let mut run = run.cloned().ok_or_else(|| no_retraining(id))?;
        run.settle(self.now());
        Ok((space, run))
    }

    /// The space of a retraining, and its number there.
    pub(super) fn place_of_run(&self, place: &Place, id: &str) -> Result<(Space, u64)> {
        let (space, number) = id.rsplit_once('-').ok_or_else(|| no_retraining(id))?;
        let number = number.parse().ok().ok_or_else(|| no_retraining(id))?;
        let scope = CollectionScope {
            tenant: &place.tenant,
            database: &place.database,
            id: collection_id(space).ok_or_else(|| no_retraining(id))?,
        };
        let found = self
            .database
            .collection_by_id(scope)
            .ok()
            .and_then(Space::of);
        let space = found.ok_or_else(|| no_retraining(id))?;
        Ok((space, number))
    }

    /// Labels that people set, and how they differ from what was logged: what a worker trains on in the
    /// place of older labels that it may have.
    pub fn label_overrides(&self, place: &Place, id: &str, asked: Listed) -> Result<Json> {
        let (space, run) = self.found_run(place, id)?;
        let page = page(asked.limit, asked.offset)?;
        let desk = self.desk(&space);
        self.follow(&space, &desk)?;
        let (ids, as_of) = {
            let state = desk.state.lock();
            let set = |(id, row): (&String, &crate::desk::Row)| {
                (row.decided_at > 0.0 && row.label.is_some()).then(|| id.clone())
            };
            let ids: Vec<String> = state.rows.iter().filter_map(set).collect();
            (ids, state.as_of)
        };
        let total = ids.len();
        let ids: Vec<String> = page.of(ids).collect();
        let found = self.fetch(&space, &ids)?;
        let metadata = found.metadatas.unwrap_or_default();
        let told = (0..found.ids.len()).map(|at| {
            let mut told = json!({
                "id": found.ids.get(at),
                "input_uri": found.uris.as_ref().and_then(|uris| uris.get(at)),
            });
            for (key, value) in metadata.row(at) {
                if [
                    fields::LABEL_CLASS,
                    fields::INFERENCE_CLASS,
                    fields::CONTEXT,
                    fields::DATASET,
                    fields::DECIDED_AT,
                ]
                .contains(&key)
                {
                    told[key] = json!(fields::plain(value));
                }
            }
            told
        });
        let told: Vec<Json> = told.collect();
        Ok(json!({
            "retraining": run.id,
            "overrides": told,
            "total": total,
            "as_of_seq": as_of,
        }))
    }
}

/// The open retraining of a space and a trigger.
pub(super) fn open_of(book: &Book, space: &Space, trigger: Option<&str>, now: f64) -> Option<Run> {
    let mut of_it = book
        .runs(space.collection.id)
        .rev()
        .filter(|run| run.trigger.as_deref() == trigger)
        .cloned();
    of_it.find_map(|mut run| {
        run.settle(now);
        run.state.is_open().then_some(run)
    })
}

/// How long a retraining waits to be taken, checked.
pub(super) fn expires_after(asked: Option<f64>) -> Result<f64> {
    let asked = asked.unwrap_or(EXPIRES_AFTER_SECONDS);
    seconds("expires_after_seconds", asked, EXPIRES_MIN, EXPIRES_MAX)
}

/// A page of a list, checked.
pub(crate) fn page(limit: Option<u32>, offset: Option<u32>) -> Result<Page> {
    let limit = limit.unwrap_or(PAGE);
    if limit > PAGE_MAX {
        let message = format!("A page of {limit} entries is too long.");
        return Err(Refusal::wrong("out_of_range", message)
            .field("limit")
            .hint(format!("{PAGE_MAX} at most; `offset` leads on")));
    }
    Ok(Page {
        limit: Some(limit),
        offset: offset.unwrap_or(0),
    })
}

/// The refusal of what names no retraining.
pub(super) fn no_retraining(id: &str) -> Refusal {
    let message = format!("There is no retraining `{id}`.");
    Refusal::new(404, "retraining_not_found", message)
        .field("id")
        .hint("GET /spaces/{space}/retrainings lists those of a space")
}
