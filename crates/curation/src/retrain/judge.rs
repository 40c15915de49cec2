//! Whether policies hold, and the job that asks: woken by whatever is written, by the clock and by
//! retrainings that end.
//!
//! What must stay true: a trigger fires once for what made it fire; while a retraining of it is open, and
//! for its least interval after, it is not judged; a space is not judged so often that it would be busy
//! with nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use vermilion_engine::model::CollectionId;
use vermilion_engine::schedule::{
    Policy as JobPolicy, Run as JobRun, RunRequest, Trigger as Schedule,
};
use vermilion_engine::{Error, Result as EngineResult};

use super::book::Book;
use super::fire::{Firing, open_of};
use super::policy::{Policy, occurrence_after, verdict};
use super::run::Run;
use super::trigger::{DryRun, Trigger};
use crate::desk::Desk;
use crate::spaces::Space;
use crate::{Curation, Result};

/// The task, and its job.
pub(crate) const TRIGGERS: &str = "curation_triggers";
/// A space rests so long between two judgements, and so many times as long as the last one took.
const REST_SECONDS: f64 = 1.0;
/// See [`REST_SECONDS`].
const REST_TIMES: f64 = 10.0;
/// How often a run asks whether to go on while it waits.
const LOOK: Duration = Duration::from_millis(100);

/// What a policy is judged by.
pub(super) struct Facts<'a> {
    pub(super) space: &'a Space,
    pub(super) desk: &'a Desk,
    pub(super) now: f64,
    /// When the trigger fired last, and for the training data of which epoch.
    pub(super) fired_at: Option<f64>,
    /// See `fired_at`.
    pub(super) fired_epoch: Option<u64>,
    /// When the space was retrained last.
    retrained_at: Option<f64>,
    /// Since when occurrences of a schedule count.
    waits_since: f64,
}

impl Curation {
    /// Brings the job.
    pub(crate) fn bring_triggers(curation: &Arc<Self>) -> EngineResult<()> {
        let when = curation.when_woken()?;
        let policy = JobPolicy::default();
        Self::bring(curation, TRIGGERS, when, policy, Self::judge_all)?;
        let book = curation.book.lock();
        let spaces = book.spaces();
        let watched = spaces.iter().filter(|space| book.has_triggers(**space));
        watched.for_each(|space| curation.bell.look_at(*space));
        Ok(())
    }

    /// Begins the job; `false` where it could not begin and is to be asked for again.
    pub(super) fn begin_judging(&self) -> bool {
        let jobs = self.database.jobs();
        match jobs.job(TRIGGERS) {
            // Whoever paused it resumes it; a run under way takes what is new, or leaves it.
            Ok(job) if job.paused => true,
            Ok(job) if job.running => false,
            _ => jobs.begin(TRIGGERS, RunRequest::default()).is_ok(),
        }
    }

    /// Judges what is to be judged, as long as more comes.
    fn judge_all(&self, job: &JobRun<'_>) -> EngineResult<Json> {
        if job.dry_run {
            let spaces = self.book.lock().spaces().len();
            return Ok(json!({ "spaces": spaces }));
        }
        let mut rests: BTreeMap<CollectionId, f64> = BTreeMap::new();
        let (mut judged, mut fired, mut failure) = (0, 0, None);
        let mut left = self.bell.take_spaces();
        while !left.is_empty() && job.go_on() {
            let now = self.now();
            let ready = left
                .iter()
                .find(|space| rests.get(space).is_none_or(|until| *until <= now));
            if let Some(&space) = ready {
                left.remove(&space);
                match self.judge_space(space) {
                    Ok((of_it, new)) => {
                        (judged, fired) = (judged + of_it, fired + new);
                        self.bell.note_judged(space);
                    }
                    Err(error) => {
                        tracing::warn!(%space, %error, "triggers of a space are not judged");
                        self.bell.note_failure(space, self.now());
                        failure = Some(error);
                    }
                }
                let took = (self.now() - now).max(0.0);
                rests.insert(space, self.now() + REST_SECONDS.max(took * REST_TIMES));
            } else {
                self.bell.nap(LOOK);
            }
            left.extend(self.bell.take_spaces());
        }
        left.into_iter().for_each(|space| self.bell.wrote(space));
        match failure {
            Some(error) => Err(error),
            None => Ok(json!({ "judged": judged, "fired": fired })),
        }
    }

    /// Judges the triggers of a space; how many were judged, and how many fired.
    fn judge_space(&self, id: CollectionId) -> EngineResult<(usize, usize)> {
        let Some(space) = self.space_anywhere(id)? else {
            self.bell.overlook(id);
            return Ok((0, 0));
        };
        let triggers: Vec<Trigger> = self.book.lock().triggers(id).cloned().collect();
        let (mut judged, mut fired, mut failure) = (0, 0, None);
        for trigger in triggers {
            match self.judge_trigger(&space, &trigger) {
                Ok(outcome) => {
                    judged += usize::from(outcome.is_some());
                    fired += usize::from(outcome == Some(true));
                }
                // A deleted space is no error.
                Err(_) if self.is_gone(id)? => return Ok((judged, fired)),
                Err(refusal) => failure = Some(Error::internal(refusal.message)),
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok((judged, fired)),
        }
    }

    /// Judges a trigger, and fires it where its policy holds; `None` where it is not its time.
    fn judge_trigger(&self, space: &Space, trigger: &Trigger) -> Result<Option<bool>> {
        let id = space.collection.id;
        let now = self.now();
        let (retrained_at, fired) = {
            let mut book = self.book.lock();
            let fired = fired(&book, id, trigger);
            let rests = fired.is_some_and(|(fired, _)| now < fired + trigger.min_interval_seconds);
            let is_open = open_of(&book, space, Some(&trigger.id), now).is_some();
            if rests || is_open {
                let why = if is_open {
                    "A retraining of it is open."
                } else {
                    "Its least interval has not passed."
                };
                let judged = verdict("none", false, why, json!({}));
                book.note_judged(id, &trigger.id, now, judged);
                return Ok(None);
            }
            let retrained = book.runs(id).next_back().map(|run| run.fired_at);
            let dry = trigger.last_dry_run.as_ref().map(|dry| dry.at);
            let later = retrained.into_iter().chain(dry).max_by(f64::total_cmp);
            (later, fired)
        };
        let desk = self.desk(space);
        self.follow(space, &desk)?;
        let facts = Facts {
            space,
            desk: &desk,
            now,
            fired_at: fired.map(|fired| fired.0),
            fired_epoch: fired.map(|fired| fired.1),
            retrained_at,
            waits_since: fired.map_or(trigger.created_at, |fired| fired.0),
        };
        let judged = self.judge(&trigger.policy()?, &facts)?;
        let is_met = judged["met"] == json!(true);
        self.book
            .lock()
            .note_judged(id, &trigger.id, now, judged.clone());
        if is_met {
            self.fire_trigger(space, trigger, &judged, now)?;
        }
        Ok(Some(is_met))
    }

    fn fire_trigger(
        &self,
        space: &Space,
        trigger: &Trigger,
        judged: &Json,
        now: f64,
    ) -> Result<()> {
        let reason = json!({ "type": "policy", "text": judged["text"], "policy": judged });
        if trigger.dry_run {
            let epoch = self.desk(space).state.lock().epoch;
            let mut book = self.book.lock();
            // Whoever deleted it meanwhile has the last word.
            let Some(mut known) = book.trigger(space.collection.id, &trigger.id).cloned() else {
                return Ok(());
            };
            known.last_dry_run = Some(DryRun {
                at: now,
                epoch,
                reason,
            });
            return book.put_trigger(&self.database, space.collection.id, known);
        }
        let firing = Firing {
            trigger: Some(trigger.id.clone()),
            reason,
            expires_after_seconds: trigger.expires_after_seconds,
            url: trigger.url(),
        };
        match self.begin_retraining(space, firing, false) {
            Err(refusal) if refusal.code == "retraining_open" => Ok(()),
            begun => begun.map(|_: Run| ()),
        }
    }

    /// Whether a policy holds, with the numbers that say so.
    fn judge(&self, policy: &Policy, facts: &Facts<'_>) -> Result<Json> {
        let kind = policy.name();
        match policy {
            Policy::Manual => {
                let text = "It fires when somebody says so.";
                Ok(verdict(kind, false, text, json!({})))
            }
            Policy::Amount { labels } => Ok(amount(*labels, facts)),
            Policy::Coverage { above } => self.coverage(*above, facts),
            Policy::Performance(asked) => self.performance(*asked, facts),
            Policy::Drift(asked) => self.moved(*asked, facts),
            Policy::Time(schedule) => Ok(time(schedule, facts)),
            Policy::Any(several) | Policy::All(several) => {
                let judged = several.iter().map(|one| self.judge(one, facts));
                let judged = judged.collect::<Result<Vec<Json>>>()?;
                let met: Vec<&Json> = judged
                    .iter()
                    .filter(|one| one["met"] == json!(true))
                    .collect();
                let is_met = match policy {
                    Policy::All(_) => met.len() == judged.len(),
                    _ => !met.is_empty(),
                };
                let told = if is_met { met } else { judged.iter().collect() };
                let texts: Vec<&str> = told.iter().filter_map(|one| one["text"].as_str()).collect();
                Ok(verdict(
                    kind,
                    is_met,
                    &texts.join(" "),
                    json!({ "of": judged }),
                ))
            }
        }
    }
}

/// Whether enough labels were decided since the last retraining.
fn amount(asked: u64, facts: &Facts<'_>) -> Json {
    let since = facts.retrained_at.unwrap_or(0.0);
    let count = {
        let state = facts.desk.state.lock();
        let decided = state
            .rows
            .values()
            .filter(|row| row.label.is_some() && row.decided_at > since);
        decided.count() as u64
    };
    let text =
        format!("{count} labels were decided since the last retraining; {asked} are asked for.");
    let numbers = json!({ "labels": asked, "decided": count, "since": facts.retrained_at });
    verdict("amount", count >= asked, &text, numbers)
}

/// Whether an occurrence has come since the trigger fired last.
fn time(schedule: &Schedule, facts: &Facts<'_>) -> Json {
    let due = occurrence_after(schedule, facts.waits_since);
    let is_met = due.is_some_and(|due| due <= facts.now);
    let text = if is_met {
        "It is time by the schedule."
    } else {
        "It is not yet time by the schedule."
    };
    let numbers = json!({ "schedule": schedule.text(), "due_at": due });
    verdict("time", is_met, text, numbers)
}

/// When a trigger fired last, in earnest or not, and at which epoch.
pub(super) fn fired(book: &Book, space: CollectionId, trigger: &Trigger) -> Option<(f64, u64)> {
    let mut runs = book.runs(space).rev();
    let run = runs.find(|run| run.trigger.as_ref() == Some(&trigger.id));
    let dry = trigger.last_dry_run.as_ref().map(|dry| (dry.at, dry.epoch));
    let run = run.map(|run| (run.fired_at, run.epoch));
    run.into_iter()
        .chain(dry)
        .max_by(|a, b| a.0.total_cmp(&b.0))
}
