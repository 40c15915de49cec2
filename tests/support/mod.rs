//! What the whole-process tests share: the real binary as a server, and a small HTTP client.
//!
//! What must stay true: a server that a test started ends with the test, also when it fails.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The path of every request about records.
const DATABASE: &str = "/api/v2/tenants/default_tenant/databases/default_database";

/// A command of the real binary, without settings of the environment.
pub(crate) fn vermilion() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vermilion"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("VERMILION_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end.
pub(crate) fn output(command: &mut Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    /// Such as `127.0.0.1:40000`.
    pub(crate) address: String,
    agent: ureq::Agent,
}

impl Server {
    /// Starts a server on `folder` on a free port.
    pub(crate) fn start(folder: &Path, flags: &[&str]) -> Self {
        let mut command = vermilion();
        command.args(["serve", "--port", "0", "--log-level", "warn", "--path"]);
        let mut child = command
            .arg(folder)
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .split_once("http://")
            .and_then(|(_, rest)| rest.split_whitespace().next());
        let Some(address) = address.map(str::to_owned) else {
            let _ = child.kill();
            panic!("the server did not say where it listens: {line:?}");
        };
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_mins(1)))
            .build();
        Self {
            child,
            address,
            agent: agent.into(),
        }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Kills the server at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the server to stop and waits; answers its exit status and how long it took.
    pub(crate) fn stop(mut self) -> (i32, Duration) {
        let started = Instant::now();
        self.signal("-TERM");
        let status = self.child.wait().unwrap();
        (status.code().unwrap_or(-1), started.elapsed())
    }

    /// Posts to a route that controls the server, which must succeed.
    pub(crate) fn control(&self, path: &str) {
        let url = format!("http://{}/control/v1/{path}", self.address);
        let response = self.agent.post(url).send_empty().unwrap();
        assert!(response.status().is_success(), "{path}: {response:?}");
    }

    /// Puts a body to a route that controls the server; answers the status.
    pub(crate) fn put_control(&self, path: &str, body: &Value) -> u16 {
        let url = format!("http://{}/control/v1/{path}", self.address);
        let request = self
            .agent
            .put(url)
            .header("content-type", "application/json");
        request.send(body.to_string()).unwrap().status().as_u16()
    }

    /// A client that other threads can use.
    pub(crate) fn client(&self) -> Client {
        Client {
            agent: self.agent.clone(),
            base: format!("http://{}{DATABASE}", self.address),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks a server.
#[derive(Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
}

impl Client {
    /// Posts a body; answers the status and the body, or `None` where the connection broke.
    pub(crate) fn try_post(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let bytes = serde_json::to_vec(body).unwrap();
        let request = self.agent.post(format!("{}{path}", self.base));
        let request = request.header("content-type", "application/json");
        let mut response = request.send(&bytes[..]).ok()?;
        let mut text = Vec::new();
        response
            .body_mut()
            .as_reader()
            .read_to_end(&mut text)
            .ok()?;
        let status = response.status().as_u16();
        Some((status, serde_json::from_slice(&text).unwrap_or(Value::Null)))
    }

    /// The same, where the server must answer.
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.try_post(path, body).expect("the server answers")
    }

    /// What a path answers, which must succeed.
    pub(crate) fn get(&self, path: &str) -> Value {
        let response = self.agent.get(format!("{}{path}", self.base)).call();
        let mut response = response.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let text = response.body_mut().read_to_string().unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Makes a collection, or finds it; answers its id.
    pub(crate) fn collection(&self, name: &str) -> String {
        let body = json!({"name": name, "get_or_create": true});
        let (status, answer) = self.post("/collections", &body);
        assert_eq!(status, 200, "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }

    /// How many records a collection has, with everything that was acknowledged.
    pub(crate) fn count(&self, id: &str) -> u64 {
        let url = format!(
            "{}/collections/{id}/count?read_level=index_and_wal",
            self.base
        );
        let mut response = self.agent.get(url).call().unwrap();
        response
            .body_mut()
            .read_to_string()
            .unwrap()
            .parse()
            .unwrap()
    }
}
