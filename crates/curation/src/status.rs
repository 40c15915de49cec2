//! What works for curation, and switching it.
//!
//! What must stay true: a component is a job of the scheduler, or a component of the database, and its
//! switch is the one that these have, seen and switched there too; the thread that tells receivers has
//! one of its own. All are kept across restarts. What works within requests has no switch, and says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use vermilion_engine::control::{Component, ComponentState};
use vermilion_engine::schedule::{JobStatus, Outcome, RunRequest};
use vermilion_scores::Signal;

use crate::desk::Desk;
use crate::expiry::EXPIRY;
use crate::jobs::{LISTS, SCORES, STUDIES};
use crate::retrain::TRIGGERS;
use crate::roll_up::ROLL_UP;
use crate::spaces::Space;
use crate::{Curation, Refusal, Result};

/// Jobs of curation have names that begin so.
const JOBS: &str = "curation_";

/// What is done to a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// It does nothing by itself until it is resumed.
    Pause,
    /// It works again.
    Resume,
    /// It does at once what waits for it.
    Run,
}

/// What does the work of a component.
#[derive(Clone, Copy)]
enum Worker {
    /// A component of the database.
    Engine(Component),
    /// A job.
    Job(&'static str),
    /// The thread that tells receivers of retrainings.
    Notifier,
    /// Whoever asks for it, and the job of another component.
    Requests(&'static str),
}

/// The components, in the order in which they are told.
const COMPONENTS: [(&str, Worker); 10] = [
    ("indexer", Worker::Engine(Component::Indexing)),
    (
        "class_statistics",
        Worker::Requests("followed by every request and by the scorer"),
    ),
    ("scorer", Worker::Job(SCORES)),
    ("lists", Worker::Job(LISTS)),
    ("studies", Worker::Job(STUDIES)),
    ("drift", Worker::Requests("computed when it is asked for")),
    ("expiry", Worker::Job(EXPIRY)),
    ("roll_up", Worker::Job(ROLL_UP)),
    ("triggers", Worker::Job(TRIGGERS)),
    ("notifier", Worker::Notifier),
];

/// A desk with the space that it is of.
type Loaded = (Space, Arc<Desk>);

impl Curation {
    /// The state of every component, and how far each space is behind that was logged to or asked about
    /// since the start.
    pub fn status(&self) -> Result<Json> {
        let desks = self.loaded();
        let components = COMPONENTS
            .into_iter()
            .map(|(name, worker)| self.component(name, worker, &desks));
        let components = components.collect::<Result<Vec<_>>>()?;
        let spaces = desks.iter().map(|(space, desk)| self.lag(space, desk));
        Ok(json!({
            "components": components,
            "spaces": spaces.collect::<Result<Vec<_>>>()?,
        }))
    }

    /// The desks that are in memory, by the names of their spaces.
    fn loaded(&self) -> Vec<Loaded> {
        let desks: Vec<_> = self
            .desks
            .lock()
            .iter()
            .map(|(id, desk)| (*id, desk.clone()))
            .collect();
        let mut loaded: Vec<Loaded> = desks
            .into_iter()
            .filter_map(|(id, desk)| {
                let space = self.space_anywhere(id).ok()??;
                Some((space, desk))
            })
            .collect();
        let key = |one: &Loaded| {
            let of = &one.0.collection;
            (of.tenant.clone(), of.database.clone(), of.name.clone())
        };
        loaded.sort_by_cached_key(key);
        loaded
    }

    fn component(&self, name: &str, worker: Worker, desks: &[Loaded]) -> Result<Json> {
        Ok(match worker {
            Worker::Engine(component) => {
                let told = self.database.component(component);
                json!({
                    "component": name,
                    "state": told.state,
                    "running": told.running,
                    "queue": told.queue,
                    "lag": told.lag,
                    "lag_unit": told.lag_unit,
                    "last_error": told.last_error,
                    "switchable": true,
                    "works": format!("the component `{component}` of the database"),
                })
            }
            Worker::Job(job) => {
                let job = self.database.jobs().job(job)?;
                let stale = desks.iter().map(|(_, desk)| desk.state.lock().stale());
                let stale: usize = stale.sum();
                let work = self.works.of(&job.name);
                json!({
                    "component": name,
                    "state": state_of(job.paused, last_error(&job)),
                    "running": u64::from(job.running),
                    "queue": work.map_or_else(|| usize::from(job.retry_at.is_some()), |work| work.waiting()),
                    "lag": if job.name == SCORES { stale } else { 0 },
                    "lag_unit": "records",
                    "last_error": last_error(&job),
                    "switchable": true,
                    "works": format!("the job `{}`", job.name),
                    "job": job,
                })
            }
            Worker::Notifier => {
                let told = self.notifier();
                json!({
                    "component": name,
                    "state": state_of(told.is_paused, told.trouble.as_deref()),
                    "running": 0,
                    "queue": told.waiting,
                    "lag": told.waiting,
                    "lag_unit": "retrainings",
                    "last_error": told.trouble,
                    "switchable": true,
                    "works": "tells the receivers of retrainings",
                })
            }
            Worker::Requests(how) => {
                let mut behind = 0;
                if name == "class_statistics" {
                    for (space, desk) in desks {
                        behind += self.behind(space, desk)?;
                    }
                }
                json!({
                    "component": name,
                    "state": ComponentState::Running,
                    "running": 0,
                    "queue": 0,
                    "lag": behind,
                    "lag_unit": "operations",
                    "last_error": null,
                    "switchable": false,
                    "works": how,
                })
            }
        })
    }

    /// Operations of a space that its desk has not seen; none of a space that is gone.
    fn behind(&self, space: &Space, desk: &Desk) -> Result<u64> {
        let as_of = desk.state.lock().as_of;
        match self.database.indexing_status(space.scope()) {
            Ok(status) => Ok(status.total_operations.saturating_sub(as_of)),
            Err(error) if error.kind() == vermilion_engine::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn lag(&self, space: &Space, desk: &Desk) -> Result<Json> {
        let behind = self.behind(space, desk)?;
        let mut state = desk.state.lock();
        let percentiles = state.reference.is_some().then(|| state.percentiles_about());
        let shares = percentiles.map(|percentiles| {
            let shares = percentiles.weights().shares([true; Signal::ALL.len()]);
            let named = Signal::ALL.map(Signal::name).into_iter().zip(shares);
            named.collect::<BTreeMap<_, _>>()
        });
        Ok(json!({
            "tenant": space.collection.tenant,
            "database": space.collection.database,
            "space": space.collection.name,
            "records": state.rows.len(),
            "has_reference": state.reference.is_some(),
            "epoch": state.epoch,
            "as_of_seq": state.as_of,
            "operations_behind": behind,
            "stale_records": state.stale(),
            "signal_shares": shares,
        }))
    }

    /// Switches a component; answers the state of all.
    pub fn switch(&self, component: &str, switch: Switch) -> Result<Json> {
        let known = COMPONENTS.into_iter().find(|(name, _)| *name == component);
        let Some((_, worker)) = known else {
            let message = format!("There is no component `{component}`.");
            return Err(Refusal::new(404, "unknown_component", message)
                .field("component")
                .hint(COMPONENTS.map(|(name, _)| name).join(", ")));
        };
        let jobs = self.database.jobs();
        match (worker, switch) {
            (Worker::Requests(how), _) => {
                let message = format!("The component `{component}` has no switch: it is {how}.");
                return Err(Refusal::new(409, "not_switchable", message).field("component"));
            }
            (Worker::Notifier, Switch::Pause) => self.pause_notifier(true)?,
            (Worker::Notifier, Switch::Resume) => self.pause_notifier(false)?,
            (Worker::Notifier, Switch::Run) => self.hurry_notifier(),
            (Worker::Engine(component), Switch::Pause) => self.database.pause(component),
            (Worker::Engine(component), Switch::Resume) => self.database.resume(component),
            (Worker::Engine(component), Switch::Run) => {
                if let Some(job) = component.job() {
                    jobs.begin(job, RunRequest::default())?;
                }
            }
            (Worker::Job(job), Switch::Pause) => jobs.pause_job(job, true)?,
            (Worker::Job(job), Switch::Resume) => {
                jobs.pause_job(job, false)?;
                if let Some(work) = self.works.of(job) {
                    self.begin_run(work);
                }
            }
            // One that runs already takes what waits along.
            (Worker::Job(job), Switch::Run) if jobs.job(job)?.running => {}
            (Worker::Job(job), Switch::Run) => {
                jobs.begin(job, RunRequest::default())?;
            }
        }
        self.status()
    }

    /// The jobs of curation, by name.
    pub fn curation_jobs(&self) -> Result<Json> {
        let all = self.database.jobs().jobs()?.into_iter();
        let own: Vec<Json> = all
            .filter(|job| job.task.starts_with(JOBS))
            .map(|job| {
                let state = state_of(job.paused, last_error(&job));
                json!({"id": job.name, "state": state, "job": job})
            })
            .collect();
        Ok(json!({ "jobs": own }))
    }

    /// Asks the run of a job of curation to end.
    pub fn cancel_job(&self, name: &str) -> Result<Json> {
        let jobs = self.database.jobs();
        let known = jobs.job(name).ok().filter(|job| job.task.starts_with(JOBS));
        if known.is_none() {
            let message = format!("There is no job `{name}` of curation.");
            return Err(Refusal::new(404, "job_not_found", message).field("job"));
        }
        jobs.cancel(name)?;
        Ok(json!({ "id": name, "cancelled": true }))
    }
}

fn state_of(is_paused: bool, trouble: Option<&str>) -> ComponentState {
    if is_paused {
        ComponentState::Paused
    } else if trouble.is_some() {
        ComponentState::Failed
    } else {
        ComponentState::Running
    }
}

fn last_error(job: &JobStatus) -> Option<&str> {
    let run = job
        .last_run
        .as_ref()
        .filter(|run| run.outcome == Outcome::Failed)?;
    run.message.as_deref()
}
