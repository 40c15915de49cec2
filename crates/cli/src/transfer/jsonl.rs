//! Records in JSONL: one JSON object a line, plain or compressed by zstd.
//!
//! What must stay true: a wrong line is named by its number; nothing of a line is passed over: members other
//! than those of records are metadata under their names.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Record;
use crate::failure::Failure;
use crate::files;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads records line by line.
pub(crate) struct JsonlReader {
    input: Box<dyn BufRead>,
    name: String,
    line: u64,
    text: Vec<u8>,
    consumed: Arc<AtomicU64>,
    to_embed: bool,
}

/// Counts the bytes that were read of a file.
struct Counting<R> {
    inner: R,
    consumed: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.consumed.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// A line as it is read.
#[derive(Deserialize)]
struct Line {
    #[serde(alias = "ids")]
    id: String,
    #[serde(alias = "embeddings")]
    embedding: Option<Vector>,
    embedding_f16: Option<String>,
    #[serde(alias = "documents")]
    document: Option<String>,
    #[serde(alias = "metadatas")]
    metadata: Option<Map<String, Value>>,
    #[serde(alias = "uris")]
    uri: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Vector {
    Numbers(Vec<f32>),
    Base64(String),
}

/// A line as it is written.
#[derive(Serialize)]
struct WrittenLine<'a> {
    id: &'a str,
    embedding: &'a [f32],
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
}

impl JsonlReader {
    /// Opens a file, compressed by zstd or not; with `to_embed` records may have no vector.
    pub(crate) fn open(file: &Path, compressed: bool, to_embed: bool) -> Result<Self, Failure> {
        let name = file.display().to_string();
        let mut reader = Self::over(files::open(file)?, name, compressed)?;
        reader.to_embed = to_embed;
        Ok(reader)
    }

    /// Reads from `input`, which messages call `name`.
    pub(crate) fn over(
        input: impl Read + 'static,
        name: String,
        compressed: bool,
    ) -> Result<Self, Failure> {
        let consumed = Arc::new(AtomicU64::new(0));
        let counting = Counting {
            inner: input,
            consumed: consumed.clone(),
        };
        let input: Box<dyn BufRead> = if compressed {
            Box::new(BufReader::new(zstd::Decoder::new(counting)?))
        } else {
            Box::new(BufReader::with_capacity(1 << 18, counting))
        };
        Ok(Self {
            input,
            name,
            line: 0,
            text: Vec::new(),
            consumed,
            to_embed: false,
        })
    }

    /// Bytes of the file read so far.
    pub(crate) fn consumed(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed)
    }

    /// Passes over `records` records; fails where there are fewer.
    pub(crate) fn skip(&mut self, records: u64) -> Result<(), Failure> {
        for _ in 0..records {
            if !self.next_line()? {
                return Err(files::too_short(&self.name));
            }
        }
        Ok(())
    }

    /// The next record; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, Failure> {
        if !self.next_line()? {
            return Ok(None);
        }
        match parse(&self.text, self.to_embed) {
            Ok(record) => Ok(Some(record)),
            Err(why) => Err(
                Failure::new(format!("{} line {}: {why}", self.name, self.line)).hint(
                    "`vermilion import --help` shows what a line looks like; --embed makes vectors",
                ),
            ),
        }
    }

    /// Reads the next line that is not blank.
    fn next_line(&mut self) -> Result<bool, Failure> {
        loop {
            self.text.clear();
            let count = files::read_line(&mut self.input, &self.name, &mut self.text)?;
            self.line += 1;
            if count == 0 {
                return Ok(false);
            }
            // Programs of Windows mark a file as UTF-8 by its first bytes.
            if self.line == 1 && self.text.starts_with(BYTE_ORDER_MARK) {
                self.text.drain(..BYTE_ORDER_MARK.len());
            }
            if !self.text.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }
}

/// Writes one record as one line.
pub(crate) fn write_line(output: &mut impl Write, record: &Record) -> io::Result<()> {
    let line = WrittenLine {
        id: &record.id,
        embedding: &record.embedding,
        document: record.document.as_deref(),
        metadata: record.metadata.as_ref(),
        uri: record.uri.as_deref(),
    };
    serde_json::to_writer(&mut *output, &line)?;
    output.write_all(b"\n")
}

/// The id of a written line; `None` where the line is no whole record.
pub(crate) fn id_of_line(line: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Id {
        id: String,
    }
    serde_json::from_slice::<Id>(line).ok().map(|line| line.id)
}

/// The numbers of a base64 text of little-endian 16-bit floats.
pub(crate) fn decode_half(text: &str) -> Result<Vec<f32>, String> {
    let bytes = decode(text, 2)?;
    let halves = bytes.as_chunks::<2>().0.iter();
    Ok(halves
        .map(|pair| half::f16::from_le_bytes(*pair).to_f32())
        .collect())
}

fn decode_single(text: &str) -> Result<Vec<f32>, String> {
    let bytes = decode(text, 4)?;
    Ok(bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|four| f32::from_le_bytes(*four))
        .collect())
}

fn decode(text: &str, width: usize) -> Result<Vec<u8>, String> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|error| format!("the embedding is no base64: {error}"))?;
    if bytes.len() % width != 0 {
        return Err(format!(
            "the embedding has {} bytes, which is no whole number of {width}-byte floats",
            bytes.len()
        ));
    }
    Ok(bytes)
}

fn parse(text: &[u8], to_embed: bool) -> Result<Record, String> {
    // Without its end, so that the reader never says that it is on a second line.
    let line: Line = serde_json::from_slice(text.trim_ascii_end()).map_err(|error| {
        let text = error.to_string();
        // Of the place, only the column says something: the text is one line.
        text.replace(" at line 1 column", " at column")
    })?;
    let embedding = match (line.embedding, line.embedding_f16) {
        (Some(_), Some(_)) => {
            return Err("a record has `embedding` or `embedding_f16`, not both".to_owned());
        }
        (Some(Vector::Numbers(numbers)), None) => numbers,
        (Some(Vector::Base64(text)), None) => decode_single(&text)?,
        (None, Some(text)) => decode_half(&text)?,
        (None, None) => Vec::new(),
    };
    let mut record = Record {
        id: line.id,
        embedding,
        document: line.document,
        metadata: line.metadata,
        uri: line.uri,
    };
    record.add_metadata(line.others);
    record.validate(to_embed)?;
    Ok(record)
}
