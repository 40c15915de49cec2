//! Decoding JSON, with refusals that name the field and the row.
//!
//! A number that JSON cannot write (`NaN`, `Infinity`), as many programs write it all the same, is told
//! as what it is and not as broken syntax.

use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};
use vermilion_protocol::WholeNumbers;

use super::TIMES;
use crate::Refusal;

/// Decodes `text`, an object.
pub fn decode<T: DeserializeOwned>(text: &[u8]) -> Result<T, Refusal> {
    let Ok(text) = std::str::from_utf8(text) else {
        return Err(Refusal::wrong("malformed_body", "The body is not UTF-8."));
    };
    if text.trim_ascii_start().starts_with('[') {
        let message = "The body is a list; it must be an object.";
        return Err(Refusal::wrong("malformed_body", message));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let decoded = serde_path_to_error::deserialize(WholeNumbers(&mut deserializer));
    let decoded = decoded.map_err(|error| {
        let (field, row) = place(error.path());
        explain(text, error.inner(), field, row)
    })?;
    deserializer
        .end()
        .map_err(|error| explain(text, &error, None, None))?;
    Ok(decoded)
}

/// The field and the row that a path leads to.
fn place(path: &Path) -> (Option<String>, Option<usize>) {
    let (mut field, mut row) = (None, None);
    for segment in path {
        match segment {
            Segment::Map { key } if field.is_none() => field = Some(key.clone()),
            Segment::Seq { index } if row.is_none() => row = Some(*index),
            _ => {}
        }
    }
    (field, row)
}

fn explain(
    text: &str,
    error: &serde_json::Error,
    field: Option<String>,
    row: Option<usize>,
) -> Refusal {
    let overflow = error.to_string().contains("number out of range");
    let mut refusal = if overflow || is_no_number(text, error) {
        Refusal::wrong("not_finite", format!("A number is not finite: {error}."))
            .hint("finite numbers of 32 bits")
    } else if error.classify() == Category::Data {
        let said = error.to_string();
        let wanted = field.as_deref().and_then(|name| kind_of(name, row));
        match wanted.filter(|_| is_wrong_type(&said)) {
            _ if said.starts_with("unknown field") => Refusal::wrong(
                "unknown_field",
                format!("The body cannot be taken: {error}."),
            ),
            Some(wanted) => {
                let field = field.as_deref().unwrap_or_default();
                let of = row.map_or_else(String::new, |row| format!(" of record {row}"));
                Refusal::wrong("wrong_type", format!("`{field}`{of} is of another type."))
                    .hint(wanted)
            }
            None => Refusal::wrong(
                "malformed_body",
                format!("The body cannot be taken: {error}."),
            ),
        }
    } else {
        Refusal::wrong("malformed_body", format!("The body is no JSON: {error}."))
    };
    (refusal.field, refusal.row) = (field, row);
    refusal
}

/// Whether a value is of a type that its field does not take, by what the decoder says.
fn is_wrong_type(said: &str) -> bool {
    said.starts_with("invalid type") || said.starts_with("data did not match any variant")
}

/// What a field of a log or an assessment takes, of a record or as a column; nothing of other members.
fn kind_of(field: &str, row: Option<usize>) -> Option<&'static str> {
    let field = NAMES
        .iter()
        .find(|known| known.0 == field || known.1 == field)?;
    Some(match (field.2, row) {
        (Takes::Text, Some(_)) => "a text, or null where there is none",
        (Takes::Text, None) => "a text for a record, a list of texts for all",
        (Takes::Number, Some(_)) => "a number, or null where there is none",
        (Takes::Number, None) => "a number for a record, a list of numbers for all",
        (Takes::Time, _) => TIMES,
        (Takes::Scores, _) => {
            "a number for each class, or an object of some classes by name; for all a list of those"
        }
        (Takes::Object, _) => {
            "an object of texts, numbers, booleans and null; for all a list of those"
        }
    })
}

/// What a field takes.
#[derive(Clone, Copy)]
enum Takes {
    Text,
    Number,
    Time,
    Scores,
    Object,
}

/// Fields of a record, with the names of their columns.
const NAMES: [(&str, &str, Takes); 13] = [
    ("id", "ids", Takes::Text),
    ("input_uri", "input_uris", Takes::Text),
    ("target", "targets", Takes::Text),
    ("context", "contexts", Takes::Text),
    ("dataset", "datasets", Takes::Text),
    ("inference_class", "inference_classes", Takes::Text),
    ("label_class", "label_classes", Takes::Text),
    ("group", "groups", Takes::Text),
    ("quality_score", "quality_scores", Takes::Number),
    ("observed_at", "observed_ats", Takes::Time),
    ("probabilities", "probabilities", Takes::Scores),
    ("logits", "logits", Takes::Scores),
    ("metadata", "metadatas", Takes::Object),
];

/// The field whose column has this name, of one record; columns as a whole keep their name.
pub(super) fn field_of(name: &str) -> &str {
    let known = NAMES.iter().find(|known| known.1 == name);
    known.map_or(name, |known| known.0)
}

/// Whether what JSON stumbled over is the name of a number that is not finite.
fn is_no_number(text: &str, error: &serde_json::Error) -> bool {
    if error.classify() != Category::Syntax {
        return false;
    }
    let line = text.split('\n').nth(error.line().saturating_sub(1));
    let line = line.unwrap_or_default().as_bytes();
    let at = error.column().saturating_sub(1).min(line.len());
    let from = at.saturating_sub(2);
    let near = &line[from..line.len().min(at + 10)];
    [&b"NaN"[..], b"Infinity"]
        .iter()
        .any(|word| near.windows(word.len()).any(|part| part == *word))
}
