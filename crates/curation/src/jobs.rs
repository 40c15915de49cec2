//! The jobs of spaces: one keeps scores in step, woken by whatever is logged, labelled or decided; one makes
//! lists and one studies, so that what takes long keeps nothing else waiting.
//!
//! What must stay true: one run goes on as long as work comes, so that a busy log makes few runs; it
//! asks between chunks of some ten milliseconds whether to go on. A space that is left is still told as
//! stale, and scored by the next run or by the request that needs it. One that fails keeps no other
//! waiting: it is tried again later. One that is deleted meanwhile is no failure.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use serde_json::{Value as Json, json};
use vermilion_engine::model::CollectionId;
use vermilion_engine::schedule::{JobSpec, Moment, Policy, Run, RunRequest, Trigger};
use vermilion_engine::{Error, Result};

use crate::desk::Desk;
use crate::fields::Context;
use crate::retries::Retries;
use crate::spaces::Space;
use crate::{Curation, Refusal};

/// The task that scores, and its job.
pub(crate) const SCORES: &str = "curation_scores";
/// The task that makes lists, and its job.
pub(crate) const LISTS: &str = "curation_lists";
/// The task that makes studies, and its job.
pub(crate) const STUDIES: &str = "curation_studies";
/// The end of the year 2999, in milliseconds.
const NEVER: Moment = Moment(32_503_679_999_000);
/// How long a run waits for more work, and how often it asks meanwhile whether to go on.
const LINGER: Duration = Duration::from_secs(1);
/// See [`LINGER`].
const LOOK: Duration = Duration::from_millis(100);
/// How soon a run is asked for again that could not begin, in seconds.
const AGAIN_AFTER: f64 = 0.5;

/// What a job does for a space, while it is to go on; answers how much that was.
type Does = fn(&Curation, &Space, &Desk, &dyn Fn() -> bool) -> crate::Result<usize>;

/// A job of spaces, and those with something to do for it.
pub(crate) struct Work {
    job: &'static str,
    does: Does,
    /// What a run calls that which it has done.
    done: &'static str,
    spaces: Mutex<BTreeSet<CollectionId>>,
    came: Condvar,
    runs: AtomicBool,
    /// Whether a run is to begin that could not, since the last one was just ending.
    begins_later: AtomicBool,
    retries: Mutex<Retries>,
}

impl Work {
    fn new(job: &'static str, does: Does, done: &'static str) -> Self {
        Self {
            job,
            does,
            done,
            spaces: Mutex::default(),
            came: Condvar::default(),
            runs: AtomicBool::default(),
            begins_later: AtomicBool::default(),
            retries: Mutex::default(),
        }
    }

    /// Spaces that wait for it.
    pub(crate) fn waiting(&self) -> usize {
        self.spaces.lock().len()
    }
}

/// The jobs of spaces.
pub(crate) struct Works {
    scoring: Arc<Work>,
    listing: Arc<Work>,
    studying: Arc<Work>,
}

impl Default for Works {
    fn default() -> Self {
        let work = |job, does, done| Arc::new(Work::new(job, does, done));
        Self {
            scoring: work(SCORES, Curation::bring_in_step, "scored"),
            listing: work(LISTS, Curation::list_what_is_wanted, "made"),
            studying: work(STUDIES, Curation::study_what_is_wanted, "made"),
        }
    }
}

impl Works {
    fn all(&self) -> [&Arc<Work>; 3] {
        [&self.scoring, &self.listing, &self.studying]
    }

    /// The work of a job, if it is one of spaces.
    pub(crate) fn of(&self, job: &str) -> Option<&Arc<Work>> {
        self.all().into_iter().find(|work| work.job == job)
    }
}

impl Curation {
    /// Brings a job, for as long as `curation` lives; `work` is one run of it.
    pub(crate) fn bring(
        curation: &Arc<Self>,
        name: &'static str,
        trigger: Trigger,
        policy: Policy,
        work: impl Fn(&Self, &Run<'_>) -> Result<Json> + Send + Sync + 'static,
    ) -> Result<()> {
        let weak: Weak<Self> = Arc::downgrade(curation);
        let task = move |run: &Run<'_>| match weak.upgrade() {
            Some(curation) => work(&curation, run),
            None => Ok(Json::Null),
        };
        let jobs = curation.database.jobs();
        jobs.register(name, Arc::new(task));
        jobs.built_in(JobSpec::new(name, name, trigger, policy)?);
        Ok(())
    }

    /// When a job is due that has no time of its own: whatever is written wakes it, and after a restart
    /// requests do.
    pub(crate) fn when_woken(&self) -> Result<Trigger> {
        let now = Moment::of_nanoseconds(self.database.now_nanoseconds());
        Trigger::once(None, Some(NEVER), now)
    }

    /// Brings the jobs of spaces.
    pub(crate) fn bring_jobs(curation: &Arc<Self>) -> Result<()> {
        let policy = Policy {
            backoff: Duration::from_secs(10),
            ..Policy::default()
        };
        let trigger = curation.when_woken()?;
        for work in curation.works.all() {
            let of_run = work.clone();
            let run = move |curation: &Self, run: &Run<'_>| curation.run_spaces(&of_run, run);
            Self::bring(curation, work.job, trigger.clone(), policy.clone(), run)?;
        }
        Ok(())
    }

    /// Says that there is something to score in a space.
    pub(crate) fn wake(&self, space: &Space) {
        // So that its status is told from now on.
        self.desk(space);
        self.bell.wrote(space.collection.id);
        self.hand_over(&self.works.scoring, space.collection.id);
    }

    /// Says that a list of a space is wanted.
    pub(crate) fn wake_lists(&self, space: &Space) {
        self.hand_over(&self.works.listing, space.collection.id);
    }

    /// Says that a study of a space is wanted.
    pub(crate) fn wake_studies(&self, space: &Space) {
        self.hand_over(&self.works.studying, space.collection.id);
    }

    fn hand_over(&self, work: &Work, id: CollectionId) {
        work.spaces.lock().insert(id);
        work.came.notify_all();
        if !self.begin_run(work) {
            work.begins_later.store(true, Ordering::SeqCst);
            self.bell.ring();
        }
    }

    /// Begins a run unless one is under way, or the job is paused: then whoever resumes it does. `false`
    /// where it could not begin and is to be asked for again.
    pub(crate) fn begin_run(&self, work: &Work) -> bool {
        if work.runs.swap(true, Ordering::SeqCst) {
            return true;
        }
        let jobs = self.database.jobs();
        let paused = jobs.job(work.job).is_ok_and(|job| job.paused);
        let begun = !paused && jobs.begin(work.job, RunRequest::default()).is_ok();
        if !begun {
            work.runs.store(false, Ordering::SeqCst);
        }
        begun || paused
    }

    /// Has spaces tried again for which a job failed and whose pause is over, and runs begun that could
    /// not; when to look again, in seconds since 1970.
    pub(crate) fn begin_again(&self, now: f64) -> Option<f64> {
        let all = self.works.all().into_iter().filter_map(|work| {
            let (due, next) = work.retries.lock().take_due(now);
            let is_due = !due.is_empty();
            work.spaces.lock().extend(due);
            work.came.notify_all();
            let wanted = work.begins_later.swap(false, Ordering::SeqCst) || is_due;
            if wanted && !self.begin_run(work) {
                work.begins_later.store(true, Ordering::SeqCst);
                return Some(now + AGAIN_AFTER);
            }
            next
        });
        all.min_by(f64::total_cmp)
    }

    fn run_spaces(&self, work: &Work, run: &Run<'_>) -> Result<Json> {
        let known: Vec<CollectionId> = self.desks.lock().keys().copied().collect();
        if run.dry_run {
            return Ok(json!({ "spaces": known.len() }));
        }
        work.runs.store(true, Ordering::SeqCst);
        work.spaces.lock().extend(known);
        let (mut spaces, mut done, mut failure) = (0, 0, None);
        loop {
            match next_space(work, run) {
                Some(id) => match self.work_on(work, id, run) {
                    Ok(count) => {
                        (spaces, done) = (spaces + 1, done + count);
                        work.retries.lock().forget(id);
                    }
                    Err(error) => {
                        tracing::warn!(job = work.job, space = %id, %error, "a space waits for its next try");
                        work.retries.lock().note_failure(id, self.now());
                        // So that whoever looks at the clock knows when that is.
                        self.bell.ring();
                        failure = Some(error);
                    }
                },
                None if run.is_cancelled() || ends(work) => break,
                None => {}
            }
        }
        if run.is_cancelled() {
            work.runs.store(false, Ordering::SeqCst);
        }
        match failure.filter(|_| work.retries.lock().has_some()) {
            Some(error) => Err(error),
            None => Ok(json!({ "spaces": spaces, work.done: done })),
        }
    }

    /// Does `work` for each of these spaces that is there still, and tells what it reports; where that fails, `why` is
    /// what the log says.
    pub(crate) fn each_space(
        &self,
        run: &Run<'_>,
        ids: impl IntoIterator<Item = CollectionId>,
        why: &str,
        work: impl Fn(&Space) -> crate::Result<Option<Json>>,
    ) -> Result<Json> {
        let (mut reports, mut failure) = (Vec::new(), None);
        for id in ids {
            let Some(space) = self.space_anywhere(id)? else {
                continue;
            };
            match work(&space) {
                Ok(report) => reports.extend(report),
                Err(_) if self.is_gone(id)? => {}
                // The other spaces come first; then the run is tried again.
                Err(refusal) => {
                    tracing::warn!(space = %id, why = refusal.message, "{why}");
                    failure = Some(Error::internal(refusal.message));
                }
            }
            if run.is_cancelled() {
                break;
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(json!({ "spaces": reports, "dry_run": run.dry_run })),
        }
    }

    /// Does what a space needs of a job; how much that was. Nothing of one that is deleted meanwhile.
    fn work_on(&self, work: &Work, id: CollectionId, run: &Run<'_>) -> Result<usize> {
        let Some(space) = self.space_anywhere(id)? else {
            self.clear_desk(id);
            return Ok(0);
        };
        let desk = self.desk(&space);
        let go_on = || run.go_on();
        let does = AssertUnwindSafe(|| (work.does)(self, &space, &desk, &go_on));
        let done = catch_unwind(does).unwrap_or_else(|_| {
            // What it left is not to be trusted: the desk is made anew.
            self.clear_desk(id);
            Err(Refusal::new(
                500,
                "internal",
                "The work panicked; see the log.",
            ))
        });
        match done {
            Ok(done) => Ok(done),
            Err(_) if self.is_gone(id)? => Ok(0),
            Err(refusal) => Err(Error::internal(refusal.message)),
        }
    }

    /// Whether a space is gone; then its desk is forgotten, which somebody may have made again meanwhile.
    pub(crate) fn is_gone(&self, id: CollectionId) -> Result<bool> {
        let is_gone = self.space_anywhere(id)?.is_none();
        if is_gone {
            self.clear_desk(id);
        }
        Ok(is_gone)
    }

    /// Scores what is not scored; how much that was.
    fn bring_in_step(
        &self,
        space: &Space,
        desk: &Desk,
        go_on: &dyn Fn() -> bool,
    ) -> crate::Result<usize> {
        self.follow(space, desk)?;
        let scored = self.score(space, desk, go_on)?;
        if scored > 0 {
            self.bell.wrote(space.collection.id);
        }
        if self.is_list_due(desk) || desk.lists.lock().wants() {
            self.wake_lists(space);
        }
        if desk.studies.wants() {
            self.wake_studies(space);
        }
        Ok(scored)
    }

    /// Makes lists that are due or wanted; how many that were.
    fn list_what_is_wanted(
        &self,
        space: &Space,
        desk: &Desk,
        go_on: &dyn Fn() -> bool,
    ) -> crate::Result<usize> {
        // So that whoever asks about drift need not wait for it.
        if desk.state.lock().count(Context::Production) != 0 {
            self.correctness(space, desk, go_on)?;
        }
        let made = self.keep_lists(space, desk, go_on)?;
        if made > 0 {
            self.bell.wrote(space.collection.id);
        }
        Ok(made)
    }
}

/// Ends the run, unless something came that has begun no run of its own since this one stood.
fn ends(work: &Work) -> bool {
    work.runs.store(false, Ordering::SeqCst);
    work.spaces.lock().is_empty() || work.runs.swap(true, Ordering::SeqCst)
}

/// The next space with something to do, waited for a while.
fn next_space(work: &Work, run: &Run<'_>) -> Option<CollectionId> {
    let mut spaces = work.spaces.lock();
    let mut waited = Duration::ZERO;
    loop {
        if run.is_cancelled() {
            return None;
        }
        if let Some(id) = spaces.pop_first() {
            return Some(id);
        }
        if waited >= LINGER {
            return None;
        }
        work.came.wait_for(&mut spaces, LOOK);
        waited += LOOK;
    }
}

#[cfg(test)]
mod tests;
