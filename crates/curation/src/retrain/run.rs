//! One retraining: its states, its lease, and how one state leads to the next.
//!
//! What must stay true: time alone takes a lease away and ends what nobody takes, and does so the same
//! whenever it is looked at; whoever does not hold the lease changes nothing; an end is never left.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use vermilion_engine::model::CollectionId;

use super::delivery::Delivery;
use crate::key::hexadecimal;
use crate::{Refusal, Result};

/// How long a lease lasts unless the worker says.
pub(super) const LEASE_SECONDS: f64 = 600.0;
/// How long it lasts at least and at most.
const LEASE_MIN: f64 = 2.0;
/// See [`LEASE_MIN`].
const LEASE_MAX: f64 = 86_400.0;
/// Letters of a worker's name or a message at most.
const TEXT_MAX: usize = 2000;

/// Where a retraining stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits to be taken.
    Pending,
    /// It waits, and its receiver has been told.
    Delivered,
    /// A worker has it.
    Running,
    /// The worker completed it.
    Succeeded,
    /// The worker gave it up.
    Failed,
    /// Nobody took it in time.
    Expired,
    /// Somebody called it off.
    Cancelled,
}

impl State {
    pub(super) const ALL: [Self; 7] = [
        Self::Pending,
        Self::Delivered,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Expired,
        Self::Cancelled,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    pub(super) fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Refusal::wrong("unknown_state", format!("`{name}` is no state."))
                .field("state")
                .hint(names)
        })
    }

    /// Whether it waits to be taken.
    pub(super) fn waits(self) -> bool {
        matches!(self, Self::Pending | Self::Delivered)
    }

    /// Whether it has not ended.
    pub(super) fn is_open(self) -> bool {
        self.waits() || self == Self::Running
    }
}

/// What a worker holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Lease {
    /// Of the token, which only the worker knows.
    digest: String,
    /// How long it lasts from each heartbeat on.
    pub(super) seconds: f64,
    /// Seconds since 1970.
    pub(super) expires_at: f64,
    pub(super) claimed_at: f64,
    pub(super) heartbeat_at: f64,
    pub(super) worker: Option<String>,
}

/// How a retraining ended by the word of its worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Of the lease and of what was said with it: the same again is answered the same.
    pub(super) lease: String,
    pub(super) said: String,
    /// The new embedding set, with its key and space.
    pub(super) embedding_set: Option<Json>,
    pub(super) embedding_set_key: Option<String>,
    pub(super) space: Option<String>,
    pub(super) space_id: Option<CollectionId>,
    pub(super) metrics: Json,
    pub(super) metrics_before: Json,
    /// Records that are marked as consumed, and those of them that were gone.
    pub(super) consumed: usize,
    pub(super) consumed_missing: usize,
    /// Some of the latter.
    #[serde(default)]
    pub(super) missing_ids: Vec<String>,
}

/// A retraining as it is stored. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) id: String,
    /// Which of its space it is, from 1.
    pub(super) number: u64,
    /// The name of its space when it began.
    pub(super) space: String,
    pub(super) trigger: Option<String>,
    pub(super) state: State,
    /// Why, in words and numbers.
    pub(super) reason: Json,
    pub(super) fired_at: f64,
    pub(super) as_of_seq: u64,
    pub(super) epoch: u64,
    /// What the one before it came to.
    pub(super) previous: Option<Json>,
    /// Under which its receiver knows it, however often it is told.
    pub(super) event_id: String,
    /// How long it waits to be taken, and until when.
    pub(super) expires_after_seconds: f64,
    pub(super) expires_at: f64,
    /// How often it was taken, and how often a worker let its lease run out.
    pub(super) claims: u32,
    pub(super) leases_lost: u32,
    pub(super) lease: Option<Lease>,
    pub(super) progress: Option<f64>,
    pub(super) message: Option<String>,
    pub(super) delivery: Option<Delivery>,
    pub(super) finished_at: Option<f64>,
    pub(super) outcome: Option<Outcome>,
}

impl Run {
    /// Does what time alone does up to `now`; whether it did anything.
    pub(super) fn settle(&mut self, now: f64) -> bool {
        let before = self.state;
        let lost = self.lease.take_if(|lease| lease.expires_at <= now);
        if let Some(lease) = lost {
            self.state = State::Pending;
            self.leases_lost += 1;
            self.progress = None;
            let wait_until = lease.expires_at + self.expires_after_seconds;
            self.expires_at = self.expires_at.max(wait_until);
        }
        if self.state.waits() && self.expires_at <= now {
            self.end(State::Expired, self.expires_at);
        }
        self.state != before
    }

    /// When time alone will change it.
    pub(super) fn changes_at(&self) -> Option<f64> {
        match &self.lease {
            Some(lease) => Some(lease.expires_at),
            None => self.state.waits().then_some(self.expires_at),
        }
    }

    /// When its receiver is to be told, while it waits.
    pub(super) fn told_at(&self) -> Option<f64> {
        let waits = self.state == State::Pending;
        self.delivery.as_ref().filter(|_| waits)?.due_at()
    }

    /// Where its receiver is.
    pub(super) fn url(&self) -> Option<&str> {
        self.delivery.as_ref().map(|delivery| &*delivery.url)
    }

    /// Gives it to a worker; answers the token of the lease.
    pub(super) fn claim(
        &mut self,
        seconds: f64,
        worker: Option<String>,
        now: f64,
    ) -> Result<String> {
        if !self.state.waits() {
            return Err(self.wrong_state("claimed", "one that is pending or delivered"));
        }
        let token = random_hex::<16>()?;
        self.state = State::Running;
        self.claims += 1;
        self.message = None;
        self.lease = Some(Lease {
            digest: digest(&token),
            seconds,
            expires_at: now + seconds,
            claimed_at: now,
            heartbeat_at: now,
            worker,
        });
        Ok(token)
    }

    /// The lease, if `token` is that of it.
    pub(super) fn held(&mut self, token: &str) -> Result<&mut Lease> {
        let digest = digest(token);
        let is_held = self
            .lease
            .as_ref()
            .is_some_and(|lease| lease.digest == digest);
        if is_held {
            return Ok(self.lease.as_mut().expect("it was just looked at"));
        }
        if !self.state.is_open() {
            return Err(self.wrong_state("changed by a worker", "one that is running"));
        }
        let message = format!(
            "The lease is not that of the retraining, which is {}.",
            self.state.name()
        );
        Err(Refusal::new(409, "lease_lost", message)
            .field("lease")
            .state(self.state)
            .hint("a lease ends where no heartbeat comes in time; claim the retraining again"))
    }

    /// Ends it.
    pub(super) fn end(&mut self, state: State, now: f64) {
        self.state = state;
        self.lease = None;
        self.finished_at = Some(now);
        if let Some(delivery) = &mut self.delivery {
            delivery.give_up();
        }
    }

    /// Ends it by the word of the worker that holds the lease `token`.
    pub(super) fn end_by(
        &mut self,
        state: State,
        token: &str,
        said: &Json,
        outcome: Outcome,
        now: f64,
    ) {
        self.end(state, now);
        self.outcome = Some(Outcome {
            lease: digest(token),
            said: digest(&crate::canonical(said)),
            ..outcome
        });
    }

    /// Whether it ended so by the same word of the same worker; another word of it is refused.
    pub(super) fn has_ended_by(&self, state: State, token: &str, said: &Json) -> Result<bool> {
        let Some(outcome) = &self.outcome else {
            return Ok(false);
        };
        if self.state != state || outcome.lease != digest(token) {
            return Ok(false);
        }
        if outcome.said == digest(&crate::canonical(said)) {
            return Ok(true);
        }
        let message = "The retraining has ended under this lease with another body.";
        Err(Refusal::new(409, "already_completed", message)
            .field("lease")
            .state(self.state))
    }

    /// The refusal of what cannot be done in this state.
    pub(super) fn wrong_state(&self, what: &str, allowed: &str) -> Refusal {
        let state = self.state.name();
        let message = format!("The retraining is {state}: it cannot be {what}.");
        Refusal::new(409, "wrong_state", message)
            .state(self.state)
            .hint(allowed)
    }

    /// What is told of it.
    pub(super) fn told(&self) -> Json {
        let Self {
            id,
            number,
            space,
            trigger,
            state,
            reason,
            fired_at,
            as_of_seq,
            epoch,
            previous,
            event_id,
            expires_after_seconds: _,
            expires_at,
            claims,
            leases_lost,
            lease,
            progress,
            message,
            delivery,
            finished_at,
            outcome,
        } = self;
        let of_lease = |get: fn(&Lease) -> f64| lease.as_ref().map(get);
        json!({
            "id": id,
            "number": number,
            "space": space,
            "trigger": trigger,
            "state": state,
            "reason": reason,
            "fired_at": fired_at,
            "as_of_seq": as_of_seq,
            "epoch": epoch,
            "previous": previous,
            "event_id": event_id,
            "expires_at": state.waits().then_some(expires_at),
            "claims": claims,
            "leases_lost": leases_lost,
            "worker": lease.as_ref().map(|lease| &lease.worker),
            "claimed_at": of_lease(|lease| lease.claimed_at),
            "heartbeat_at": of_lease(|lease| lease.heartbeat_at),
            "lease_expires_at": of_lease(|lease| lease.expires_at),
            "progress": progress,
            "message": message,
            "delivery": delivery.as_ref().map(Delivery::told),
            "finished_at": finished_at,
            "result": outcome.as_ref().filter(|_| *state == State::Succeeded).map(Outcome::told),
        })
    }

    /// What the next one is told of it.
    pub(super) fn summary(&self) -> Json {
        let outcome = self.outcome.as_ref();
        json!({
            "id": self.id,
            "state": self.state,
            "fired_at": self.fired_at,
            "finished_at": self.finished_at,
            "embedding_set": outcome.and_then(|outcome| outcome.embedding_set.as_ref()),
            "space": outcome.and_then(|outcome| outcome.space.as_ref()),
            "metrics": outcome.map(|outcome| &outcome.metrics),
        })
    }
}

impl Outcome {
    /// That of a worker that only says that it ends.
    pub(super) fn empty() -> Self {
        Self {
            lease: String::new(),
            said: String::new(),
            embedding_set: None,
            embedding_set_key: None,
            space: None,
            space_id: None,
            metrics: json!({}),
            metrics_before: json!({}),
            consumed: 0,
            consumed_missing: 0,
            missing_ids: Vec::new(),
        }
    }

    fn told(&self) -> Json {
        json!({
            "embedding_set": self.embedding_set,
            "embedding_set_key": self.embedding_set_key,
            "space": self.space,
            "metrics": self.metrics,
            "consumed": self.consumed,
            "consumed_missing": self.consumed_missing,
            "missing_ids": self.missing_ids,
        })
    }
}

/// How long a lease is to last.
pub(super) fn lease_seconds(asked: Option<f64>) -> Result<f64> {
    seconds(
        "lease_seconds",
        asked.unwrap_or(LEASE_SECONDS),
        LEASE_MIN,
        LEASE_MAX,
    )
}

/// A number of seconds, checked.
pub(super) fn seconds(field: &str, asked: f64, least: f64, most: f64) -> Result<f64> {
    if (least..=most).contains(&asked) {
        return Ok(asked);
    }
    let message = format!("`{field}` is {asked}.");
    Err(Refusal::wrong("out_of_range", message)
        .field(field)
        .hint(format!("{least} to {most} seconds")))
}

/// A text of a worker, checked.
pub(super) fn text(field: &str, told: Option<&String>) -> Result<Option<String>> {
    if told.is_some_and(|text| text.chars().count() > TEXT_MAX) {
        let message = format!("`{field}` is too long.");
        return Err(Refusal::wrong("out_of_range", message)
            .field(field)
            .hint(format!("{TEXT_MAX} letters at most")));
    }
    Ok(told.cloned())
}

/// `BYTES` random bytes, as two digits each.
pub(super) fn random_hex<const BYTES: usize>() -> Result<String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        Refusal::new(
            500,
            "internal",
            format!("The system has no randomness: {error}."),
        )
    })?;
    Ok(hexadecimal(&bytes))
}

fn digest(text: &str) -> String {
    hexadecimal(&Sha256::digest(text.as_bytes()))
}
