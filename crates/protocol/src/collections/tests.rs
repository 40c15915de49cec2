//! Tests of the bodies for tenants, databases and collections.

use serde_json::json;
use vermilion_engine::model::{CollectionId, SeqId, Space};

use super::*;
use crate::error::fails;

#[expect(
    clippy::needless_pass_by_value,
    reason = "a body is written where it is used"
)]
fn create(body: Value) -> Result<NewCollection, ApiError> {
    decode_new_collection("t", "d", body.to_string().as_bytes())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "a body is written where it is used"
)]
fn change(body: Value) -> Result<CollectionChange, ApiError> {
    decode_collection_change(body.to_string().as_bytes())
}

#[test]
fn collection_is_answered_as_clients_know_it() {
    let mut schema = Schema::standard(2);
    schema.change_vectors(|vectors| vectors.embedding_function = Some(json!({"type": "legacy"})));
    let schema_text = serde_json::to_string(&schema).unwrap();
    let collection = Collection {
        id: CollectionId(uuid::Uuid::nil()),
        name: "col_a".to_owned(),
        tenant: "default_tenant".to_owned(),
        database: "default_database".to_owned(),
        metadata: None,
        schema,
        dimension: None,
        origins: Vec::new(),
        version: 3,
        log_position: SeqId(17),
    };
    let expected = format!(
        concat!(
            r#"{{"id":"00000000-0000-0000-0000-000000000000","name":"col_a","#,
            r#""configuration_json":{{"embedding_function":{{"type":"legacy"}},"hnsw":{{"#,
            r#""ef_construction":100,"ef_search":100,"max_neighbors":16,"resize_factor":1.2,"#,
            r#""space":"l2","sync_threshold":1000}},"spann":null}},"schema":{},"metadata":null,"#,
            r#""dimension":null,"tenant":"default_tenant","database":"default_database","#,
            r#""log_position":17,"version":3}}"#
        ),
        schema_text
    );
    assert_eq!(
        String::from_utf8(write_collection(&collection)).unwrap(),
        expected
    );
    let list = write_collections(&[collection.clone(), collection]);
    assert_eq!(
        String::from_utf8(list).unwrap(),
        format!("[{expected},{expected}]")
    );
}

#[test]
fn metadata_of_a_collection_keeps_the_rules() {
    fails(
        create(json!({"name": "abc", "metadata": {}})),
        400,
        "Validation error: metadata: Metadata cannot be empty",
    );
    fails(
        create(json!({"name": "abc", "metadata": {"#x": 1}})),
        400,
        "Validation error: metadata: Metadata key cannot start with '#' or '$': #x",
    );
    fails(
        create(json!({"name": "abc", "metadata": {"": 1}})),
        400,
        "key cannot be empty",
    );
    for bad in [json!(null), json!({"a": 1}), json!([1, "x"])] {
        fails(
            create(json!({"name": "abc", "metadata": {"k": bad}})),
            422,
            "data did not match any variant of untagged enum MetadataValue",
        );
    }
    let new = create(json!({"name": "abc", "metadata": {"l": [1, 2], "f": 1.0}})).unwrap();
    assert_eq!(
        serde_json::to_string(&new.metadata).unwrap(),
        r#"{"f":1.0,"l":[1,2]}"#
    );
    assert!(create(json!({"name": "abc", "metadata": null, "extra": 1})).is_ok());
}

#[test]
fn bad_names_and_missing_members_are_refused() {
    fails(
        create(json!({"name": "a"})),
        400,
        "Validation error: name: Expected a name",
    );
    fails(create(json!({})), 422, "missing field `name`");
    fails(
        create(json!({"name": "abc", "schema": {}})),
        422,
        "missing field `defaults`",
    );
    fails(
        create(json!({"name": "abc", "schema": {"defaults": {}, "keys": {},
            "source_attached_function_id": "x"}})),
        400,
        "source_attached_function_id",
    );
    fails(
        decode_new_tenant(br#"{"name":"ab"}"#),
        400,
        "Validation error: name: Validation error",
    );
    fails(
        decode_new_database(br#"{"name":"ab"}"#),
        400,
        "Expected a name",
    );
    assert_eq!(
        decode_tenant_update(br#"{"resource_name":"r"}"#).unwrap(),
        "r"
    );
}

#[test]
fn metadata_space_is_kept_and_sets_the_space() {
    let new = create(json!({"name": "abc", "metadata": {"hnsw:space": "cosine", "k": 1}}));
    let new = new.unwrap();
    assert_eq!(new.schema.space(), Space::Cosine);
    assert_eq!(new.metadata.unwrap()["hnsw:space"], "cosine");
}

#[test]
fn new_metadata_replaces_and_nulls_delete() {
    let update = change(json!({"new_metadata": {"a": null, "b": 1}}))
        .unwrap()
        .into_update(&Schema::standard(2));
    assert_eq!(
        serde_json::to_string(&update.metadata).unwrap(),
        r#"{"b":1}"#
    );
    let update = change(json!({"new_metadata": {"a": null}}))
        .unwrap()
        .into_update(&Schema::standard(2));
    assert!(update.metadata.unwrap().is_empty());
    fails(
        change(json!({"new_metadata": {}})),
        400,
        "Validation error: new_metadata: Metadata cannot be empty",
    );
    fails(
        change(json!({"new_name": "a"})),
        400,
        "Validation error: new_name: Expected a name",
    );
}

#[test]
fn pages_have_their_defaults() {
    let page = |body: &str| decode_page(body.as_bytes());
    let all = page("{}").unwrap();
    assert_eq!((all.limit, all.offset), (None, 0));
    let some = page(r#"{"limit":0,"offset":7}"#).unwrap();
    assert_eq!((some.limit, some.offset), (Some(0), 7));
    assert_eq!(page(r#"{"limit":-1}"#).unwrap_err().status, 422);
}

#[test]
fn empty_change_changes_nothing() {
    for body in [
        json!({}),
        json!({"new_name": null, "new_metadata": null, "new_configuration": null}),
    ] {
        let change = change(body).unwrap();
        let update = change.into_update(&Schema::standard(2));
        assert!(update.name.is_none() && update.metadata.is_none() && update.schema.is_none());
    }
}

#[test]
fn new_configuration_changes_both_places_of_the_schema() {
    let change_hnsw = change(json!({"new_configuration": {"hnsw": {"ef_search": 7}}})).unwrap();
    let schema = change_hnsw
        .into_update(&Schema::standard(2))
        .schema
        .unwrap();
    let text = serde_json::to_string(&schema).unwrap();
    assert_eq!(text.matches("\"ef_search\":7").count(), 2);
    for bad in [
        json!({"hnsw": {"space": "ip"}}),
        json!({"hnsw": {"ef_construction": 1}}),
    ] {
        fails(
            change(json!({"new_configuration": bad})),
            422,
            "unknown field",
        );
    }
    fails(
        change(json!({"new_configuration": {"hnsw": {}, "spann": {}}})),
        400,
        "Multiple vector index configurations provided",
    );
    let spann = change(json!({"new_configuration": {"spann": {"ef_search": 7}}})).unwrap();
    assert!(spann.into_update(&Schema::standard(2)).schema.is_none());
}

#[test]
fn batch_ingest_is_said_in_configuration_or_metadata_and_told_in_both() {
    let new = |body: &str| decode_new_collection("t", "d", body.as_bytes());
    for body in [
        r#"{"name":"abc","configuration":{"batch_ingest":true}}"#,
        r#"{"name":"abc","metadata":{"vermilion:batch_ingest":true}}"#,
        r#"{"name":"abc","metadata":{"vermilion:batch_ingest":true},
            "configuration":{"batch_ingest":true}}"#,
    ] {
        let metadata = new(body).unwrap().metadata.unwrap();
        assert_eq!(metadata[BATCH_INGEST_KEY], true, "{body}");
    }
    assert!(new(r#"{"name":"abc"}"#).unwrap().metadata.is_none());
    let both = r#"{"name":"abc","metadata":{"vermilion:batch_ingest":true},
        "configuration":{"batch_ingest":false}}"#;
    let error = new(both).unwrap_err();
    assert_eq!(error.status, 400, "{error}");
    let wrong = r#"{"name":"abc","metadata":{"vermilion:batch_ingest":"yes"}}"#;
    let error = new(wrong).unwrap_err();
    assert_eq!(error.status, 400);
    assert!(error.message.contains("must be true or false"), "{error}");
    let wrong = r#"{"name":"abc","configuration":{"batch_ingest":3}}"#;
    assert_eq!(new(wrong).unwrap_err().status, 422);
}

#[test]
fn batch_ingest_is_changed_withdrawn_or_left_alone() {
    let change = |body: &str| {
        let change = decode_collection_change(body.as_bytes()).unwrap();
        change.into_update(&Schema::standard(2)).batch_ingest
    };
    assert_eq!(
        change(r#"{"new_metadata":{"k":1}}"#),
        BatchIngestChange::Keep
    );
    assert_eq!(
        change(r#"{"new_configuration":{"batch_ingest":false}}"#),
        BatchIngestChange::Set(false)
    );
    let metadata = r#"{"new_metadata":{"vermilion:batch_ingest":true}}"#;
    assert_eq!(change(metadata), BatchIngestChange::Set(true));
    let metadata = r#"{"new_metadata":{"k":1,"vermilion:batch_ingest":null}}"#;
    assert_eq!(change(metadata), BatchIngestChange::Follow);
}

#[test]
fn lists_in_place_of_objects_are_refused_and_those_that_mean_something_are_not() {
    let index = r##"{"defaults":{},"keys":{"#embedding":{"float_list":{"vector_index":"##;
    for (member, value) in [
        ("schema", "[{},{}]".to_owned()),
        ("schema", r#"{"defaults":[null,null],"keys":{}}"#.to_owned()),
        (
            "schema",
            r#"{"defaults":{},"keys":{"a":[null]}}"#.to_owned(),
        ),
        (
            "schema",
            r#"{"defaults":{"string":[]},"keys":{}}"#.to_owned(),
        ),
        (
            "schema",
            format!(r#"{index}{{"enabled":true,"config":[]}}}}}}}}}}"#),
        ),
        ("configuration", "[]".to_owned()),
        ("configuration", r#"{"hnsw":["ip"]}"#.to_owned()),
    ] {
        let body = format!(r#"{{"name":"abc","{member}":{value}}}"#);
        let error = decode_new_collection("t", "d", body.as_bytes()).unwrap_err();
        assert_eq!(error.status, 422, "{body}: {error}");
        assert!(error.message.contains(member), "{body}: {error}");
    }
    let error = decode_collection_change(br#"{"new_configuration":{"hnsw":[50]}}"#).unwrap_err();
    assert_eq!(error.status, 422, "{error}");
    let body = r#"{"name":"abc","configuration":{"unknown":[1],"embedding_function":
        {"type":"known","name":"x","config":{"hnsw":[1]}}},"metadata":{"keys":[1]}}"#;
    decode_new_collection("t", "d", body.as_bytes()).unwrap();
}

#[test]
fn resource_names_that_no_path_could_have_are_refused() {
    let decode = |name: &str| {
        let body = serde_json::json!({ "resource_name": name }).to_string();
        decode_tenant_update(body.as_bytes())
    };
    assert_eq!(decode("mine-1 \u{e9}").unwrap(), "mine-1 \u{e9}");
    for name in ["", "a:b", "a/b", "a\n", &"a".repeat(513)] {
        assert_eq!(decode(name).unwrap_err().status, 400, "{name}");
    }
}
