//! What labelling tools and training scripts take along: recommendations, issues, training data, as
//! lines of JSON or as CSV.
//!
//! What must stay true: an export is made page by page and takes the memory of one; what cannot be
//! exported is refused before the first byte; every row has the same members, whatever it knows.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use crate::assess::no_reference;
use crate::desk::Row;
use crate::fields;
use crate::issues::AskedIssues;
use crate::recommend::usual;
use crate::spaces::{Place, Space};
use crate::{Curation, Refusal, Result};

/// Rows of a page.
const PAGE: usize = 1000;

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exported {
    /// The list, in its order.
    Recommendations,
    /// Everything that is wrong, worst first within each type.
    Issues,
    /// Training records with their vectors and labels.
    Training,
}

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An object a line.
    Lines,
    /// RFC 4180, with a head; lists and objects as JSON.
    Csv,
}

/// Takes the next piece of an export; whether more is wanted.
pub type Sink<'a> = &'a mut dyn FnMut(Vec<u8>) -> bool;

/// The columns of each kind.
const RECOMMENDATIONS: &[&str] = &[
    "rank",
    "id",
    "input_uri",
    "priority",
    "gain",
    "coverage",
    "drawn",
    "trouble",
    "inferred_class",
    "dataset",
    "group",
    "state",
    "reasons",
];
/// See [`RECOMMENDATIONS`].
const ISSUES: &[&str] = &[
    "type",
    "id",
    "ids",
    "score",
    "explanation",
    "given_class",
    "suggested_class",
    "confidence",
    "class",
    "dataset",
    "context",
    "dimension",
    "records",
    "distance",
    "estimated_accuracy",
];
/// See [`RECOMMENDATIONS`].
const TRAINING: &[&str] = &[
    "id",
    "input_uri",
    "dataset",
    "label_class",
    "inference_class",
    "group",
    "embedding",
    "metadata",
];

impl Exported {
    /// The one of that name.
    pub fn named(name: Option<&str>) -> Result<Self> {
        match name {
            Some("recommendations") => Ok(Self::Recommendations),
            Some("issues") => Ok(Self::Issues),
            Some("training") => Ok(Self::Training),
            other => {
                let message = match other {
                    Some(other) => format!("`{other}` is nothing that is exported."),
                    None => "The query string does not say what to export.".to_owned(),
                };
                Err(Refusal::wrong("unknown_export", message)
                    .field("what")
                    .hint("recommendations, issues, training"))
            }
        }
    }

    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Recommendations => RECOMMENDATIONS,
            Self::Issues => ISSUES,
            Self::Training => TRAINING,
        }
    }
}

impl Format {
    /// The one of that name; lines where none is named.
    pub fn named(name: Option<&str>) -> Result<Self> {
        match name {
            None | Some("jsonl") => Ok(Self::Lines),
            Some("csv") => Ok(Self::Csv),
            Some(other) => Err(Refusal::wrong(
                "unknown_format",
                format!("`{other}` is no format of an export."),
            )
            .field("format")
            .hint("jsonl, csv")),
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    fn write(self, columns: &[&str], rows: &[Json]) -> Vec<u8> {
        let mut out = Vec::new();
        for row in rows {
            match self {
                Self::Lines => {
                    let members = columns
                        .iter()
                        .map(|name| ((*name).to_owned(), row[*name].clone()));
                    let object: Map<String, Json> = members.collect();
                    out.extend(Json::Object(object).to_string().into_bytes());
                    out.push(b'\n');
                }
                Self::Csv => {
                    let cells: Vec<String> = columns.iter().map(|name| cell(&row[*name])).collect();
                    out.extend(cells.join(",").into_bytes());
                    out.extend(b"\r\n");
                }
            }
        }
        out
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
        (what, format): (Exported, Format),
        sink: Sink<'_>,
    ) -> Result<()> {
        let space = self.space(place, name)?;
        let columns = what.columns();
        let mut is_first = true;
        let mut put = |rows: &[Json]| {
            let mut piece = Vec::new();
            if is_first && format == Format::Csv {
                piece.extend(columns.join(",").into_bytes());
                piece.extend(b"\r\n");
            }
            is_first = false;
            piece.extend(format.write(columns, rows));
            sink(piece)
        };
        match what {
            Exported::Recommendations => self.export_list(place, name, &mut put),
            Exported::Issues => self.export_issues(place, name, &mut put),
            Exported::Training => self.export_training(&space, &mut put),
        }
    }

    fn export_list(
        &self,
        place: &Place,
        name: &str,
        put: &mut dyn FnMut(&[Json]) -> bool,
    ) -> Result<()> {
        let space = self.space(place, name)?;
        let desk = self.ready_desk(&space)?;
        if desk.state.lock().reference.is_none() {
            return Err(no_reference());
        }
        // One list, whatever is written meanwhile.
        let Some(list) = self.list(&space, &desk, &usual()?, false)?.list else {
            let message = "The list of this space is not made yet.";
            return Err(Refusal::new(429, "busy", message).hint("retry in a while"));
        };
        let mut from = 0;
        loop {
            let page = list.entries.get(from..).unwrap_or_default();
            let page = page.get(..PAGE).unwrap_or(page);
            let more = put(&self.entries(&space, page, from, true)?);
            from += page.len();
            if !more || from >= list.entries.len() {
                return Ok(());
            }
        }
    }

    fn export_issues(
        &self,
        place: &Place,
        name: &str,
        put: &mut dyn FnMut(&[Json]) -> bool,
    ) -> Result<()> {
        let mut asked = AskedIssues {
            limit: Some(PAGE),
            ..AskedIssues::default()
        };
        loop {
            let told = self.issues(place, name, &asked)?;
            if told["ready"] == false && asked.offset == 0 {
                let message = "The issues of this space are not worked out yet.";
                return Err(Refusal::new(429, "busy", message).hint("retry in a while"));
            }
            let rows = told["issues"].as_array().map_or(&[][..], Vec::as_slice);
            asked.offset += rows.len();
            let total = told["total"].as_u64().unwrap_or(0) as usize;
            if !put(rows) || rows.is_empty() || asked.offset >= total {
                return Ok(());
            }
        }
    }

    fn export_training(&self, space: &Space, put: &mut dyn FnMut(&[Json]) -> bool) -> Result<()> {
        let desk = self.desk(space);
        self.follow(space, &desk)?;
        let ids: Vec<String> = {
            let state = desk.state.lock();
            let rows = state.rows.iter().filter(|(_, row)| row.is_reference());
            rows.map(|(id, _)| id.clone()).collect()
        };
        if ids.is_empty() {
            put(&[]);
        }
        for part in ids.chunks(PAGE) {
            let found = self.fetch(space, part)?;
            let vectors = found.embeddings.unwrap_or_default();
            let state = desk.state.lock();
            let rows = (0..found.ids.len()).filter_map(|at| {
                let id = found.ids.get(at);
                let row: &Row = state.rows.get(id).filter(|row| row.is_reference())?;
                let cells = found.metadatas.as_ref().map(|all| all.row(at));
                let own: BTreeMap<&str, Json> = cells
                    .into_iter()
                    .flatten()
                    .filter(|(key, _)| !fields::is_reserved(key))
                    .filter_map(|(key, value)| Some((key, fields::plain(value)?)))
                    .collect();
                Some(json!({
                    "id": id,
                    "input_uri": found.uris.as_ref().and_then(|uris| uris.get(at)),
                    "dataset": row.dataset,
                    "label_class": row.label.map(|class| state.classes.name(class)),
                    "inference_class": row.inferred.map(|class| state.classes.name(class)),
                    "group": row.group.map(|group| state.groups.name(group)),
                    "embedding": vectors.get(at),
                    "metadata": own,
                }))
            });
            let rows: Vec<Json> = rows.collect();
            drop(state);
            if !put(&rows) {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
