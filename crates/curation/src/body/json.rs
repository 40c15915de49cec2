//! Decoding JSON, with refusals that name the field and the row.
//!
//! A number that JSON cannot write (`NaN`, `Infinity`), as many programs write it all the same, is told
//! as what it is and not as broken syntax.

use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

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
    let decoded = serde_path_to_error::deserialize(&mut deserializer);
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
        let code = if error.to_string().starts_with("unknown field") {
            "unknown_field"
        } else {
            "malformed_body"
        };
        Refusal::wrong(code, format!("The body cannot be taken: {error}."))
    } else {
        Refusal::wrong("malformed_body", format!("The body is no JSON: {error}."))
    };
    (refusal.field, refusal.row) = (field, row);
    refusal
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
