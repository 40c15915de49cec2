//! `vermilion curation export` and `map`: what a space tells, as a file.
//!
//! What must stay true: a file has its name only when it is whole, and replaces another only where that is
//! asked for.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vermilion_protocol::ascii::encoded;

use super::path;
use super::server::{self, MADE_LATER, Server};
use crate::arguments::{CurationExport, CurationMap};
use crate::failure::Failure;
use crate::files;

/// How often a map that is being made is asked for, and for how long.
const LOOK: Duration = Duration::from_millis(500);
/// See [`LOOK`].
const PATIENCE: Duration = Duration::from_mins(10);

/// Exports the list, issues, training data or records; the answer names the file and its bytes.
pub(super) fn export(server: &Server, asked: &CurationExport) -> Result<Value, Failure> {
    let ending = asked.file.extension().and_then(|ending| ending.to_str());
    let format = asked.format.as_deref().or(ending).unwrap_or("jsonl");
    let query = query(&[
        ("what", Some(&asked.what)),
        ("format", Some(format)),
        ("context", asked.context.as_deref()),
        ("dataset", asked.dataset.as_deref()),
        ("where", asked.filter.as_deref()),
    ]);
    files::check_free(&asked.file, asked.overwrite)?;
    let path = path(&asked.space, &format!("/export{query}"));
    match save(server, &path, &asked.file)? {
        (status, Saved::Refused(answer)) => server::taken(status, answer),
        (_, Saved::Written(bytes)) => Ok(written(&asked.file, bytes)),
    }
}

/// Writes the map as a stream of Arrow, once it is made.
pub(super) fn map(server: &Server, asked: &CurationMap) -> Result<Value, Failure> {
    let points = asked.points.map(|points| points.to_string());
    let query = query(&[
        ("fields", asked.fields.as_deref()),
        ("bounds", asked.bounds.as_deref()),
        ("points", points.as_deref()),
    ]);
    files::check_free(&asked.file, asked.overwrite)?;
    let begun = Instant::now();
    loop {
        match save(
            server,
            &path(&asked.space, &format!("/map{query}")),
            &asked.file,
        )? {
            (_, Saved::Written(bytes)) => return Ok(written(&asked.file, bytes)),
            (MADE_LATER, Saved::Refused(_)) if begun.elapsed() < PATIENCE => {
                std::thread::sleep(LOOK);
            }
            (MADE_LATER, Saved::Refused(_)) => {
                let hint =
                    "`vermilion curation status` tells whether `studies` is paused or has failed";
                return Err(Failure::new("the map is not being made").hint(hint));
            }
            (status, Saved::Refused(answer)) => return server::taken(status, answer),
        }
    }
}

/// A query string of what is told; nothing where nothing is.
fn query(told: &[(&str, Option<&str>)]) -> String {
    let told = told
        .iter()
        .filter_map(|(name, value)| Some((name, (*value)?)));
    let told: Vec<String> = told
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    if told.is_empty() {
        return String::new();
    }
    format!("?{}", told.join("&"))
}

/// What became of a file.
enum Saved {
    /// It has so many bytes.
    Written(u64),
    /// It was not written, for this answer.
    Refused(Value),
}

fn save(server: &Server, path: &str, file: &Path) -> Result<(u16, Saved), Failure> {
    let partial = files::partial(file);
    let saved = server.download(path, || {
        let made = File::create(&partial).map(BufWriter::new);
        made.map_err(|error| files::cannot_write(&partial, error))
    });
    match saved {
        Ok((status, Ok(bytes))) => {
            fs::rename(&partial, file).map_err(|error| files::cannot_write(file, error))?;
            Ok((status, Saved::Written(bytes)))
        }
        Ok((status, Err(answer))) => Ok((status, Saved::Refused(answer))),
        Err(failure) => {
            // What is left of it is of no use; the failure is what matters.
            let _ = fs::remove_file(&partial);
            Err(failure)
        }
    }
}

fn written(file: &Path, bytes: u64) -> Value {
    json!({"file": file.display().to_string(), "bytes": bytes})
}
