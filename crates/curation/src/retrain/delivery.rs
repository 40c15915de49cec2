//! How far the telling of a receiver has come.
//!
//! What must stay true: each attempt is noted before the next; what has been told is not told again.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::retries::pause;

/// Attempts that are shown.
const SHOWN: usize = 10;
/// The pause after the first attempt; each further one is twice as long.
const PAUSE_SECONDS: f64 = 1.0;

/// See the head of this file. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Delivery {
    /// Where to.
    pub(super) url: String,
    state: Progress,
    attempts: u32,
    next_at: f64,
    delivered_at: Option<f64>,
    last: Vec<Attempt>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Progress {
    Waiting,
    Delivered,
    GivenUp,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Attempt {
    at: f64,
    status: Option<u16>,
    error: Option<String>,
}

impl Delivery {
    /// One that is due at once.
    pub(super) fn new(url: &str, now: f64) -> Self {
        Self {
            url: url.to_owned(),
            state: Progress::Waiting,
            attempts: 0,
            next_at: now,
            delivered_at: None,
            last: Vec::new(),
        }
    }

    /// When the next attempt is due.
    pub(super) fn due_at(&self) -> Option<f64> {
        (self.state == Progress::Waiting).then_some(self.next_at)
    }

    /// Has the next attempt made at once.
    pub(super) fn hurry(&mut self, now: f64) {
        self.next_at = self.next_at.min(now);
    }

    /// What went wrong last, while it waits.
    pub(super) fn trouble(&self) -> Option<String> {
        let last = self.last.last().filter(|_| self.due_at().is_some())?;
        let status = || last.status.map(|status| format!("it answered {status}"));
        let why = last.error.clone().or_else(status)?;
        Some(format!("{}: {why}", self.url))
    }

    /// Tries no more, unless it is told already.
    pub(super) fn give_up(&mut self) {
        if self.state == Progress::Waiting {
            self.state = Progress::GivenUp;
        }
    }

    /// Notes an attempt that began at `at` and came to a status, or to none. `chance`, in [0, 1), spreads
    /// the next one over the second half of its pause.
    pub(super) fn note(
        &mut self,
        at: f64,
        came: Result<u16, String>,
        now: f64,
        chance: f64,
    ) -> bool {
        self.attempts += 1;
        let (status, error) = match came {
            Ok(status) => (Some(status), None),
            Err(error) => (None, Some(error)),
        };
        let is_told = status.is_some_and(|status| (200..300).contains(&status));
        self.last.push(Attempt { at, status, error });
        if self.last.len() > SHOWN {
            self.last.remove(0);
        }
        if is_told {
            self.state = Progress::Delivered;
            self.delivered_at = Some(now);
        } else {
            let pause = pause(PAUSE_SECONDS, self.attempts);
            self.next_at = now + pause * (0.5 + chance / 2.0);
        }
        is_told
    }

    /// What is told of it.
    pub(super) fn told(&self) -> Json {
        json!({
            "url": self.url,
            "state": self.state,
            "attempts": self.attempts,
            "next_at": self.due_at(),
            "delivered_at": self.delivered_at,
            "last_attempts": self.last,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour_and_a_success_ends_them() {
        let mut delivery = Delivery::new("http://x", 100.0);
        assert_eq!(delivery.due_at(), Some(100.0));
        let mut pauses = Vec::new();
        for _ in 0..14 {
            assert!(!delivery.note(0.0, Ok(500), 1000.0, 1.0));
            pauses.push(delivery.due_at().unwrap() - 1000.0);
        }
        assert_eq!(&pauses[..4], [1.0, 2.0, 4.0, 8.0]);
        assert!((pauses[13] - 3600.0).abs() < f64::EPSILON);
        delivery.note(0.0, Err("refused".to_owned()), 1000.0, 0.0);
        assert_eq!(delivery.due_at(), Some(1000.0 + 1800.0));
        assert_eq!(delivery.trouble().unwrap(), "http://x: refused");
        delivery.hurry(1200.0);
        assert_eq!(delivery.due_at(), Some(1200.0));
        assert!(!delivery.note(0.0, Ok(302), 1000.0, 0.0));
        assert!(delivery.note(0.0, Ok(204), 1001.0, 0.0));
        assert_eq!((delivery.due_at(), delivery.trouble()), (None, None));
        delivery.give_up();
        let told = delivery.told();
        assert_eq!(told["state"], "delivered");
        assert_eq!(told["attempts"], 17);
        assert_eq!(told["last_attempts"].as_array().unwrap().len(), SHOWN);
    }
}
