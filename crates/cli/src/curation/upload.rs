//! `vermilion curation log` and `upload`: files of lines go to a server, part by part.
//!
//! What must stay true: each part goes under a key that is made of what is in it and before it. Parts and
//! keys are those that the sessions of Python make (`python/vermilion/curation/buffer.py`), so that each
//! counts once whoever sends it and however often: a change of either is made in both. A file that a
//! living session writes to is left to it, and none is removed before all of it is sent.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use vermilion_protocol::ascii::hexadecimal;

use super::lines::Lines;
use super::server::{self, Server};
use crate::arguments::{Head, Upload};
use crate::console::note;
use crate::failure::Failure;
use crate::files;

/// Lines and bytes of one part at most.
const PART_RECORDS: usize = 5000;
/// See [`PART_RECORDS`].
const PART_BYTES: usize = 16 << 20;
/// Bytes of the digest that make a key: 32 hexadecimal digits.
const KEY_BYTES: usize = 16;

/// Logs a file, or standard input.
pub(super) fn log(server: &Server, file: &Path, said: &Head) -> Result<Value, Failure> {
    let mut head = Map::new();
    let mut say = |name: &str, value: Option<Value>| {
        head.extend(value.map(|value| (name.to_owned(), value)));
    };
    let set = said.embedding_set.as_deref().map(|text| {
        serde_json::from_str::<Value>(text)
            .map_err(|error| Failure::usage(format!("--embedding-set is no JSON: {error}")))
    });
    say("space", said.space.as_ref().map(|text| json!(text)));
    say("embedding_set", set.transpose()?);
    say("context", said.context.as_ref().map(|text| json!(text)));
    say("dataset", said.dataset.as_ref().map(|text| json!(text)));
    say("metric", said.metric.as_ref().map(|text| json!(text)));
    let names = (!said.class_names.is_empty()).then(|| json!(said.class_names));
    say("class_names", names);
    let mut lines = Lines::open(file)?;
    let sent = send(server, &mut lines, head, file)?;
    Ok(json!([sent]))
}

/// Sends files of sessions, in the order in which they are named.
pub(super) fn upload(server: &Server, asked: &Upload) -> Result<Value, Failure> {
    let sessions = if asked.pending {
        pending(&folder(asked.folder.as_deref())?)?
    } else {
        asked.files.clone()
    };
    let mut all = Vec::with_capacity(sessions.len());
    for path in &sessions {
        let file = files::open(path)?;
        if !is_free(&file)? {
            let message = format!("a session that is alive writes to {}", path.display());
            return Err(Failure::new(message).hint("it sends it itself, or leaves it when it ends"));
        }
        let mut lines = Lines::open(path)?;
        all.push(send(server, &mut lines, Map::new(), path)?);
        if asked.remove || asked.pending {
            let doing = || format!("cannot remove {}", path.display());
            fs::remove_file(path).map_err(|error| Failure::from(error).context(doing()))?;
        }
    }
    Ok(Value::Array(all))
}

/// Where sessions keep their files.
fn folder(said: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(folder) = said {
        return Ok(folder.to_owned());
    }
    let named = |name: &str| std::env::var_os(name).filter(|text| !text.is_empty());
    let state = named("XDG_STATE_HOME").map(PathBuf::from);
    let state = state.or_else(|| Some(PathBuf::from(named("HOME")?).join(".local/state")));
    let state = state.ok_or_else(|| {
        Failure::usage("nothing says where sessions keep their files").hint("name it with --folder")
    })?;
    Ok(state.join("vermilion/sessions"))
}

/// Files in `folder` that no session has as its own any more.
fn pending(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let doing = |error| Failure::from(error).context(format!("cannot read {}", folder.display()));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(doing)? {
        let path = entry.map_err(doing)?.path();
        if path.extension().is_some_and(|ending| ending == "jsonl")
            && let Ok(file) = File::open(&path)
            && is_free(&file)?
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Whether no other process has a file as its own; then this one has it until it is closed.
fn is_free(file: &File) -> Result<bool, Failure> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
            Ok(true)
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Sends all lines. What a first line says comes before `said`.
fn send(
    server: &Server,
    lines: &mut Lines,
    mut said: Map<String, Value>,
    path: &Path,
) -> Result<Value, Failure> {
    said.extend(lines.head().clone());
    let base = said.remove("idempotency_key");
    let base = base.as_ref().and_then(Value::as_str).unwrap_or_default();
    let mut last_key = base.to_owned();
    let context = said.get("context").and_then(Value::as_str);
    let context = context.map(str::to_owned);
    let (mut sent, mut last) = (0, Value::Null);
    let mut carried = None;
    loop {
        let (part, records) = next_part(lines, &mut carried, context.as_deref())?;
        if records == 0 {
            break;
        }
        // Of the part before too: what is logged as a, as b and as a again are three parts and not two.
        last_key = key(&last_key, &part);
        said.insert("idempotency_key".to_owned(), json!(last_key));
        let mut body = serde_json::to_vec(&said).expect("a JSON value is always writable");
        body.push(b'\n');
        body.extend_from_slice(&part);
        let (status, mut answer) = server.log(&body)?;
        server::shift(&mut answer, sent);
        last = server::taken(status, answer).map_err(|failure| {
            if sent > 0 {
                note(&format!(
                    "{sent} records were sent; sending them again changes nothing"
                ));
            }
            failure.context(path.display())
        })?;
        sent += records;
    }
    if lines.is_torn() {
        note(&format!(
            "the last line of {} was cut off and left out",
            path.display()
        ));
    }
    Ok(json!({
        "file": path.display().to_string(),
        "records": sent,
        "space": last["space"],
        "embedding_set_key": last["embedding_set_key"],
        "torn": lines.is_torn(),
    }))
}

/// The lines of the next part, and how many they are; a line too many is carried over. A part ends before
/// a record that it already has: the server takes no part that has a record twice, and the later one is
/// to change the earlier. `context` is that of records that have none of their own.
fn next_part(
    lines: &mut Lines,
    carried: &mut Option<Vec<u8>>,
    context: Option<&str>,
) -> Result<(Vec<u8>, usize), Failure> {
    let (mut part, mut records) = (Vec::new(), 0);
    let mut names = HashSet::new();
    loop {
        let next = match carried.take() {
            Some(line) => Some(line),
            None => lines.next()?,
        };
        let Some(line) = next else {
            return Ok((part, records));
        };
        let name = name(&line, context);
        let is_long = records == PART_RECORDS || part.len() + line.len() > PART_BYTES;
        let is_there = name.is_some_and(|name| !names.insert(name));
        if records > 0 && (is_long || is_there) {
            *carried = Some(line);
            return Ok((part, records));
        }
        part.extend_from_slice(&line);
        records += 1;
    }
}

/// What tells a record from others.
#[derive(Deserialize)]
struct Named {
    id: Option<String>,
    input_uri: Option<String>,
    target: Option<String>,
    context: Option<String>,
}

/// The id of a record, its own or the one that the server gives it; `None` where it refuses the line anyway.
/// The digest is that of `crates/curation/src/key.rs`, since an id may be told that the server gave before.
fn name(line: &[u8], context: Option<&str>) -> Option<String> {
    let told: Named = serde_json::from_slice(line).ok()?;
    if told.id.is_some() {
        return told.id;
    }
    let context = told.context.as_deref().or(context)?;
    let named = json!([told.input_uri?, told.target, context]);
    Some(digits(Sha256::new().chain_update(named.to_string())))
}

/// The key of a part that follows the one with the key `before`, or begins what is called so.
fn key(before: &str, part: &[u8]) -> String {
    digits(Sha256::new().chain_update(before).chain_update(part))
}

/// The digits of a key.
fn digits(digest: Sha256) -> String {
    hexadecimal(&digest.finalize()[..KEY_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_cut_by_records_and_by_bytes() {
        let many = "{\"embedding\": [1]}\n".repeat(PART_RECORDS + 3);
        let mut lines = Lines::of(Box::new(std::io::Cursor::new(many)), "f").unwrap();
        let mut carried = None;
        let counts: Vec<usize> = (0..3)
            .map(|_| next_part(&mut lines, &mut carried, None).unwrap().1)
            .collect();
        assert_eq!(counts, [PART_RECORDS, 3, 0]);
        let long = format!("{{\"embedding\": \"{}\"}}\n", "A".repeat(PART_BYTES / 2));
        let mut lines = Lines::of(Box::new(std::io::Cursor::new(long.repeat(2))), "f").unwrap();
        let counts: Vec<usize> = (0..3)
            .map(|_| next_part(&mut lines, &mut carried, None).unwrap().1)
            .collect();
        assert_eq!(counts, [1, 1, 0]);
    }

    /// Records in each part of `text`.
    fn counts(text: String, context: Option<&str>) -> Vec<usize> {
        let mut lines = Lines::of(Box::new(std::io::Cursor::new(text)), "f").unwrap();
        let mut carried = None;
        let parts = std::iter::from_fn(|| {
            let (_, records) = next_part(&mut lines, &mut carried, context).unwrap();
            (records > 0).then_some(records)
        });
        parts.collect()
    }

    #[test]
    fn a_part_ends_before_a_record_that_it_has() {
        let record = |more: &str| format!("{{\"embedding\": [1], {more}}}\n");
        let a = record("\"input_uri\": \"a\"");
        let b = record("\"input_uri\": \"b\"");
        let target = record("\"input_uri\": \"a\", \"target\": \"t\"");
        let test = record("\"input_uri\": \"a\", \"context\": \"test\"");
        let own = record("\"input_uri\": \"b\", \"id\": \"a\"");
        // hashlib.sha256(b'["a",null,"test"]').hexdigest()[:32]
        let given = record("\"input_uri\": \"c\", \"id\": \"82af0bfecbcac325b4758b95931b7e31\"");
        let all = [&a, &b, &target, &own].map(String::as_str).concat();
        assert_eq!(counts(format!("{all}{all}"), Some("test")), [4, 4]);
        assert_eq!(counts(a.repeat(3), Some("test")), [1, 1, 1]);
        assert_eq!(counts(format!("{a}{test}"), Some("test")), [1, 1]);
        assert_eq!(counts(format!("{a}{test}"), Some("training")), [2]);
        assert_eq!(counts(format!("{a}{given}"), Some("test")), [1, 1]);
        assert_eq!(counts(format!("{a}{given}"), Some("training")), [2]);
        // The server has its say on what is no record.
        assert_eq!(counts(a.repeat(2), None), [2]);
        assert_eq!(counts(record("\"id\": 1").repeat(2), None), [2]);
    }

    #[test]
    fn a_key_is_the_one_that_python_makes() {
        // hashlib.sha256(b"s" + b"{}\n").hexdigest()[:32]
        assert_eq!(key("s", b"{}\n"), "322ca9f5c2a78c3009de089b4128e29f");
    }
}
