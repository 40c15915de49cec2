//! The schema of a collection: which indexes each metadata key has, and how vectors are compared.
//!
//! The serialised form is Chroma's schema JSON, member for member; the catalogue stores it so.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Value;

/// How two vectors are compared. Smaller distances are nearer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Space {
    /// Squared Euclidean distance.
    #[default]
    L2,
    /// 1 − cosine of the angle; 1 where a vector is zero.
    Cosine,
    /// 1 − inner product.
    Ip,
}

/// The types a metadata cell can have, as schemas name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ValueKind {
    /// `bool`, or a list of it.
    Bool,
    /// `int`, or a list of it.
    Int,
    /// `float`, or a list of it.
    Float,
    /// `string`, or a list of it.
    Str,
    /// `sparse_vector`.
    Sparse,
}

impl ValueKind {
    /// The kind of `value`; `None` for a null.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Null => None,
            Value::Bool(_) | Value::Bools(_) => Some(Self::Bool),
            Value::Int(_) | Value::Ints(_) => Some(Self::Int),
            Value::Float(_) | Value::Floats(_) => Some(Self::Float),
            Value::Str(_) | Value::Strs(_) => Some(Self::Str),
            Value::Sparse(_) => Some(Self::Sparse),
        }
    }
}

/// The schema of a collection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// How vectors are compared.
    pub space: Space,
    /// Placeholder until the schema's own commit.
    pub keys: BTreeMap<String, ()>,
}

impl Schema {
    /// How vectors are compared.
    pub fn space(&self) -> Space {
        self.space
    }

    /// Notes that a record has metadata `key` of `kind`; whether that changed the schema.
    pub fn discover(&mut self, _key: &str, _kind: ValueKind) -> bool {
        false
    }

    /// Whether [`Self::discover`] of this key and kind would change nothing.
    pub fn has_discovered(&self, _key: &str, _kind: ValueKind) -> bool {
        true
    }

    /// Whether a filter may test metadata `key` of `kind`.
    pub fn is_filterable(&self, _key: &str, _kind: ValueKind) -> bool {
        true
    }

    /// Whether a filter may test documents.
    pub fn documents_filterable(&self) -> bool {
        true
    }
}
