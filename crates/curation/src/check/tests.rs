//! What is taken, and what is refused by name.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::*;
use crate::body::{columns, lines};

const NEW: Expected = Expected {
    dimension: None,
    metric: Space::Cosine,
};

fn judged(body: &Json, expected: Expected) -> Result<Checked> {
    let mut told = columns(body.to_string().as_bytes())?;
    let head = std::mem::take(&mut told.head);
    check(told, &head, expected, &Limits::default(), 7.0)
}

fn refused(body: &Json) -> Refusal {
    judged(body, NEW).expect_err("it is refused")
}

/// A batch of two records, changed.
fn batch(change: impl FnOnce(&mut Json)) -> Json {
    let mut body = json!({
        "context": "training",
        "embeddings": [[1, 0], [0, 2.5]],
        "input_uris": ["a", "b"],
    });
    change(&mut body);
    body
}

fn cell(checked: &Checked, row: usize, key: &str) -> Option<Value> {
    let mut cells = checked.batch.metadata.row(row);
    let found = cells.find(|cell| cell.0 == key);
    found.map(|cell| cell.1.clone())
}

#[test]
fn fields_become_metadata_and_missing_ones_get_their_defaults() {
    let body = batch(|body| {
        body["contexts"] = json!([null, "production"]);
        body.as_object_mut().unwrap().remove("context");
        body["contexts"][0] = json!("training");
        body["label_classes"] = json!(["cat", null]);
        body["metadatas"] = json!([{"k": 1, "x": 2.5, "t": "t", "b": true}, null]);
        body["observed_at"] = json!([null, "1970-01-01T00:00:01.5Z"]);
    });
    let checked = judged(&body, NEW).unwrap();
    let text = |text: &str| Some(Value::Str(text.into()));
    assert_eq!(cell(&checked, 0, "context"), text("training"));
    assert_eq!(cell(&checked, 1, "dataset"), text("production"));
    assert_eq!(cell(&checked, 0, "label_class"), text("cat"));
    assert_eq!(cell(&checked, 1, "label_class"), None);
    assert_eq!(cell(&checked, 0, "k"), Some(Value::Int(1)));
    assert_eq!(cell(&checked, 0, "observed_at"), Some(Value::Float(7.0)));
    assert_eq!(cell(&checked, 1, "observed_at"), Some(Value::Float(1.5)));
    assert_eq!(checked.batch.ids.get(0), record_id("a", None, "training"));
    assert_eq!(checked.batch.uris.get(1), Some("b"));
}

#[test]
fn probabilities_are_kept_with_their_classes_and_tell_what_the_model_said() {
    let body = batch(|body| {
        body["class_names"] = json!(["cat", "dog", "cow"]);
        body["probabilities"] = json!([[0.2, 0.7, 0.1], {"cow": 0.6, "elk": 0.3}]);
    });
    let checked = judged(&body, NEW).unwrap();
    let Some(Value::Sparse(first)) = cell(&checked, 0, "probabilities") else {
        panic!("it is a sparse vector");
    };
    assert_eq!(first.indices, [0, 1, 2]);
    assert_eq!(first.values, [0.2, 0.7, 0.1]);
    assert_eq!(first.tokens.unwrap(), ["cat", "dog", "cow"]);
    let inferred = |row| cell(&checked, row, "inference_class");
    assert_eq!(inferred(0), Some(Value::Str("dog".into())));
    assert_eq!(inferred(1), Some(Value::Str("cow".into())));
    let logits = batch(|body| body["logits"] = json!([[0.0, 1000.0], [3.0, 3.0]]));
    let checked = judged(&logits, NEW).unwrap();
    let Some(Value::Sparse(second)) = cell(&checked, 1, "probabilities") else {
        panic!("it is a sparse vector");
    };
    assert_eq!(second.values, [0.5, 0.5]);
    assert_eq!(second.tokens.unwrap(), ["0", "1"]);
    let many = batch(|body| {
        body["probabilities"] = json!([vec![0.01; 100], null]);
    });
    let checked = judged(&many, NEW).unwrap();
    let Some(Value::Sparse(kept)) = cell(&checked, 0, "probabilities") else {
        panic!("it is a sparse vector");
    };
    assert_eq!(kept.indices.len(), CLASSES_KEPT);
}

#[test]
fn a_thumbnail_is_the_document_of_its_record_and_no_larger_than_it_may_be() {
    let of = |bytes: usize| {
        batch(|body| body["thumbnails"] = json!([null, STANDARD.encode(vec![0xff; bytes])]))
    };
    let checked = judged(&of(32_768), NEW).unwrap();
    assert_eq!(checked.batch.documents.get(0), None);
    let kept = checked.batch.documents.get(1).unwrap();
    assert!(kept.starts_with("data:application/octet-stream;base64,"));
    let refusal = refused(&of(32_769));
    let found = (refusal.code, refusal.field.as_deref(), refusal.row);
    assert_eq!(found, ("thumbnail_too_large", Some("thumbnail"), Some(1)));
}

/// Code, field, row, and what is changed in a batch that is taken.
const REFUSED: &str = r#"
dimension_mismatch embeddings 1 {"embeddings": [[1, 0], [1]]}
dimension_mismatch embeddings 0 {"embeddings": [[], []]}
zero_vector embeddings 1 {"embeddings": [[1, 0], [0, 0]]}
not_finite embeddings 1 {"embeddings": ["AACAPwAAgD8=", "AADAfwAAgD8="]}
not_finite embeddings 0 {"embeddings": [[1e39, 1], [1, 1]]}
malformed_body embeddings 0 {"embeddings": ["AACAPwA=", [1, 1]]}
length_mismatch input_uris - {"embeddings": []}
length_mismatch input_uris - {"input_uris": ["a"]}
missing_field input_uri 1 {"input_uris": ["a", null]}
duplicate_id id 1 {"input_uris": ["a", "a"]}
unknown_context context 0 {"context": "testing"}
unknown_context context 0 {"context": null}
empty_field label_class 0 {"label_classes": ["", "a"]}
probabilities_do_not_sum probabilities 1 {"probabilities": [null, [0.5, 0.4]]}
probabilities_do_not_sum probabilities 1 {"probabilities": [null, [1.5, -0.5]]}
probabilities_do_not_sum probabilities 0 {"probabilities": [{"a": 1.2}, null]}
length_mismatch logits 0 {"class_names": ["a"], "logits": [[1, 2], null]}
ambiguous_scores logits 0 {"logits": [[1, 2], null], "probabilities": [[0.5, 0.5], null]}
reserved_metadata_key metadata.context 0 {"metadatas": [{"context": 1}, null]}
metadata_not_flat metadata.k 1 {"metadatas": [null, {"k": [1]}]}
bad_time observed_at 0 {"observed_at": ["yesterday", 1]}
bad_time observed_at 1 {"observed_at": [1, 1e300]}
bad_time observed_at 0 {"observed_at": [1.7e12, 1]}
duplicate_class class_names - {"class_names": ["a", "b", "a"]}
reserved_metadata_key metadata.chroma:uri 1 {"metadatas": [null, {"chroma:uri": "x"}]}
unknown_field pictures - {"pictures": []}
length_mismatch thumbnails - {"thumbnails": []}
malformed_body thumbnails 1 {"thumbnails": [null, "?"]}
empty_field thumbnail 0 {"thumbnails": ["", null]}
empty_field dataset 0 {"dataset": ""}
empty_field dataset 1 {"datasets": ["a", ""]}
wrong_type label_class 1 {"label_classes": ["a", 7]}
wrong_type group 0 {"groups": [{}, null]}
wrong_type quality_score 1 {"quality_scores": [1, "high"]}
wrong_type input_uri 1 {"input_uris": ["a", 7]}
wrong_type probabilities 0 {"probabilities": ["a", null]}
wrong_type label_classes - {"label_classes": 7}
wrong_type dataset - {"dataset": 7}
"#;

#[test]
fn whatever_is_wrong_is_refused_with_its_field_and_row() {
    for case in REFUSED.trim().lines() {
        let mut parts = case.splitn(4, ' ');
        let mut part = || parts.next().unwrap();
        let (code, field, row, changes) = (part(), part(), part(), part());
        let changes: serde_json::Map<String, Json> = serde_json::from_str(changes).unwrap();
        let body = batch(|body| body.as_object_mut().unwrap().extend(changes));
        let refusal = refused(&body);
        let found = (refusal.code, refusal.field.as_deref(), refusal.row);
        assert_eq!(
            found,
            (code, Some(field), row.parse().ok()),
            "{case}: {refusal}"
        );
        assert_eq!(refusal.status, 400);
    }
}

#[test]
fn a_value_of_another_type_is_told_in_words_of_the_request() {
    let refusal = refused(&batch(|body| body["label_classes"] = json!([1, "a"])));
    assert_eq!(
        refusal.message,
        "`label_classes` of record 0 is of another type."
    );
    assert_eq!(
        refusal.hint.as_deref(),
        Some("a text, or null where there is none")
    );
    let line = br#"{"embedding": [1], "input_uri": "a", "group": 7}"#;
    let refusal = lines(line).unwrap_err();
    let found = (refusal.code, refusal.field.as_deref(), refusal.row);
    assert_eq!(found, ("wrong_type", Some("group"), Some(0)));
}

#[test]
fn an_id_that_is_too_long_is_refused_with_its_row() {
    let long = "x".repeat(Limits::default().id_bytes_max + 1);
    let refusal = refused(&batch(|body| body["ids"] = json!(["a", long])));
    let found = (refusal.code, refusal.field.as_deref(), refusal.row);
    assert_eq!(found, ("out_of_range", Some("id"), Some(1)));
}

#[test]
fn a_dataset_is_noted_with_every_context_that_its_records_have() {
    let body = batch(|body| {
        body.as_object_mut().unwrap().remove("context");
        body["contexts"] = json!(["production", "training"]);
        body["dataset"] = json!("run");
    });
    let expected = [Context::Production, Context::Training].map(|one| ("run".to_owned(), one));
    assert_eq!(judged(&body, NEW).unwrap().datasets, expected);
}

#[test]
fn probabilities_that_are_all_but_sure_keep_their_order() {
    let unsure = |logit: f64| {
        let body = batch(|body| body["logits"] = json!([[0.0, logit, 0.0], null]));
        let checked = judged(&body, NEW).unwrap();
        let Some(Value::Sparse(scores)) = cell(&checked, 0, "probabilities") else {
            panic!("it is a sparse vector");
        };
        unsure(&scores.values).unwrap()
    };
    let found: Vec<f32> = [5.0, 20.0, 40.0, 60.0, 80.0].map(unsure).to_vec();
    assert!(found.is_sorted_by(|a, b| a > b && *b > 0.0), "{found:?}");
}

#[test]
fn a_space_with_vectors_takes_no_others() {
    let known = Expected {
        dimension: Some(3),
        metric: Space::Cosine,
    };
    let refusal = judged(&batch(|_| {}), known).expect_err("it is refused");
    assert_eq!((refusal.code, refusal.row), ("dimension_mismatch", Some(0)));
    assert!(refusal.message.contains("has 2 numbers"), "{refusal}");
    assert!(refusal.message.contains("of the space 3"), "{refusal}");
    let zero = batch(|body| body["embeddings"] = json!([[0, 0], [1, 1]]));
    let l2 = Expected {
        dimension: Some(2),
        metric: Space::L2,
    };
    judged(&zero, l2).expect("only directions need a length");
}

#[test]
fn numbers_that_json_cannot_write_are_told_as_such() {
    let body = br#"{"context":"training","embeddings":[[1,2],[1,NaN]],"input_uris":["a","b"]}"#;
    let refusal = columns(body).expect_err("it is refused");
    assert_eq!((refusal.code, refusal.row), ("not_finite", Some(1)));
    let broken = columns(br#"{"embeddings":[[1,"#).expect_err("it is refused");
    assert_eq!(broken.code, "malformed_body");
    let listed = columns(b"[]").expect_err("it is refused");
    assert_eq!(listed.code, "malformed_body");
}

#[test]
fn lines_make_the_same_batch_as_columns() {
    let text = concat!(
        r#"{"context": "training", "class_names": ["x", "y"]}"#,
        "\n\n",
        r#"{"embedding": [1, 0], "input_uri": "a", "probabilities": [0.5, 0.5]}"#,
        "\r\n",
        r#"{"embedding": "AAAAAAAAIEA=", "input_uri": "b", "metadata": {"k": 1}}"#,
    );
    let mut told = lines(text.as_bytes()).unwrap();
    let head = std::mem::take(&mut told.head);
    let from_lines = check(told, &head, NEW, &Limits::default(), 7.0).unwrap();
    let body = batch(|body| {
        body["class_names"] = json!(["x", "y"]);
        body["probabilities"] = json!([[0.5, 0.5], null]);
        body["metadatas"] = json!([null, {"k": 1}]);
    });
    assert_eq!(from_lines.batch, judged(&body, NEW).unwrap().batch);
    let wrong = lines(b"{\"embedding\":[1]}\n{\"embedding\":[1],\"label\":1}").unwrap_err();
    assert_eq!((wrong.code, wrong.row), ("unknown_field", Some(1)));
    let missing = lines(b"{\"embedding\":[1]}\n{\"id\":\"a\"}").unwrap_err();
    assert_eq!((missing.code, missing.row), ("missing_field", Some(1)));
}
