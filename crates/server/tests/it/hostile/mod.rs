//! A table of hostile requests: each is refused with an error of the API and changes nothing.
//!
//! What must stay true: the status is that of the table, the answer is JSON that says what was wrong,
//! and collections and records are the same before and after, byte by byte.

pub(crate) mod arrow;
mod collections;
mod filters;
mod reads;
mod records;

use crate::harness::{DATABASE, TestServer};

/// A request that must be refused.
pub(super) struct Case {
    method: &'static str,
    path: String,
    headers: Vec<String>,
    body: Vec<u8>,
    /// Allowed statuses.
    statuses: &'static [u16],
}

/// Malformed or of the wrong shape: what is what follows from how it is decoded.
const REFUSED: &[u16] = &[400, 422];

impl Case {
    fn new(method: &'static str, path: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: vec!["content-type: application/json".to_owned()],
            body: body.into(),
            statuses: REFUSED,
        }
    }

    fn post(path: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", path, body)
    }

    /// The same, to be refused with `statuses` alone.
    fn with(mut self, statuses: &'static [u16]) -> Self {
        self.statuses = statuses;
        self
    }

    /// The same with one more header.
    fn header(mut self, header: &str) -> Self {
        self.headers.push(header.to_owned());
        self
    }

    /// The request in few words.
    fn shown(&self) -> String {
        let body = String::from_utf8_lossy(&self.body);
        let body: String = body.chars().take(300).collect();
        format!("{} {} {:?} {body}", self.method, self.path, self.headers)
    }
}

/// Where the records of the collection under attack are.
struct Target {
    server: TestServer,
    records: String,
}

impl Target {
    fn new() -> Self {
        let server = TestServer::with(|config| config.allow_reset = false);
        let records = server.collection("target");
        let body = serde_json::json!({
            "ids": ["a", "b", "c"],
            "embeddings": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
            "documents": ["first text", null, "third text"],
            "uris": [null, "file:///b", null],
            "metadatas": [{"n": 1, "s": "x"}, {"n": 2.5, "tags": ["p", "q"]}, null],
        });
        let added = server.post(&format!("{records}/add"), &body);
        assert_eq!(added.status, 201, "{}", added.text());
        Self { server, records }
    }

    /// All that a client can see.
    fn state(&self) -> Vec<String> {
        let include = ["documents", "metadatas", "embeddings", "uris"];
        let everything = serde_json::json!({ "include": include });
        let got = self
            .server
            .post(&format!("{}/get", self.records), &everything);
        assert_eq!(got.status, 200, "{}", got.text());
        let lists = [
            format!("{DATABASE}/collections"),
            "/api/v2/tenants/default_tenant/databases".to_owned(),
        ];
        let lists = lists
            .iter()
            .map(|path| self.server.get(path).text().to_owned());
        lists.chain([got.text().to_owned()]).collect()
    }

    /// Sends every case; those that were not refused as they should.
    fn send(&self, cases: &[Case]) -> Vec<String> {
        let state = self.state();
        let mut wrong = Vec::new();
        for case in cases {
            let headers: Vec<&str> = case.headers.iter().map(String::as_str).collect();
            let mut connection = self.server.connect();
            let answer = connection.request(case.method, &case.path, &headers, &case.body);
            let mut complain =
                |what: &str| wrong.push(format!("{what}: {}: {}", case.shown(), answer.text()));
            if !case.statuses.contains(&answer.status) {
                complain(&format!("{} and not {:?}", answer.status, case.statuses));
            } else if serde_json::from_str::<serde_json::Value>(answer.text()).map_or(
                true,
                |body| {
                    let text =
                        |name: &str| body[name].as_str().is_some_and(|text| !text.is_empty());
                    !text("error") || !text("message")
                },
            ) {
                complain("not an error in JSON");
            }
            if self.state() != state {
                complain("something changed");
                break;
            }
        }
        wrong
    }
}

#[track_caller]
fn check(cases: &[Case], target: &Target) {
    let wrong = target.send(cases);
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

#[test]
fn hostile_records_are_refused_and_change_nothing() {
    let target = Target::new();
    check(&records::cases(&target.records), &target);
}

#[test]
fn hostile_streams_are_refused_and_change_nothing() {
    let target = Target::new();
    check(&arrow::cases(&target.records), &target);
}

#[test]
fn hostile_filters_are_refused_and_change_nothing() {
    let target = Target::new();
    check(&filters::cases(&target.records), &target);
}

#[test]
fn hostile_reads_are_refused_and_change_nothing() {
    let target = Target::new();
    check(&reads::cases(&target.records), &target);
}

#[test]
fn hostile_collections_and_paths_are_refused_and_change_nothing() {
    let target = Target::new();
    check(&collections::cases(&target.records), &target);
}

#[test]
fn the_table_is_long() {
    let cases = [
        records::cases,
        filters::cases,
        reads::cases,
        collections::cases,
    ];
    let count: usize = cases.iter().map(|cases| cases("").len()).sum();
    assert!(count >= 300, "{count} cases");
}
