//! `vermilion curation`: what a model sees goes to a server, and what it tells of it comes back.
//!
//! What must stay true: with `--json`, standard output is the server's own answer; what is sent can be
//! sent again, and changes nothing by it.

mod download;
mod lines;
mod retrain;
mod server;
mod show;
mod triggers;
mod upload;

use serde_json::{Map, Value, json};
use vermilion_protocol::ascii::encoded;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::arguments::{
    Curation, CurationCommand, Drift, Recommend, RetrainCommand, ShouldUpload, TriggerCommand,
};
use crate::console::{say, write};
use crate::failure::Failure;
use crate::inspect::tree;
use crate::transfer::Progress;
use lines::Lines;
use server::{MADE_LATER, Server};

/// Entries of a page of recommendations at most.
const PAGE_MAX: usize = 1000;
/// Vectors that are assessed in one request.
const ASSESSED_AT_ONCE: usize = 1000;
/// How often a list is begun again that changes while it is read.
const TRIES: usize = 3;
/// How often the first list of a large space is asked for while it is made, and for how long its making may
/// seem to stand still.
const LOOK: Duration = Duration::from_millis(250);
/// See [`LOOK`].
const STANDS_STILL: Duration = Duration::from_mins(2);

/// Runs `vermilion curation`.
pub(crate) fn curation(asked: &Curation) -> Result<(), Failure> {
    let server = Server::new(asked)?;
    match &asked.what {
        CurationCommand::Log { file, head } => {
            let sent = upload::log(&server, file, head)?;
            tell(asked, &sent, || show::sent(&sent))
        }
        CurationCommand::Upload(request) => {
            let sent = upload::upload(&server, request)?;
            tell(asked, &sent, || show::sent(&sent))
        }
        CurationCommand::ShouldUpload(request) => {
            let told = should_upload(&server, request)?;
            tell(asked, &told, || show::assessments(&told))
        }
        CurationCommand::Spaces => {
            let spaces = all(&server, "/spaces", "spaces")?;
            tell(asked, &spaces, || show::spaces(&spaces))
        }
        CurationCommand::Inspect { space } => {
            let found = server.get(&path(space, ""))?;
            tell(asked, &found, || as_tree(&found))
        }
        CurationCommand::Recommend(request) => {
            let list = recommend(&server, request)?;
            tell(asked, &list, || show::recommendations(&list))
        }
        CurationCommand::Issues { space, kind, limit } => {
            let of_type = kind
                .as_deref()
                .map(|kind| format!("&type={}", encoded(kind)));
            let query = format!("/issues?limit={limit}{}", of_type.unwrap_or_default());
            let found = server.get(&path(space, &query))?;
            tell(asked, &found, || show::issues(&found))
        }
        CurationCommand::Signals { space } => {
            let found = server.get(&path(space, "/signals"))?;
            tell(asked, &found, || show::signals(&found))
        }
        CurationCommand::Explain { space, id } => {
            let found = server.get(&path(space, &format!("/records/{}/explain", encoded(id))))?;
            tell(asked, &found, || as_tree(&found))
        }
        CurationCommand::Drift(request) => {
            let found = server.get(&path(&request.space, &drift_query(request)))?;
            tell(asked, &found, || show::drift(&found))
        }
        CurationCommand::Status => {
            let status = server.get_of_all("/status")?;
            tell(asked, &status, || show::status(&status))
        }
        CurationCommand::Pause { component } => switch(asked, &server, component, "pause"),
        CurationCommand::Resume { component } => switch(asked, &server, component, "resume"),
        CurationCommand::Report {
            space,
            file,
            format,
        } => report(asked, &server, space, file.as_deref(), format.as_deref()),
        CurationCommand::Export(request) => {
            let saved = download::export(&server, request)?;
            tell(asked, &saved, || show::saved(&saved))
        }
        CurationCommand::Map(request) => {
            let saved = download::map(&server, request)?;
            tell(asked, &saved, || show::saved(&saved))
        }
        CurationCommand::Trigger { what } => trigger(asked, &server, what),
        CurationCommand::Retrain { what } => retraining(asked, &server, what),
    }
}

fn trigger(asked: &Curation, server: &Server, what: &TriggerCommand) -> Result<(), Failure> {
    match what {
        TriggerCommand::Add(request) => {
            let made = triggers::add(server, request)?;
            tell(asked, &made, || show::made_trigger(&made))
        }
        TriggerCommand::List { space } => {
            let found = all(server, &path(space, "/triggers"), "triggers")?;
            tell(asked, &found, || show::triggers(&found))
        }
        TriggerCommand::Remove { space, trigger } => {
            let ended = triggers::remove(server, space, trigger)?;
            tell(asked, &ended, || format!("trigger {trigger} has ended\n"))
        }
    }
}

fn retraining(asked: &Curation, server: &Server, what: &RetrainCommand) -> Result<(), Failure> {
    let one = match what {
        RetrainCommand::List(request) => {
            let found = triggers::retrainings(server, request)?;
            return tell(asked, &found, || show::retrainings(&found));
        }
        RetrainCommand::Claim(claim) => retrain::claim(server, claim)?,
        RetrainCommand::Start(request) => triggers::start(server, request)?,
        RetrainCommand::Cancel { retraining } => triggers::cancel(server, retraining)?,
    };
    tell(asked, &one, || show::retraining(&one))
}

/// Prints an answer: as it is, or as `text` makes it readable.
fn tell(asked: &Curation, answer: &Value, text: impl FnOnce() -> String) -> Result<(), Failure> {
    if asked.json {
        return say(&serde_json::to_string_pretty(answer).expect("a JSON value is always writable"));
    }
    write(text().as_bytes())
}

/// An answer as lines, what is in what by how far they stand in.
fn as_tree(answer: &Value) -> String {
    let mut text = String::new();
    tree(answer, 0, &mut text);
    text
}

/// The path of something of a space.
fn path(space: &str, rest: &str) -> String {
    format!("/spaces/{}{rest}", encoded(space))
}

/// Pauses or resumes a component; the answer is the state of all.
fn switch(asked: &Curation, server: &Server, component: &str, how: &str) -> Result<(), Failure> {
    let path = format!("/service/{}/{how}", encoded(component));
    let answer = server.post_to_all(&path)?;
    tell(asked, &answer, || show::status(&answer))
}

/// The query string of a drift.
fn drift_query(asked: &Drift) -> String {
    let alpha = asked.alpha.map(|alpha| alpha.to_string());
    let said = [
        ("window", &asked.window),
        ("from", &asked.from),
        ("to", &asked.to),
        ("reference", &asked.reference),
        ("bucket", &asked.bucket),
        ("alpha", &alpha),
    ];
    let said = said
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_deref()?))));
    format!("/drift?{}", said.collect::<Vec<_>>().join("&"))
}

/// Writes a report to a file, or to standard output.
fn report(
    asked: &Curation,
    server: &Server,
    space: &str,
    file: Option<&Path>,
    format: Option<&str>,
) -> Result<(), Failure> {
    let ending = file
        .and_then(Path::extension)
        .and_then(|ending| ending.to_str());
    let format = match (format, asked.json) {
        (Some(format), _) => format,
        (None, true) => "json",
        (None, false) => ending.unwrap_or("md"),
    };
    let page = server.get_text(&path(space, &format!("/report?format={}", encoded(format))))?;
    let Some(file) = file else {
        return write(page.as_bytes());
    };
    std::fs::write(file, page)
        .map_err(|error| Failure::from(error).context(format!("cannot write {}", file.display())))
}

/// Every entry of a listing, page by page, as its `member`.
fn all(server: &Server, listing: &str, member: &str) -> Result<Value, Failure> {
    let mut found: Vec<Value> = Vec::new();
    loop {
        let page = server.get(&format!("{listing}?limit=100&offset={}", found.len()))?;
        let entries = page[member].as_array().cloned().unwrap_or_default();
        let is_last = entries.is_empty();
        found.extend(entries);
        if is_last || found.len() as u64 >= page["total"].as_u64().unwrap_or(0) {
            return Ok(json!({"total": found.len(), member: found}));
        }
    }
}

fn recommend(server: &Server, asked: &Recommend) -> Result<Value, Failure> {
    let filter = asked.filter.as_deref().map(|text| {
        serde_json::from_str::<Value>(text)
            .map_err(|error| Failure::usage(format!("--where is no JSON: {error}")))
    });
    let said = json!({
        "objective": asked.objective,
        "where": filter.transpose()?,
        "datasets": (!asked.datasets.is_empty()).then_some(&asked.datasets),
        "candidates": asked.candidates,
        "per_class_cap": asked.per_class_cap,
        "per_group_cap": asked.per_group_cap,
        "random_share": asked.random_share,
        "seed": asked.seed,
        "allow_degraded": asked.allow_degraded,
    });
    for attempt in 1.. {
        if let Some(list) = list(server, &asked.space, asked.n, &said, attempt < TRIES)? {
            return Ok(list);
        }
    }
    unreachable!("the last try answers or fails")
}

/// The head of a list, page by page; nothing where it changed meanwhile and may be begun again.
fn list(
    server: &Server,
    space: &str,
    n: usize,
    said: &Value,
    may_change: bool,
) -> Result<Option<Value>, Failure> {
    let mut entries: Vec<Value> = Vec::new();
    let mut body = said.clone();
    loop {
        body["n"] = json!((n - entries.len()).min(PAGE_MAX));
        let (status, answer) = page(server, space, &body)?;
        if status == 409 && may_change && answer["error"] == "cursor_expired" {
            return Ok(None);
        }
        let mut page = server::taken(status, answer)?;
        entries.extend(
            page["recommendations"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
        );
        if page["cursor"].is_null() || entries.len() >= n {
            page["recommendations"] = Value::Array(entries);
            return Ok(Some(page));
        }
        body["cursor"] = page["cursor"].take();
    }
}

/// A page of a list. The first list of a large space is made in the background: it is waited for as long
/// as that goes on.
fn page(server: &Server, space: &str, body: &Value) -> Result<(u16, Value), Failure> {
    let mut progress: Option<Progress> = None;
    let (mut done, mut since) = (0, Instant::now());
    loop {
        let (status, answer) = server.try_post(&path(space, "/recommendations"), body)?;
        if status != MADE_LATER {
            progress.map(Progress::finish);
            return Ok((status, answer));
        }
        let making = |name: &str| answer["making"][name].as_u64().unwrap_or(0);
        if making("done") != done {
            (done, since) = (making("done"), Instant::now());
            progress
                .get_or_insert_with(|| Progress::start("making the list", making("of")))
                .at(done, done);
        } else if since.elapsed() > STANDS_STILL {
            let hint = "`GET /curation/v1/status` tells whether `lists` is paused or has failed";
            return Err(Failure::new("the list of the space is not being made").hint(hint));
        }
        std::thread::sleep(LOOK);
    }
}

/// Assesses the lines of a file, some at a time; each answer has the line's `input_uri`.
fn should_upload(server: &Server, asked: &ShouldUpload) -> Result<Value, Failure> {
    let mut lines = Lines::open(&asked.file)?;
    let mut assessed: Vec<Value> = Vec::new();
    let mut as_of = Value::Null;
    loop {
        let mut rows: Vec<Map<String, Value>> = Vec::new();
        while rows.len() < ASSESSED_AT_ONCE
            && let Some(line) = lines.next()?
        {
            rows.push(lines.object(&line)?);
        }
        if rows.is_empty() {
            return Ok(json!({"assessments": assessed, "as_of": as_of}));
        }
        let mut body = columns(&rows, lines.head(), &asked.class_names);
        let before = assessed.len();
        let (status, mut answer) = server.try_post(&path(&asked.space, "/assess"), &body.take())?;
        server::shift(&mut answer, before);
        let mut answer = server::taken(status, answer)?;
        let told = answer["assessments"].as_array_mut().map(std::mem::take);
        for (mut one, row) in told.unwrap_or_default().into_iter().zip(rows) {
            one["input_uri"] = row.get("input_uri").cloned().unwrap_or_default();
            assessed.push(one);
        }
        as_of = answer["as_of"].take();
    }
}

/// The body of an assessment of `rows`.
fn columns(rows: &[Map<String, Value>], head: &Map<String, Value>, names: &[String]) -> Value {
    let column = |name: &str| -> Value {
        rows.iter()
            .map(|row| row.get(name).cloned().unwrap_or_default())
            .collect()
    };
    let mut body = json!({ "embeddings": column("embedding") });
    for (plural, name) in [
        ("inference_classes", "inference_class"),
        ("probabilities", "probabilities"),
        ("logits", "logits"),
    ] {
        if rows.iter().any(|row| row.contains_key(name)) {
            body[plural] = column(name);
        }
    }
    if !names.is_empty() {
        body["class_names"] = json!(names);
    } else if let Some(names) = head.get("class_names") {
        body["class_names"] = names.clone();
    }
    body
}
