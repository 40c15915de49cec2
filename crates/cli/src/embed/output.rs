//! Vectors as they are written: in JSONL with their texts, or as an array of NumPy.
//!
//! What must stay true: a file has its name only when it is whole; until then it is `NAME.partial`, which a
//! failure removes.

use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};

use super::Embedder;
use super::input::Text;
use crate::console;
use crate::failure::Failure;
use crate::files::{self, cannot_write};

/// Bytes of the head of an array, whatever its length.
const HEAD_BYTES: usize = 128;

/// Where vectors go.
pub(super) enum Output {
    Standard,
    File(Written),
}

/// A file that is being written.
pub(super) struct Written {
    file: BufWriter<File>,
    partial: PathBuf,
    path: PathBuf,
    /// Rows of the array so far; `None` for JSONL.
    rows: Option<u64>,
    is_whole: bool,
}

/// A line as it is written.
#[derive(Serialize)]
struct Line<'a> {
    document: &'a str,
    #[serde(flatten)]
    rest: &'a Map<String, Value>,
    embedding: &'a [f32],
}

impl Output {
    /// Creates the file, or writes JSONL to standard output where it is `-`.
    pub(super) fn create(path: &Path, overwrite: bool) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self::Standard);
        }
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        let rows = match &*ending.to_lowercase() {
            "npy" => Some(0),
            "jsonl" | "ndjson" => None,
            _ => {
                let message = format!("{} is no file of a known format", path.display());
                return Err(Failure::usage(message).hint("names end in .jsonl or .npy"));
            }
        };
        files::check_free(path, overwrite)?;
        let partial = files::partial(path);
        let created = File::create(&partial);
        let file = created.map_err(|error| cannot_write(&partial, error))?;
        let mut written = Written {
            file: BufWriter::with_capacity(1 << 18, file),
            partial,
            path: path.to_owned(),
            rows,
            is_whole: false,
        };
        if rows.is_some() {
            written.put(&head(0))?;
        }
        Ok(Self::File(written))
    }

    /// Writes texts, whose vectors stand in `block` one after the other.
    pub(super) fn write(&mut self, texts: &[Text], block: &[f32]) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        if let Self::File(Written {
            rows: Some(rows), ..
        }) = self
        {
            *rows += texts.len() as u64;
            bytes.extend(block.iter().flat_map(|number| number.to_le_bytes()));
        } else {
            let vectors = block.chunks_exact(Embedder::DIMENSION);
            for (Text { document, rest }, embedding) in texts.iter().zip(vectors) {
                let line = Line {
                    document,
                    rest,
                    embedding,
                };
                serde_json::to_writer(&mut bytes, &line).expect("a line is always valid JSON");
                bytes.push(b'\n');
            }
        }
        match self {
            Self::Standard => console::write(&bytes),
            Self::File(written) => written.put(&bytes),
        }
    }

    /// Gives the file its name.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let Self::File(mut written) = self else {
            return Ok(());
        };
        if let Some(rows) = written.rows {
            let begun = written.file.seek(SeekFrom::Start(0));
            begun.map_err(|error| cannot_write(&written.partial, error))?;
            written.put(&head(rows))?;
        }
        let kept = written.file.flush();
        let kept = kept.and_then(|()| written.file.get_ref().sync_all());
        let kept = kept.and_then(|()| fs::rename(&written.partial, &written.path));
        kept.map_err(|error| cannot_write(&written.partial, error))?;
        written.is_whole = true;
        Ok(())
    }
}

impl Written {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let put = self.file.write_all(bytes);
        put.map_err(|error| cannot_write(&self.partial, error))
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if !self.is_whole {
            // Nobody can do more about a file that cannot be removed either.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// The head of a file of NumPy (format 1.0) with `rows` vectors: as long whatever their number, so that it
/// can be written again at the end.
pub(super) fn head(rows: u64) -> [u8; HEAD_BYTES] {
    let dimension = Embedder::DIMENSION;
    let told =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dimension}), }}");
    let mut bytes = [b' '; HEAD_BYTES];
    bytes[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
    bytes[8..10].copy_from_slice(&(HEAD_BYTES as u16 - 10).to_le_bytes());
    bytes[10..10 + told.len()].copy_from_slice(told.as_bytes());
    bytes[HEAD_BYTES - 1] = b'\n';
    bytes
}
