//! The fields of a logged record, and the metadata keys that they take in the collection.
//!
//! What must stay true: a field stands under its own name, so that `where={"context": "production"}`
//! means what it says; nobody else's metadata may have these keys.

use std::fmt;

use serde_json::Value as Json;
use vermilion_engine::model::Value;

use crate::{Refusal, Result};

/// Why a record is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Context {
    /// The model was trained on it.
    Training,
    /// The model met it at work.
    Production,
    /// A person saw the model go wrong on it.
    Triage,
    /// The model is measured with it.
    Test,
}

impl Context {
    /// Every context.
    pub const ALL: [Self; 4] = [Self::Training, Self::Production, Self::Triage, Self::Test];

    /// Its name in requests and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Production => "production",
            Self::Triage => "triage",
            Self::Test => "test",
        }
    }

    /// The context of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// The same, or a refusal.
    pub fn told(name: &str) -> Result<Self> {
        Self::named(name).ok_or_else(|| {
            Refusal::wrong("unknown_context", format!("`{name}` is no context."))
                .field(CONTEXT)
                .hint(Self::ALL.map(Self::name).join(", "))
        })
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// See [`Context`].
pub const CONTEXT: &str = "context";
/// The bag of records that a record belongs to.
pub const DATASET: &str = "dataset";
/// Which object of its input a record is.
pub const TARGET: &str = "target";
/// What the model said.
pub const INFERENCE_CLASS: &str = "inference_class";
/// What a person said.
pub const LABEL_CLASS: &str = "label_class";
/// A video, user or document that the record is a part of.
pub const GROUP: &str = "group";
/// The user's own score.
pub const QUALITY_SCORE: &str = "quality_score";
/// Seconds since 1970 at which the model met it.
pub const OBSERVED_AT: &str = "observed_at";
/// The model's probabilities: a sparse vector whose tokens are the classes.
pub const PROBABILITIES: &str = "probabilities";
/// The same before the softmax; it is told, never stored.
pub const LOGITS: &str = "logits";
/// What a person did with a recommendation.
pub const DECISION: &str = "decision";
/// Seconds since 1970 at which that was.
pub const DECIDED_AT: &str = "decided_at";
/// Seconds since 1970 up to which a snoozed record is left alone.
pub const SNOOZED_UNTIL: &str = "snoozed_until";
/// The dataset that a record was in before it was promoted to another.
pub const PROMOTED_FROM: &str = "promoted_from";

/// The retraining whose model was trained on a record.
pub const CONSUMED_BY: &str = "consumed_by";

/// Fields that a log may tell of a record besides its id, its vector and its `input_uri`.
pub const TOLD: [&str; 10] = [
    CONTEXT,
    DATASET,
    TARGET,
    INFERENCE_CLASS,
    LABEL_CLASS,
    GROUP,
    QUALITY_SCORE,
    OBSERVED_AT,
    PROBABILITIES,
    LOGITS,
];

/// Whether `key` is one that users' metadata may not have.
pub fn is_reserved(key: &str) -> bool {
    let decided = [
        DECISION,
        DECIDED_AT,
        SNOOZED_UNTIL,
        PROMOTED_FROM,
        CONSUMED_BY,
    ];
    TOLD.contains(&key) || decided.contains(&key) || ["id", "embedding", "input_uri"].contains(&key)
}

/// A value of metadata as JSON; `None` where it is neither a text, a truth or a number, nor a list of those.
pub fn plain(value: &Value) -> Option<Json> {
    (!matches!(value, Value::Null | Value::Sparse(_))).then(|| value.to_json())
}
