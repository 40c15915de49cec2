//! The texts that are to become vectors.
//!
//! What must stay true: a wrong line is named by its number; every line of a plain file is a text, an empty
//! one too, so that the rows of an array are the lines of the file.

use std::io::{BufRead, BufReader, Read, stdin};
use std::path::Path;

use serde_json::{Map, Value};

use crate::arguments::Embed;
use crate::failure::Failure;
use crate::files;

/// Bytes of texts at which a batch ends even if it is not full.
const BATCH_BYTES: usize = 16 << 20;

/// A text, and what is written beside it.
#[derive(Debug, PartialEq)]
pub(super) struct Text {
    pub(super) document: String,
    /// The other members of its line.
    pub(super) rest: Map<String, Value>,
}

impl Text {
    fn alone(document: String) -> Self {
        let rest = Map::new();
        Self { document, rest }
    }
}

/// Where texts come from.
pub(super) enum Input {
    /// The command line.
    Given(std::vec::IntoIter<String>),
    /// A file, or standard input.
    Lines(Lines),
}

/// Lines that are texts or JSON.
pub(super) struct Lines {
    input: Box<dyn BufRead>,
    name: String,
    jsonl: bool,
    line: u64,
    consumed: u64,
    bytes: u64,
}

impl Input {
    pub(super) fn open(arguments: &Embed) -> Result<Self, Failure> {
        if !arguments.texts.is_empty() {
            return Ok(Self::Given(arguments.texts.clone().into_iter()));
        }
        let file = &arguments.file;
        if file == Path::new("-") {
            let name = "standard input".to_owned();
            return Ok(Self::Lines(Lines::over(stdin(), name, arguments.jsonl)));
        }
        let name = file.display().to_string();
        let opened = files::open(file)?;
        let bytes = opened.metadata()?.len();
        let ending = file.extension().unwrap_or_default().to_string_lossy();
        let jsonl = arguments.jsonl || ["jsonl", "ndjson"].contains(&&*ending.to_lowercase());
        let mut lines = Lines::over(opened, name, jsonl);
        lines.bytes = bytes;
        Ok(Self::Lines(lines))
    }

    /// Bytes of the file, 0 where that is not known.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Given(_) => 0,
            Self::Lines(lines) => lines.bytes,
        }
    }

    /// Bytes of it that were read.
    pub(super) fn consumed(&self) -> u64 {
        match self {
            Self::Given(_) => 0,
            Self::Lines(lines) => lines.consumed,
        }
    }

    /// The next texts, at most `count`; none at the end.
    pub(super) fn batch(&mut self, count: usize) -> Result<Vec<Text>, Failure> {
        let lines = match self {
            Self::Given(texts) => return Ok(texts.take(count).map(Text::alone).collect()),
            Self::Lines(lines) => lines,
        };
        let (mut texts, begun) = (Vec::new(), lines.consumed);
        while texts.len() < count && lines.consumed - begun < BATCH_BYTES as u64 {
            let Some(text) = lines.next()? else { break };
            texts.push(text);
        }
        Ok(texts)
    }
}

impl Lines {
    /// Reads from `input`, which messages call `name`.
    pub(super) fn over(input: impl Read + 'static, name: String, jsonl: bool) -> Self {
        Self {
            input: Box::new(BufReader::new(input)),
            name,
            jsonl,
            line: 0,
            consumed: 0,
            bytes: 0,
        }
    }

    fn next(&mut self) -> Result<Option<Text>, Failure> {
        loop {
            let mut line = Vec::new();
            let count = files::read_line(&mut self.input, &self.name, &mut line)?;
            if count == 0 {
                return Ok(None);
            }
            self.line += 1;
            self.consumed += count as u64;
            let line = String::from_utf8(line).map_err(|_| self.wrong("it is no UTF-8"))?;
            let line = line.strip_suffix('\n').unwrap_or(&line);
            let line = line.strip_suffix('\r').unwrap_or(line);
            if !self.jsonl {
                return Ok(Some(Text::alone(line.to_owned())));
            }
            if !line.trim().is_empty() {
                return parse(line).map(Some).map_err(|why| self.wrong(&why));
            }
        }
    }

    fn wrong(&self, why: &str) -> Failure {
        Failure::new(format!("{} line {}: {why}", self.name, self.line))
            .hint("`vermilion embed --help` shows what a line looks like")
    }
}

fn parse(line: &str) -> Result<Text, String> {
    match serde_json::from_str(line) {
        Ok(Value::String(text)) => Ok(Text::alone(text)),
        Ok(Value::Object(mut rest)) => match rest.remove("document") {
            Some(Value::String(document)) => {
                // A vector that is there is made anew.
                rest.remove("embedding");
                rest.remove("embedding_f16");
                Ok(Text { document, rest })
            }
            Some(_) => Err("its `document` is no text".to_owned()),
            None => Err("it has no `document`".to_owned()),
        },
        Ok(_) => Err("it is neither a text nor an object with a `document`".to_owned()),
        Err(error) => Err(error.to_string().replace(" at line 1 column", " at column")),
    }
}
