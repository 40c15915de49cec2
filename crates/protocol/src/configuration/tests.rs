//! Tests of reconciling what a request says of a collection's index.

use serde_json::json;

use super::*;

/// The schema that a request with these members makes.
fn made(request: &Value) -> Result<Schema, ApiError> {
    let part = |name: &str| request.get(name).filter(|value| !value.is_null()).cloned();
    let schema = part("schema").map(|value| serde_json::from_value(value).unwrap());
    let configuration = part("configuration").map(|value| serde_json::from_value(value).unwrap());
    let metadata = part("metadata").map(|value| value.as_object().unwrap().clone());
    reconcile(schema, configuration, metadata.as_ref())
}

#[track_caller]
fn fails(request: &Value, message: &str) {
    crate::error::fails(made(request), 400, message);
}

/// The settings in the defaults and those for the vectors of records.
fn both(schema: &Schema) -> [Value; 2] {
    let schema = serde_json::to_value(schema).unwrap();
    let index = |types: &Value| types["float_list"]["vector_index"]["config"].clone();
    [
        index(&schema["defaults"]),
        index(&schema["keys"]["#embedding"]),
    ]
}

#[test]
fn nothing_said_makes_the_default_schema() {
    assert_eq!(made(&json!({})).unwrap(), Schema::default());
    let client = json!({"configuration": {"hnsw": {"space": "l2"}, "spann": null,
        "embedding_function": {"name": "default", "type": "known", "config": {}}}});
    let schema = made(&client).unwrap();
    for config in both(&schema) {
        assert_eq!(config["embedding_function"]["name"], "default");
        assert_eq!(config["hnsw"]["ef_search"], 100);
    }
}

#[test]
fn configuration_sets_the_defaults_and_the_vectors() {
    let schema = made(&json!({"configuration": {"hnsw": {"space": "ip", "ef_search": 5}}}));
    let schema = schema.unwrap();
    for config in both(&schema) {
        assert_eq!(
            (&config["space"], &config["hnsw"]["ef_search"]),
            (&json!("ip"), &json!(5))
        );
        assert_eq!(config["hnsw"]["max_neighbors"], 16);
    }
    let answer = configuration_json(&schema);
    assert_eq!(answer["hnsw"]["space"], "ip");
    assert_eq!(answer["spann"], Value::Null);
    assert!(answer["hnsw"].get("num_threads").is_none());
}

#[test]
fn spann_block_keeps_its_space_only() {
    let schema =
        made(&json!({"configuration": {"spann": {"space": "cosine", "search_nprobe": 9}}}));
    let schema = schema.unwrap();
    assert_eq!(schema.space(), Space::Cosine);
    assert!(!serde_json::to_string(&schema).unwrap().contains("nprobe"));
    fails(
        &json!({"configuration": {"spann": {}, "hnsw": {}}}),
        "Multiple vector index configurations provided",
    );
    let schema = made(
        &json!({"schema": {"defaults": {}, "keys": {"#embedding": {"float_list":
        {"vector_index": {"enabled": true, "config": {"space": "ip", "spann":
        {"quantize": "four_bit_rabit_q_with_u_search"}}}}}}}}),
    );
    let schema = schema.unwrap();
    assert_eq!(both(&schema)[1]["hnsw"]["ef_construction"], 100);
    assert_eq!(both(&schema)[1].get("spann"), None);
    assert_eq!(schema.space(), Space::Ip);
}

#[test]
fn metadata_keys_count_when_the_configuration_says_nothing_of_its_own() {
    let legacy = json!({"hnsw:space": "cosine", "hnsw:search_ef": 33, "other": true});
    let schema = made(&json!({"metadata": legacy})).unwrap();
    assert_eq!(schema.space(), Space::Cosine);
    assert_eq!(both(&schema)[0]["hnsw"]["ef_search"], 33);
    let schema = made(&json!({"metadata": legacy, "configuration": {"hnsw": {"space": "l2"}}}));
    assert_eq!(schema.unwrap().space(), Space::Cosine);
    let schema = made(&json!({"metadata": legacy, "configuration": {"hnsw": {"space": "ip"}}}));
    assert_eq!(schema.unwrap().space(), Space::Ip);
    let spann = json!({"metadata": legacy, "configuration": {"spann": {"space": "l2"}}});
    assert_eq!(made(&spann).unwrap(), Schema::default());
    for bad in [
        json!({"hnsw:foo": 1}),
        json!({"hnsw:space": "x"}),
        json!({"hnsw:M": "x"}),
        json!({"hnsw:batch_size": 1}),
    ] {
        fails(
            &json!({ "metadata": bad }),
            "Failed to parse hnsw parameters from segment metadata",
        );
    }
}

#[test]
fn own_schema_and_own_configuration_contradict_each_other() {
    let schema = json!({"defaults": {"int": {"int_inverted_index": {"enabled": false, "config": {}}}},
        "keys": {}});
    fails(
        &json!({"schema": schema, "configuration": {"hnsw": {"space": "ip"}}}),
        "Failed to reconcile schema: Cannot set both collection config and schema simultaneously",
    );
    assert!(made(&json!({"schema": schema, "configuration": {"hnsw": {"space": "l2"}}})).is_ok());
    let plain = json!({"defaults": {}, "keys": {}});
    let made = made(&json!({"schema": plain, "configuration": {"hnsw": {"space": "ip"}}}));
    assert_eq!(made.unwrap().space(), Space::Ip);
}

#[test]
fn user_schema_is_laid_over_the_defaults() {
    let schema = made(&json!({"schema": {
        "defaults": {"string": {"string_inverted_index": {"enabled": false, "config": {}}}},
        "keys": {
            "cat": {"string": {"string_inverted_index": {"enabled": true, "config": {}}}},
            "#embedding": {"float_list": {"vector_index": {"enabled": true,
                "config": {"space": "cosine", "hnsw": {"ef_search": 5}}}}},
            "sparse": {"sparse_vector": {"sparse_vector_index": {"enabled": true,
                "config": {"bm25": true, "algorithm": "max_score"}}}}},
        "cmek": {"gcp": "projects/p/locations/l/keyRings/r/cryptoKeys/k"}}}));
    let schema = serde_json::to_value(schema.unwrap()).unwrap();
    let string = &schema["defaults"]["string"];
    assert_eq!(string["string_inverted_index"]["enabled"], false);
    assert_eq!(string["fts_index"]["enabled"], false);
    assert_eq!(
        schema["defaults"]["int"]["int_inverted_index"]["enabled"],
        true
    );
    let vectors = &schema["defaults"]["float_list"]["vector_index"]["config"];
    assert_eq!(
        (&vectors["space"], &vectors["hnsw"]["ef_search"]),
        (&json!("l2"), &json!(100))
    );
    let own = &schema["keys"]["#embedding"]["float_list"]["vector_index"]["config"];
    assert_eq!(
        (&own["space"], &own["hnsw"]["ef_search"]),
        (&json!("cosine"), &json!(5))
    );
    assert_eq!(own["source_key"], "#document");
    assert_eq!(own["hnsw"]["ef_construction"], 100);
    let sparse = &schema["keys"]["sparse"]["sparse_vector"]["sparse_vector_index"];
    assert_eq!(
        sparse,
        &json!({"enabled": true, "config": {"bm25": true, "algorithm": "max_score"}})
    );
    assert_eq!(
        schema["cmek"]["gcp"],
        "projects/p/locations/l/keyRings/r/cryptoKeys/k"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn rules_of_schemas_are_told_in_the_words_clients_know() {
    let on = json!({"enabled": true, "config": {}});
    let vector = json!({"float_list": {"vector_index": on}});
    let sparse = json!({"sparse_vector": {"sparse_vector_index": on}});
    let text = json!({"string": {"fts_index": on}});
    let inverted = json!({"string": {"string_inverted_index": on}});
    let int = json!({"int": {"int_inverted_index": on}});
    let with =
        |defaults: &Value, keys: Value| json!({"schema": {"defaults": defaults, "keys": keys}});
    let none = json!({});
    let source = |config: Value| {
        json!({"sparse_vector": {"sparse_vector_index":
        {"enabled": true, "config": config}}})
    };
    let table = [
        (
            with(&vector, json!({})),
            "Vector index cannot be enabled by default",
        ),
        (
            with(&sparse, json!({})),
            "Sparse vector index cannot be enabled by default",
        ),
        (
            with(&text, json!({})),
            "Full text search / regular expression index cannot be enabled",
        ),
        (
            with(&none, json!({"k": vector})),
            "Vector index can only be enabled on #embedding",
        ),
        (
            with(&none, json!({"a": sparse, "b": sparse})),
            "At most one sparse vector index",
        ),
        (
            with(&none, json!({"k": text})),
            "can only be enabled on #document field: k",
        ),
        (
            with(&none, json!({"#document": inverted})),
            "String inverted index can not be enabled",
        ),
        (
            with(&none, json!({"#other": int})),
            "key cannot begin with '#'",
        ),
        (
            with(&none, json!({"#document": int})),
            "Document field cannot have any value types",
        ),
        (
            with(&none, json!({"#embedding": int})),
            "Embedding field cannot have any value types",
        ),
        (
            with(&none, json!({"k": source(json!({"source_key": "t"}))})),
            "If source_key is provided",
        ),
        (
            with(
                &none,
                json!({"k": source(json!({"source_key": "#x",
                "embedding_function": {"type": "legacy"}}))}),
            ),
            "source_key cannot begin with '#'",
        ),
    ];
    for (request, message) in table {
        fails(&request, message);
        fails(&request, "Validation error: schema: ");
    }
    fails(
        &json!({"schema": {"defaults": {}, "keys": {}, "cmek": {"gcp": "projects/p"}}}),
        "Validation error: schema: CMEK does not match expected pattern",
    );
}

#[test]
fn settings_out_of_range_are_refused() {
    let with = |config: Value| {
        json!({"schema": {"defaults": {}, "keys": {"#embedding":
        {"float_list": {"vector_index": {"enabled": true, "config": config}}}}}})
    };
    fails(
        &with(json!({"hnsw": {"batch_size": 1}})),
        "Failed to reconcile schema: Invalid HNSW configuration: batch_size: Validation error",
    );
    fails(
        &with(json!({"spann": {"search_nprobe": 129}})),
        "search_nprobe must be from 0 to 128",
    );
    fails(
        &with(json!({"spann": {"split_threshold": 49}})),
        "split_threshold must be from 50",
    );
    fails(
        &with(json!({"source_key": "k"})),
        "Vector index can only source from #document",
    );
    let both = json!({"float_list": {"vector_index":
        {"enabled": false, "config": {"hnsw": {}, "spann": {}}}}});
    fails(
        &json!({"schema": {"defaults": both, "keys": {}}}),
        "Both spann and hnsw config",
    );
    // A configuration, unlike a schema, may say so.
    assert!(made(&json!({"configuration": {"hnsw": {"batch_size": 1}}})).is_ok());
}
