//! The parts of a schema: value types, the indexes each can have, and their settings.
//!
//! What must stay true: member names, their order, and what is left out when absent are Chroma's;
//! settings refuse members they do not know, value types pass them over.

use serde::{Deserialize, Serialize};

use super::{Space, ValueKind};

/// One index of one value type: whether it is kept, and its settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Index<C> {
    /// Whether the index is kept.
    pub enabled: bool,
    /// Its settings.
    pub config: C,
}

impl<C: Default> Index<C> {
    /// An index with default settings.
    pub fn new(enabled: bool) -> Self {
        Self {
            enabled,
            config: C::default(),
        }
    }
}

/// The settings of an index that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

/// Settings of an HNSW index. They are kept and answered; this server's index takes what applies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HnswSettings {
    /// Candidates while building.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ef_construction: Option<u64>,
    /// Links of a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_neighbors: Option<u64>,
    /// Candidates while searching.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ef_search: Option<u64>,
    /// Threads while building.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_threads: Option<u64>,
    /// Records of a building step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u64>,
    /// Records between two saves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_threshold: Option<u64>,
    /// Growth of the index's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize_factor: Option<f64>,
}

impl HnswSettings {
    /// The defaults, on a machine with `threads` threads.
    pub fn standard(threads: u64) -> Self {
        Self {
            ef_construction: Some(100),
            max_neighbors: Some(16),
            ef_search: Some(100),
            num_threads: Some(threads),
            batch_size: Some(100),
            sync_threshold: Some(1000),
            resize_factor: Some(1.2),
        }
    }
}

/// Settings of a SPANN index, accepted so that clients of the distributed server can send them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(
    missing_docs,
    reason = "the names are the distributed server's, and it defines them"
)]
pub struct SpannSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search_nprobe: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search_rng_factor: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search_rng_epsilon: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nreplica_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_rng_factor: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_rng_epsilon: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_threshold: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_samples_kmeans: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_lambda: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reassign_neighbor_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge_threshold: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_centers_to_merge_to: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_nprobe: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ef_construction: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ef_search: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_neighbors: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub center_drift_threshold: Option<f32>,
    #[serde(skip_serializing_if = "Quantization::is_none")]
    pub quantize: Quantization,
}

/// How a SPANN index stores its vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantization {
    /// As they are.
    #[default]
    None,
    /// In four bits a number, with a search over the graph of centres.
    FourBitRabitQWithUSearch,
}

impl Quantization {
    /// Whether vectors are stored as they are.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// Settings of the vector index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VectorSettings {
    /// How vectors are compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub space: Option<Space>,
    /// What the client computes vectors with, word for word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_function: Option<serde_json::Value>,
    /// What the client computes them from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_key: Option<String>,
    /// HNSW settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hnsw: Option<HnswSettings>,
    /// SPANN settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spann: Option<SpannSettings>,
}

/// How a sparse index is searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SparseAlgorithm {
    /// Weak AND.
    #[default]
    Wand,
    /// Maximum score.
    MaxScore,
}

impl SparseAlgorithm {
    /// Whether this is the default, which is not written out.
    pub fn is_default(&self) -> bool {
        *self == Self::Wand
    }
}

/// Settings of a sparse vector index.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SparseSettings {
    /// What the client computes vectors with, word for word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_function: Option<serde_json::Value>,
    /// What the client computes them from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_key: Option<String>,
    /// Whether query weights are scaled by how rare a term is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bm25: Option<bool>,
    /// How the index is searched.
    #[serde(skip_serializing_if = "SparseAlgorithm::is_default")]
    pub algorithm: SparseAlgorithm,
}

/// Indexes of strings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StringType {
    /// Substrings and regular expressions.
    #[serde(alias = "$fts_index", skip_serializing_if = "Option::is_none")]
    pub fts_index: Option<Index<NoSettings>>,
    /// Exact values.
    #[serde(
        alias = "$string_inverted_index",
        skip_serializing_if = "Option::is_none"
    )]
    pub string_inverted_index: Option<Index<NoSettings>>,
}

/// Indexes of dense vectors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FloatListType {
    /// Nearest neighbours.
    #[serde(alias = "$vector_index", skip_serializing_if = "Option::is_none")]
    pub vector_index: Option<Index<VectorSettings>>,
}

/// Indexes of sparse vectors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SparseVectorType {
    /// Nearest neighbours.
    #[serde(
        alias = "$sparse_vector_index",
        skip_serializing_if = "Option::is_none"
    )]
    pub sparse_vector_index: Option<Index<SparseSettings>>,
}

/// Indexes of integers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IntType {
    /// Values and ranges.
    #[serde(alias = "$int_inverted_index", skip_serializing_if = "Option::is_none")]
    pub int_inverted_index: Option<Index<NoSettings>>,
}

/// Indexes of floats.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FloatType {
    /// Values and ranges.
    #[serde(
        alias = "$float_inverted_index",
        skip_serializing_if = "Option::is_none"
    )]
    pub float_inverted_index: Option<Index<NoSettings>>,
}

/// Indexes of booleans.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BoolType {
    /// Values.
    #[serde(
        alias = "$bool_inverted_index",
        skip_serializing_if = "Option::is_none"
    )]
    pub bool_inverted_index: Option<Index<NoSettings>>,
}

/// The indexes of each value type, of one key or of every key that says nothing else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ValueTypes {
    /// Strings.
    #[serde(alias = "#string", skip_serializing_if = "Option::is_none")]
    pub string: Option<StringType>,
    /// Dense vectors.
    #[serde(alias = "#float_list", skip_serializing_if = "Option::is_none")]
    pub float_list: Option<FloatListType>,
    /// Sparse vectors.
    #[serde(alias = "#sparse_vector", skip_serializing_if = "Option::is_none")]
    pub sparse_vector: Option<SparseVectorType>,
    /// Integers.
    #[serde(alias = "#int", skip_serializing_if = "Option::is_none")]
    pub int: Option<IntType>,
    /// Floats.
    #[serde(alias = "#float", skip_serializing_if = "Option::is_none")]
    pub float: Option<FloatType>,
    /// Booleans.
    #[serde(
        rename = "bool",
        alias = "#bool",
        skip_serializing_if = "Option::is_none"
    )]
    pub boolean: Option<BoolType>,
}

impl ValueTypes {
    /// Whether the type of `kind` is described.
    pub(super) fn has(&self, kind: ValueKind) -> bool {
        match kind {
            ValueKind::Bool => self.boolean.is_some(),
            ValueKind::Int => self.int.is_some(),
            ValueKind::Float => self.float.is_some(),
            ValueKind::Str => self.string.is_some(),
            ValueKind::Sparse => self.sparse_vector.is_some(),
        }
    }

    /// Takes the type of `kind` from `other`; where that has none either, it stays empty.
    pub(super) fn take_kind(&mut self, kind: ValueKind, other: &Self) {
        match kind {
            ValueKind::Bool => self.boolean = Some(other.boolean.clone().unwrap_or_default()),
            ValueKind::Int => self.int = Some(other.int.clone().unwrap_or_default()),
            ValueKind::Float => self.float = Some(other.float.clone().unwrap_or_default()),
            ValueKind::Str => self.string = Some(other.string.clone().unwrap_or_default()),
            ValueKind::Sparse => {
                self.sparse_vector = Some(other.sparse_vector.clone().unwrap_or_default());
            }
        }
    }

    /// Whether values of `kind` are indexed; `None` where nothing is said of them.
    pub(super) fn indexed(&self, kind: ValueKind) -> Option<bool> {
        match kind {
            ValueKind::Bool => enabled(self.boolean.as_ref()?.bool_inverted_index.as_ref()),
            ValueKind::Int => enabled(self.int.as_ref()?.int_inverted_index.as_ref()),
            ValueKind::Float => enabled(self.float.as_ref()?.float_inverted_index.as_ref()),
            ValueKind::Str => enabled(self.string.as_ref()?.string_inverted_index.as_ref()),
            ValueKind::Sparse => enabled(self.sparse_vector.as_ref()?.sparse_vector_index.as_ref()),
        }
    }

    pub(super) fn vector_index(&self) -> Option<&Index<VectorSettings>> {
        self.float_list.as_ref()?.vector_index.as_ref()
    }

    pub(super) fn vector_index_mut(&mut self) -> Option<&mut Index<VectorSettings>> {
        self.float_list.as_mut()?.vector_index.as_mut()
    }
}

pub(super) fn enabled<C>(index: Option<&Index<C>>) -> Option<bool> {
    index.map(|index| index.enabled)
}
