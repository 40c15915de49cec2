//! The parts of a running database that an operator sees and switches: paused, drained, resumed.
//!
//! What must stay true: work enters a component before it begins and leaves it when it has ended,
//! however it ended; a paused component lets nothing in, and says so in its refusal; a draining one
//! lets nothing in and is paused when the last has left. Switches are kept in the catalogue: what an
//! operator has paused is paused after a restart too, and says so.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use serde::Serialize;

use crate::schedule::Moment;
use crate::{Error, ErrorKind, Result};

/// A part of a running database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// Takes writes into the log.
    Producer,
    /// Brings logged batches to what readers see where writers do not wait for it, and writes what
    /// is in memory to segments.
    Indexing,
    /// Answers reads.
    Query,
    /// Merges segments, and builds their indexes anew.
    IndexBuilder,
    /// Begins jobs that are due.
    Scheduler,
    /// Runs jobs, due or asked for.
    Maintenance,
    /// Takes requests over HTTP, but for those that control the server.
    Api,
}

/// What a component is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentState {
    /// It works.
    Running,
    /// It does nothing until it is resumed.
    Paused,
    /// It finishes what it has begun and takes nothing new; then it is paused.
    Draining,
    /// It works, and what it tried last failed; it tries again by itself where that can help.
    Failed,
}

/// What is told of a component.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComponentStatus {
    /// Which.
    pub component: Component,
    /// What it is doing.
    pub state: ComponentState,
    /// What is being done in it right now.
    pub running: u64,
    /// What waits for it: batches, collections, requests or jobs.
    pub queue: u64,
    /// How far it is behind, in `lag_unit`.
    pub lag: u64,
    /// What lag is counted in: `bytes`, `operations`, `segments` or `milliseconds`.
    pub lag_unit: &'static str,
    /// The last thing that went wrong, where nothing has gone well since.
    pub last_error: Option<String>,
    /// Since when it is paused or draining.
    pub switched_off: Option<Moment>,
    /// What else an operator should know of it.
    pub note: Option<String>,
}

impl Component {
    /// Every component, each at its own number.
    pub const ALL: [Self; 7] = [
        Self::Producer,
        Self::Indexing,
        Self::Query,
        Self::IndexBuilder,
        Self::Scheduler,
        Self::Maintenance,
        Self::Api,
    ];

    /// Its name, as requests and commands write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Indexing => "indexing",
            Self::Query => "query",
            Self::IndexBuilder => "index_builder",
            Self::Scheduler => "scheduler",
            Self::Maintenance => "maintenance",
            Self::Api => "api",
        }
    }

    /// The job that does its work at once; `None` where it has no work but what requests bring.
    pub fn job(self) -> Option<&'static str> {
        match self {
            Self::Indexing => Some("log_sync"),
            Self::IndexBuilder => Some("segment_merge"),
            _ => None,
        }
    }

    /// The component of that name; `NotFound`.
    pub fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|one| one.name()).collect();
            Error::not_found(format!(
                "There is no component `{name}`; there are {}.",
                names.join(", ")
            ))
        })
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a component is switched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Switch {
    #[default]
    On,
    Off,
    Draining,
}

#[derive(Default)]
struct Gate {
    switch: Mutex<Switch>,
    inside: AtomicU64,
    left: Condvar,
    /// Whether there is a last error, which is looked at far more often than there is one.
    failed: AtomicBool,
    last_error: Mutex<Option<String>>,
    switched_off: Mutex<Option<Moment>>,
}

/// The switches of all components.
#[derive(Default)]
pub(crate) struct Controls {
    gates: [Gate; Component::ALL.len()],
}

/// Work inside a component, until it is dropped.
pub struct Inside<'a>(&'a Gate);

impl Controls {
    fn gate(&self, component: Component) -> &Gate {
        &self.gates[component as usize]
    }

    /// Lets work in, or refuses it for now.
    pub(crate) fn enter(&self, component: Component) -> Result<Inside<'_>> {
        let gate = self.gate(component);
        // Counted under the lock, so that nothing slips in behind the back of a drain.
        let switch = gate.switch.lock();
        if *switch == Switch::On {
            gate.inside.fetch_add(1, Ordering::SeqCst);
            return Ok(Inside(gate));
        }
        Err(Error::new(
            ErrorKind::Busy,
            format!(
                "The component `{component}` is paused by its operator; `vermilion ctl resume \
                 {component}` lets it work again."
            ),
        ))
    }

    /// Whether work would be let in now.
    pub(crate) fn lets_in(&self, component: Component) -> bool {
        *self.gate(component).switch.lock() == Switch::On
    }

    /// How much work is inside.
    pub(crate) fn inside(&self, component: Component) -> u64 {
        self.gate(component).inside.load(Ordering::Relaxed)
    }

    /// Lets nothing in from now on, which is `at`.
    pub(crate) fn pause(&self, component: Component, at: Moment) {
        self.switch(component, Switch::Off, Some(at));
    }

    /// Lets work in again.
    pub(crate) fn resume(&self, component: Component) {
        self.switch(component, Switch::On, None);
    }

    /// Lets nothing in from now on, which is `at`; [`Self::wait_left`] pauses it when all have left.
    pub(crate) fn drain(&self, component: Component, at: Moment) {
        self.switch(component, Switch::Draining, Some(at));
    }

    fn switch(&self, component: Component, to: Switch, at: Option<Moment>) {
        let gate = self.gate(component);
        let mut switch = gate.switch.lock();
        *gate.switched_off.lock() = at;
        *switch = to;
    }

    /// Waits until nothing is inside; whether that came within `limit`.
    pub(crate) fn wait_left(&self, component: Component, limit: Duration) -> bool {
        let gate = self.gate(component);
        let mut switch = gate.switch.lock();
        let empty = |gate: &Gate| gate.inside.load(Ordering::SeqCst) == 0;
        let mut waits = true;
        while !empty(gate) && waits {
            waits = !gate.left.wait_for(&mut switch, limit).timed_out();
        }
        gate.settle(&mut switch);
        empty(gate)
    }

    /// Notes how the component's last work went.
    pub(crate) fn note<T>(&self, component: Component, result: &Result<T>) {
        let gate = self.gate(component);
        match result {
            Ok(_) if !gate.failed.load(Ordering::Relaxed) => {}
            Ok(_) => {
                *gate.last_error.lock() = None;
                gate.failed.store(false, Ordering::Relaxed);
            }
            Err(error) => {
                *gate.last_error.lock() = Some(error.message().to_owned());
                gate.failed.store(true, Ordering::Relaxed);
            }
        }
    }

    /// The same for work that requests bring: what is wrong with a request, or refused for now, is no
    /// failure of the component.
    pub(crate) fn note_request<T>(&self, component: Component, result: &Result<T>) {
        let own = |kind| {
            matches!(
                kind,
                ErrorKind::Corrupted
                    | ErrorKind::Internal
                    | ErrorKind::OutOfSpace
                    | ErrorKind::Closed
            )
        };
        match result {
            Err(error) if !own(error.kind()) => {}
            result => self.note(component, result),
        }
    }

    /// State, work inside and last error.
    pub(crate) fn status(&self, component: Component) -> ComponentStatus {
        let gate = self.gate(component);
        let last_error = gate.last_error.lock().clone();
        let state = match *gate.switch.lock() {
            Switch::On if last_error.is_some() => ComponentState::Failed,
            Switch::On => ComponentState::Running,
            Switch::Off => ComponentState::Paused,
            Switch::Draining => ComponentState::Draining,
        };
        ComponentStatus {
            component,
            state,
            running: gate.inside.load(Ordering::Relaxed),
            queue: 0,
            lag: 0,
            lag_unit: "operations",
            last_error,
            switched_off: *gate.switched_off.lock(),
            note: None,
        }
    }
}

impl Gate {
    fn settle(&self, switch: &mut Switch) {
        if *switch == Switch::Draining && self.inside.load(Ordering::SeqCst) == 0 {
            *switch = Switch::Off;
        }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let gate = self.0;
        // Whoever waits has looked under the lock, so it is taken here too, by the last alone.
        if gate.inside.fetch_sub(1, Ordering::SeqCst) == 1 {
            let mut switch = gate.switch.lock();
            gate.settle(&mut switch);
            gate.left.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn paused_component_lets_nothing_in_and_says_how_to_resume_it() {
        let controls = Controls::default();
        let inside = controls.enter(Component::Query).expect("it runs");
        controls.pause(Component::Query, Moment(5));
        let error = controls
            .enter(Component::Query)
            .err()
            .expect("it is paused");
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert!(error.message().contains("ctl resume query"), "{error}");
        controls
            .enter(Component::Producer)
            .expect("another one runs");
        drop(inside);
        controls.resume(Component::Query);
        controls.enter(Component::Query).expect("it runs again");
    }

    #[test]
    fn draining_component_is_paused_when_the_last_has_left() {
        let controls = Arc::new(Controls::default());
        let state = |controls: &Controls| controls.status(Component::Api).state;
        let inside = controls.enter(Component::Api).expect("it runs");
        controls.drain(Component::Api, Moment(5));
        assert!(!controls.wait_left(Component::Api, Duration::ZERO));
        assert_eq!(state(&controls), ComponentState::Draining);
        controls.enter(Component::Api).err().expect("nothing new");
        let waiting = controls.clone();
        let waiter = std::thread::Builder::new()
            .spawn(move || waiting.wait_left(Component::Api, Duration::from_secs(20)))
            .expect("a thread");
        drop(inside);
        assert!(waiter.join().expect("it ends"));
        assert_eq!(state(&controls), ComponentState::Paused);
    }

    #[test]
    fn failure_shows_until_something_goes_well() {
        let controls = Controls::default();
        controls.note::<()>(Component::Indexing, &Err(Error::internal("no disk")));
        let status = controls.status(Component::Indexing);
        assert_eq!(status.state, ComponentState::Failed);
        assert_eq!(status.last_error.as_deref(), Some("no disk"));
        controls.note(Component::Indexing, &Ok(()));
        assert_eq!(
            controls.status(Component::Indexing).state,
            ComponentState::Running
        );
    }

    #[test]
    fn what_is_wrong_with_a_request_is_no_failure_of_the_component() {
        let controls = Controls::default();
        let state = || controls.status(Component::Query).state;
        controls.note_request::<()>(Component::Query, &Err(Error::invalid("no such thing")));
        assert_eq!(state(), ComponentState::Running);
        controls.note_request::<()>(Component::Query, &Err(Error::corrupted("a", 0, "b")));
        assert_eq!(state(), ComponentState::Failed);
        controls.note_request::<()>(Component::Query, &Err(Error::invalid("no such thing")));
        assert_eq!(state(), ComponentState::Failed);
        controls.note_request(Component::Query, &Ok(()));
        assert_eq!(state(), ComponentState::Running);
    }

    #[test]
    fn names_are_read_back_and_strangers_are_told_the_list() {
        for component in Component::ALL {
            assert_eq!(
                Component::named(component.name()).expect("known"),
                component
            );
        }
        let error = Component::named("pump").expect_err("unknown");
        assert!(error.message().contains("index_builder"), "{error}");
    }
}
