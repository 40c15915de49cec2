//! When the records of admitted batches end that are not applied yet.
//!
//! What must stay true: the earliest end that is told is at most that of any record in a batch that
//! is not applied; what is kept grows only with batches whose records say an end.

use std::collections::VecDeque;

/// A minimum over the batches in flight: ends only grow from front to back.
#[derive(Default)]
pub(super) struct Ends {
    admitted: u64,
    applied: u64,
    /// The number of an admitted batch, and the earliest end (seconds since 1970) in it.
    minima: VecDeque<(u64, f64)>,
}

impl Ends {
    /// Notes a batch that is admitted, with the earliest end that a record of it says.
    pub(super) fn admit(&mut self, earliest: Option<f64>) {
        self.admitted += 1;
        let Some(end) = earliest else { return };
        while self
            .minima
            .pop_back_if(|(_, later)| *later >= end)
            .is_some()
        {}
        self.minima.push_back((self.admitted, end));
    }

    /// Notes that the next `count` batches are applied. One that failed instead is not counted: it
    /// makes those behind it stay until [`Self::clear`].
    pub(super) fn apply(&mut self, count: usize) {
        self.applied += count as u64;
        let applied = self.applied;
        while self.minima.pop_front_if(|(at, _)| *at <= applied).is_some() {}
    }

    /// Forgets all: every admitted batch is applied or has failed.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The earliest end in batches that are not applied, in seconds since 1970.
    pub(super) fn earliest(&self) -> Option<f64> {
        self.minima.front().map(|(_, end)| *end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_earliest_is_that_of_all_batches_in_flight(
            steps in prop::collection::vec(prop::option::of(prop::option::of(0_u8..20)), 1..60),
        ) {
            let mut ends = Ends::default();
            let mut flying: VecDeque<Option<f64>> = VecDeque::new();
            for step in steps {
                match step {
                    Some(end) => {
                        let end = end.map(f64::from);
                        ends.admit(end);
                        flying.push_back(end);
                    }
                    None if flying.is_empty() => ends.clear(),
                    None => {
                        ends.apply(1);
                        flying.pop_front();
                    }
                }
                let expected = flying.iter().flatten().copied().reduce(f64::min);
                prop_assert_eq!(ends.earliest(), expected);
            }
        }
    }
}
