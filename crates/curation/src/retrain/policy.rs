//! When it is time to retrain, as somebody says it: one condition, or several of which any or all must
//! hold, nested.
//!
//! What must stay true: a policy that exists has been checked, down to its last number; what is refused
//! is named by its path, with what is allowed. Nothing here knows a space or a clock.

use serde_json::{Map, Value as Json, json};
use vermilion_engine::schedule::{Moment, Trigger as Schedule};

use crate::drift::{ALPHA_MAX, ALPHA_MIN};
use crate::{Refusal, Result};

/// How deep conditions may be nested, and how many there may be.
const DEPTH_MAX: usize = 8;
/// See [`DEPTH_MAX`].
const CONDITIONS_MAX: usize = 32;
/// Conditions by name, each with its members.
const CONDITIONS: [(&str, &[&str]); 6] = [
    ("manual", &[]),
    ("amount", &["labels"]),
    ("coverage", &["above"]),
    (
        "performance",
        &["below", "by", "window_seconds", "records_min"],
    ),
    ("drift", &["alpha", "windows", "window_seconds"]),
    ("time", &["cron", "time_zone"]),
];

/// See the head of this file.
#[derive(Clone, Debug)]
pub(super) enum Policy {
    /// Only when somebody says so.
    Manual,
    /// When so many labels were decided.
    Amount {
        /// How many.
        labels: u64,
    },
    /// When more than this share of what the model is uncertain about is covered by no label.
    Coverage {
        /// In (0, 1).
        above: f64,
    },
    /// When the model is right less often.
    Performance(Performance),
    /// When production has moved away from training in each of the last windows.
    Drift(Drift),
    /// At times.
    Time(Schedule),
    /// When one of these holds.
    Any(Vec<Self>),
    /// When all of these hold.
    All(Vec<Self>),
}

/// How often the model is right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Performance {
    /// In (0, 1).
    pub(super) below: f64,
    /// Whether by labels of production, or by an estimate without them.
    pub(super) is_measured: bool,
    /// Of records observed in the last so many seconds.
    pub(super) window_seconds: Option<f64>,
    /// Of no fewer records.
    pub(super) records_min: u64,
}

/// Whether production has moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Drift {
    /// Chance alone must make the distance as large less often than this.
    pub(super) alpha: f64,
    /// In so many windows, one after the other.
    pub(super) windows: u64,
    /// Each so long.
    pub(super) window_seconds: f64,
}

impl Policy {
    /// Reads a policy; `path` is its field.
    pub(super) fn read(told: &Json, path: &str) -> Result<Self> {
        let mut left = CONDITIONS_MAX;
        Self::read_at(told, path, DEPTH_MAX, &mut left)
    }

    fn read_at(told: &Json, path: &str, depth: usize, left: &mut usize) -> Result<Self> {
        let Some(members) = told.as_object() else {
            return Err(wrong("malformed_policy", path, "is no object")
                .hint("{\"type\": NAME, ...}, {\"any\": [...]} or {\"all\": [...]}"));
        };
        for (name, make) in [
            ("any", Self::Any as fn(Vec<Self>) -> Self),
            ("all", Self::All),
        ] {
            let Some(several) = members.get(name) else {
                continue;
            };
            if members.len() > 1 {
                let other = members.keys().find(|key| *key != name);
                let other = other.map_or("", String::as_str);
                return Err(wrong(
                    "unknown_field",
                    &format!("{path}.{other}"),
                    "stands beside others",
                )
                .hint(format!("`{name}` alone")));
            }
            let path = format!("{path}.{name}");
            let Some(several) = several.as_array().filter(|several| !several.is_empty()) else {
                return Err(wrong("malformed_policy", &path, "is no list of conditions")
                    .hint("at least one"));
            };
            if depth == 1 {
                return Err(wrong("malformed_policy", &path, "is nested too deep")
                    .hint(format!("{DEPTH_MAX} deep at most")));
            }
            let read = several
                .iter()
                .enumerate()
                .map(|(at, one)| Self::read_at(one, &format!("{path}[{at}]"), depth - 1, left));
            return Ok(make(read.collect::<Result<_>>()?));
        }
        *left = left.checked_sub(1).ok_or_else(|| {
            wrong("malformed_policy", path, "is one condition too many")
                .hint(format!("{CONDITIONS_MAX} at most"))
        })?;
        Self::condition(members, path)
    }

    fn condition(members: &Map<String, Json>, path: &str) -> Result<Self> {
        let names = CONDITIONS.map(|(name, _)| name).join(", ");
        let Some(kind) = members.get("type").and_then(Json::as_str) else {
            return Err(wrong("missing_field", &format!("{path}.type"), "is missing").hint(names));
        };
        let Some((_, allowed)) = CONDITIONS.into_iter().find(|(name, _)| *name == kind) else {
            return Err(
                wrong("unknown_policy", &format!("{path}.type"), "is no condition").hint(names),
            );
        };
        let odd = members
            .keys()
            .find(|key| *key != "type" && !allowed.contains(&key.as_str()));
        if let Some(odd) = odd {
            return Err(
                wrong("unknown_field", &format!("{path}.{odd}"), "is unknown")
                    .hint(format!("`{kind}` has {}", allowed.join(", "))),
            );
        }
        let members = Members { members, path };
        Ok(match kind {
            "manual" => Self::Manual,
            "amount" => Self::Amount {
                labels: members.whole("labels", None, 1, 1_000_000_000)?,
            },
            "coverage" => Self::Coverage {
                above: members.share("above", None)?,
            },
            "performance" => Self::Performance(members.performance()?),
            "time" => Self::Time(members.schedule()?),
            _ => Self::Drift(Drift {
                alpha: members.number("alpha", Some(0.01), (ALPHA_MIN, ALPHA_MAX))?,
                windows: members.whole("windows", Some(1), 1, 100)?,
                window_seconds: members.number(
                    "window_seconds",
                    Some(86_400.0),
                    (2.0, 31_536_000.0),
                )?,
            }),
        })
    }

    /// What it is called.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Amount { .. } => "amount",
            Self::Coverage { .. } => "coverage",
            Self::Performance(_) => "performance",
            Self::Drift(_) => "drift",
            Self::Time(_) => "time",
            Self::Any(_) => "any",
            Self::All(_) => "all",
        }
    }

    /// When time alone may make it hold, after `moment`: seconds since 1970.
    pub(super) fn due_after(&self, moment: f64) -> Option<f64> {
        match self {
            Self::Time(schedule) => occurrence_after(schedule, moment),
            Self::Any(several) | Self::All(several) => {
                let due = several.iter().filter_map(|one| one.due_after(moment));
                due.min_by(f64::total_cmp)
            }
            Self::Drift(Drift { window_seconds, .. }) => {
                Some(((moment / window_seconds).floor() + 1.0) * window_seconds)
            }
            // What falls out of the window changes it too, and not by much at once.
            Self::Performance(Performance { window_seconds, .. }) => {
                window_seconds.map(|window| moment + window / 20.0)
            }
            Self::Manual | Self::Amount { .. } | Self::Coverage { .. } => None,
        }
    }
}

/// The first occurrence of a schedule after a moment, both seconds since 1970.
pub(super) fn occurrence_after(schedule: &Schedule, moment: f64) -> Option<f64> {
    let next = schedule.after(Moment((moment * 1000.0) as i64))?;
    Some(next.0 as f64 / 1000.0)
}

/// The members of a condition.
struct Members<'a> {
    members: &'a Map<String, Json>,
    path: &'a str,
}

impl Members<'_> {
    fn number(&self, name: &str, usual: Option<f64>, (least, most): (f64, f64)) -> Result<f64> {
        let path = format!("{}.{name}", self.path);
        let allowed = format!("a number from {least} to {most}");
        let told = match (self.members.get(name), usual) {
            (None | Some(Json::Null), Some(usual)) => return Ok(usual),
            (None | Some(Json::Null), None) => {
                return Err(wrong("missing_field", &path, "is missing").hint(allowed));
            }
            (Some(told), _) => told,
        };
        let number = told
            .as_f64()
            .ok_or_else(|| wrong("wrong_type", &path, "is no number").hint(allowed.clone()))?;
        if (least..=most).contains(&number) {
            return Ok(number);
        }
        Err(wrong("out_of_range", &path, &format!("is {number}")).hint(allowed))
    }

    fn whole(&self, name: &str, usual: Option<u64>, least: u64, most: u64) -> Result<u64> {
        let number = self.number(
            name,
            usual.map(|usual| usual as f64),
            (least as f64, most as f64),
        )?;
        if number.fract() == 0.0 {
            return Ok(number as u64);
        }
        Err(wrong(
            "wrong_type",
            &format!("{}.{name}", self.path),
            "is no whole number",
        ))
    }

    /// A share that is neither nothing nor all.
    fn share(&self, name: &str, usual: Option<f64>) -> Result<f64> {
        let share = self.number(name, usual, (0.0, 1.0))?;
        if share > 0.0 && share < 1.0 {
            return Ok(share);
        }
        Err(wrong(
            "out_of_range",
            &format!("{}.{name}", self.path),
            &format!("is {share}"),
        )
        .hint("a number between 0 and 1"))
    }

    fn text(&self, name: &str, usual: Option<&str>) -> Result<String> {
        let path = format!("{}.{name}", self.path);
        match (self.members.get(name), usual) {
            (Some(Json::String(text)), _) => Ok(text.clone()),
            (None | Some(Json::Null), Some(usual)) => Ok(usual.to_owned()),
            (None | Some(Json::Null), None) => Err(wrong("missing_field", &path, "is missing")),
            _ => Err(wrong("wrong_type", &path, "is no text")),
        }
    }

    fn performance(&self) -> Result<Performance> {
        let by = self.text("by", Some("estimated"))?;
        if !["estimated", "measured"].contains(&by.as_str()) {
            let path = format!("{}.by", self.path);
            return Err(
                wrong("out_of_range", &path, &format!("is `{by}`")).hint("estimated, measured")
            );
        }
        let window = self
            .members
            .get("window_seconds")
            .filter(|told| !told.is_null());
        let window = window.map(|_| self.number("window_seconds", None, (60.0, 31_536_000.0)));
        Ok(Performance {
            below: self.share("below", None)?,
            is_measured: by == "measured",
            window_seconds: window.transpose()?,
            records_min: self.whole("records_min", Some(30), 1, 1_000_000_000)?,
        })
    }

    fn schedule(&self) -> Result<Schedule> {
        let (cron, zone) = (
            self.text("cron", None)?,
            self.text("time_zone", Some("UTC"))?,
        );
        Schedule::cron(&cron, &zone).map_err(|error| {
            let is_zone = error.message().contains("time zone");
            let (code, name) = if is_zone { ("bad_time_zone", "time_zone") } else { ("bad_cron", "cron") };
            Refusal::wrong(code, error.message())
                .field(format!("{}.{name}", self.path))
                .hint("minute, hour, day, month, weekday, such as `0 3 * * 1`; a zone such as `Europe/Berlin`")
        })
    }
}

fn wrong(code: &'static str, path: &str, what: &str) -> Refusal {
    Refusal::wrong(code, format!("`{path}` {what}.")).field(path)
}

/// What the judgement of a policy is made of: whether it holds, with its numbers and in words.
pub(super) fn verdict(kind: &str, is_met: bool, text: &str, numbers: Json) -> Json {
    let mut told = numbers;
    told["type"] = json!(kind);
    told["met"] = json!(is_met);
    told["text"] = json!(text);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(told: &Json, code: &str, field: &str) {
        let refusal = Policy::read(told, "policy").expect_err("it is refused");
        assert_eq!(
            (refusal.code, refusal.field.as_deref()),
            (code, Some(field)),
            "{refusal}"
        );
        assert_eq!(refusal.status, 400);
    }

    #[test]
    fn conditions_are_nested_and_known_by_their_names() {
        let told = json!({"any": [
            {"type": "amount", "labels": 200},
            {"all": [{"type": "coverage", "above": 0.4}, {"type": "time", "cron": "0 3 * * 1", "time_zone": "Europe/Berlin"}]},
            {"type": "manual"},
        ]});
        let Policy::Any(several) = Policy::read(&told, "policy").unwrap() else {
            panic!("it is several");
        };
        assert_eq!(
            several.iter().map(Policy::name).collect::<Vec<_>>(),
            ["amount", "all", "manual"]
        );
        // Monday, 2026-11-23, at three in Berlin, which is two in UTC.
        let sunday = 1_795_305_600.0;
        assert_eq!(several[1].due_after(sunday), Some(sunday + 26.0 * 3600.0));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        refused(&json!(7), "malformed_policy", "policy");
        refused(&json!({}), "missing_field", "policy.type");
        refused(&json!({"type": "odd"}), "unknown_policy", "policy.type");
        refused(&json!({"type": "amount"}), "missing_field", "policy.labels");
        refused(
            &json!({"type": "amount", "labels": 0}),
            "out_of_range",
            "policy.labels",
        );
        refused(
            &json!({"type": "amount", "labels": 1.5}),
            "wrong_type",
            "policy.labels",
        );
        refused(
            &json!({"type": "amount", "labels": "1"}),
            "wrong_type",
            "policy.labels",
        );
        refused(
            &json!({"type": "amount", "label": 1}),
            "unknown_field",
            "policy.label",
        );
        refused(
            &json!({"type": "coverage", "above": 1}),
            "out_of_range",
            "policy.above",
        );
        refused(
            &json!({"type": "time", "cron": "x"}),
            "bad_cron",
            "policy.cron",
        );
        refused(
            &json!({"type": "time", "cron": "0 3 * * *", "time_zone": "X"}),
            "bad_time_zone",
            "policy.time_zone",
        );
        refused(
            &json!({"type": "performance", "below": 0.5, "by": "x"}),
            "out_of_range",
            "policy.by",
        );
        refused(
            &json!({"type": "drift", "windows": 0}),
            "out_of_range",
            "policy.windows",
        );
        refused(&json!({"any": []}), "malformed_policy", "policy.any");
        refused(
            &json!({"any": [{"type": "manual"}], "x": 1}),
            "unknown_field",
            "policy.x",
        );
        refused(
            &json!({"all": [{"type": "manual"}, {"any": [{"type": "odd"}]}]}),
            "unknown_policy",
            "policy.all[1].any[0].type",
        );
        let many = json!({"any": vec![json!({"type": "manual"}); 33]});
        refused(&many, "malformed_policy", "policy.any[32]");
        let mut deep = json!({"type": "manual"});
        for _ in 0..8 {
            deep = json!({"any": [deep]});
        }
        let refusal = Policy::read(&deep, "policy").expect_err("it is refused");
        assert_eq!(refusal.code, "malformed_policy");
    }
}
