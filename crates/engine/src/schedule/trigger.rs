//! When a job is due: every so often, by a cron expression in a time zone, or once.
//!
//! What must stay true: a trigger that exists has been checked, and has been due or will be.
//! Occurrences are moments on the time line, not readings of a clock on a wall: where a zone goes
//! over to summer time, an expression that names hours in the gap is due at the end of the gap;
//! where hours come twice, it is due in the first of the two; readings that fall together are one
//! occurrence. Expressions that name no hours are due as often as time passes.

use std::time::Duration;

use croner::parser::{CronParser, Year};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use super::Moment;
use crate::{Error, Result};

/// The shortest interval.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// The longest interval or delay: ten years, with their leap days and a week to spare.
const SPAN_MAX: Duration = Duration::from_hours(24 * 3660);
/// A clock that goes back by less does not make an expression due twice for the same moment.
const REPEAT_MAX: Duration = Duration::from_hours(3);

/// When a job is due.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// Every so often.
    Interval(Duration),
    /// By a cron expression.
    Cron(Box<CronTrigger>),
    /// At one moment.
    Once {
        /// The moment.
        at: Moment,
        /// How long after its making that is, where it was made so.
        delay: Option<Duration>,
    },
}

/// A cron expression in a time zone.
#[derive(Clone, Debug)]
pub struct CronTrigger {
    expression: String,
    zone_name: String,
    cron: croner::Cron,
    zone: TimeZone,
}

/// A trigger as it is stored and sent: times in milliseconds, dates in RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TriggerText {
    /// Every so often.
    Interval {
        /// Milliseconds between two occurrences.
        every_ms: u64,
    },
    /// By a cron expression.
    Cron {
        /// Five fields, or six with seconds first.
        expression: String,
        /// A name of the IANA database; UTC where there is none.
        #[serde(default = "utc")]
        time_zone: String,
    },
    /// At one moment.
    Once {
        /// The moment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Moment>,
        /// Milliseconds after now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delay_ms: Option<u64>,
    },
}

fn utc() -> String {
    "UTC".to_owned()
}

impl Trigger {
    /// Every `every`, first after that time.
    pub fn interval(every: Duration) -> Result<Self> {
        if (INTERVAL_MIN..=SPAN_MAX).contains(&every) {
            return Ok(Self::Interval(every));
        }
        Err(Error::invalid(format!(
            "An interval of {} ms is not allowed: it is at least 1 second and at most 10 years.",
            every.as_millis()
        )))
    }

    /// By a cron expression of five fields, or six with seconds first, in the IANA time zone
    /// `time_zone`.
    pub fn cron(expression: &str, time_zone: &str) -> Result<Self> {
        let parser = CronParser::builder().year(Year::Disallowed).build();
        let cron = parser.parse(expression).map_err(|error| {
            Error::invalid(format!(
                "`{expression}` is no cron expression ({error}): write minute, hour, day, month \
                 and weekday, such as `30 3 * * *`, with seconds before them where you want them."
            ))
        })?;
        let zone = TimeZoneDatabase::bundled().get(time_zone).map_err(|_| {
            Error::invalid(format!(
                "`{time_zone}` is no time zone: write a name of the IANA database, such as \
                 `Europe/Berlin` or `UTC`."
            ))
        })?;
        let trigger = CronTrigger {
            expression: expression.trim().to_owned(),
            zone_name: time_zone.to_owned(),
            cron,
            zone,
        };
        if trigger.after(Moment(0)).is_none() {
            return Err(Error::invalid(format!(
                "`{expression}` is a date that never comes."
            )));
        }
        Ok(Self::Cron(Box::new(trigger)))
    }

    /// Once, `delay` after `now` or at `at`; one of the two must be given.
    pub fn once(delay: Option<Duration>, at: Option<Moment>, now: Moment) -> Result<Self> {
        match (delay, at) {
            (Some(delay), None) if delay <= SPAN_MAX => Ok(Self::Once {
                at: now.plus(delay),
                delay: Some(delay),
            }),
            (Some(_), None) => Err(Error::invalid("A delay is at most 10 years.")),
            (None, Some(at)) => Ok(Self::Once { at, delay: None }),
            (None, None) => Err(Error::invalid(
                "A job that runs once needs a delay or a date; neither was given.",
            )),
            (Some(_), Some(_)) => Err(Error::invalid(
                "A job that runs once needs a delay or a date; both were given.",
            )),
        }
    }

    /// A trigger as a client sends it at `now`.
    pub fn from_text(text: &TriggerText, now: Moment) -> Result<Self> {
        match text {
            TriggerText::Interval { every_ms } => Self::interval(Duration::from_millis(*every_ms)),
            TriggerText::Cron {
                expression,
                time_zone,
            } => Self::cron(expression, time_zone),
            TriggerText::Once { at, delay_ms } => {
                Self::once(delay_ms.map(Duration::from_millis), *at, now)
            }
        }
    }

    /// A trigger as it was stored.
    pub(super) fn restore(text: &TriggerText) -> Result<Self> {
        match text {
            TriggerText::Once {
                at: Some(at),
                delay_ms,
            } => Ok(Self::Once {
                at: *at,
                delay: delay_ms.map(Duration::from_millis),
            }),
            other => Self::from_text(other, Moment(0)),
        }
    }

    /// The trigger as it is stored and sent.
    pub fn text(&self) -> TriggerText {
        match self {
            Self::Interval(every) => TriggerText::Interval {
                every_ms: every.as_millis() as u64,
            },
            Self::Cron(cron) => TriggerText::Cron {
                expression: cron.expression.clone(),
                time_zone: cron.zone_name.clone(),
            },
            Self::Once { at, delay } => TriggerText::Once {
                at: Some(*at),
                delay_ms: delay.map(|delay| delay.as_millis() as u64),
            },
        }
    }

    /// The first occurrence of a job that is made at `now`.
    pub fn first(&self, now: Moment) -> Option<Moment> {
        match self {
            Self::Once { at, .. } => Some(*at),
            _ => self.after(now),
        }
    }

    /// The occurrence that follows the one at `occurrence`.
    pub fn after(&self, occurrence: Moment) -> Option<Moment> {
        match self {
            Self::Interval(every) => Some(occurrence.plus(*every)),
            Self::Cron(cron) => cron.after(occurrence),
            Self::Once { .. } => None,
        }
    }

    /// No later than this may the next occurrence be, seen at `now`, when the last was at `last`.
    /// A clock that was set back would otherwise put a job off for as long.
    pub(super) fn bound(&self, now: Moment, last: Option<Moment>) -> Option<Moment> {
        match self {
            Self::Interval(every) => Some(now.plus(*every)),
            Self::Cron(cron) => {
                let repeated = last.filter(|last| *last > now && last.since(now) <= REPEAT_MAX);
                cron.after(repeated.unwrap_or(now))
            }
            Self::Once { delay, .. } => delay.map(|delay| now.plus(delay)),
        }
    }
}

impl CronTrigger {
    fn after(&self, moment: Moment) -> Option<Moment> {
        let start = moment.timestamp()?;
        let next = if self.names_hours() {
            self.reading_after(start)
        } else {
            self.passing_after(start)
        };
        Some(Moment(next?.as_millisecond()))
    }

    /// Whether the expression leaves some hour of the day out.
    fn names_hours(&self) -> bool {
        let hours = &self.cron.pattern;
        !(0..24).all(|hour| hours.hour_match(hour).unwrap_or(false))
    }

    /// The first moment after `start` at which a reading of the clock that the expression names comes.
    fn reading_after(&self, start: Timestamp) -> Option<Timestamp> {
        let mut reading = self.zone.to_datetime(start);
        loop {
            reading = self.next_reading(reading, false)?;
            let at = self.moment_of(reading)?;
            // Readings of the second of two hours were due in the first.
            if at > start {
                return Some(at);
            }
        }
    }

    /// When the clock first reads `reading`; the end of the gap where it never does.
    fn moment_of(&self, reading: DateTime) -> Option<Timestamp> {
        let possible = self.zone.to_ambiguous_timestamp(reading);
        let AmbiguousOffset::Gap { after, .. } = possible.offset() else {
            return possible.earlier().ok();
        };
        // Read by the offset behind the gap, it is just before the gap.
        let before = after.to_timestamp(reading).ok()?;
        let gap = self.zone.following(before).next()?;
        Some(gap.timestamp())
    }

    /// The first moment after `start` at which the clock reads what the expression names, be it for the
    /// second time.
    fn passing_after(&self, start: Timestamp) -> Option<Timestamp> {
        let (mut from, mut inclusive) = (start, false);
        loop {
            let offset = self.zone.to_offset(from);
            let reading = self.next_reading(offset.to_datetime(from), inclusive)?;
            let at = offset.to_timestamp(reading).ok()?;
            match self.zone.following(from).next() {
                // By then the clock has been set: it is read anew from there.
                Some(set) if set.timestamp() <= at => {
                    (from, inclusive) = (set.timestamp(), true);
                }
                _ => return Some(at),
            }
        }
    }

    /// The next reading that the expression names, on a clock that is never set.
    fn next_reading(&self, reading: DateTime, inclusive: bool) -> Option<DateTime> {
        let start = reading.to_zoned(TimeZone::UTC).ok()?;
        let next = self.cron.find_next_occurrence(&start, inclusive).ok()?;
        Some(next.datetime())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Moment {
        Moment::parse(text).unwrap()
    }

    /// The occurrences from `from` up to `to`, as texts in UTC.
    #[track_caller]
    fn check(expression: &str, zone: &str, from: &str, to: &str, expected: &[&str]) {
        let trigger = Trigger::cron(expression, zone).unwrap();
        let (mut at, to) = (moment(from), moment(to));
        let mut found = Vec::new();
        while let Some(next) = trigger.after(at).filter(|next| *next <= to) {
            found.push(next.to_string());
            at = next;
        }
        assert_eq!(found, expected, "{expression} in {zone}");
    }

    #[test]
    fn a_nightly_job_runs_once_in_the_night_without_its_hour() {
        // In Berlin the clock goes from 02:00 to 03:00 on 2026-03-29, which is 01:00 in UTC.
        check(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-27T12:00:00Z",
            "2026-03-31T12:00:00Z",
            &[
                "2026-03-28T01:30:00Z",
                "2026-03-29T01:00:00Z",
                "2026-03-30T00:30:00Z",
                "2026-03-31T00:30:00Z",
            ],
        );
    }

    #[test]
    fn a_nightly_job_runs_once_in_the_night_whose_hour_comes_twice() {
        // On 2026-10-25 the hour from 02:00 to 03:00 comes twice: from 00:00 and 01:00 in UTC.
        check(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00:00Z",
            "2026-10-27T00:00:00Z",
            &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
        );
    }

    #[test]
    fn an_hourly_job_runs_as_often_as_hours_pass() {
        check(
            "0 * * * *",
            "America/New_York",
            "2026-11-01T03:59:00Z",
            "2026-11-01T08:00:00Z",
            &[
                "2026-11-01T04:00:00Z",
                "2026-11-01T05:00:00Z",
                "2026-11-01T06:00:00Z",
                "2026-11-01T07:00:00Z",
                "2026-11-01T08:00:00Z",
            ],
        );
        check(
            "0 * * * *",
            "America/New_York",
            "2026-03-08T05:30:00Z",
            "2026-03-08T08:00:00Z",
            &[
                "2026-03-08T06:00:00Z",
                "2026-03-08T07:00:00Z",
                "2026-03-08T08:00:00Z",
            ],
        );
    }

    #[test]
    fn what_is_in_the_hour_that_is_left_out_runs_once_at_its_end() {
        let night = |expression: &str, expected: &[&str]| {
            let (from, to) = ("2026-03-28T23:30:00Z", "2026-03-29T12:00:00Z");
            check(expression, "Europe/Berlin", from, to, expected);
        };
        let end = "2026-03-29T01:00:00Z";
        for expression in [
            "15,45 2 * * *",
            "*/20 2 * * *",
            "0-30 2 * * *",
            "* 2 * * *",
            "0 30 2 * * *",
            "30 2 * * SUN",
            "30 2 29 3 *",
        ] {
            night(expression, &[end]);
        }
        night("0 2,14 * * *", &[end, "2026-03-29T12:00:00Z"]);
        night("30 2,4 * * *", &[end, "2026-03-29T02:30:00Z"]);
        night("30 2-3 * * *", &[end, "2026-03-29T01:30:00Z"]);
        night("0 2-3 * * *", &[end]);
    }

    #[test]
    fn what_is_in_the_hour_that_comes_twice_runs_in_the_first() {
        let night = |expression: &str, from: &str, expected: &[&str]| {
            let to = "2026-10-25T14:00:00Z";
            check(expression, "Europe/Berlin", from, to, expected);
        };
        let before = "2026-10-24T23:30:00Z";
        let first = "2026-10-25T00:30:00Z";
        night("30 2,14 * * *", before, &[first, "2026-10-25T13:30:00Z"]);
        night("0,30 2 * * *", before, &["2026-10-25T00:00:00Z", first]);
        night("30 2-3 * * *", before, &[first, "2026-10-25T02:30:00Z"]);
        // From the second of the two hours nothing of it is to come.
        let second = "2026-10-25T01:10:00Z";
        night("30 2,14 * * *", second, &["2026-10-25T13:30:00Z"]);
        night("* 2 * * *", second, &[]);
    }

    #[test]
    fn what_names_no_hour_runs_as_time_passes() {
        let quarters = [
            "2026-10-25T00:45:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:15:00Z",
        ];
        for expression in ["*/15 * * * *", "0,15,30,45 * * * *", "*/15 0-23 * * *"] {
            let (from, to) = ("2026-10-25T00:40:00Z", quarters[2]);
            check(expression, "Europe/Berlin", from, to, &quarters);
            // The clock goes from 02:00 to 03:00 at 01:00 in UTC.
            let spring = quarters.map(|text| text.replace("10-25", "03-29"));
            let spring: Vec<&str> = spring.iter().map(String::as_str).collect();
            let from = "2026-03-29T00:40:00Z";
            check(expression, "Europe/Berlin", from, spring[2], &spring);
        }
        // On Lord Howe Island the clock goes back by half an hour, at 15:00 in UTC.
        check(
            "10 * * * *",
            "Australia/Lord_Howe",
            "2026-04-04T14:00:00Z",
            "2026-04-04T16:00:00Z",
            &["2026-04-04T14:10:00Z", "2026-04-04T15:40:00Z"],
        );
    }

    #[test]
    fn six_fields_begin_with_seconds_and_names_are_understood() {
        check(
            "*/20 59 23 * DEC SUN",
            "UTC",
            "2026-12-01T00:00:00Z",
            "2026-12-07T00:00:00Z",
            &[
                "2026-12-06T23:59:00Z",
                "2026-12-06T23:59:20Z",
                "2026-12-06T23:59:40Z",
            ],
        );
        check(
            "0 0 29 2 *",
            "UTC",
            "2026-01-01T00:00:00Z",
            "2033-01-01T00:00:00Z",
            &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"],
        );
    }

    #[test]
    fn what_is_no_trigger_is_refused_with_what_is_allowed() {
        let refused = |result: Result<Trigger>, expected: &str| {
            let error = result.expect_err(expected);
            assert!(error.message().contains(expected), "{error}");
        };
        refused(Trigger::cron("0 99 * * *", "UTC"), "no cron expression");
        refused(Trigger::cron("", "UTC"), "no cron expression");
        refused(Trigger::cron("* * *", "UTC"), "no cron expression");
        refused(
            Trigger::cron("0 0 1 1 * * 2030", "UTC"),
            "no cron expression",
        );
        refused(Trigger::cron("0 0 31 2 *", "UTC"), "never comes");
        refused(Trigger::cron("0 0 * * *", "Mars/Base"), "Europe/Berlin");
        refused(Trigger::interval(Duration::from_millis(999)), "1 second");
        refused(Trigger::interval(Duration::MAX), "10 years");
        refused(Trigger::once(None, None, Moment(0)), "neither");
        let both = Trigger::once(Some(Duration::ZERO), Some(Moment(1)), Moment(0));
        refused(both, "both");
        refused(
            Trigger::once(Some(Duration::MAX), None, Moment(0)),
            "10 years",
        );
    }

    #[test]
    fn a_trigger_is_read_without_strangers() {
        for (text, allowed) in [
            (
                r#"{"type": "cron", "expression": "0 1 * * *", "timezone": "Europe/Berlin"}"#,
                "time_zone",
            ),
            (r#"{"type": "interval", "every": 5000}"#, "every_ms"),
            (r#"{"type": "once", "delay": 5}"#, "delay_ms"),
            (
                r#"{"type": "interval", "every_ms": 5000, "at": 1}"#,
                "every_ms",
            ),
        ] {
            let error = serde_json::from_str::<TriggerText>(text).expect_err(text);
            assert!(error.to_string().contains(allowed), "{error}");
        }
    }

    #[test]
    fn a_stored_trigger_is_the_same_again() {
        for trigger in [
            Trigger::interval(Duration::from_secs(90)).unwrap(),
            Trigger::cron("30 3 * * 1-5", "Asia/Kathmandu").unwrap(),
            Trigger::once(Some(Duration::from_secs(5)), None, Moment(1_000)).unwrap(),
            Trigger::once(None, Some(Moment(86_400_000)), Moment(0)).unwrap(),
        ] {
            let json = serde_json::to_string(&trigger.text()).unwrap();
            let text: TriggerText = serde_json::from_str(&json).unwrap();
            let restored = Trigger::restore(&text).unwrap();
            assert_eq!(restored.text(), trigger.text());
            assert_eq!(restored.first(Moment(7)), trigger.first(Moment(7)));
        }
    }
}
