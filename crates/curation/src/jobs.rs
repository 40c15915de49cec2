//! The jobs of spaces: one keeps scores in step, woken by whatever is logged, labelled or decided; one makes
//! lists and one studies, so that what takes long keeps nothing else waiting.
//!
//! What must stay true: one run goes on as long as work comes, so that a busy log makes few runs; it
//! asks between chunks of some ten milliseconds whether to go on. A space that is left is still told as
//! stale, and scored by the next run or by the request that needs it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use serde_json::{Value as Json, json};
use vermilion_engine::Result;
use vermilion_engine::model::CollectionId;
use vermilion_engine::schedule::{JobSpec, Moment, Policy, Run, RunRequest, Trigger};

use crate::desk::Desk;
use crate::fields::Context;
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
        self.begin_run(work);
    }

    /// Begins a run unless one is under way, or the job is paused.
    pub(crate) fn begin_run(&self, work: &Work) {
        if work.runs.swap(true, Ordering::SeqCst) {
            return;
        }
        let jobs = self.database.jobs();
        let paused = jobs.job(work.job).is_ok_and(|job| job.paused);
        let begun = !paused && jobs.begin(work.job, RunRequest::default()).is_ok();
        if !begun {
            work.runs.store(false, Ordering::SeqCst);
        }
    }

    fn run_spaces(&self, work: &Work, run: &Run<'_>) -> Result<Json> {
        work.runs.store(true, Ordering::SeqCst);
        let known: Vec<CollectionId> = self.desks.lock().keys().copied().collect();
        if run.dry_run {
            return Ok(json!({ "spaces": known.len() }));
        }
        work.spaces.lock().extend(known);
        let (mut spaces, mut done) = (0, 0);
        let result = loop {
            match next_space(work, run) {
                Some(id) => match self.work_on(work, id, run) {
                    Ok(count) => (spaces, done) = (spaces + 1, done + count),
                    Err(error) => break Err(error),
                },
                None if run.is_cancelled() || ends(work) => break Ok(()),
                None => {}
            }
        };
        if result.is_err() || run.is_cancelled() {
            work.runs.store(false, Ordering::SeqCst);
        }
        result.map(|()| json!({ "spaces": spaces, work.done: done }))
    }

    /// Does what a space needs of a job; how much that was.
    fn work_on(&self, work: &Work, id: CollectionId, run: &Run<'_>) -> Result<usize> {
        let Some(space) = self.space_anywhere(id)? else {
            self.clear_desk(id);
            return Ok(0);
        };
        let desk = self.desk(&space);
        let go_on = || run.go_on();
        let done = (work.does)(self, &space, &desk, &go_on);
        done.map_err(|refusal: Refusal| vermilion_engine::Error::internal(refusal.message))
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
        if self.is_list_due(desk) {
            self.wake_lists(space);
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
