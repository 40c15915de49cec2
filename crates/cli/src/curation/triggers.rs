//! `vermilion curation trigger`, and the retrainings of a space: when to retrain, and what became of it.

use serde_json::{Value, json};
use vermilion_protocol::ascii::encoded;

use super::path;
use super::server::{self, Server};
use crate::arguments::{NewTrigger, RetrainList, RetrainStart};
use crate::failure::Failure;

/// Makes a trigger.
pub(super) fn add(server: &Server, asked: &NewTrigger) -> Result<Value, Failure> {
    let policy: Value = serde_json::from_str(&asked.policy).map_err(|error| {
        Failure::usage(format!("--policy is no JSON: {error}"))
            .hint(r#"such as '{"type": "amount", "labels": 200}'"#)
    })?;
    let mut body = json!({
        "name": asked.name,
        "policy": policy,
        "min_interval_seconds": asked.min_interval_seconds,
        "expires_after_seconds": asked.expires_after_seconds,
        "dry_run": asked.dry_run,
    });
    if let Some(url) = &asked.webhook {
        body["webhook"] = json!({ "url": url });
    }
    let (status, answer) = server.try_post_once(&path(&asked.space, "/triggers"), &body)?;
    server::taken(status, answer)
}

/// Ends a trigger; its retrainings stay.
pub(super) fn remove(server: &Server, space: &str, id: &str) -> Result<Value, Failure> {
    server.delete(&path(space, &format!("/triggers/{}", encoded(id))))
}

/// Begins a retraining.
pub(super) fn start(server: &Server, asked: &RetrainStart) -> Result<Value, Failure> {
    let body = json!({"trigger": asked.trigger, "note": asked.note});
    let (status, answer) = server.try_post_once(&path(&asked.space, "/retrainings"), &body)?;
    server::taken(status, answer)
}

/// Retrainings of a space, newest first.
pub(super) fn retrainings(server: &Server, asked: &RetrainList) -> Result<Value, Failure> {
    let state = asked.state.as_deref();
    let state = state.map_or_else(String::new, |state| format!("&state={}", encoded(state)));
    server.get(&path(
        &asked.space,
        &format!("/retrainings?limit={}{state}", asked.limit),
    ))
}

/// Calls a retraining off.
pub(super) fn cancel(server: &Server, id: &str) -> Result<Value, Failure> {
    let called = format!("/retrainings/{}/cancel", encoded(id));
    let (status, answer) = server.try_post_once(&called, &json!({}))?;
    server::taken(status, answer)
}
