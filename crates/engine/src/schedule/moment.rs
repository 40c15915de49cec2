//! A moment on the wall clock, as jobs are planned by it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since the Unix epoch. As text it is RFC 3339, such as `2026-11-21T03:00:00Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub i64);

impl Moment {
    /// The moment that a [`crate::clock::Clock`] calls so many nanoseconds.
    pub fn of_nanoseconds(nanoseconds: u64) -> Self {
        Self((nanoseconds / 1_000_000) as i64)
    }

    /// Reads RFC 3339, with any offset.
    pub fn parse(text: &str) -> Option<Self> {
        let timestamp: jiff::Timestamp = text.trim().parse().ok()?;
        Some(Self(timestamp.as_millisecond()))
    }

    /// So much later.
    #[must_use]
    pub fn plus(self, step: Duration) -> Self {
        let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(step))
    }

    /// How much later this is than `earlier`; zero where it is not.
    pub fn since(self, earlier: Self) -> Duration {
        let step = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(step).unwrap_or(0))
    }

    pub(super) fn timestamp(self) -> Option<jiff::Timestamp> {
        jiff::Timestamp::from_millisecond(self.0).ok()
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.timestamp() {
            Some(timestamp) => write!(f, "{timestamp}"),
            None => write!(f, "{} ms after 1970", self.0),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{text}` is no date such as 2026-11-21T03:00:00Z or 2026-11-21T03:00:00+01:00"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_moment_is_read_back_and_offsets_are_understood() {
        let moment = Moment(1_795_230_000_250);
        assert_eq!(Moment::parse(&moment.to_string()), Some(moment));
        assert_eq!(
            Moment::parse("2026-11-21T03:00:00+01:00"),
            Moment::parse("2026-11-21T02:00:00Z")
        );
        assert_eq!(Moment::parse("tomorrow"), None);
        assert!(Moment(i64::MAX).to_string().contains("1970"));
    }
}
