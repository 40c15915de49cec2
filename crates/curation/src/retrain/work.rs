//! What workers do with a retraining, and how somebody calls one off.
//!
//! What must stay true: each is one durable change of one retraining, made while the book is held, or
//! a refusal that tells its state; whoever has no lease completes nothing.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::event::event;
use super::fire::no_retraining;
use super::outcome::check_completion;
use super::run::{Outcome, Run, State, lease_seconds, text};
use crate::spaces::{Place, Space};
use crate::{Curation, Refusal, Result};

/// What a worker says that takes a retraining.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// How long the lease is to last from each heartbeat on.
    pub lease_seconds: Option<f64>,
    /// Who it is.
    pub worker: Option<String>,
    /// Only one of this trigger; for whoever takes the next of a space.
    pub trigger: Option<String>,
}

/// What a worker says that goes on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Its lease.
    pub lease: Option<String>,
    /// How long the lease is to last from now on.
    pub lease_seconds: Option<f64>,
    /// How far it is, from 0 to 1.
    pub progress: Option<f64>,
    /// What it does.
    pub message: Option<String>,
}

/// What a worker says that is done.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Completion {
    /// Its lease.
    pub lease: Option<String>,
    /// What the new model makes vectors of: its space is opened.
    pub embedding_set: Option<Json>,
    /// The name of that space, where it is to have one of its own.
    pub space: Option<String>,
    /// How good the new model is: a number by name.
    pub metrics: Option<Map<String, Json>>,
    /// How good the old one was by the same measure.
    pub metrics_before: Option<Map<String, Json>>,
    /// The records that it was trained on.
    #[serde(alias = "consumed")]
    pub consumed_ids: Option<Vec<String>>,
    /// What there is to say.
    pub message: Option<String>,
}

/// What a worker says that gives up.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// Its lease.
    pub lease: Option<String>,
    /// Why.
    pub message: Option<String>,
}

impl Curation {
    /// Gives a retraining to a worker.
    pub fn claim(&self, place: &Place, id: &str, asked: &Claim) -> Result<Json> {
        let (seconds, worker) = (
            lease_seconds(asked.lease_seconds)?,
            text("worker", asked.worker.as_ref())?,
        );
        let (space, run, token) =
            self.change_run(place, id, |run, now| run.claim(seconds, worker, now))?;
        Ok(claimed(&space, &run, &token))
    }

    /// Gives the retraining of a space that has waited longest to a worker; null where none waits.
    pub fn claim_next(&self, place: &Place, name: &str, asked: &Claim) -> Result<Json> {
        let space = self.space(place, name)?;
        let (seconds, worker) = (
            lease_seconds(asked.lease_seconds)?,
            text("worker", asked.worker.as_ref())?,
        );
        let mut book = self.book.lock();
        let now = self.now();
        let id = space.collection.id;
        let waiting = book.runs(id).cloned().find_map(|mut run| {
            run.settle(now);
            let wanted = asked.trigger.is_none() || run.trigger == asked.trigger;
            (wanted && run.state.waits()).then_some(run)
        });
        let Some(mut run) = waiting else {
            return Ok(json!({ "retraining": null }));
        };
        let token = run.claim(seconds, worker, now)?;
        book.put(&self.database, id, run.clone())?;
        drop(book);
        self.bell.ring();
        Ok(claimed(&space, &run, &token))
    }

    /// Lets a worker keep its lease.
    pub fn heartbeat(&self, place: &Place, id: &str, told: &Heartbeat) -> Result<Json> {
        let token = lease_of(told.lease.as_ref())?;
        let seconds = told.lease_seconds.map(|asked| lease_seconds(Some(asked)));
        let seconds = seconds.transpose()?;
        let message = text("message", told.message.as_ref())?;
        if told
            .progress
            .is_some_and(|share| !(0.0..=1.0).contains(&share))
        {
            let message = "`progress` is no share.";
            return Err(Refusal::wrong("out_of_range", message)
                .field("progress")
                .hint("0 to 1"));
        }
        let (_, run, ()) = self.change_run(place, id, |run, now| {
            let lease = run.held(token)?;
            lease.seconds = seconds.unwrap_or(lease.seconds);
            lease.heartbeat_at = now;
            lease.expires_at = now + lease.seconds;
            run.progress = told.progress.or(run.progress);
            run.message = message.or(run.message.take());
            Ok(())
        })?;
        Ok(run.told())
    }

    /// Ends a retraining well: opens the space of the new model and marks what it was trained on. The
    /// same again is answered the same.
    pub fn complete(&self, place: &Place, id: &str, told: &Completion) -> Result<Json> {
        let token = lease_of(told.lease.as_ref())?;
        let said = serde_json::to_value(told).unwrap_or_default();
        let message = text("message", told.message.as_ref())?;
        check_completion(told)?;
        let (space, number) = self.place_of_run(place, id)?;
        let mut book = self.book.lock();
        let known = book.run(space.collection.id, number);
        let mut run = known.cloned().ok_or_else(|| no_retraining(id))?;
        run.settle(self.now());
        if !run.has_ended_by(State::Succeeded, token, &said)? {
            run.held(token)?;
            // The lease cannot be lost meanwhile: whoever would take it waits for the book.
            let outcome = self.carry_out(place, &space, &run, told)?;
            run.end_by(State::Succeeded, token, &said, outcome, self.now());
            run.progress = Some(1.0);
            run.message = message;
            book.put(&self.database, space.collection.id, run.clone())?;
        }
        drop(book);
        self.bell.ring();
        self.wake(&space);
        self.told_run(&space, &run)
    }

    /// Ends a retraining badly. The same again is answered the same.
    pub fn fail(&self, place: &Place, id: &str, told: &Failure) -> Result<Json> {
        let token = lease_of(told.lease.as_ref())?;
        let said = serde_json::to_value(told).unwrap_or_default();
        let message = text("message", told.message.as_ref())?;
        let (space, run, ()) = self.change_run(place, id, |run, now| {
            if !run.has_ended_by(State::Failed, token, &said)? {
                run.held(token)?;
                run.end_by(State::Failed, token, &said, Outcome::empty(), now);
                run.message = message;
            }
            Ok(())
        })?;
        self.wake(&space);
        Ok(run.told())
    }

    /// Calls a retraining off that has not ended.
    pub fn cancel_retraining(&self, place: &Place, id: &str) -> Result<Json> {
        let (space, run, ()) = self.change_run(place, id, |run, now| {
            if !run.state.is_open() {
                return Err(run.wrong_state("cancelled", "one that has not ended"));
            }
            run.end(State::Cancelled, now);
            Ok(())
        })?;
        self.wake(&space);
        Ok(run.told())
    }

    /// Changes a retraining as one durable step, unless `change` refuses.
    fn change_run<T>(
        &self,
        place: &Place,
        id: &str,
        change: impl FnOnce(&mut Run, f64) -> Result<T>,
    ) -> Result<(Space, Run, T)> {
        let (space, number) = self.place_of_run(place, id)?;
        let mut book = self.book.lock();
        let known = book.run(space.collection.id, number);
        let mut run = known.cloned().ok_or_else(|| no_retraining(id))?;
        let before = run.clone();
        let now = self.now();
        run.settle(now);
        let done = change(&mut run, now)?;
        if run != before {
            book.put(&self.database, space.collection.id, run.clone())?;
        }
        drop(book);
        self.bell.ring();
        Ok((space, run, done))
    }
}

fn claimed(space: &Space, run: &Run, token: &str) -> Json {
    json!({
        "retraining": run.told(),
        "lease": token,
        "lease_seconds": run.lease.as_ref().map(|lease| lease.seconds),
        "lease_expires_at": run.lease.as_ref().map(|lease| lease.expires_at),
        "event": event(run, &space.collection, &space.embedding_set),
    })
}

fn lease_of(told: Option<&String>) -> Result<&str> {
    told.map(String::as_str).ok_or_else(|| {
        Refusal::wrong("missing_field", "The request brings no lease.")
            .field("lease")
            .hint("the `lease` that the answer to `claim` has")
    })
}
