//! The comparison that was asked for last, by which the witness value of any record is told.
//!
//! What must stay true: a value is of one window and one reference, and is told with both.

use serde_json::{Value as Json, json};
use vermilion_scores::{Matrix, RandomFeatures, Witness};

/// What is told of the comparison beside a witness value.
const TOLD: [&str; 8] = [
    "from",
    "to",
    "reference",
    "statistic",
    "p",
    "drifted",
    "epoch",
    "as_of_seq",
];

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct KnownDrift {
    features: RandomFeatures,
    witness: Witness,
    told: Json,
}

impl KnownDrift {
    /// Keeps of an answer what tells which comparison it is of.
    pub(super) fn new(features: RandomFeatures, witness: Witness, answer: &Json) -> Self {
        let member = |name: &str| (name.to_owned(), answer[name].clone());
        Self {
            features,
            witness,
            told: TOLD.into_iter().map(member).collect(),
        }
    }

    /// How much more the window than the reference is like a vector; `None` of one of another dimension.
    pub(crate) fn tell(&self, vector: &[f32]) -> Option<Json> {
        let vector = Matrix::new(vector, vector.len().max(1));
        if vector.dimension() != self.features.dimension() {
            return None;
        }
        let value = self.witness.values(&self.features.of(vector));
        let mut told = self.told.clone();
        told["witness"] = json!(value.first());
        Some(told)
    }
}
