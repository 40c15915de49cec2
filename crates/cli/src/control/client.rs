//! Requests to the control routes of a running server.
//!
//! What must stay true: no request waits for the end of a run of a job, which may take hours; a
//! refusal is shown at once, in the server's own words.

use std::time::Duration;

use serde_json::{Value, json};
use vermilion_protocol::ascii::encoded;

use crate::failure::Failure;
use crate::transfer::{broke_off, cannot_reach, reach, refusal};

/// Looks in a row that find neither the run nor its job running, after which it is given up.
const LOST_AFTER: u32 = 5;
/// The longest pause between two looks at a run.
const LOOK_AFTER_MAX: Duration = Duration::from_secs(2);

/// A running server.
pub(super) struct Client {
    agent: ureq::Agent,
    server: String,
}

type Response = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

impl Client {
    /// The server at `url`; nothing is sent yet.
    pub(super) fn new(url: &str) -> Result<Self, Failure> {
        let (agent, server) = reach(url)?;
        Ok(Self { agent, server })
    }

    /// Its address.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.server);
        read(&url, self.agent.get(&url).call())
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.server);
        let request = self.agent.post(&url);
        let request = request.header("content-type", "application/json");
        read(&url, request.send(body.to_string()))
    }

    /// The same for work that the answer waits for, however long it takes.
    pub(super) fn post_and_wait(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.server);
        let request = self.agent.post(&url).config().timeout_global(None).build();
        let request = request.header("content-type", "application/json");
        read(&url, request.send(body.to_string()))
    }

    /// Begins a run; answers its number as `id`.
    pub(super) fn begin(
        &self,
        job: &str,
        dry_run: bool,
        arguments: &Value,
    ) -> Result<Value, Failure> {
        let body = json!({"dry_run": dry_run, "wait": false, "arguments": arguments});
        self.post(&format!("/control/v1/jobs/{}/run", encoded(job)), &body)
    }

    /// Begins a run and looks at it until it has ended.
    pub(super) fn run(
        &self,
        job: &str,
        dry_run: bool,
        arguments: &Value,
    ) -> Result<Value, Failure> {
        let begun = self.begin(job, dry_run, arguments)?;
        self.wait(job, &begun["id"])
    }

    /// Looks at a run of a job until it has ended. A run that the server forgot is a failure: a
    /// server whose disk is full keeps what it cannot note in memory, until it ends.
    pub(super) fn wait(&self, job: &str, id: &Value) -> Result<Value, Failure> {
        let mut pause = Duration::from_millis(20);
        let mut lost = 0;
        loop {
            std::thread::sleep(pause);
            pause = (pause * 2).min(LOOK_AFTER_MAX);
            // Asked for before the runs: what has ended by then is among them.
            let known = self.get(&format!("/control/v1/jobs/{}", encoded(job)))?;
            let runs = self.get(&format!(
                "/control/v1/history?limit=20&job={}",
                encoded(job)
            ))?;
            let mut runs = runs.as_array().into_iter().flatten();
            if let Some(run) = runs.find(|run| run["id"] == *id) {
                return Ok(run.clone());
            }
            lost = if known["running"] == true {
                0
            } else {
                lost + 1
            };
            if lost == LOST_AFTER {
                return Err(Failure::new(format!(
                    "run {id} of {job} has ended, and the server has no note of how"
                ))
                .hint("its log tells, and so does `vermilion ctl status`"));
            }
        }
    }
}

fn read(url: &str, response: Response) -> Result<Value, Failure> {
    let mut response = response.map_err(|error| cannot_reach(url, &error))?;
    let status = response.status().as_u16();
    let body = response.body_mut().read_to_vec();
    let body = body.map_err(|error| broke_off(url, &error))?;
    if !(200..300).contains(&status) {
        return Err(refusal(status, &body));
    }
    serde_json::from_slice(&body).map_err(|error| {
        Failure::new(format!(
            "{url} answered something else than expected: {error}"
        ))
    })
}
