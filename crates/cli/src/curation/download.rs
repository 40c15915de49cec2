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

/// Exports the list, issues or training data; the answer names the file and its bytes.
pub(super) fn export(server: &Server, asked: &CurationExport) -> Result<Value, Failure> {
    let ending = asked.file.extension().and_then(|ending| ending.to_str());
    let format = asked.format.as_deref().or(ending).unwrap_or("jsonl");
    let query = format!(
        "/export?what={}&format={}",
        encoded(&asked.what),
        encoded(format)
    );
    files::check_free(&asked.file, asked.overwrite)?;
    match save(server, &path(&asked.space, &query), &asked.file)? {
        (status, Saved::Refused(answer)) => server::taken(status, answer),
        (_, Saved::Written(bytes)) => Ok(written(&asked.file, bytes)),
    }
}

/// Writes the map as a stream of Arrow, once it is made.
pub(super) fn map(server: &Server, asked: &CurationMap) -> Result<Value, Failure> {
    let fields = asked.fields.as_deref();
    let query = fields.map_or_else(String::new, |fields| format!("?fields={}", encoded(fields)));
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
