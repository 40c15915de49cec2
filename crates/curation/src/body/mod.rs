//! What a log is told, in any of its three forms: JSON columns, a line of JSON for each record, or a
//! stream of Arrow. All make the same [`Told`].
//!
//! What must stay true: nothing is judged here but the form; whatever bytes come in, the answer is
//! [`Told`] or a [`Refusal`](crate::Refusal).

mod columns;
mod json;
mod lines;
mod stream;
mod vectors;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

pub use columns::columns;
pub use json::decode;

pub use lines::lines;
pub use stream::stream;
pub use vectors::Vectors;

use crate::Thumbnail;

/// What is said of a batch as a whole; each may also stand in the query string.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Head {
    /// The name of the space.
    pub space: Option<String>,
    /// What names the space: any JSON object.
    pub embedding_set: Option<Value>,
    /// The context of records that have none of their own.
    pub context: Option<String>,
    /// The dataset of records that have none of their own.
    pub dataset: Option<String>,
    /// What is to be known of that dataset.
    pub dataset_metadata: Option<serde_json::Map<String, Value>>,
    /// How a new space compares vectors; cosine unless something else is said.
    pub metric: Option<String>,
    /// The classes that dense probabilities are of, in their order.
    pub class_names: Option<Vec<String>>,
    /// Under which a repeat of this batch is known.
    pub idempotency_key: Option<String>,
    /// Whether the answer says what is to be thought of each record.
    pub assess: Option<bool>,
}

impl Head {
    /// What `self` says, and `other` where it says nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            space: self.space.or(other.space),
            embedding_set: self.embedding_set.or(other.embedding_set),
            context: self.context.or(other.context),
            dataset: self.dataset.or(other.dataset),
            dataset_metadata: self.dataset_metadata.or(other.dataset_metadata),
            metric: self.metric.or(other.metric),
            class_names: self.class_names.or(other.class_names),
            idempotency_key: self.idempotency_key.or(other.idempotency_key),
            assess: self.assess.or(other.assess),
        }
    }
}

/// What a model gives each class.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Scores {
    /// One number for each class, in their order.
    Dense(Vec<f64>),
    /// Some classes by name.
    Sparse(BTreeMap<String, f64>),
}

/// A moment: seconds since 1970, or a text such as `2026-01-31T12:00:00Z`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Time {
    /// Seconds since 1970.
    Seconds(f64),
    /// As RFC 3339 writes it.
    Text(String),
}

/// What a [`Time`] may be.
pub const TIMES: &str = "seconds since 1970, or a text such as 2026-01-31T12:00:00Z";

impl Time {
    /// Seconds since 1970; `None` where its text is no moment.
    #[must_use]
    pub fn seconds(&self) -> Option<f64> {
        match self {
            Self::Seconds(seconds) => Some(*seconds),
            Self::Text(text) => {
                let moment: jiff::Timestamp = text.parse().ok()?;
                Some(moment.as_nanosecond() as f64 / 1e9)
            }
        }
    }
}

/// What is told of one record besides its vector. `None` says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Its id.
    pub id: Option<String>,
    /// What the record is of.
    pub input_uri: Option<String>,
    /// Which object of its input it is.
    pub target: Option<String>,
    /// Why it is there.
    pub context: Option<String>,
    /// The bag that it is in.
    pub dataset: Option<String>,
    /// What the model said.
    pub inference_class: Option<String>,
    /// What a person said.
    pub label_class: Option<String>,
    /// What it is a part of.
    pub group: Option<String>,
    /// The user's own score.
    pub quality_score: Option<f64>,
    /// When the model met it.
    pub observed_at: Option<Time>,
    /// What the model gives each class.
    pub probabilities: Option<Scores>,
    /// The same before the softmax.
    pub logits: Option<Scores>,
    /// A small picture of the input.
    pub thumbnail: Option<Thumbnail>,
    /// The user's own.
    pub metadata: serde_json::Map<String, Value>,
}

/// A batch as it was told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// What holds for all records.
    pub head: Head,
    /// The records, without their vectors.
    pub rows: Vec<Row>,
    /// The vectors.
    pub vectors: Vectors,
}
