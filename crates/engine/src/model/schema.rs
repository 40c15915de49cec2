//! The schema of a collection: which indexes each metadata key has, and how vectors are compared.
//!
//! The serialised form is Chroma's schema JSON, member for member and in a stable order; the
//! catalogue stores it so and the API answers it so. What a request may say, and how it is laid
//! over the defaults, is a matter of the wire and lives in the protocol crate. Deliberately
//! absent: any meaning of `embedding_function`, which is kept word for word.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::{FunctionSource, Value};

mod value_types;

use value_types::enabled;
pub use value_types::*;

/// The key under which a schema describes documents.
pub const DOCUMENT_KEY: &str = "#document";
/// The key under which a schema describes the vectors of records.
pub const EMBEDDING_KEY: &str = "#embedding";

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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// What holds for a key that says nothing else.
    pub defaults: ValueTypes,
    /// What single keys say: documents, vectors, what the user set and what records brought.
    #[serde(alias = "key_overrides")]
    pub keys: BTreeMap<String, ValueTypes>,
    /// A customer's encryption key, by provider; kept and answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmek: Option<serde_json::Value>,
    /// What fills the collection, where it is the output of a function; no request can set it.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub source: Option<FunctionSource>,
}

impl Default for Schema {
    fn default() -> Self {
        // Asking the system is slow, and a default is made for every request that may create.
        static THREADS: LazyLock<u64> = LazyLock::new(|| {
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64
        });
        Self::standard(*THREADS)
    }
}

impl Schema {
    /// The schema of a collection for which nothing is asked, on a machine with `threads` threads.
    pub fn standard(threads: u64) -> Self {
        let vectors = VectorSettings {
            space: Some(Space::L2),
            hnsw: Some(HnswSettings::standard(threads)),
            ..VectorSettings::default()
        };
        let document = ValueTypes {
            string: Some(StringType {
                fts_index: Some(Index::new(true)),
                string_inverted_index: Some(Index::new(false)),
            }),
            ..ValueTypes::default()
        };
        let embedding = ValueTypes {
            float_list: Some(FloatListType {
                vector_index: Some(Index {
                    enabled: true,
                    config: VectorSettings {
                        source_key: Some(DOCUMENT_KEY.to_owned()),
                        ..vectors.clone()
                    },
                }),
            }),
            ..ValueTypes::default()
        };
        Self {
            defaults: standard_types(vectors),
            keys: BTreeMap::from([
                (DOCUMENT_KEY.to_owned(), document),
                (EMBEDDING_KEY.to_owned(), embedding),
            ]),
            cmek: None,
            source: None,
        }
    }

    /// The settings of the vector index.
    pub fn vectors(&self) -> Option<&VectorSettings> {
        let own = self
            .keys
            .get(EMBEDDING_KEY)
            .and_then(ValueTypes::vector_index);
        own.or_else(|| self.defaults.vector_index())
            .map(|index| &index.config)
    }

    /// Changes the settings of the vector index, in the defaults and for the vectors of records.
    pub fn change_vectors(&mut self, mut change: impl FnMut(&mut VectorSettings)) {
        let own = self
            .keys
            .get_mut(EMBEDDING_KEY)
            .and_then(ValueTypes::vector_index_mut);
        for index in [self.defaults.vector_index_mut(), own]
            .into_iter()
            .flatten()
        {
            change(&mut index.config);
        }
    }

    /// How vectors are compared.
    pub fn space(&self) -> Space {
        self.vectors()
            .and_then(|vectors| vectors.space)
            .unwrap_or_default()
    }

    /// Notes that a record has metadata `key` of `kind`; whether that changed the schema.
    pub fn discover(&mut self, key: &str, kind: ValueKind) -> bool {
        if let Some(types) = self.keys.get_mut(key) {
            let new = !types.has(kind);
            if new {
                types.take_kind(kind, &self.defaults);
            }
            return new;
        }
        let mut types = ValueTypes::default();
        types.take_kind(kind, &self.defaults);
        self.keys.insert(key.to_owned(), types);
        true
    }

    /// Adds what `other` knows of keys and this one does not: what records brought while a new
    /// version of the schema was made from an older one.
    pub fn add_discovered(&mut self, other: &Self) {
        use ValueKind::{Bool, Float, Int, Sparse, Str};
        for (key, theirs) in &other.keys {
            let ours = self.keys.entry(key.clone()).or_default();
            for kind in [Bool, Int, Float, Str, Sparse] {
                if theirs.has(kind) && !ours.has(kind) {
                    ours.take_kind(kind, theirs);
                }
            }
            if ours.float_list.is_none() {
                ours.float_list.clone_from(&theirs.float_list);
            }
        }
    }

    /// Whether [`Self::discover`] of this key and kind would change nothing.
    pub fn has_discovered(&self, key: &str, kind: ValueKind) -> bool {
        self.keys.get(key).is_some_and(|types| types.has(kind))
    }

    /// How many metadata keys it has.
    pub fn metadata_keys(&self) -> usize {
        let others = [DOCUMENT_KEY, EMBEDDING_KEY];
        let others = others.iter().filter(|key| self.keys.contains_key(**key));
        self.keys.len() - others.count()
    }

    /// Bytes of its serialised form.
    pub fn stored_bytes(&self) -> u64 {
        let bytes = serde_json::to_vec(self).expect("the keys of a schema are texts");
        bytes.len() as u64
    }

    /// Whether a filter may test metadata `key` of `kind`.
    pub fn is_filterable(&self, key: &str, kind: ValueKind) -> bool {
        let own = self.keys.get(key).and_then(|types| types.indexed(kind));
        own.or_else(|| self.defaults.indexed(kind)).unwrap_or(true)
    }

    /// The settings of the index of sparse vectors under `key`, where there is one.
    pub fn sparse_index(&self, key: &str) -> Option<&SparseSettings> {
        let index = self.keys.get(key)?.sparse_vector.as_ref()?;
        let index = index.sparse_vector_index.as_ref()?;
        index.enabled.then_some(&index.config)
    }

    /// The keys whose sparse vectors are indexed.
    pub fn sparse_keys(&self) -> impl Iterator<Item = &str> {
        let keys = self.keys.keys().map(String::as_str);
        keys.filter(|key| self.sparse_index(key).is_some())
    }

    /// Whether a filter may test documents.
    pub fn documents_filterable(&self) -> bool {
        let index = |types: &ValueTypes| enabled(types.string.as_ref()?.fts_index.as_ref());
        self.keys
            .get(DOCUMENT_KEY)
            .and_then(index)
            .or_else(|| index(&self.defaults))
            .unwrap_or(true)
    }
}

/// What holds for a key of which nothing is said.
fn standard_types(vectors: VectorSettings) -> ValueTypes {
    let sparse = SparseSettings {
        embedding_function: Some(serde_json::json!({"type": "unknown"})),
        bm25: Some(false),
        ..SparseSettings::default()
    };
    ValueTypes {
        string: Some(StringType {
            fts_index: Some(Index::new(false)),
            string_inverted_index: Some(Index::new(true)),
        }),
        float_list: Some(FloatListType {
            vector_index: Some(Index {
                enabled: false,
                config: vectors,
            }),
        }),
        sparse_vector: Some(SparseVectorType {
            sparse_vector_index: Some(Index {
                enabled: false,
                config: sparse,
            }),
        }),
        int: Some(IntType {
            int_inverted_index: Some(Index::new(true)),
        }),
        float: Some(FloatType {
            float_inverted_index: Some(Index::new(true)),
        }),
        boolean: Some(BoolType {
            bool_inverted_index: Some(Index::new(true)),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: &str = r##"{"defaults":{"string":{"fts_index":{"enabled":false,"config":{}},"string_inverted_index":{"enabled":true,"config":{}}},"float_list":{"vector_index":{"enabled":false,"config":{"space":"l2","hnsw":{"ef_construction":100,"max_neighbors":16,"ef_search":100,"num_threads":2,"batch_size":100,"sync_threshold":1000,"resize_factor":1.2}}}},"sparse_vector":{"sparse_vector_index":{"enabled":false,"config":{"embedding_function":{"type":"unknown"},"bm25":false}}},"int":{"int_inverted_index":{"enabled":true,"config":{}}},"float":{"float_inverted_index":{"enabled":true,"config":{}}},"bool":{"bool_inverted_index":{"enabled":true,"config":{}}}},"keys":{"#document":{"string":{"fts_index":{"enabled":true,"config":{}},"string_inverted_index":{"enabled":false,"config":{}}}},"#embedding":{"float_list":{"vector_index":{"enabled":true,"config":{"space":"l2","source_key":"#document","hnsw":{"ef_construction":100,"max_neighbors":16,"ef_search":100,"num_threads":2,"batch_size":100,"sync_threshold":1000,"resize_factor":1.2}}}}}}}"##;

    #[test]
    fn default_schema_is_written_as_clients_know_it() {
        let schema = Schema::standard(2);
        assert_eq!(serde_json::to_string(&schema).unwrap(), DEFAULT);
        assert_eq!(serde_json::from_str::<Schema>(DEFAULT).unwrap(), schema);
        assert_eq!(schema.space(), Space::L2);
    }

    #[test]
    fn discovery_fills_a_key_from_the_defaults_once_for_each_kind() {
        let mut schema = Schema::standard(2);
        assert!(schema.discover("cat", ValueKind::Str));
        assert!(!schema.discover("cat", ValueKind::Str));
        assert!(schema.discover("cat", ValueKind::Int));
        let cat = serde_json::to_string(&schema.keys["cat"]).unwrap();
        assert_eq!(
            cat,
            r#"{"string":{"fts_index":{"enabled":false,"config":{}},"string_inverted_index":{"enabled":true,"config":{}}},"int":{"int_inverted_index":{"enabled":true,"config":{}}}}"#
        );
    }

    #[test]
    fn discovery_made_meanwhile_is_added_and_settings_are_kept() {
        let mut old = Schema::standard(2);
        let mut new = old.clone();
        new.change_vectors(|vectors| vectors.space = Some(Space::Ip));
        old.discover("a", ValueKind::Bool);
        old.discover("b", ValueKind::Sparse);
        new.discover("b", ValueKind::Float);
        new.add_discovered(&old);
        assert_eq!(new.space(), Space::Ip);
        assert!(new.keys["a"].boolean.is_some());
        assert!(new.keys["b"].float.is_some() && new.keys["b"].sparse_vector.is_some());
    }

    #[test]
    fn filters_follow_the_key_and_else_the_defaults() {
        let mut schema = Schema::standard(2);
        assert!(schema.is_filterable("x", ValueKind::Str));
        assert!(schema.documents_filterable());
        schema.defaults.int = Some(IntType {
            int_inverted_index: Some(Index::new(false)),
        });
        schema.keys.insert(
            "k".to_owned(),
            ValueTypes {
                int: Some(IntType {
                    int_inverted_index: Some(Index::new(true)),
                }),
                string: Some(StringType {
                    string_inverted_index: Some(Index::new(false)),
                    ..StringType::default()
                }),
                ..ValueTypes::default()
            },
        );
        assert!(!schema.is_filterable("x", ValueKind::Int));
        assert!(schema.is_filterable("k", ValueKind::Int));
        assert!(!schema.is_filterable("k", ValueKind::Str));
        assert!(schema.is_filterable("k", ValueKind::Bool));
        let document = schema.keys.get_mut(DOCUMENT_KEY).unwrap();
        document.string.as_mut().unwrap().fts_index = Some(Index::new(false));
        assert!(!schema.documents_filterable());
    }

    #[test]
    fn older_spellings_of_members_are_understood() {
        let schema: Schema = serde_json::from_str(
            r##"{"defaults":{"#bool":{"$bool_inverted_index":{"enabled":false,"config":{}}},"later_type":{}},
                "key_overrides":{"k":{"#string":{"$string_inverted_index":{"enabled":false,"config":{}}}}}}"##,
        )
        .unwrap();
        assert!(!schema.is_filterable("x", ValueKind::Bool));
        assert!(!schema.is_filterable("k", ValueKind::Str));
    }

    #[test]
    fn unknown_settings_inside_a_config_are_refused() {
        let error = serde_json::from_str::<Index<VectorSettings>>(
            r#"{"enabled":true,"config":{"spase":"l2"}}"#,
        )
        .unwrap_err();
        assert!(
            error.to_string().contains("unknown field `spase`"),
            "{error}"
        );
    }

    #[test]
    fn quantization_is_named_as_on_the_wire() {
        let settings: SpannSettings =
            serde_json::from_str(r#"{"quantize":"four_bit_rabit_q_with_u_search"}"#).unwrap();
        assert_eq!(settings.quantize, Quantization::FourBitRabitQWithUSearch);
    }
}
