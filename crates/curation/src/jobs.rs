//! The job that keeps scores in step: woken by whatever is logged, labelled or decided.
//!
//! What must stay true: one run goes on as long as work comes, so that a busy log makes few runs; it
//! asks between chunks of a few milliseconds whether to go on. A space that is left is still told as
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

use crate::spaces::Space;
use crate::{Curation, Refusal};

/// The task, and its job.
pub(crate) const SCORES: &str = "curation_scores";
/// The end of the year 2999, in milliseconds.
const NEVER: Moment = Moment(32_503_679_999_000);
/// How long a run waits for more work, and how often it asks meanwhile whether to go on.
const LINGER: Duration = Duration::from_secs(1);
/// See [`LINGER`].
const LOOK: Duration = Duration::from_millis(100);

/// Spaces with something to score.
#[derive(Default)]
pub(crate) struct Work {
    spaces: Mutex<BTreeSet<CollectionId>>,
    came: Condvar,
    runs: AtomicBool,
}

impl Curation {
    /// Brings a job, for as long as `curation` lives; `work` is one run of it.
    pub(crate) fn bring(
        curation: &Arc<Self>,
        name: &'static str,
        trigger: Trigger,
        policy: Policy,
        work: fn(&Self, &Run<'_>) -> Result<Json>,
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

    /// Brings the job.
    pub(crate) fn bring_scores(curation: &Arc<Self>) -> Result<()> {
        let policy = Policy {
            backoff: Duration::from_secs(10),
            ..Policy::default()
        };
        let trigger = curation.when_woken()?;
        Self::bring(curation, SCORES, trigger, policy, Self::run_scores)
    }

    /// Says that there is something to score in a space.
    pub(crate) fn wake(&self, space: &Space) {
        // So that its status is told from now on.
        self.desk(space);
        self.bell.wrote(space.collection.id);
        self.work.spaces.lock().insert(space.collection.id);
        self.work.came.notify_all();
        self.begin_run();
    }

    /// Spaces that wait to be scored.
    pub(crate) fn waiting(&self) -> usize {
        self.work.spaces.lock().len()
    }

    /// Begins a run unless one is under way, or the job is paused.
    pub(crate) fn begin_run(&self) {
        if self.work.runs.swap(true, Ordering::SeqCst) {
            return;
        }
        let jobs = self.database.jobs();
        let paused = jobs.job(SCORES).is_ok_and(|job| job.paused);
        let begun = !paused && jobs.begin(SCORES, RunRequest::default()).is_ok();
        if !begun {
            self.work.runs.store(false, Ordering::SeqCst);
        }
    }

    fn run_scores(&self, run: &Run<'_>) -> Result<Json> {
        self.work.runs.store(true, Ordering::SeqCst);
        let known: Vec<CollectionId> = self.desks.lock().keys().copied().collect();
        if run.dry_run {
            return Ok(json!({ "spaces": known.len() }));
        }
        self.work.spaces.lock().extend(known);
        let (mut spaces, mut scored) = (0, 0);
        let result = loop {
            match self.next_space(run) {
                Some(id) => match self.score_space(id, run) {
                    Ok(count) => (spaces, scored) = (spaces + 1, scored + count),
                    Err(error) => break Err(error),
                },
                None if run.is_cancelled() || self.ends() => break Ok(()),
                None => {}
            }
        };
        if result.is_err() || run.is_cancelled() {
            self.work.runs.store(false, Ordering::SeqCst);
        }
        result.map(|()| json!({ "spaces": spaces, "scored": scored }))
    }

    /// Ends the run, unless something came that has begun no run of its own since this one stood.
    fn ends(&self) -> bool {
        self.work.runs.store(false, Ordering::SeqCst);
        self.work.spaces.lock().is_empty() || self.work.runs.swap(true, Ordering::SeqCst)
    }

    /// The next space with something to score, waited for a while.
    fn next_space(&self, run: &Run<'_>) -> Option<CollectionId> {
        let mut spaces = self.work.spaces.lock();
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
            self.work.came.wait_for(&mut spaces, LOOK);
            waited += LOOK;
        }
    }

    fn score_space(&self, id: CollectionId, run: &Run<'_>) -> Result<usize> {
        let Some(space) = self.space_anywhere(id)? else {
            self.clear_desk(id);
            return Ok(0);
        };
        let desk = self.desk(&space);
        let go_on = || run.go_on();
        let work = || {
            self.follow(&space, &desk)?;
            let scored = self.score(&space, &desk, &go_on)?;
            if scored > 0 {
                self.bell.wrote(id);
            }
            self.keep_list(&space, &desk, &go_on)?;
            self.study_what_is_wanted(&space, &desk, &go_on)?;
            Ok(scored)
        };
        work().map_err(|refusal: Refusal| vermilion_engine::Error::internal(refusal.message))
    }
}
