//! A batch as lines of JSON: an object for each record, with the names of section "fields" of the
//! guide. A first line without an `embedding` says what holds for all.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::vectors::Single;
use super::{Head, Row, Scores, Time, Told, json};
use crate::{Refusal, Thumbnail};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: Option<String>,
    embedding: Option<Single>,
    input_uri: Option<String>,
    target: Option<String>,
    context: Option<String>,
    dataset: Option<String>,
    inference_class: Option<String>,
    label_class: Option<String>,
    group: Option<String>,
    quality_score: Option<f64>,
    observed_at: Option<Time>,
    probabilities: Option<Scores>,
    logits: Option<Scores>,
    thumbnail: Option<Thumbnail>,
    metadata: Option<Map<String, Value>>,
}

/// What the first line may be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadLine {
    space: Option<String>,
    embedding_set: Option<Value>,
    context: Option<String>,
    dataset: Option<String>,
    dataset_metadata: Option<Map<String, Value>>,
    metric: Option<String>,
    class_names: Option<Vec<String>>,
    idempotency_key: Option<String>,
    assess: Option<bool>,
}

/// Decodes lines of JSON; empty lines are passed over.
pub fn lines(body: &[u8]) -> Result<Told, Refusal> {
    let mut told = Told::default();
    let lines = body.split(|byte| *byte == b'\n');
    let full = lines.filter(|line| !line.trim_ascii().is_empty());
    for (number, line) in full.enumerate() {
        if number == 0 && is_head(line) {
            told.head = head(json::decode(line)?);
            continue;
        }
        let row = told.rows.len();
        let line: Line = json::decode(line).map_err(|refusal| refusal.row(row))?;
        let Some(Single(vector)) = line.embedding else {
            let message = format!("Record {row} has no embedding.");
            return Err(Refusal::wrong("missing_field", message)
                .field("embedding")
                .row(row));
        };
        told.vectors.append(&vector);
        told.rows.push(Row {
            id: line.id,
            input_uri: line.input_uri,
            target: line.target,
            context: line.context,
            dataset: line.dataset,
            inference_class: line.inference_class,
            label_class: line.label_class,
            group: line.group,
            quality_score: line.quality_score,
            observed_at: line.observed_at,
            probabilities: line.probabilities,
            logits: line.logits,
            thumbnail: line.thumbnail,
            metadata: line.metadata.unwrap_or_default(),
        });
    }
    Ok(told)
}

/// Whether a first line is no record.
fn is_head(line: &[u8]) -> bool {
    let members = serde_json::from_slice::<Map<String, Value>>(line);
    members.is_ok_and(|members| !members.contains_key("embedding"))
}

fn head(line: HeadLine) -> Head {
    Head {
        space: line.space,
        embedding_set: line.embedding_set,
        context: line.context,
        dataset: line.dataset,
        dataset_metadata: line.dataset_metadata,
        metric: line.metric,
        class_names: line.class_names,
        idempotency_key: line.idempotency_key,
        assess: line.assess,
    }
}
