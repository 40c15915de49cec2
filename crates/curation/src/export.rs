//! What labelling tools and training scripts take along: recommendations, issues, training data, and all records as
//! they were logged, as lines of JSON, as CSV or as Parquet.
//!
//! What must stay true: an export is made page by page and takes the memory of a few; what cannot be
//! exported is refused before the first byte; every row has the same members, whatever it knows.

#[cfg(feature = "parquet")]
mod parquet;
mod records;

pub(crate) use records::told;

use bytes::Bytes;
use serde_json::{Map, Value as Json};

use crate::assess::{known_datasets, no_reference};
use crate::fields::Context;
use crate::issues::AskedIssues;
use crate::recommend::{Asked, Telling, wanted};
use crate::spaces::{Place, Space};
use crate::{Curation, Refusal, Result};

/// Rows of a page.
pub(crate) const PAGE: usize = 1000;

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exported {
    /// The list, in its order.
    Recommendations,
    /// Everything that is wrong, worst first within each type.
    Issues,
    /// Training records with their vectors and labels.
    Training,
    /// All records, with what the model and people said of them.
    Records,
}

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An object a line.
    Lines,
    /// RFC 4180, with a head; lists and objects as JSON.
    Csv,
    /// Apache Parquet; objects as JSON.
    #[cfg(feature = "parquet")]
    Parquet,
}

/// Writes the next rows of an export; whether more are wanted.
type Put<'a> = &'a mut dyn FnMut(&[Json]) -> Result<bool>;

/// Takes the next piece of an export; whether more is wanted.
pub type Sink<'a> = &'a mut dyn FnMut(Vec<u8>) -> bool;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Texts,
    Integer,
    Number,
    Flag,
    /// As many numbers as the vectors of the space have.
    Vector,
    /// An object, as text where a format has none.
    Object,
}

/// The columns of each kind of export, with what they hold.
pub(crate) type Columns = &'static [(&'static str, Kind)];

/// See [`Columns`].
const RECOMMENDATIONS: Columns = &[
    ("rank", Kind::Integer),
    ("id", Kind::Text),
    ("input_uri", Kind::Text),
    ("priority", Kind::Number),
    ("gain", Kind::Number),
    ("coverage", Kind::Number),
    ("drawn", Kind::Flag),
    ("trouble", Kind::Number),
    ("inferred_class", Kind::Text),
    ("dataset", Kind::Text),
    ("group", Kind::Text),
    ("state", Kind::Text),
    ("reasons", Kind::Texts),
];
/// See [`Columns`].
const ISSUES: Columns = &[
    ("type", Kind::Text),
    ("id", Kind::Text),
    ("ids", Kind::Texts),
    ("score", Kind::Number),
    ("explanation", Kind::Text),
    ("given_class", Kind::Text),
    ("suggested_class", Kind::Text),
    ("confidence", Kind::Number),
    ("class", Kind::Text),
    ("dataset", Kind::Text),
    ("context", Kind::Text),
    ("dimension", Kind::Integer),
    ("records", Kind::Integer),
    ("distance", Kind::Number),
    ("estimated_accuracy", Kind::Number),
];
/// See [`Columns`].
const TRAINING: Columns = &[
    ("id", Kind::Text),
    ("input_uri", Kind::Text),
    ("dataset", Kind::Text),
    ("label_class", Kind::Text),
    ("inference_class", Kind::Text),
    ("group", Kind::Text),
    ("embedding", Kind::Vector),
    ("metadata", Kind::Object),
];
/// See [`Columns`].
const RECORDS: Columns = &[
    ("id", Kind::Text),
    ("input_uri", Kind::Text),
    ("target", Kind::Text),
    ("context", Kind::Text),
    ("dataset", Kind::Text),
    ("observed_at", Kind::Number),
    ("inference_class", Kind::Text),
    ("probabilities", Kind::Object),
    ("label_class", Kind::Text),
    ("group", Kind::Text),
    ("quality_score", Kind::Number),
    ("decision", Kind::Text),
    ("decided_at", Kind::Number),
    ("snoozed_until", Kind::Number),
    ("promoted_from", Kind::Text),
    ("consumed_by", Kind::Text),
    ("trouble", Kind::Number),
    ("score_epoch", Kind::Integer),
    ("embedding", Kind::Vector),
    ("metadata", Kind::Object),
];

/// See [`Columns`]: those of records, and what else is kept of them.
pub(crate) const COLD: Columns = &{
    let mut columns = [("thumbnail", Kind::Text); RECORDS.len() + 1];
    columns
        .split_at_mut(RECORDS.len())
        .0
        .copy_from_slice(RECORDS);
    columns
};

/// See [`Columns`]: all that is kept of a record, and the position of the log at which it was last written.
pub(crate) const ROLLED_UP: Columns = &{
    let mut columns = [("seq", Kind::Integer); COLD.len() + 1];
    columns.split_at_mut(COLD.len()).0.copy_from_slice(COLD);
    columns
};

impl Exported {
    /// The one of that name.
    pub fn named(name: Option<&str>) -> Result<Self> {
        match name {
            Some("recommendations") => Ok(Self::Recommendations),
            Some("issues") => Ok(Self::Issues),
            Some("training") => Ok(Self::Training),
            Some("records") => Ok(Self::Records),
            other => {
                let message = match other {
                    Some(other) => format!("`{other}` is nothing that is exported."),
                    None => "The query string does not say what to export.".to_owned(),
                };
                Err(Refusal::wrong("unknown_export", message)
                    .field("what")
                    .hint("recommendations, issues, training, records"))
            }
        }
    }

    fn columns(self) -> Columns {
        match self {
            Self::Recommendations => RECOMMENDATIONS,
            Self::Issues => ISSUES,
            Self::Training => TRAINING,
            Self::Records => RECORDS,
        }
    }
}

/// What is exported, and of which records.
#[derive(Clone, Debug)]
pub struct AskedExport {
    /// What.
    pub what: Exported,
    /// How it is written.
    pub format: Format,
    /// Only records of this context.
    pub context: Option<Context>,
    /// Only records of this dataset.
    pub dataset: Option<String>,
    /// Only records that this filter means.
    pub filter: Option<Json>,
}

impl AskedExport {
    /// Refuses what means nothing for what is exported.
    fn check(&self) -> Result<()> {
        let told = [
            ("context", self.context.is_some()),
            ("dataset", self.dataset.is_some()),
            ("where", self.filter.is_some()),
        ];
        let (taken, hint): (&[&str], _) = match self.what {
            Exported::Records => (&["context", "dataset", "where"], ""),
            Exported::Recommendations => (&["dataset", "where"], "the list is of production"),
            Exported::Training => (&["dataset", "where"], "they are of training"),
            Exported::Issues => (&[], "an export of issues is of the whole space"),
        };
        let wrong = |(name, is_told): &&(&str, bool)| *is_told && !taken.contains(name);
        told.iter().find(wrong).map_or(Ok(()), |(name, _)| {
            let message = format!("What is asked for is not exported by `{name}`.");
            Err(Refusal::wrong("unknown_field", message)
                .field(*name)
                .hint(hint))
        })
    }
}

impl Format {
    /// The names of all that this program was built with.
    pub const NAMES: &[&str] = if cfg!(feature = "parquet") {
        &["jsonl", "csv", "parquet"]
    } else {
        &["jsonl", "csv"]
    };

    /// What other programs read best, of all that this program was built with.
    #[cfg(feature = "parquet")]
    pub(crate) const BEST: Self = Self::Parquet;
    /// See above.
    #[cfg(not(feature = "parquet"))]
    pub(crate) const BEST: Self = Self::Lines;

    /// The one of that name; lines where none is named.
    pub fn named(name: Option<&str>) -> Result<Self> {
        match name {
            None | Some("jsonl") => Ok(Self::Lines),
            Some("csv") => Ok(Self::Csv),
            #[cfg(feature = "parquet")]
            Some("parquet") => Ok(Self::Parquet),
            Some(other) => Err(Refusal::wrong(
                "unknown_format",
                format!("`{other}` is no format of an export."),
            )
            .field("format")
            .hint(Self::NAMES.join(", "))),
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lines => "jsonl",
            Self::Csv => "csv",
            #[cfg(feature = "parquet")]
            Self::Parquet => "parquet",
        }
    }

    /// How many records a whole file has, by what it says of itself; `None` where it does not.
    #[cfg_attr(
        not(feature = "parquet"),
        expect(
            clippy::unnecessary_wraps,
            unused_variables,
            reason = "Parquet needs it"
        )
    )]
    pub(crate) fn count(self, file: &Bytes) -> Result<Option<u64>> {
        match self {
            Self::Lines | Self::Csv => Ok(None),
            #[cfg(feature = "parquet")]
            Self::Parquet => parquet::count(file).map(Some),
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            #[cfg(feature = "parquet")]
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// A file that is being written, from piece to piece.
pub(crate) enum Writer {
    Lines(Columns),
    Csv {
        columns: Columns,
        /// Whether its head is to be written.
        begins: bool,
    },
    #[cfg(feature = "parquet")]
    Parquet(Box<parquet::Rows>),
}

impl Writer {
    /// A file of these columns; `dimension` is that of their vectors.
    #[cfg_attr(
        not(feature = "parquet"),
        expect(
            clippy::unnecessary_wraps,
            unused_variables,
            reason = "Parquet needs it"
        )
    )]
    pub(crate) fn begin(format: Format, columns: Columns, dimension: usize) -> Result<Self> {
        Ok(match format {
            Format::Lines => Self::Lines(columns),
            Format::Csv => Self::Csv {
                columns,
                begins: true,
            },
            #[cfg(feature = "parquet")]
            Format::Parquet => Self::Parquet(Box::new(parquet::Rows::begin(columns, dimension)?)),
        })
    }

    /// Takes rows; what is to be written of the file so far.
    #[cfg_attr(
        not(feature = "parquet"),
        expect(clippy::unnecessary_wraps, reason = "Parquet needs it")
    )]
    pub(crate) fn put(&mut self, rows: &[Json]) -> Result<Vec<u8>> {
        let mut piece = Vec::new();
        match self {
            Self::Lines(columns) => {
                for row in rows {
                    let member = |name: &str| (name.to_owned(), row[name].clone());
                    let object: Map<String, Json> =
                        columns.iter().map(|(name, _)| member(name)).collect();
                    piece.extend(Json::Object(object).to_string().into_bytes());
                    piece.push(b'\n');
                }
            }
            Self::Csv { columns, begins } => {
                let mut line = |cells: Vec<String>| {
                    piece.extend(cells.join(",").into_bytes());
                    piece.extend(b"\r\n");
                };
                if std::mem::take(begins) {
                    line(columns.iter().map(|(name, _)| (*name).to_owned()).collect());
                }
                for row in rows {
                    line(columns.iter().map(|(name, _)| cell(&row[*name])).collect());
                }
            }
            #[cfg(feature = "parquet")]
            Self::Parquet(written) => piece = written.put(rows)?,
        }
        Ok(piece)
    }

    /// The end of the file.
    #[cfg_attr(
        not(feature = "parquet"),
        expect(clippy::unnecessary_wraps, reason = "Parquet needs it")
    )]
    pub(crate) fn end(self) -> Result<Vec<u8>> {
        match self {
            Self::Lines(_) | Self::Csv { .. } => Ok(Vec::new()),
            #[cfg(feature = "parquet")]
            Self::Parquet(written) => written.end(),
        }
    }
}

/// A cell of CSV.
fn cell(value: &Json) -> String {
    let text = match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

impl Curation {
    /// Writes an export to `sink`, page by page. What is refused is refused before the first piece.
    pub fn export(
        &self,
        place: &Place,
        name: &str,
        asked: &AskedExport,
        sink: Sink<'_>,
    ) -> Result<()> {
        asked.check()?;
        let space = self.space(place, name)?;
        // A space without records has none yet; lists of no numbers are not to be had in every format.
        let dimension = space.collection.dimension.unwrap_or(1) as usize;
        let mut writer = Writer::begin(asked.format, asked.what.columns(), dimension)?;
        let mut begun = false;
        let mut put = |rows: &[Json]| {
            let piece = writer.put(rows)?;
            if piece.is_empty() {
                return Ok(true);
            }
            begun = true;
            Ok(sink(piece))
        };
        let is_whole = match asked.what {
            Exported::Recommendations => self.export_list(&space, asked, &mut put),
            Exported::Issues => self.export_issues(place, name, &mut put),
            Exported::Training => self.export_training(&space, asked, &mut put),
            Exported::Records => self.export_records(&space, asked, &mut put),
        }?;
        let end = if is_whole { writer.end()? } else { Vec::new() };
        // Of what is empty there is one piece, since that says that nothing was refused.
        if !(begun && end.is_empty()) {
            sink(end);
        }
        Ok(())
    }

    /// Whether all of it was taken, as with the others.
    fn export_list(&self, space: &Space, asked: &AskedExport, put: Put<'_>) -> Result<bool> {
        let wanted = wanted(&Asked {
            filter: asked.filter.clone(),
            datasets: asked.dataset.clone().map(|name| vec![name]),
            ..Asked::default()
        })?;
        let ready = self.ready_desk(space)?;
        let desk = &ready.desk;
        let (has_reference, stale) = {
            let state = desk.state.lock();
            (state.reference.is_some(), state.stale())
        };
        if has_reference && !ready.is_whole() {
            let message =
                format!("The list waits for records to be read and {stale} to be scored.");
            return Err(Refusal::new(429, "busy", message).hint("retry in a while"));
        }
        if !has_reference {
            return Err(no_reference());
        }
        known_datasets(&desk.state.lock(), &asked.dataset, "dataset")?;
        // One list, whatever is written meanwhile.
        let found = self.list(space, &ready, &wanted, false)?;
        let Some(list) = &found.list else {
            let message = "The list of this space is not made yet.";
            return Err(Refusal::new(429, "busy", message).hint("retry in a while"));
        };
        let open = self.open_entries(desk, &found, &wanted);
        if open.is_empty() {
            return put(&[]);
        }
        for page in open.chunks(PAGE) {
            if !put(&self.entries(space, list, page, Telling::Reasons)?)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn export_issues(&self, place: &Place, name: &str, put: Put<'_>) -> Result<bool> {
        let mut asked = AskedIssues {
            limit: Some(PAGE),
            ids_limit: Some(usize::MAX),
            ..AskedIssues::default()
        };
        loop {
            let told = self.issues_unchecked(place, name, &asked)?;
            if told["ready"] == false && asked.offset == 0 {
                let message = "The issues of this space are not worked out yet.";
                return Err(Refusal::new(429, "busy", message).hint("retry in a while"));
            }
            let rows = told["issues"].as_array().map_or(&[][..], Vec::as_slice);
            asked.offset += rows.len();
            let total = told["total"].as_u64().unwrap_or(0) as usize;
            if !put(rows)? {
                return Ok(false);
            }
            if rows.is_empty() || asked.offset >= total {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_of_csv_are_quoted_where_they_would_break_a_row() {
        assert_eq!(cell(&json!(null)), "");
        assert_eq!(cell(&json!(0.5)), "0.5");
        assert_eq!(cell(&json!("a, \"b\"\n")), "\"a, \"\"b\"\"\n\"");
        assert_eq!(cell(&json!([1, 2])), "\"[1,2]\"");
        assert_eq!(cell(&json!({"a": "b"})), "\"{\"\"a\"\":\"\"b\"\"}\"");
    }
}
