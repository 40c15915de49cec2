//! Records in CSV (RFC 4180): a head of columns, then a record in each row.
//!
//! What must stay true: a wrong row is named by its line; nothing of a row is passed over. Columns other than
//! those of records are metadata under their names, and a cell that is a number or a truth value as JSON
//! writes them is one; others are texts, and empty ones are left out.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::{Map, Value};

use super::Record;
use super::record::member_named;
use crate::failure::Failure;
use crate::files;

/// Reads records row by row.
pub(super) struct CsvReader {
    input: Box<dyn BufRead>,
    name: String,
    columns: Vec<String>,
    /// Lines read, and the one on which the row began that was read last.
    lines: u64,
    line: u64,
    consumed: u64,
    to_embed: bool,
}

impl CsvReader {
    /// Opens a file; with `to_embed` records may have no vector.
    pub(super) fn open(file: &Path, to_embed: bool) -> Result<Self, Failure> {
        let name = file.display().to_string();
        Self::over(files::open(file)?, name, to_embed)
    }

    /// Reads from `input`, which messages call `name`.
    pub(super) fn over(
        input: impl Read + 'static,
        name: String,
        to_embed: bool,
    ) -> Result<Self, Failure> {
        let mut reader = Self {
            input: Box::new(BufReader::with_capacity(1 << 18, input)),
            name,
            columns: Vec::new(),
            lines: 0,
            line: 0,
            consumed: 0,
            to_embed,
        };
        let head = reader.next_row()?.unwrap_or_default();
        let head = head.strip_prefix('\u{feff}').unwrap_or(&head);
        let columns = fields(head).and_then(|columns| check_columns(&columns).map(|()| columns));
        reader.columns = columns.map_err(|why| reader.wrong(&why))?;
        Ok(reader)
    }

    /// Bytes of the file read so far.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Passes over `records` records; fails where there are fewer.
    pub(super) fn skip(&mut self, records: u64) -> Result<(), Failure> {
        for _ in 0..records {
            if self.next_row()?.is_none() {
                return Err(files::too_short(&self.name));
            }
        }
        Ok(())
    }

    /// The next record; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record>, Failure> {
        let Some(row) = self.next_row()? else {
            return Ok(None);
        };
        let record = fields(&row).and_then(|cells| self.record(cells));
        record.map(Some).map_err(|why| self.wrong(&why))
    }

    /// The text of the next row that is not blank: its lines, as long as quotes are open.
    fn next_row(&mut self) -> Result<Option<String>, Failure> {
        let (mut row, mut open) = (Vec::new(), false);
        loop {
            let before = row.len();
            if row.is_empty() {
                self.line = self.lines + 1;
            }
            let count = files::read_line(&mut self.input, &self.name, &mut row)?;
            self.lines += 1;
            self.consumed += count as u64;
            let parts = row[before..].split(|&byte| byte == b'"').count();
            open ^= parts.is_multiple_of(2);
            if count == 0 && open {
                return Err(self.wrong("a quote is not closed"));
            }
            if count == 0 {
                return Ok(None);
            }
            if row.trim_ascii().is_empty() {
                row.clear();
            } else if !open {
                let row = String::from_utf8(row).map_err(|_| self.wrong("it is no UTF-8"))?;
                let row = row.strip_suffix('\n').unwrap_or(&row);
                return Ok(Some(row.strip_suffix('\r').unwrap_or(row).to_owned()));
            }
        }
    }

    fn record(&self, cells: Vec<String>) -> Result<Record, String> {
        if cells.len() != self.columns.len() {
            return Err(format!(
                "it has {} cells, and there are {} columns",
                cells.len(),
                self.columns.len()
            ));
        }
        let mut record = Record::default();
        let mut others = Map::new();
        let columns = self.columns.iter().zip(cells);
        for (column, cell) in columns.filter(|(_, cell)| !cell.is_empty()) {
            match member_named(column) {
                "id" => record.id = cell,
                "document" => record.document = Some(cell),
                "uri" => record.uri = Some(cell),
                "embedding" => {
                    record.embedding = serde_json::from_str(&cell)
                        .map_err(|_| "its embedding is no list of numbers".to_owned())?;
                }
                "metadata" => {
                    let cells: Map<String, Value> = serde_json::from_str(&cell)
                        .map_err(|error| format!("its metadata is no JSON object: {error}"))?;
                    record.metadata = (!cells.is_empty()).then_some(cells);
                }
                _ => {
                    others.insert(column.clone(), value(cell));
                }
            }
        }
        record.add_metadata(others);
        record.validate(self.to_embed)?;
        Ok(record)
    }

    fn wrong(&self, why: &str) -> Failure {
        Failure::new(format!("{} line {}: {why}", self.name, self.line))
            .hint("`vermilion import --help` says what the columns hold; --embed makes vectors")
    }
}

fn check_columns(columns: &[String]) -> Result<(), String> {
    let mut known = HashSet::new();
    for column in columns {
        if column.is_empty() || !known.insert(member_named(column)) {
            return Err(format!(
                "each column has a name of its own; `{column}` is none"
            ));
        }
    }
    if !known.contains("id") {
        return Err("there is no column `id`".to_owned());
    }
    Ok(())
}

/// What a cell of metadata says.
fn value(cell: String) -> Value {
    match serde_json::from_str(&cell) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => Value::String(cell),
    }
}

/// The cells of a row: between commas, or between quotes, where a quote is written twice.
fn fields(row: &str) -> Result<Vec<String>, String> {
    let mut cells = Vec::new();
    let mut rest = row;
    loop {
        let (cell, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_cell(quoted)?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            if rest[..end].contains('"') {
                return Err("a quote stands in a cell that does not begin with one".to_owned());
            }
            (rest[..end].to_owned(), &rest[end..])
        };
        cells.push(cell);
        if after.is_empty() {
            return Ok(cells);
        }
        rest = after
            .strip_prefix(',')
            .ok_or("behind the closing quote of a cell stands no comma")?;
    }
}

/// A cell behind its opening quote, and what follows it.
fn quoted_cell(mut rest: &str) -> Result<(String, &str), String> {
    let mut cell = String::new();
    loop {
        let end = rest.find('"').ok_or("a quote is not closed")?;
        cell.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        let Some(after) = rest.strip_prefix('"') else {
            return Ok((cell, rest));
        };
        cell.push('"');
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use serde_json::json;

    use super::*;

    fn read(text: &str, to_embed: bool) -> Result<Vec<Record>, String> {
        let input = Cursor::new(text.as_bytes().to_vec());
        let mut reader = CsvReader::over(input, "notes.csv".to_owned(), to_embed)
            .map_err(|failure| failure.to_string())?;
        let mut records = Vec::new();
        while let Some(record) = reader.next().map_err(|failure| failure.to_string())? {
            records.push(record);
        }
        assert_eq!(reader.consumed(), text.len() as u64);
        Ok(records)
    }

    #[test]
    fn rows_are_records_and_other_columns_their_metadata() {
        let text = "\u{feff}id,document,kind,year,share,zip,open,uri,embedding,metadata\r\n\
            a,\"two\nlines, \"\"quoted\"\"\",book,1999,0.50,01067,true,u,\"[1, 2.5]\",\"{\"\"n\"\":1}\"\r\n\
            \r\n\
            b,,,,,,,,\"[3,4]\",";
        let records = read(text, false).expect("two records");
        let metadata = json!({
            "kind": "book", "year": 1999, "share": 0.5, "zip": "01067", "open": true, "n": 1,
        });
        let first = Record {
            id: "a".to_owned(),
            embedding: vec![1.0, 2.5],
            document: Some("two\nlines, \"quoted\"".to_owned()),
            metadata: metadata.as_object().cloned(),
            uri: Some("u".to_owned()),
        };
        let second = Record {
            id: "b".to_owned(),
            embedding: vec![3.0, 4.0],
            ..Record::default()
        };
        assert_eq!(records, [first, second]);
    }

    #[test]
    fn rows_without_vectors_are_read_where_these_are_to_be_made() {
        let text = "document,id\nhello,a\n\"\",b\n";
        let failure = read(text, false).expect_err("there is no vector");
        assert!(
            failure.contains("line 2: record `a` has no embedding"),
            "{failure}"
        );
        let failure = read(text, true).expect_err("b has no document");
        assert!(
            failure.contains("line 3: record `b` has neither"),
            "{failure}"
        );
        let records = read("document,id\nhello,a\n", true).expect("a record");
        assert_eq!(records[0].document.as_deref(), Some("hello"));
    }

    #[test]
    fn wrong_rows_are_named_by_the_line_on_which_they_begin() {
        for (text, expected) in [
            ("", "line 1: each column has a name of its own; `` is none"),
            ("document\nx", "line 1: there is no column `id`"),
            ("id,a,a\n", "`a` is none"),
            (
                "id,document\na,\"x\ny\"\nb,c,d\n",
                "line 4: it has 3 cells, and there are 2 columns",
            ),
            ("id,document\na,\"x\ny", "line 2: a quote is not closed"),
            (
                "id,document\na,x\"y\"\n",
                "line 2: a quote stands in a cell",
            ),
            (
                "id,document\na,\"x\"y\n",
                "line 2: behind the closing quote",
            ),
            ("id,embedding\na,1\n", "line 2: its embedding is no list"),
            (
                "id,embedding,metadata\na,[1],[1]\n",
                "line 2: its metadata is no JSON object",
            ),
            ("id,embedding\n,[1]\n", "line 2: the id is empty"),
            ("id,embedding,#k\na,[1],x\n", "metadata `#k` of record `a`"),
        ] {
            let failure = read(text, true).expect_err(expected);
            assert!(failure.contains("notes.csv"), "{failure}");
            assert!(failure.contains(expected), "{failure} lacks {expected}");
        }
    }

    #[test]
    fn records_are_passed_over_by_their_number() {
        let rows = Cursor::new(b"id,embedding\na,[1]\n\"b\n\",[2]\nc,[3]\n".to_vec());
        let mut reader = CsvReader::over(rows, "r".to_owned(), false).expect("a head");
        reader.skip(2).expect("there are three");
        assert_eq!(reader.next().expect("readable").expect("c").id, "c");
        assert!(reader.skip(1).is_err());
    }
}
