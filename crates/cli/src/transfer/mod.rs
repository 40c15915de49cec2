//! Import and export: records between files and collections.
//!
//! What must stay true: a batch is written whole or not at all, and an import that was cut off goes
//! on after the last batch that was acknowledged. Records are the same whichever file format and
//! whichever place (a folder, a server) they pass through.

#[cfg(feature = "parquet")]
mod cells;
mod csv;
mod embedded;
mod export;
mod import;
mod jsonl;
mod metadata;
#[cfg(feature = "parquet")]
mod parquet;
mod place;
mod progress;
mod record;
mod remote;
mod state;

#[cfg(test)]
mod tests;

use std::path::Path;

pub(crate) use embedded::schema_of;
pub(crate) use export::export;
pub(crate) use import::import;
pub(crate) use jsonl::{JsonlReader, decode_half};
pub(crate) use place::Collection;
pub(crate) use progress::Progress;
pub(crate) use record::{Record, to_batch};
#[cfg(feature = "object-store")]
pub(crate) use remote::usual;
pub(crate) use remote::{broke_off, cannot_reach, get as fetch, patiently, reach, refusal};

use crate::failure::Failure;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Jsonl,
    CompressedJsonl,
    Csv,
    Parquet,
}

/// The format that the name of a file tells.
fn format_of(file: &Path) -> Result<Format, Failure> {
    let name = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if ends(&[".jsonl", ".ndjson", ".json"]) {
        Ok(Format::Jsonl)
    } else if ends(&[".jsonl.zst", ".ndjson.zst", ".json.zst"]) {
        Ok(Format::CompressedJsonl)
    } else if ends(&[".csv"]) {
        Ok(Format::Csv)
    } else if ends(&[".parquet"]) {
        if cfg!(feature = "parquet") {
            Ok(Format::Parquet)
        } else {
            Err(Failure::new("this program was built without Parquet")
                .hint("build it with the feature `parquet`, or use JSONL"))
        }
    } else {
        Err(
            Failure::usage(format!("{} is no file of a known format", file.display()))
                .hint("names end in .jsonl, .jsonl.zst, .csv or .parquet"),
        )
    }
}
