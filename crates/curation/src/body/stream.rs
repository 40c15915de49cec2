//! A batch as an Arrow stream: a column for each field, `metadata` as JSON texts or `metadata.KEY`.
//! What holds for all records stands in the query string.

use bytes::Bytes;
use vermilion_engine::model::{RecordBatch, Value as Cell};
use vermilion_protocol::ApiError;
use vermilion_protocol::arrow::{Limits, decode_logged};

use super::{Head, Row, Scores, Time, Told, Vectors};
use crate::fields::{self, TOLD};
use crate::{Refusal, Thumbnail};

/// Decodes an Arrow stream within `limits`.
pub fn stream(body: Bytes, limits: Limits) -> Result<Told, Refusal> {
    let batch = decode_logged(body, &TOLD, limits).map_err(|error| explain(&error))?;
    let rows = (0..batch.len())
        .map(|row| read_row(&batch, row))
        .collect::<Result<_, _>>()?;
    let vectors = Vectors::of_block(batch.embeddings.dimension(), batch.embeddings.into_values());
    Ok(Told {
        head: Head::default(),
        rows,
        vectors,
    })
}

fn read_row(batch: &RecordBatch, at: usize) -> Result<Row, Refusal> {
    let id = batch.ids.get(at);
    let mut row = Row {
        id: (!id.is_empty()).then(|| id.to_owned()),
        input_uri: batch.uris.get(at).map(str::to_owned),
        thumbnail: batch
            .documents
            .get(at)
            .map(|text| thumbnail(text, at))
            .transpose()?,
        ..Row::default()
    };
    for (key, cell) in batch.metadata.row(at) {
        let wrong = |allowed: &str| {
            let message = format!("`{key}` of record {at} is of a type that it cannot have.");
            Refusal::wrong("wrong_type", message)
                .field(key)
                .row(at)
                .hint(allowed)
        };
        let text = || match cell {
            Cell::Str(text) => Ok(Some(text.to_string())),
            _ => Err(wrong("a column of strings")),
        };
        let number = || match cell {
            Cell::Int(number) => Ok(*number as f64),
            Cell::Float(number) => Ok(*number),
            _ => Err(wrong("a column of numbers")),
        };
        let scores = || match cell {
            Cell::Floats(numbers) => Ok(Some(Scores::Dense(numbers.to_vec()))),
            Cell::Ints(numbers) => {
                let numbers = numbers.iter().map(|&number| number as f64);
                Ok(Some(Scores::Dense(numbers.collect())))
            }
            Cell::Str(text) => {
                let some = serde_json::from_str(text).map(Some);
                some.map_err(|_| wrong(r#"lists of numbers, or texts such as {"cat": 0.9}"#))
            }
            _ => Err(wrong("a column of lists of numbers, or of texts as JSON")),
        };
        match key {
            fields::CONTEXT => row.context = text()?,
            fields::DATASET => row.dataset = text()?,
            fields::TARGET => row.target = text()?,
            fields::INFERENCE_CLASS => row.inference_class = text()?,
            fields::LABEL_CLASS => row.label_class = text()?,
            fields::GROUP => row.group = text()?,
            fields::QUALITY_SCORE => row.quality_score = Some(number()?),
            fields::OBSERVED_AT => {
                let moment = match cell {
                    Cell::Str(text) => Time::Text(text.to_string()),
                    _ => Time::Seconds(number()?),
                };
                row.observed_at = Some(moment);
            }
            fields::PROBABILITIES => row.probabilities = scores()?,
            fields::LOGITS => row.logits = scores()?,
            _ => {
                let scalar = scalar(cell).ok_or_else(|| wrong("booleans, numbers, strings"))?;
                row.metadata.insert(key.to_owned(), scalar);
            }
        }
    }
    Ok(row)
}

fn thumbnail(text: &str, at: usize) -> Result<Thumbnail, Refusal> {
    Thumbnail::read(text).map_err(|error| {
        let message = format!("`thumbnail` of record {at} is no base64: {error}.");
        let refusal = Refusal::wrong("malformed_body", message).field("thumbnail");
        refusal
            .row(at)
            .hint("a column of bytes, or of base64 texts")
    })
}

fn scalar(cell: &Cell) -> Option<serde_json::Value> {
    match cell {
        Cell::Bool(value) => Some((*value).into()),
        Cell::Int(value) => Some((*value).into()),
        Cell::Float(value) => Some((*value).into()),
        Cell::Str(value) => Some((**value).into()),
        _ => None,
    }
}

/// Says in the words of curation what is wrong with a stream.
fn explain(error: &ApiError) -> Refusal {
    let message = error.message.as_str();
    let column = message
        .strip_prefix("Arrow column `")
        .and_then(|rest| rest.split('`').next());
    let missing = message
        .split_once("it has no column `")
        .and_then(|(_, rest)| rest.split('`').next());
    let row = message
        .split_once(", row ")
        .and_then(|(_, rest)| rest.split(':').next()?.parse().ok());
    let code = match column {
        _ if error.status == 413 => "too_large",
        Some("embedding") if message.contains("NaN") => "not_finite",
        Some("embedding") if message.contains("dimension") || message.contains("before it") => {
            "dimension_mismatch"
        }
        Some(_) if message.contains("is none of") => "unknown_field",
        Some(_) if message.contains("field of the log") => "reserved_metadata_key",
        None if missing.is_some() => "missing_field",
        _ => "malformed_body",
    };
    let mut refusal = Refusal::new(error.status, code, message);
    refusal.field = column.or(missing).map(str::to_owned);
    refusal.row = row;
    refusal
}
