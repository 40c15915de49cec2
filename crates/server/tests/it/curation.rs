//! Curation over a real socket: batches in each form, spaces, refusals that change nothing.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, FixedSizeListArray, Float32Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use vermilion_engine::Config;

use crate::harness::{Answer, DATABASE, TestServer};

fn batch() -> Value {
    json!({
        "embedding_set": {"version": "7", "model": "m"},
        "context": "training",
        "dataset": "v7",
        "embeddings": [[1.0, 0.0], [0.0, 1.0]],
        "input_uris": ["file:///a", "file:///b"],
        "label_classes": ["cat", "dog"],
        "metadatas": [{"camera": 3}, null],
    })
}

fn log(server: &TestServer, body: &Value) -> Answer {
    server.post("/curation/v1/log", body)
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str, field: Option<&str>) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["error"], code, "{body}");
    assert_eq!(body["field"].as_str(), field, "{body}");
    assert!(body["message"].as_str().is_some_and(|text| text.len() > 10));
}

/// Records of a space with context and dataset, as the main API tells them.
fn records(server: &TestServer, selection: &Value) -> Value {
    let summary = server.get("/curation/v1/spaces").json();
    let id = &summary["spaces"][0]["collection_id"];
    let path = format!("{DATABASE}/collections/{}/get", id.as_str().unwrap());
    let mut body = json!({"include": ["metadatas", "uris", "embeddings"]});
    body.as_object_mut()
        .unwrap()
        .extend(selection.as_object().unwrap().clone());
    server.post(&path, &body).json()
}

#[test]
fn batches_become_records_that_the_main_api_reads() {
    let server = TestServer::start();
    let first = log(&server, &batch());
    assert_eq!(first.status, 201, "{}", first.text());
    let told = first.json();
    assert_eq!(told["seq"], json!([1, 2]));
    let again = log(
        &server,
        &json!({
            "embedding_set": {"model": "m", "version": "7"},
            "context": "production",
            "embeddings": ["AACAPwAAAEA="],
            "input_uris": ["file:///a"],
            "probabilities": [{"dog": 0.75, "cat": 0.25}],
            "groups": ["video 1"],
        }),
    );
    assert_eq!(again.json()["embedding_set_key"], told["embedding_set_key"]);
    assert_eq!(again.json()["seq"], json!([3, 3]));
    let found = records(&server, &json!({"where": {"context": "production"}}));
    assert_eq!(found["uris"], json!(["file:///a"]));
    assert_eq!(found["embeddings"], json!([[1.0, 2.0]]));
    let metadata = &found["metadatas"][0];
    assert_eq!(metadata["inference_class"], "dog");
    assert_eq!(metadata["dataset"], "production");
    assert_eq!(metadata["group"], "video 1");
    let found = records(&server, &json!({"where": {"label_class": "cat"}}));
    assert_eq!(found["metadatas"][0]["camera"], 3);
    assert_eq!(found["ids"][0], told["ids"][0]);
}

#[test]
fn relogging_changes_records_and_repeats_none() {
    let server = TestServer::start();
    let ids = log(&server, &batch()).json()["ids"].clone();
    let mut changed = batch();
    changed["label_classes"] = json!(["cow", null]);
    assert_eq!(log(&server, &changed).json()["ids"], ids);
    let found = records(&server, &json!({}));
    assert_eq!(found["ids"], ids);
    assert_eq!(found["metadatas"][0]["label_class"], "cow");
    assert_eq!(found["metadatas"][1]["label_class"], "dog");
}

const LINES: &str = concat!(
    r#"{"embedding_set":{"model":"m","version":"7"},"context":"training","dataset":"v7"}"#,
    "\n",
    r#"{"embedding":[1,0],"input_uri":"file:///a","label_class":"cat","metadata":{"camera":3}}"#,
    "\n",
    r#"{"embedding":[0,1],"input_uri":"file:///b","label_class":"dog"}"#,
    "\n",
);
const ARROW: &str = "application/vnd.apache.arrow.stream";
/// With the embedding set of the other forms.
const ARROW_PATH: &str = "/curation/v1/log?context=training&dataset=v7\
    &embedding_set=%7B%22model%22:%22m%22,%22version%22:%227%22%7D";

fn send(server: &TestServer, path: &str, kind: &str, body: &[u8]) -> Answer {
    let header = format!("content-type: {kind}");
    server.connect().request("POST", path, &[&header], body)
}

fn texts(values: [&str; 2]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// The stream of the same two records, with more columns.
fn stream(more: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let vectors = Arc::new(Float32Array::from(vec![1.0, 0.0, 0.0, 1.0]));
    let vectors: ArrayRef = Arc::new(FixedSizeListArray::new(item, 2, vectors, None));
    let mut columns = vec![
        ("embedding", vectors),
        ("input_uri", texts(["file:///a", "file:///b"])),
        ("label_class", texts(["cat", "dog"])),
        ("metadata", texts([r#"{"camera":3}"#, "{}"])),
    ];
    columns.extend(more);
    let field = |one: &(&str, ArrayRef)| Field::new(one.0, one.1.data_type().clone(), true);
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    let arrays = columns.into_iter().map(|one| one.1).collect();
    let rows = RecordBatch::try_new(schema.clone(), arrays).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    writer.write(&rows).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn lines_and_arrow_tell_what_columns_tell() {
    let server = TestServer::start();
    let lines = LINES.as_bytes();
    let from_lines = send(&server, "/curation/v1/log", "application/x-ndjson", lines);
    assert_eq!(from_lines.status, 201, "{}", from_lines.text());
    let from_arrow = send(&server, ARROW_PATH, ARROW, &stream(Vec::new()));
    assert_eq!(from_arrow.status, 201, "{}", from_arrow.text());
    assert_eq!(from_arrow.json()["ids"], from_lines.json()["ids"]);
    let first = records(&server, &json!({}));
    let from_columns = log(&server, &batch());
    assert_eq!(from_columns.json()["ids"], from_lines.json()["ids"]);
    let mut second = records(&server, &json!({}));
    let metadatas = second["metadatas"].as_array_mut().unwrap();
    for (row, metadata) in metadatas.iter_mut().enumerate() {
        metadata["observed_at"] = first["metadatas"][row]["observed_at"].clone();
    }
    assert_eq!(first, second);
}

#[test]
fn a_thumbnail_comes_back_as_it_was_told_in_any_form() {
    let server = TestServer::start();
    let (png, unknown) = (b"\x89PNG\r\n\x1a\n...", b"<svg onload='alert(1)'/>");
    let encoded = [BASE64.encode(png), BASE64.encode(unknown)];
    let mut columns = batch();
    columns["ids"] = json!(["a", "b"]);
    columns["thumbnails"] = json!([encoded[0], null]);
    assert_eq!(log(&server, &columns).status, 201);
    let space = server.get("/curation/v1/spaces").json()["spaces"][0]["space"].clone();
    let path = |id: &str| {
        let space = space.as_str().unwrap();
        format!("/curation/v1/spaces/{space}/records/{id}/thumbnail")
    };
    let shown = |id: &str, kind: &str, bytes: &[u8]| {
        let answer = server.get(&path(id));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some(kind));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.body, bytes);
    };
    shown("a", "image/png", png);
    refused(&server.get(&path("b")), 404, "no_thumbnail", None);
    refused(&server.get(&path("c")), 404, "record_not_found", Some("id"));
    let ids = ("id", texts(["a", "b"]));
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![Some(&unknown[..]), Some(&png[..])]));
    let told = stream(vec![ids.clone(), ("thumbnail", bytes)]);
    assert_eq!(send(&server, ARROW_PATH, ARROW, &told).status, 201);
    shown("a", "application/octet-stream", unknown);
    shown("b", "image/png", png);
    // What is logged again without one keeps it.
    assert_eq!(log(&server, &batch()).status, 201);
    shown("b", "image/png", png);
    let told = stream(vec![ids, ("thumbnail", texts([&encoded[0], "?"]))]);
    let answer = send(&server, ARROW_PATH, ARROW, &told);
    refused(&answer, 400, "malformed_body", Some("thumbnail"));
    shown("a", "application/octet-stream", unknown);
    let lines = LINES.replace("}\n", &format!(",\"thumbnail\":\"{}\"}}\n", encoded[0]));
    let lines = lines.replacen(&format!(",\"thumbnail\":\"{}\"", encoded[0]), "", 1);
    let lines = lines.replace("\"embedding\":[1,0]", "\"id\":\"a\",\"embedding\":[1,0]");
    let answer = send(
        &server,
        "/curation/v1/log",
        "application/x-ndjson",
        lines.as_bytes(),
    );
    assert_eq!(answer.status, 201, "{}", answer.text());
    shown("a", "image/png", png);
    let page = server.get(&path("a").replace("records/a/thumbnail", "report?format=html"));
    assert_eq!(page.status, 200);
}

#[test]
fn streams_tell_moments_and_the_classes_of_probabilities() {
    let server = TestServer::start();
    let columns = |probabilities: [&str; 2]| {
        let times = TimestampMillisecondArray::from(vec![Some(1_500), None]).with_timezone("UTC");
        stream(vec![
            ("id", texts(["a", "b"])),
            ("observed_at", Arc::new(times) as ArrayRef),
            ("probabilities", texts(probabilities)),
        ])
    };
    let path = format!("{ARROW_PATH}&class_names=%5B%22cat%22,%22dog%22%5D");
    let told = columns([r#"{"dog": 0.75}"#, "[0.75, 0.25]"]);
    let answer = send(&server, &path, ARROW, &told);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let found = records(&server, &json!({}))["metadatas"].clone();
    assert_eq!(found[0]["observed_at"], 1.5);
    assert_eq!(found[0]["inference_class"], "dog");
    assert_eq!(found[1]["inference_class"], "cat");
    assert_eq!(found[1]["probabilities"]["tokens"], json!(["cat", "dog"]));
    for wrong in ["&class_names=cat", "&class_name=cat"] {
        let answer = send(&server, &format!("{ARROW_PATH}{wrong}"), ARROW, &told);
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    let answer = send(&server, &path, ARROW, &columns(["dog", "[1]"]));
    refused(&answer, 400, "wrong_type", Some("probabilities"));
}

#[test]
fn forms_and_columns_that_a_log_does_not_have_are_refused() {
    let server = TestServer::start();
    let strange = stream(vec![("label", texts(["a", "b"]))]);
    let answer = send(&server, ARROW_PATH, ARROW, &strange);
    refused(&answer, 400, "unknown_field", Some("label"));
    let own = stream(vec![("metadata.context", texts(["a", "b"]))]);
    let answer = send(&server, ARROW_PATH, ARROW, &own);
    refused(
        &answer,
        400,
        "reserved_metadata_key",
        Some("metadata.context"),
    );
    let answer = send(&server, ARROW_PATH, "text/plain", b"");
    refused(&answer, 415, "unsupported_media_type", None);
    assert_eq!(server.get("/curation/v1/spaces").json()["total"], 0);
}

#[test]
fn a_key_stands_for_one_content_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let open = || TestServer::over(Config::at(folder.path()).unwrap(), |_| {});
    let mut body = batch();
    body["idempotency_key"] = json!("first");
    let server = open();
    let told = log(&server, &body).json();
    assert_eq!(log(&server, &body).json(), told);
    drop(server);
    let server = open();
    assert_eq!(log(&server, &body).json(), told);
    body["label_classes"][0] = json!("cow");
    refused(
        &log(&server, &body),
        409,
        "idempotency_conflict",
        Some("idempotency_key"),
    );
    assert_eq!(
        records(&server, &json!({"where": {"label_class": "cow"}}))["ids"],
        json!([])
    );
    body["idempotency_key"] = json!("second");
    assert_eq!(log(&server, &body).json()["seq"], json!([3, 4]));
    body["idempotency_key"] = json!("");
    refused(
        &log(&server, &body),
        400,
        "bad_idempotency_key",
        Some("idempotency_key"),
    );
}

#[test]
fn what_is_refused_changes_nothing() {
    let server = TestServer::start();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut body = batch();
        change(&mut body);
        log(&server, &body)
    };
    let nowhere = changed(&|body| body["embedding_set"] = json!("m"));
    refused(&nowhere, 400, "bad_embedding_set", Some("embedding_set"));
    let bad = changed(&|body| body["embeddings"][1] = json!([1]));
    refused(&bad, 400, "dimension_mismatch", Some("embeddings"));
    assert_eq!(bad.json()["row"], 1);
    assert_eq!(server.get("/curation/v1/spaces").json()["total"], 0);
    assert_eq!(log(&server, &batch()).status, 201);
    let wide = changed(&|body| body["embeddings"] = json!([[1, 2, 3], [1, 2, 3]]));
    refused(&wide, 400, "dimension_mismatch", Some("embeddings"));
    let other = changed(&|body| body["space"] = json!("elsewhere"));
    refused(&other, 409, "embedding_set_changed", Some("embedding_set"));
    let metric = changed(&|body| body["metric"] = json!("l2"));
    refused(&metric, 409, "metric_changed", Some("metric"));
    let strange = changed(&|body| body["metric"] = json!("far"));
    refused(&strange, 400, "unknown_metric", Some("metric"));
    assert_eq!(
        server.get("/curation/v1/spaces").json()["spaces"][0]["seq"],
        2
    );
    let unknown = server.get("/curation/v1/spaces/nowhere");
    refused(&unknown, 404, "space_not_found", Some("space"));
    let broken = ["content-type: application/json"];
    let answer = server.connect().request(
        "POST",
        "/curation/v1/log",
        &broken,
        b"{\"embeddings\": [[NaN]]}",
    );
    refused(&answer, 400, "not_finite", Some("embeddings"));
}

#[test]
fn too_much_at_once_is_refused_with_the_most_that_is_taken() {
    let mut config = Config::in_memory();
    config.limits.batch_records_max = 1;
    let server = TestServer::over(config, |config| config.body_bytes_max = 1000);
    let many = log(&server, &batch());
    refused(&many, 413, "too_many_records", Some("embeddings"));
    assert!(
        many.json()["hint"]
            .as_str()
            .unwrap()
            .contains("1 records at most")
    );
    let long = json!({"embeddings": vec![vec![0.5; 100]; 10]});
    let large = log(&server, &long);
    refused(&large, 413, "too_large", None);
    assert!(large.json()["hint"].as_str().unwrap().contains("1000"));
}

#[test]
fn spaces_tell_what_is_in_them_and_go_with_all_they_have() {
    let server = TestServer::start();
    let mut first = batch();
    first["dataset_metadata"] = json!({"made_by": ["us"]});
    let key = log(&server, &first).json()["embedding_set_key"].clone();
    let mut named = batch();
    named["embedding_set"] = Value::Null;
    named["space"] = json!("by-name");
    named["metric"] = json!("l2");
    named["idempotency_key"] = json!("k");
    assert_eq!(log(&server, &named).status, 201);
    let path = format!("/curation/v1/spaces/{}", key.as_str().unwrap());
    let told = server.get(&path).json();
    assert_eq!(told["space"], format!("space-{}", key.as_str().unwrap()));
    assert_eq!(told["contexts"], json!({"training": 2}));
    assert_eq!(told["classes"], json!(["cat", "dog"]));
    assert_eq!(
        (&told["dim"], &told["metric"]),
        (&json!(2), &json!("cosine"))
    );
    assert_eq!(told["datasets"][0]["name"], "v7");
    assert_eq!(told["datasets"][0]["records"], 2);
    assert_eq!(told["datasets"][0]["metadata"], json!({"made_by": ["us"]}));
    let sets = server.get("/curation/v1/embeddingsets").json();
    assert_eq!(sets.as_array().unwrap().len(), 2);
    assert_eq!(sets[0]["embedding_set"], json!({"space": "by-name"}));
    let page = server.get("/curation/v1/spaces?limit=1&offset=1").json();
    assert_eq!(page["total"], 2);
    assert_eq!(page["spaces"][0]["embedding_set_key"], key);
    let deleted = server.send("DELETE", "/curation/v1/spaces/by-name", None);
    deleted.is(200, "{}");
    let documents = server.database.documents("curation_batch", "").unwrap();
    assert!(documents.is_empty());
    assert_eq!(server.get("/curation/v1/spaces").json()["total"], 1);
    // The same batch under the same key goes into a new space.
    assert_eq!(log(&server, &named).json()["seq"], json!([1, 2]));
}

#[test]
fn a_collection_that_was_there_becomes_a_space_by_its_name() {
    let server = TestServer::start();
    let path = server.collection("things");
    let mut body = batch();
    body["embedding_set"] = Value::Null;
    body["space"] = json!("things");
    // A collection of the main API compares by l2 unless it says otherwise.
    refused(
        &{
            let mut cosine = body.clone();
            cosine["space"] = json!("a");
            log(&server, &cosine)
        },
        400,
        "bad_space_name",
        Some("space"),
    );
    assert_eq!(log(&server, &body).status, 201);
    let count = server.get(&format!("{path}/count"));
    count.is(200, "2");
    let told = server.get("/curation/v1/spaces/things").json();
    assert_eq!(told["metric"], "l2");
}

#[test]
fn tenants_and_databases_are_named_by_path_or_header_and_kept_apart() {
    let server = TestServer::start();
    let made = server.post(
        "/api/v2/tenants/default_tenant/databases",
        &json!({"name": "other"}),
    );
    assert_eq!(made.status, 200, "{}", made.text());
    let path = "/curation/v1/tenants/default_tenant/databases/other";
    assert_eq!(server.post(&format!("{path}/log"), &batch()).status, 201);
    assert_eq!(server.get("/curation/v1/spaces").json()["total"], 0);
    assert_eq!(server.get(&format!("{path}/spaces")).json()["total"], 1);
    let header = ["x-vermilion-database: other"];
    let by_header = server
        .connect()
        .request("GET", "/curation/v1/spaces", &header, b"");
    assert_eq!(by_header.json()["total"], 1);
    let nowhere = "/curation/v1/tenants/default_tenant/databases/nowhere/log";
    assert_eq!(server.post(nowhere, &batch()).status, 404);
}

#[test]
fn a_database_that_is_not_there_is_refused_wherever_spaces_are_listed() {
    let server = TestServer::start();
    for place in [
        "tenants/none/databases/default_database",
        "tenants/default_tenant/databases/none",
    ] {
        for route in ["spaces", "embeddingsets"] {
            let answer = server.get(&format!("/curation/v1/{place}/{route}"));
            refused(&answer, 404, "database_not_found", Some("database"));
        }
    }
    let here = "/curation/v1/tenants/default_tenant/databases/default_database";
    assert_eq!(server.get(&format!("{here}/spaces")).json()["total"], 0);
    assert_eq!(
        server.get(&format!("{here}/embeddingsets")).json(),
        json!([])
    );
}

/// The metadata of the record `a` of the space.
fn of_a(server: &TestServer) -> Value {
    records(server, &json!({"ids": ["a"]}))["metadatas"][0].clone()
}

#[test]
fn an_input_that_the_model_meets_again_stays_in_the_training_data_it_was_promoted_to() {
    let server = TestServer::start();
    let met = json!({
        "embedding_set": {"version": "7", "model": "m"}, "context": "production", "ids": ["a"],
        "embeddings": [[1.0, 0.0]], "input_uris": ["file:///a"], "inference_classes": ["cat"],
    });
    assert_eq!(log(&server, &met).status, 201);
    let space = server.get("/curation/v1/spaces").json()["spaces"][0]["space"].clone();
    let labels = format!("/curation/v1/spaces/{}/labels", space.as_str().unwrap());
    let label = json!({"ids": ["a"], "label_classes": ["dog"], "promote": "v2"});
    assert_eq!(server.post(&labels, &label).status, 200);
    for context in ["production", "triage"] {
        let mut again = met.clone();
        again["context"] = json!(context);
        again["inference_classes"] = json!(["cow"]);
        again["idempotency_key"] = json!(context);
        assert_eq!(log(&server, &again).status, 201);
        let kept = of_a(&server);
        assert_eq!(kept["context"], "training", "{kept}");
        assert_eq!(
            (&kept["dataset"], &kept["label_class"]),
            (&json!("v2"), &json!("dog"))
        );
        assert_eq!(kept["inference_class"], "cow");
        // A repeat is known by what was told, not by what was left of it.
        assert_eq!(log(&server, &again).status, 201);
    }
}

#[test]
fn when_a_record_was_observed_stands_until_it_is_told_anew() {
    let server = TestServer::start();
    let mut told = batch();
    told["ids"] = json!(["a", "b"]);
    told["observed_at"] = json!([1e9, null]);
    assert_eq!(log(&server, &told).status, 201);
    told.as_object_mut().unwrap().remove("observed_at");
    told["label_classes"] = json!(["cow", "dog"]);
    assert_eq!(log(&server, &told).status, 201);
    let kept = of_a(&server);
    assert_eq!(
        (&kept["observed_at"], &kept["label_class"]),
        (&json!(1e9), &json!("cow"))
    );
    told["observed_at"] = json!([2e9, null]);
    assert_eq!(log(&server, &told).status, 201);
    assert_eq!(of_a(&server)["observed_at"], json!(2e9));
}

#[test]
fn a_space_whose_metadata_a_client_replaces_is_one_still() {
    let server = TestServer::start();
    assert_eq!(log(&server, &batch()).status, 201);
    let space = server.get("/curation/v1/spaces").json()["spaces"][0].clone();
    let path = format!(
        "{DATABASE}/collections/{}",
        space["collection_id"].as_str().unwrap()
    );
    let body = json!({"new_metadata": {"owner": "me"}});
    assert_eq!(server.send("PUT", &path, Some(&body)).status, 200);
    assert_eq!(log(&server, &batch()).json()["space"], space["space"]);
    let collection = format!(
        "{DATABASE}/collections/{}",
        space["space"].as_str().unwrap()
    );
    assert_eq!(server.get(&collection).json()["metadata"]["owner"], "me");
}
