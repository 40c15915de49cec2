//! Spaces for which a job failed, and when each is tried again.
//!
//! What must stay true: a space that fails again and again is tried ever more seldom, up to once an hour,
//! and no other space waits for it. The scheduler tries again only what it began itself; these jobs are
//! begun by whatever is written.

use std::collections::BTreeMap;

use vermilion_engine::model::CollectionId;

/// The pause after the first failure; each further one is twice as long.
const PAUSE_SECONDS: f64 = 10.0;
/// The longest pause.
const PAUSE_MAX: f64 = 3600.0;

/// How long to wait after so many attempts, from 1 on: `first` seconds after the first, then twice as long each
/// time, up to an hour.
pub(crate) fn pause(first: f64, attempts: u32) -> f64 {
    let doublings = attempts.saturating_sub(1).min(30);
    (first * f64::from(1_u32 << doublings)).min(PAUSE_MAX)
}

/// How often a space failed, and when it is tried again: seconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
struct Failure {
    attempts: u32,
    at: f64,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    failures: BTreeMap<CollectionId, Failure>,
}

impl Retries {
    /// Notes that a space failed.
    pub(crate) fn note_failure(&mut self, space: CollectionId, now: f64) {
        let failure = self.failures.entry(space).or_default();
        failure.attempts += 1;
        failure.at = now + pause(PAUSE_SECONDS, failure.attempts);
    }

    /// Forgets the failures of a space.
    pub(crate) fn forget(&mut self, space: CollectionId) {
        self.failures.remove(&space);
    }

    /// Whether a space failed when it was tried last.
    pub(crate) fn has_some(&self) -> bool {
        !self.failures.is_empty()
    }

    /// The spaces that are to be tried again now, told once, and when the next one is.
    pub(crate) fn take_due(&mut self, now: f64) -> (Vec<CollectionId>, Option<f64>) {
        let mut due = Vec::new();
        let mut next = f64::INFINITY;
        for (space, failure) in &mut self.failures {
            if failure.at <= now {
                // How often it failed stays known until it is tried.
                failure.at = f64::INFINITY;
                due.push(*space);
            }
            next = next.min(failure.at);
        }
        (due, next.is_finite().then_some(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_that_fails_is_tried_ever_more_seldom_until_it_goes_well() {
        let [one, other] = [1, 2].map(|id| CollectionId(uuid::Uuid::from_u128(id)));
        let mut retries = Retries::default();
        retries.note_failure(one, 100.0);
        retries.note_failure(other, 105.0);
        assert_eq!(retries.take_due(109.0), (vec![], Some(110.0)));
        assert_eq!(retries.take_due(110.0), (vec![one], Some(115.0)));
        assert_eq!(retries.take_due(110.0), (vec![], Some(115.0)));
        retries.note_failure(one, 111.0);
        assert_eq!(retries.take_due(115.0), (vec![other], Some(131.0)));
        retries.forget(other);
        for _ in 0..60 {
            retries.note_failure(one, 1000.0);
        }
        assert_eq!(retries.take_due(2000.0), (vec![], Some(4600.0)));
        retries.forget(one);
        assert!(!retries.has_some());
    }
}
