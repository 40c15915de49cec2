//! `vermilion curation retrain claim`: takes a retraining and has a command do it.
//!
//! What must stay true: the lease is kept as long as the command runs, and the command ends where the
//! lease is lost; whatever becomes of the command, the server is told.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use vermilion_protocol::ascii::encoded;

use super::path;
use super::server::{self, Server};
use crate::arguments::Claim;
use crate::console::note;
use crate::failure::Failure;

/// Holds the event while the command runs.
const EVENT: &str = "VERMILION_RETRAINING_EVENT";
/// Names the file that the command writes its result to.
const RESULT: &str = "VERMILION_RETRAINING_RESULT";
/// Signs of life while a lease lasts.
const SIGNS: f64 = 3.0;
/// How long the command is left alone between two looks at it: a child has no wait with a limit.
const LOOK_AFTER: Duration = Duration::from_millis(50);
const CONFLICT: u16 = 409;

/// A retraining that was taken.
struct Lease<'a> {
    server: &'a Server,
    /// The path of the retraining.
    path: String,
    token: Value,
    pause: Duration,
}

/// Takes the retraining that has waited longest and has the command do it. The answer is the
/// retraining at its end, or null where none waits.
pub(super) fn claim(server: &Server, asked: &Claim) -> Result<Value, Failure> {
    let mut body = json!({ "worker": asked.worker, "trigger": asked.trigger });
    if let Some(seconds) = asked.lease_seconds {
        body["lease_seconds"] = json!(seconds);
    }
    let whose = path(&asked.space, "/retrainings/claim");
    let (status, answer) = server.try_post(&whose, &body)?;
    let taken = server::taken(status, answer)?;
    let Some(id) = taken["retraining"]["id"].as_str() else {
        return Ok(Value::Null);
    };
    let seconds = taken["lease_seconds"].as_f64().unwrap_or(SIGNS) / SIGNS;
    let lease = Lease {
        server,
        path: format!("/retrainings/{}", encoded(id)),
        token: taken["lease"].clone(),
        pause: Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(1)),
    };
    let folder = tempfile::tempdir()
        .map_err(|error| Failure::from(error).context("cannot make a folder for the result"))?;
    let file = folder.path().join("result.json");
    note(&format!("retraining {id} begins: {}", asked.exec));
    let done = lease.carry_out(&asked.exec, &taken["event"], &file);
    match done.and_then(|()| result(&file)) {
        Ok(said) => lease.end("complete", said),
        Err(failure) if failure.is_lost => Err(failure.into()),
        Err(failure) => {
            let told = Map::from_iter([("message".to_owned(), json!(failure.message))]);
            lease.end("fail", told)?;
            Err(failure.into())
        }
    }
}

/// Why a retraining was not done.
struct Undone {
    message: String,
    /// Whether it is somebody else's by now.
    is_lost: bool,
}

impl Undone {
    fn of(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            is_lost: false,
        }
    }
}

impl From<Undone> for Failure {
    fn from(undone: Undone) -> Self {
        Self::new(undone.message)
    }
}

impl Lease<'_> {
    /// Runs the command to its end, and keeps the lease meanwhile.
    fn carry_out(&self, command: &str, event: &Value, file: &Path) -> Result<(), Undone> {
        let event = event.to_string();
        let cannot = |error: std::io::Error| Undone::of(format!("cannot run `{command}`: {error}"));
        let mut child = Command::new("sh")
            .args(["-c", command])
            .env(EVENT, &event)
            .env(RESULT, file)
            .stdin(Stdio::piped())
            // What the command says is no answer of this one.
            .stdout(std::io::stderr())
            .spawn()
            .map_err(cannot)?;
        let mut input = child.stdin.take();
        let status = thread::scope(|scope| {
            // A command need not read its input.
            scope.spawn(move || {
                input
                    .as_mut()
                    .map(|input| input.write_all(event.as_bytes()))
            });
            self.wait_for(&mut child)
        })?;
        if status.success() {
            return Ok(());
        }
        Err(Undone::of(format!("`{command}` ended with {status}")))
    }

    fn wait_for(&self, child: &mut Child) -> Result<ExitStatus, Undone> {
        let mut sign = Instant::now() + self.pause;
        loop {
            let ended = child.try_wait();
            let ended = ended.map_err(|error| Undone::of(format!("lost the command: {error}")))?;
            if let Some(status) = ended {
                return Ok(status);
            }
            if Instant::now() >= sign {
                if let Some(why) = self.sign() {
                    // It may have ended by itself meanwhile, which is as well.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(Undone {
                        message: format!("the lease is lost: {why}"),
                        is_lost: true,
                    });
                }
                sign = Instant::now() + self.pause;
            }
            thread::sleep(LOOK_AFTER);
        }
    }

    /// A sign of life; answers why there must be no more of them.
    fn sign(&self) -> Option<String> {
        let body = json!({ "lease": self.token });
        let (status, answer) = match self
            .server
            .try_post(&format!("{}/heartbeat", self.path), &body)
        {
            Ok(answer) => answer,
            Err(failure) => {
                // The server may be back before the lease runs out.
                note(&failure.to_string());
                return None;
            }
        };
        (status == CONFLICT).then(|| answer["message"].as_str().unwrap_or_default().to_owned())
    }

    /// Tells the server how it ended.
    fn end(&self, how: &str, mut said: Map<String, Value>) -> Result<Value, Failure> {
        said.insert("lease".to_owned(), self.token.clone());
        let path = format!("{}/{how}", self.path);
        let (status, answer) = self.server.try_post(&path, &Value::Object(said))?;
        server::taken(status, answer)
    }
}

/// What the command wrote; nothing is as good as an empty object.
fn result(file: &Path) -> Result<Map<String, Value>, Undone> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Undone::of(format!("cannot read the result: {error}"))),
    };
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(&text).map_err(|error| {
        Undone::of(format!(
            "the command wrote a result that is no object of JSON: {error}"
        ))
    })
}
