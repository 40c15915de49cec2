//! The components of an open database: their state, and switching them.

use std::time::Duration;

use super::Database;
use crate::Result;
use crate::control::{Component, ComponentState, ComponentStatus, Inside};
use crate::model::SeqId;

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
                if let Some(failure) = inner.log.failure() {
                    status.state = ComponentState::Failed;
                    status.last_error = Some(failure.message().to_owned());
                }
            }
            Component::Indexing => {
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
                } else {
                    status.last_error = jobs.last_error;
                }
            }
            Component::Query | Component::Api => status.lag_unit = "milliseconds",
        }
        status
    }

    /// Lets a component do nothing from now on. What it has begun is finished, but for jobs, which
    /// are asked to end.
    pub fn pause(&self, component: Component) {
        self.inner.controls.pause(component);
        match component {
            Component::Scheduler => self.jobs.set_paused(true),
            Component::Maintenance => {
                self.jobs.set_closed(true);
                self.jobs.cancel_all();
            }
            _ => {}
        }
        tracing::info!(%component, "paused by its operator");
    }

    /// Lets a component work again.
    pub fn resume(&self, component: Component) {
        self.inner.controls.resume(component);
        match component {
            Component::Scheduler => self.jobs.set_paused(false),
            Component::Maintenance => self.jobs.set_closed(false),
            _ => {}
        }
        tracing::info!(%component, "resumed by its operator");
    }

    /// Has a component finish what it has begun, and what waits for it where that is its own work
    /// (memory to seal, segments to merge), and then pauses it. Whether that came within `limit`;
    /// where it did not, the component goes on draining.
    pub fn drain(&self, component: Component, limit: Duration) -> Result<bool> {
        let inner = &self.inner;
        let deadline = inner.config.clock.monotonic() + limit;
        let left = || deadline.saturating_sub(inner.config.clock.monotonic());
        match component {
            Component::Indexing => {
                inner.index_all();
                inner.seal_everything(&|| !left().is_zero())?;
            }
            Component::IndexBuilder => while !left().is_zero() && inner.merge_round()? {},
            Component::Scheduler => self.jobs.set_paused(true),
            Component::Maintenance => self.jobs.set_closed(true),
            Component::Producer | Component::Query | Component::Api => {}
        }
        inner.controls.drain(component);
        tracing::info!(%component, "drained by its operator");
        if matches!(component, Component::Scheduler | Component::Maintenance)
            && !self.jobs.wait_idle(left())
        {
            return Ok(false);
        }
        Ok(inner.controls.wait_left(component, left()))
    }

    /// Lets a request of a client in, unless the component `api` is paused.
    pub fn enter_api(&self) -> Result<Inside<'_>> {
        self.inner.controls.enter(Component::Api)
    }
}

impl super::Inner {
    /// Operations of a collection that are logged and not in segments.
    pub(super) fn behind(&self, collection: &crate::indexing::LiveCollection) -> u64 {
        let logged = self.log.head(collection.id);
        let logged = logged.map_or(SeqId(0), |head| head.highest);
        logged.0.saturating_sub(collection.published_applied().0)
    }
}
