//! The components of an open database: their state, and switching them.

use std::time::Duration;

use super::Database;
use crate::control::{Component, ComponentState, ComponentStatus, Inside};
use crate::model::SeqId;
use crate::schedule::Moment;
use crate::{Error, Result};

impl Database {
    /// State, queue and lag of every component.
    pub fn components(&self) -> Vec<ComponentStatus> {
        let all = Component::ALL.into_iter();
        all.map(|component| self.component(component)).collect()
    }

    /// State, queue and lag of a component.
    pub fn component(&self, component: Component) -> ComponentStatus {
        let inner = &self.inner;
        let mut status = inner.controls.status(component);
        match component {
            Component::Producer => {
                let (batches, bytes) = inner.log.queued();
                (status.queue, status.lag, status.lag_unit) = (batches, bytes, "bytes");
                fail(&mut status, inner.unsynced());
            }
            Component::Indexing => {
                fail(&mut status, inner.catalog.refusal());
                for collection in inner.all_collections() {
                    let behind = inner.behind(&collection);
                    status.queue += u64::from(behind > 0);
                    status.lag += behind;
                }
            }
            Component::IndexBuilder => {
                status.queue = inner.due_merges();
                (status.lag, status.lag_unit) = (status.queue, "segments");
            }
            Component::Scheduler | Component::Maintenance => {
                let jobs = self.jobs.status();
                status.running = jobs.running as u64;
                if status.state == ComponentState::Draining
                    && jobs.running == 0
                    && inner.controls.wait_left(component, Duration::ZERO)
                {
                    status.state = ComponentState::Paused;
                }
                status.lag_unit = "milliseconds";
                if component == Component::Scheduler {
                    status.queue = jobs.due as u64;
                    status.lag = jobs.behind.as_millis() as u64;
                    status.note = inner.config.scheduler_note();
                } else {
                    if status.state == ComponentState::Running && jobs.last_error.is_some() {
                        status.state = ComponentState::Failed;
                    }
                    status.last_error = jobs.last_error;
                }
            }
            Component::Query | Component::Api => status.lag_unit = "milliseconds",
        }
        status
    }

    /// Lets a component do nothing from now on, also after a restart. What it has begun is finished,
    /// but for jobs, which are asked to end.
    pub fn pause(&self, component: Component) {
        let at = self.inner.wall();
        self.switch_off(component);
        self.inner.controls.pause(component, at);
        self.inner.keep_switch(component, Some(at));
        tracing::info!(%component, "paused by its operator");
    }

    /// Lets a component work again.
    pub fn resume(&self, component: Component) {
        let inner = &self.inner;
        inner.controls.resume(component);
        match component {
            Component::Indexing => inner.handoff.resume(),
            Component::Scheduler => self.jobs.set_paused(false),
            Component::Maintenance => self.jobs.set_closed(false),
            _ => {}
        }
        inner.keep_switch(component, None);
        tracing::info!(%component, "resumed by its operator");
    }

    /// Pauses a component and waits until what it has begun has ended; whether that came within
    /// `limit`. What waits for it is left.
    pub fn stop(&self, component: Component, limit: Duration) -> bool {
        let deadline = self.inner.config.clock.monotonic() + limit;
        let left = || deadline.saturating_sub(self.inner.config.clock.monotonic());
        self.pause(component);
        let runs_jobs = matches!(component, Component::Scheduler | Component::Maintenance);
        (!runs_jobs || self.jobs.wait_idle(left()))
            && self.inner.controls.wait_left(component, left())
    }

    /// Has a component finish what it has begun, and what waits for it where that is its own work
    /// (batches to index, memory to seal, segments to merge), and then pauses it. Whether that came
    /// within `limit`; where it did not, the component goes on draining.
    pub fn drain(&self, component: Component, limit: Duration) -> Result<bool> {
        let inner = &self.inner;
        let deadline = inner.config.clock.monotonic() + limit;
        let left = || deadline.saturating_sub(inner.config.clock.monotonic());
        match component {
            Component::Indexing => {
                inner.index_all();
                inner.seal_everything(&|| !left().is_zero())?;
                inner.handoff.pause();
            }
            Component::IndexBuilder => while !left().is_zero() && inner.merge_round()? {},
            Component::Scheduler => self.jobs.set_paused(true),
            Component::Maintenance => self.jobs.set_closed(true),
            Component::Producer | Component::Query | Component::Api => {}
        }
        let at = inner.wall();
        inner.controls.drain(component, at);
        inner.keep_switch(component, Some(at));
        tracing::info!(%component, "drained by its operator");
        if matches!(component, Component::Scheduler | Component::Maintenance)
            && !self.jobs.wait_idle(left())
        {
            return Ok(false);
        }
        Ok(inner.controls.wait_left(component, left()))
    }

    /// What stops of a component besides its gate.
    fn switch_off(&self, component: Component) {
        match component {
            Component::Indexing => self.inner.handoff.pause(),
            Component::Scheduler => self.jobs.set_paused(true),
            Component::Maintenance => {
                self.jobs.set_closed(true);
                self.jobs.cancel_all();
            }
            _ => {}
        }
    }

    /// Switches off what an operator had switched off before the restart.
    pub(super) fn restore_switches(&self) -> Result<()> {
        for (name, at) in self.inner.catalog.switched_off()? {
            // A component of a later release is none of ours.
            let Ok(component) = Component::named(&name) else {
                continue;
            };
            let since = Moment(at);
            self.switch_off(component);
            self.inner.controls.pause(component, since);
            tracing::warn!(
                %component,
                %since,
                "paused by its operator before this start; `vermilion ctl resume {component}` lets \
                 it work again"
            );
        }
        Ok(())
    }

    /// Notes how a request over HTTP went; `Some` says what failed in the server itself.
    pub fn note_request(&self, failure: Option<&str>) {
        let result = failure.map_or(Ok(()), |message| Err(Error::internal(message)));
        self.inner.controls.note(Component::Api, &result);
    }

    /// Lets a request of a client in, unless the component `api` is paused.
    pub fn enter_api(&self) -> Result<Inside<'_>> {
        self.inner.controls.enter(Component::Api)
    }
}

/// Shows a component as failed where there is a `failure` that lasts until a restart.
fn fail(status: &mut ComponentStatus, failure: Option<Error>) {
    if let Some(failure) = failure {
        status.state = ComponentState::Failed;
        status.last_error = Some(failure.message().to_owned());
    }
}

impl super::Inner {
    /// The time, as operators are told it.
    fn wall(&self) -> Moment {
        Moment::of_nanoseconds(self.config.clock.wall_nanoseconds())
    }

    /// Keeps a switch across restarts. Where the disk takes nothing, the switch holds all the same.
    fn keep_switch(&self, component: Component, at: Option<Moment>) {
        if let Err(error) = self.catalog.put_switch(component.name(), at.map(|at| at.0)) {
            tracing::warn!(%component, %error, "this switch lasts until the next restart only");
        }
    }

    /// Operations of a collection that are logged and not in segments.
    pub(super) fn behind(&self, collection: &crate::indexing::LiveCollection) -> u64 {
        let logged = self.log.head(collection.id);
        let logged = logged.map_or(SeqId(0), |head| head.highest);
        logged.0.saturating_sub(collection.published_applied().0)
    }
}
