//! The bodies of requests that control a server: runs of jobs, jobs themselves, drains.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use vermilion_engine::schedule::{Policy, RunRequest, TriggerText};

use crate::{ApiError, WholeNumbers, json};

/// How long draining or stopping may take unless the request says otherwise.
const LIMIT: Duration = Duration::from_mins(1);
/// The longest that it may take.
const LIMIT_MAX: Duration = Duration::from_hours(1);

/// A run that is asked for.
#[derive(Clone, Debug)]
pub struct RunBody {
    /// What it is to do.
    pub request: RunRequest,
    /// Whether the answer waits for its end.
    pub wait: bool,
}

/// A job that is made or changed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobBody {
    /// The task that it runs; the job's name where none is given.
    #[serde(default)]
    pub task: Option<String>,
    /// When it is due.
    #[serde(deserialize_with = "trigger")]
    pub trigger: TriggerText,
    /// How it is treated.
    #[serde(default)]
    pub policy: Policy,
    /// What its task is told where nobody says anything else: an object, or null.
    #[serde(default)]
    pub arguments: Value,
}

/// Decodes a run that is asked for; an empty body asks for a plain one.
pub fn decode_run(body: &[u8]) -> Result<RunBody, ApiError> {
    #[derive(Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Body {
        dry_run: bool,
        wait: bool,
        arguments: Value,
    }
    impl Default for Body {
        fn default() -> Self {
            Self {
                dry_run: false,
                wait: true,
                arguments: Value::Null,
            }
        }
    }
    let body: Body = if body.is_empty() {
        Body::default()
    } else {
        json::decode(body)?
    };
    check_arguments(&body.arguments)?;
    Ok(RunBody {
        request: RunRequest {
            dry_run: body.dry_run,
            arguments: body.arguments,
        },
        wait: body.wait,
    })
}

/// Decodes a job that is made or changed.
pub fn decode_job(body: &[u8]) -> Result<JobBody, ApiError> {
    let job: JobBody = json::decode(body)?;
    check_arguments(&job.arguments)?;
    Ok(job)
}

/// Decodes a trigger: what is derived for it keeps the members before it knows their kind, so that their
/// integers are read here.
fn trigger<'de, D: Deserializer<'de>>(from: D) -> Result<TriggerText, D::Error> {
    let mut members = Map::deserialize(from)?;
    for member in members.values_mut() {
        if let Ok(whole) = u64::deserialize(WholeNumbers(&*member)) {
            *member = whole.into();
        }
    }
    TriggerText::deserialize(Value::Object(members)).map_err(D::Error::custom)
}

fn check_arguments(arguments: &Value) -> Result<(), ApiError> {
    if matches!(arguments, Value::Null | Value::Object(_)) {
        return Ok(());
    }
    Err(ApiError::validation("arguments", "they are an object"))
}

/// Decodes how long draining or stopping may take; an empty body leaves it at a minute.
pub fn decode_limit(body: &[u8]) -> Result<Duration, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        limit_ms: Option<u64>,
    }
    if body.is_empty() {
        return Ok(LIMIT);
    }
    let Body { limit_ms } = json::decode(body)?;
    let limit = limit_ms.map_or(LIMIT, Duration::from_millis);
    if limit > LIMIT_MAX {
        return Err(ApiError::validation(
            "limit_ms",
            format_args!("it is at most {}", LIMIT_MAX.as_millis()),
        ));
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_body_asks_for_a_plain_run_and_a_minute_of_draining() {
        let run = decode_run(b"").unwrap();
        assert!(run.wait && !run.request.dry_run && run.request.arguments.is_null());
        assert_eq!(decode_limit(b"").unwrap(), LIMIT);
        assert_eq!(decode_limit(b"{}").unwrap(), LIMIT);
        let limit = decode_limit(br#"{"limit_ms": 5}"#).unwrap();
        assert_eq!(limit, Duration::from_millis(5));
    }

    #[test]
    fn strange_members_and_values_are_refused_by_name() {
        let refused = |result: Result<RunBody, ApiError>, status: u16, words: &str| {
            let error = result.expect_err(words);
            assert_eq!(error.status, status, "{error}");
            assert!(error.message.contains(words), "{error}");
        };
        refused(decode_run(br#"{"dryrun": true}"#), 422, "dryrun");
        refused(decode_run(br#"{"arguments": [1]}"#), 400, "arguments");
        refused(decode_run(b"[true]"), 422, "expected an object");
        let trigger = r#"{"type":"interval","every_ms":60000}"#;
        for body in [
            format!(r#"{{"trigger":{trigger},"policy":["skip"]}}"#),
            r#"{"trigger":["interval",60000]}"#.to_owned(),
        ] {
            assert_eq!(
                decode_job(body.as_bytes()).unwrap_err().status,
                422,
                "{body}"
            );
        }
        let error = decode_limit(br#"{"limit_ms": 99999999999}"#).expect_err("too long");
        assert!(error.message.contains("3600000"), "{error}");
    }

    #[test]
    fn a_job_has_a_trigger_and_may_have_the_rest() {
        let job = decode_job(br#"{"trigger": {"type": "interval", "every_ms": 60000}}"#).unwrap();
        assert_eq!((job.task, job.policy), (None, Policy::default()));
        let trigger = br#"{"trigger": {"type": "cron", "expression": "0 3 * * *"}}"#;
        let TriggerText::Cron { time_zone, .. } = decode_job(trigger).unwrap().trigger else {
            panic!("it is a cron expression");
        };
        assert_eq!(time_zone, "UTC");
        let whole =
            br#"{"trigger": {"type": "interval", "every_ms": 6e4}, "policy": {"retries": 2.0}}"#;
        let every = TriggerText::Interval { every_ms: 60_000 };
        assert_eq!(decode_job(whole).unwrap().trigger, every);
        let told =
            br#"{"trigger": {"type": "once", "delay_ms": 5}, "arguments": {"kind": "full"}}"#;
        assert_eq!(decode_job(told).unwrap().arguments["kind"], "full");
        let wrong = br#"{"trigger": {"type": "once", "delay_ms": 5}, "arguments": "full"}"#;
        assert_eq!(decode_job(wrong).unwrap_err().status, 400);
        decode_job(b"{}").expect_err("no trigger");
        decode_job(br#"{"trigger": {"type": "moon"}}"#).expect_err("no such type");
    }
}
