//! Laying a user's schema over the defaults, field by field.

use vermilion_engine::model::{
    BoolType, DOCUMENT_KEY, EMBEDDING_KEY, FloatListType, FloatType, HnswSettings, Index, IntType,
    Schema, SpannSettings, SparseSettings, SparseVectorType, StringType, ValueTypes,
    VectorSettings,
};

/// `over` laid over `base`.
pub(super) fn hnsw(over: &HnswSettings, base: &HnswSettings) -> HnswSettings {
    HnswSettings {
        ef_construction: over.ef_construction.or(base.ef_construction),
        max_neighbors: over.max_neighbors.or(base.max_neighbors),
        ef_search: over.ef_search.or(base.ef_search),
        num_threads: over.num_threads.or(base.num_threads),
        batch_size: over.batch_size.or(base.batch_size),
        sync_threshold: over.sync_threshold.or(base.sync_threshold),
        resize_factor: over.resize_factor.or(base.resize_factor),
    }
}

/// The user's schema laid over the defaults.
pub(super) fn over_defaults(user: Schema, standard: Schema) -> Schema {
    let mut keys = standard.keys;
    for (key, over) in user.keys {
        let merged = match keys.remove(&key) {
            Some(base) => value_types(over, base),
            None => over,
        };
        keys.insert(key, merged);
    }
    Schema {
        defaults: value_types(user.defaults, standard.defaults),
        keys,
        cmek: user.cmek.or(standard.cmek),
        source: None,
    }
}

/// Both where both are there, merged by `merge`; else the one that is.
fn both<T>(over: Option<T>, base: Option<T>, merge: impl FnOnce(T, T) -> T) -> Option<T> {
    match (over, base) {
        (Some(over), Some(base)) => Some(merge(over, base)),
        (over, base) => over.or(base),
    }
}

fn value_types(over: ValueTypes, base: ValueTypes) -> ValueTypes {
    ValueTypes {
        string: both(over.string, base.string, |over, base| StringType {
            fts_index: over.fts_index.or(base.fts_index),
            string_inverted_index: over.string_inverted_index.or(base.string_inverted_index),
        }),
        float_list: both(over.float_list, base.float_list, |over, base| {
            FloatListType {
                vector_index: both(over.vector_index, base.vector_index, vector_index),
            }
        }),
        sparse_vector: both(over.sparse_vector, base.sparse_vector, |over, base| {
            SparseVectorType {
                sparse_vector_index: both(
                    over.sparse_vector_index,
                    base.sparse_vector_index,
                    sparse_index,
                ),
            }
        }),
        int: both(over.int, base.int, |over, base| IntType {
            int_inverted_index: over.int_inverted_index.or(base.int_inverted_index),
        }),
        float: both(over.float, base.float, |over, base| FloatType {
            float_inverted_index: over.float_inverted_index.or(base.float_inverted_index),
        }),
        boolean: both(over.boolean, base.boolean, |over, base| BoolType {
            bool_inverted_index: over.bool_inverted_index.or(base.bool_inverted_index),
        }),
    }
}

fn vector_index(over: Index<VectorSettings>, base: Index<VectorSettings>) -> Index<VectorSettings> {
    let (enabled, over, base) = (over.enabled, over.config, base.config);
    Index {
        enabled,
        config: VectorSettings {
            space: over.space.or(base.space),
            embedding_function: over.embedding_function.or(base.embedding_function),
            source_key: over.source_key.or(base.source_key),
            hnsw: both(over.hnsw, base.hnsw, |over, base| hnsw(&over, &base)),
            spann: None,
        },
    }
}

fn sparse_index(over: Index<SparseSettings>, base: Index<SparseSettings>) -> Index<SparseSettings> {
    let (enabled, over, base) = (over.enabled, over.config, base.config);
    Index {
        enabled,
        config: SparseSettings {
            embedding_function: over.embedding_function.or(base.embedding_function),
            source_key: over.source_key.or(base.source_key),
            bm25: over.bm25.or(base.bm25),
            algorithm: if over.algorithm.is_default() {
                base.algorithm
            } else {
                over.algorithm
            },
        },
    }
}

/// Whether a user's schema says nothing but the defaults, in whatever parts it says.
pub(super) fn is_standard(user: &Schema, standard: &Schema) -> bool {
    let known = |key: &String| key == DOCUMENT_KEY || key == EMBEDDING_KEY;
    if user.cmek.is_some() || !user.keys.keys().all(known) {
        return false;
    }
    let mut plain = user.clone();
    let types = plain.keys.values_mut().chain([&mut plain.defaults]);
    for index in types.filter_map(|types| types.float_list.as_mut()?.vector_index.as_mut()) {
        let config = &mut index.config;
        // What a client says of itself is no wish of its user.
        if super::is_standard_function(config.embedding_function.as_ref()) {
            config.embedding_function = None;
        }
        if config
            .spann
            .as_ref()
            .is_some_and(|spann| *spann != SpannSettings::default())
        {
            return false;
        }
    }
    if let Some(index) = plain
        .defaults
        .sparse_vector
        .as_mut()
        .and_then(|sparse| sparse.sparse_vector_index.as_mut())
        && super::is_standard_function(index.config.embedding_function.as_ref())
    {
        index.config.embedding_function = None;
    }
    over_defaults(plain, standard.clone()) == *standard
}
