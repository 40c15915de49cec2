//! Files of lines of JSON, each a record; a first line without an `embedding` says what holds for all.
//!
//! What must stay true: a wrong line is named by its number. Only a last line that has no end may be cut
//! off: whoever wrote it was stopped there.

use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::files;

/// The records of a file, line by line.
pub(super) struct Lines {
    input: Box<dyn BufRead>,
    name: String,
    number: u64,
    head: Map<String, Value>,
    /// The first line, where it is a record.
    held: Option<Vec<u8>>,
    is_torn: bool,
}

impl Lines {
    /// Opens a file, or standard input for `-`.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        if name == "-" {
            return Self::of(Box::new(BufReader::new(io::stdin())), "standard input");
        }
        Self::of(Box::new(BufReader::new(files::open(path)?)), &name)
    }

    /// The lines of `input`, called `name` in failures.
    pub(super) fn of(input: Box<dyn BufRead>, name: &str) -> Result<Self, Failure> {
        let mut lines = Self {
            input,
            name: name.to_owned(),
            number: 0,
            head: Map::new(),
            held: None,
            is_torn: false,
        };
        if let Some(first) = lines.next()? {
            let members = lines.object(&first)?;
            if members.contains_key("embedding") {
                lines.held = Some(first);
            } else {
                lines.head = members;
            }
        }
        Ok(lines)
    }

    /// What holds for all records.
    pub(super) fn head(&self) -> &Map<String, Value> {
        &self.head
    }

    /// Whether the last line was cut off; known once all lines are read.
    pub(super) fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// The next record, with the end of its line.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if let Some(first) = self.held.take() {
            return Ok(Some(first));
        }
        loop {
            let mut line = Vec::new();
            if files::read_line(&mut self.input, &self.name, &mut line)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if !line.ends_with(b"\n") {
                if serde_json::from_slice::<Value>(&line).is_err() {
                    self.is_torn = true;
                    return Ok(None);
                }
                line.push(b'\n');
            }
            let text = line.trim_ascii();
            if text.is_empty() {
                continue;
            }
            if !text.starts_with(b"{") {
                self.object(text)?;
            }
            return Ok(Some(line));
        }
    }

    /// A line as an object.
    pub(super) fn object(&self, line: &[u8]) -> Result<Map<String, Value>, Failure> {
        serde_json::from_slice(line).map_err(|error| {
            let place = format!("line {} of {}", self.number, self.name);
            Failure::new(format!("{place} is no object of JSON: {error}"))
                .hint("each line is a record, with an embedding and an input_uri")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &'static str) -> Result<Lines, Failure> {
        Lines::of(Box::new(text.as_bytes()), "f")
    }

    #[test]
    fn a_head_is_told_from_records_and_a_torn_end_is_left_out() {
        let mut read = lines("{\"space\": \"s\"}\n\n{\"embedding\": [1]}\n{\"embed").unwrap();
        assert_eq!(read.head()["space"], "s");
        assert_eq!(read.next().unwrap().unwrap(), b"{\"embedding\": [1]}\n");
        assert!(read.next().unwrap().is_none() && read.is_torn());
        let mut read = lines("{\"embedding\": [1]}").unwrap();
        assert!(read.head().is_empty());
        assert_eq!(read.next().unwrap().unwrap(), b"{\"embedding\": [1]}\n");
        assert!(read.next().unwrap().is_none() && !read.is_torn());
        assert!(lines("").unwrap().next().unwrap().is_none());
    }

    #[test]
    fn wrong_lines_are_named() {
        assert!(
            lines("[1]\n")
                .err()
                .unwrap()
                .to_string()
                .contains("line 1 of f")
        );
        let mut read = lines("{\"embedding\": [1]}\n\nno\n").unwrap();
        read.next().unwrap();
        assert!(read.next().unwrap_err().to_string().contains("line 3 of f"));
    }
}
