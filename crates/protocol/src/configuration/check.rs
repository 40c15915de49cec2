//! The rules that a schema in a request must keep, in the words clients know.

use vermilion_engine::model::{
    DOCUMENT_KEY, EMBEDDING_KEY, HnswSettings, Index, Schema, SpannSettings, SparseSettings,
    StringType, ValueTypes, VectorSettings,
};

type Check = Result<(), String>;

/// Checks a whole schema.
pub(super) fn check_schema(schema: &Schema) -> Check {
    check_defaults(&schema.defaults)?;
    for (key, types) in &schema.keys {
        check_key(key, types)?;
    }
    let sparse = schema.keys.values().filter_map(sparse_of);
    if sparse.filter(|index| index.enabled).count() > 1 {
        return Err("At most one sparse vector index is allowed for the collection.".to_owned());
    }
    match &schema.cmek {
        None => Ok(()),
        Some(cmek) => check_cmek(cmek),
    }
}

fn vector_of(types: &ValueTypes) -> Option<&Index<VectorSettings>> {
    types.float_list.as_ref()?.vector_index.as_ref()
}

fn sparse_of(types: &ValueTypes) -> Option<&Index<SparseSettings>> {
    types.sparse_vector.as_ref()?.sparse_vector_index.as_ref()
}

fn text_enabled(string: Option<&StringType>) -> bool {
    string.is_some_and(|string| string.fts_index.as_ref().is_some_and(|index| index.enabled))
}

fn check_defaults(defaults: &ValueTypes) -> Check {
    let problem = if vector_of(defaults).is_some_and(|index| index.enabled) {
        "Vector index cannot be enabled by default. It can only be enabled on #embedding field."
    } else if sparse_of(defaults).is_some_and(|index| index.enabled) {
        "Sparse vector index cannot be enabled by default. Please enable sparse vector index on \
         specific keys. At most one sparse vector index is allowed for the collection."
    } else if text_enabled(defaults.string.as_ref()) {
        "Full text search / regular expression index cannot be enabled by default. It can only be \
         enabled on #document field."
    } else {
        return vector_of(defaults).map_or(Ok(()), |index| check_default_vectors(&index.config));
    };
    Err(problem.to_owned())
}

fn check_key(key: &str, types: &ValueTypes) -> Check {
    let (document, embedding) = (key == DOCUMENT_KEY, key == EMBEDDING_KEY);
    if key.starts_with('#') && !document && !embedding {
        return Err(format!(
            "key cannot begin with '#'. Keys starting with '#' are reserved for system use: {key}"
        ));
    }
    let scalars = types.boolean.is_some() || types.float.is_some() || types.int.is_some();
    let others = scalars || types.sparse_vector.is_some();
    if document && (others || types.float_list.is_some()) {
        return Err(format!(
            "Document field cannot have any value types other than string: {key}"
        ));
    }
    if embedding && (others || types.string.is_some()) {
        return Err(format!(
            "Embedding field cannot have any value types other than float_list: {key}"
        ));
    }
    if let Some(index) = vector_of(types) {
        if index.enabled && !embedding {
            return Err(format!(
                "Vector index can only be enabled on #embedding field: {key}"
            ));
        }
        let source = index.config.source_key.as_deref();
        if source.is_some_and(|source| source != DOCUMENT_KEY) {
            return Err("Vector index can only source from #document".to_owned());
        }
        check_vectors(&index.config)?;
    }
    if let Some(index) = sparse_of(types) {
        check_sparse(index)?;
    }
    check_strings(key, types.string.as_ref())
}

fn check_strings(key: &str, string: Option<&StringType>) -> Check {
    let document = key == DOCUMENT_KEY;
    if text_enabled(string) && !document {
        return Err(format!(
            "Full text search / regular expression index can only be enabled on #document field: \
             {key}"
        ));
    }
    let inverted = string.and_then(|string| string.string_inverted_index.as_ref());
    if document && inverted.is_some_and(|index| index.enabled) {
        return Err(format!(
            "String inverted index can not be enabled on #document key: {key}"
        ));
    }
    Ok(())
}

fn check_sparse(index: &Index<SparseSettings>) -> Check {
    let config = &index.config;
    if index.enabled && config.source_key.is_some() && config.embedding_function.is_none() {
        return Err(
            "If source_key is provided then embedding_function must also be provided since there \
             is no default embedding function."
                .to_owned(),
        );
    }
    let source = config.source_key.as_deref().unwrap_or_default();
    if source.starts_with('#') && source != DOCUMENT_KEY {
        return Err(
            "source_key cannot begin with '#'. The only valid key starting with '#' is \
             Key.DOCUMENT or '#document'."
                .to_owned(),
        );
    }
    Ok(())
}

fn check_default_vectors(config: &VectorSettings) -> Check {
    if config.hnsw.is_some() && config.spann.is_some() {
        return Err("Both spann and hnsw config cannot be present at the same time.".to_owned());
    }
    check_vectors(config)
}

/// HNSW settings are checked after they are laid over the defaults.
fn check_vectors(config: &VectorSettings) -> Check {
    config.spann.as_ref().map_or(Ok(()), check_spann)
}

/// Checks HNSW settings, of a schema or of another way to say them.
pub(super) fn check_hnsw(hnsw: &HnswSettings) -> Check {
    let table = [
        ("batch_size", hnsw.batch_size),
        ("sync_threshold", hnsw.sync_threshold),
    ];
    for (name, value) in table {
        if let Some(value) = value
            && value < 2
        {
            return Err(format!(
                "{name}: Validation error: range [{{\"min\": Number(2), \"value\": Number({value})}}]"
            ));
        }
    }
    Ok(())
}

fn check_spann(spann: &SpannSettings) -> Check {
    let int = |value: Option<u32>| value.map(f64::from);
    let long = |value: Option<u64>| value.map(|value| value as f64);
    let float = |value: Option<f32>| value.map(f64::from);
    let tenth = f64::from(0.1_f32);
    let table = [
        ("search_nprobe", int(spann.search_nprobe), 0.0, 128.0),
        ("write_nprobe", int(spann.write_nprobe), 0.0, 64.0),
        (
            "search_rng_factor",
            float(spann.search_rng_factor),
            1.0,
            1.0,
        ),
        (
            "search_rng_epsilon",
            float(spann.search_rng_epsilon),
            5.0,
            10.0,
        ),
        ("write_rng_factor", float(spann.write_rng_factor), 1.0, 1.0),
        (
            "write_rng_epsilon",
            float(spann.write_rng_epsilon),
            5.0,
            10.0,
        ),
        ("nreplica_count", int(spann.nreplica_count), 0.0, 8.0),
        ("split_threshold", int(spann.split_threshold), 50.0, 200.0),
        ("merge_threshold", int(spann.merge_threshold), 25.0, 100.0),
        (
            "num_samples_kmeans",
            long(spann.num_samples_kmeans),
            0.0,
            1000.0,
        ),
        ("initial_lambda", float(spann.initial_lambda), 100.0, 100.0),
        (
            "reassign_neighbor_count",
            int(spann.reassign_neighbor_count),
            0.0,
            64.0,
        ),
        (
            "num_centers_to_merge_to",
            int(spann.num_centers_to_merge_to),
            0.0,
            8.0,
        ),
        ("ef_construction", long(spann.ef_construction), 0.0, 200.0),
        ("ef_search", long(spann.ef_search), 0.0, 200.0),
        ("max_neighbors", long(spann.max_neighbors), 0.0, 64.0),
        (
            "center_drift_threshold",
            float(spann.center_drift_threshold),
            tenth,
            1.0,
        ),
    ];
    for (name, value, min, max) in table {
        if let Some(value) = value
            && !(min..=max).contains(&value)
        {
            return Err(format!("{name} must be from {min} to {max}, got {value}"));
        }
    }
    Ok(())
}

/// `{"gcp": "projects/P/locations/L/keyRings/R/cryptoKeys/K"}`.
fn check_cmek(cmek: &serde_json::Value) -> Check {
    let resource = cmek.get("gcp").and_then(serde_json::Value::as_str);
    let fits = resource.is_some_and(|resource| {
        let parts: Vec<&str> = resource.split('/').collect();
        let words = ["projects", "locations", "keyRings", "cryptoKeys"];
        parts.len() == 8
            && parts
                .chunks(2)
                .zip(words)
                .all(|(pair, word)| pair[0] == word && !pair[1].is_empty())
    });
    if fits {
        return Ok(());
    }
    Err(format!(
        "CMEK does not match expected pattern: {cmek} is not \
         {{\"gcp\":\"projects/…/locations/…/keyRings/…/cryptoKeys/…\"}}"
    ))
}
