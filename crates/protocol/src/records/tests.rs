//! Tests of decoding record bodies.

use base64::Engine;
use proptest::prelude::*;
use serde_json::json;
use vermilion_engine::model::{Embeddings, Operation, RecordBatch, Value};

use super::{decode, decode_columns};
use crate::ApiError;

fn decoded(operation: Operation, body: &serde_json::Value) -> Result<RecordBatch, ApiError> {
    decode(body.to_string().as_bytes(), operation, 1000)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "a body is written where it is used"
)]
fn add(body: serde_json::Value) -> RecordBatch {
    decoded(Operation::Add, &body).unwrap()
}

fn base64_of(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn vectors_that_come_apart_make_the_same_batch() {
    let body = json!({"ids": ["a", "b"], "embeddings": [[1, 2], [3, 4]],
        "documents": ["x", null], "metadatas": [{"n": 1}, null]});
    let mut columns = body.clone();
    columns.as_object_mut().unwrap().remove("embeddings");
    let block = || Embeddings::new(2, vec![1.0, 2.0, 3.0, 4.0]);
    let apart = |embeddings| decode_columns(columns.clone(), embeddings, Operation::Add, 1000);
    assert_eq!(apart(block()).unwrap(), add(body));
    let missing = apart(None).unwrap_err();
    assert_eq!(missing.status, 422);
    assert!(missing.message.contains("missing field `embeddings`"));
    let one = apart(Embeddings::new(4, vec![1.0; 4])).unwrap_err();
    assert!(one.message.starts_with("Inconsistent number"), "{one}");
    let update = decode_columns(columns.clone(), None, Operation::Update, 1000).unwrap();
    assert!(update.embeddings.is_empty());
    let many = decode_columns(columns, block(), Operation::Add, 1).unwrap_err();
    assert!(many.message.contains("exceeds maximum batch size 1"));
}

#[test]
fn whole_body_lands_in_its_columns_in_any_order_of_members() {
    let text = r#"{"metadatas":[{"s":"x","i":1,"f":1.5,"b":true},null,{}],"unknown":[{"a":[]}],
        "documents":["hello",null,""],"embeddings":[[1,2.5],[3,-4],[0,1e-3]],"uris":null,
        "ids":["a","b \u00fc","c"]}"#;
    let batch = decode(text.as_bytes(), Operation::Add, 10).unwrap();
    assert_eq!(batch.ids.iter().collect::<Vec<_>>(), ["a", "b ü", "c"]);
    assert_eq!(batch.embeddings.values(), [1.0, 2.5, 3.0, -4.0, 0.0, 0.001]);
    assert!(batch.embeddings.all_present());
    assert_eq!(
        batch.documents.iter().collect::<Vec<_>>(),
        [Some("hello"), None, Some("")]
    );
    assert_eq!(batch.uris.len(), 3);
    let cells: Vec<_> = batch.metadata.row(0).collect();
    assert_eq!(
        cells,
        [
            ("s", &Value::Str("x".into())),
            ("i", &Value::Int(1)),
            ("f", &Value::Float(1.5)),
            ("b", &Value::Bool(true)),
        ]
    );
    assert_eq!(
        batch.metadata.cells(1).len() + batch.metadata.cells(2).len(),
        0
    );
    assert_eq!(batch.operations, [Operation::Add; 3]);
}

#[test]
fn every_kind_of_metadata_value_is_read() {
    let batch = add(json!({"ids": ["a"], "embeddings": [[1]], "metadatas": [{
        "beyond": 9_223_372_036_854_775_808_u64,
        "least": i64::MIN,
        "bools": [true, false],
        "ints": [1, 2],
        "mixed": [1, 2.5, 3],
        "strs": ["x", "y"],
        "empty": [],
        "chroma:x": "kept",
        "sparse": {"#type": "sparse_vector", "indices": [1, 4], "values": [0.5, 1.0], "tokens": ["p", "q"]},
    }]}));
    let value = |key: &str| {
        let number = batch.metadata.key_number(key).unwrap();
        batch.metadata.get(0, number).cloned()
    };
    assert_eq!(
        value("beyond"),
        Some(Value::Float(9_223_372_036_854_775_808.0))
    );
    assert_eq!(value("least"), Some(Value::Int(i64::MIN)));
    assert_eq!(value("bools"), Some(Value::Bools(vec![true, false].into())));
    assert_eq!(value("ints"), Some(Value::Ints(vec![1, 2].into())));
    assert_eq!(
        value("mixed"),
        Some(Value::Floats(vec![1.0, 2.5, 3.0].into()))
    );
    assert_eq!(
        value("strs"),
        Some(Value::Strs(vec!["x".to_owned(), "y".to_owned()].into()))
    );
    assert_eq!(value("empty"), None);
    assert_eq!(value("chroma:x"), Some(Value::Str("kept".into())));
    let Some(Value::Sparse(sparse)) = value("sparse") else {
        panic!("no sparse vector");
    };
    assert_eq!(sparse.indices, [1, 4]);
    assert_eq!(sparse.tokens.unwrap(), ["p", "q"]);
}

#[test]
fn last_value_of_a_repeated_key_counts_in_its_own_record_only() {
    let text = r#"{"ids":["a","b"],"embeddings":[[1],[2]],
        "metadatas":[{"k":1,"l":5,"k":2},{"k":3}]}"#;
    let batch = decode(text.as_bytes(), Operation::Add, 10).unwrap();
    let first: Vec<_> = batch.metadata.row(0).collect();
    assert_eq!(first, [("k", &Value::Int(2)), ("l", &Value::Int(5))]);
    let second: Vec<_> = batch.metadata.row(1).collect();
    assert_eq!(second, [("k", &Value::Int(3))]);
}

#[test]
fn changes_may_delete_keys_and_leave_vectors_out() {
    let body = json!({"ids": ["a", "b", "c"], "embeddings": [null, [1, 2], null],
        "metadatas": [{"k": null, "l": []}, null, null]});
    let batch = decoded(Operation::Update, &body).unwrap();
    assert_eq!(batch.embeddings.get(0), None);
    assert_eq!(batch.embeddings.get(1), Some(&[1.0, 2.0][..]));
    assert_eq!(batch.embeddings.get(2), None);
    assert_eq!(batch.embeddings.len(), 3);
    let cells: Vec<_> = batch.metadata.row(0).collect();
    assert_eq!(cells, [("k", &Value::Null), ("l", &Value::Null)]);

    let nulls = json!({"ids": ["a", "b"], "embeddings": [null, null]});
    let batch = decoded(Operation::Update, &nulls).unwrap();
    assert_eq!((batch.len(), batch.embeddings.dimension()), (2, 0));
    for body in [
        json!({"ids": ["a"]}),
        json!({"ids": ["a"], "embeddings": null}),
    ] {
        assert_eq!(decoded(Operation::Update, &body).unwrap().len(), 1);
    }
    let upsert = json!({"ids": ["a"], "embeddings": [[1]], "metadatas": [{"k": null}]});
    assert!(decoded(Operation::Upsert, &upsert).is_ok());
}

#[test]
fn empty_batches_are_batches() {
    let batch = add(json!({"ids": [], "embeddings": []}));
    assert!(batch.is_empty() && batch.embeddings.is_empty());
    assert_eq!(batch.metadata.len(), 0);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn every_broken_rule_has_its_status_and_wording() {
    let nan = base64_of(&[f32::NAN]);
    let late_nan = base64_of(&[1.0, f32::INFINITY]);
    let table = [
        (
            json!({"embeddings": [[1]]}),
            422,
            "missing field `ids` at line 1",
        ),
        (
            json!({"ids": ["a"]}),
            422,
            "missing field `embeddings` at line 1",
        ),
        (
            json!({"ids": null, "embeddings": []}),
            422,
            "ids: invalid type: null",
        ),
        (
            json!({"ids": [1], "embeddings": [[1]]}),
            422,
            "ids[0]: invalid type: integer `1`",
        ),
        (
            json!({"ids": ["a"], "embeddings": null}),
            422,
            "enum EmbeddingsPayload",
        ),
        (
            json!({"ids": ["a"], "embeddings": [null]}),
            422,
            "enum EmbeddingsPayload",
        ),
        (
            json!({"ids": ["a", "b"], "embeddings": [[1], "AACAPw=="]}),
            422,
            "enum EmbeddingsPayload",
        ),
        (
            json!({"ids": ["a", "b"], "embeddings": ["AACAPw==", [1]]}),
            422,
            "enum EmbeddingsPayload",
        ),
        (
            json!({"ids": ["a"], "embeddings": [[true]]}),
            422,
            "embeddings[0][0]: invalid type",
        ),
        (
            json!({"ids": ["a"], "embeddings": [[]]}),
            400,
            "Validation error: embeddings: Each embedding must have at least 1 dimension",
        ),
        (
            json!({"ids": ["a"], "embeddings": [""]}),
            400,
            "at least 1 dimension",
        ),
        (
            json!({"ids": ["a"], "embeddings": [[1e39]]}),
            400,
            "Validation error: embeddings: Embeddings must not contain NaN or Infinity values",
        ),
        (
            json!({"ids": ["a"], "embeddings": ["AAAA"]}),
            400,
            "Invalid byte length: 3 bytes cannot be converted to f32 values (must be divisible by 4)",
        ),
        (
            json!({"ids": ["a"], "embeddings": ["!!!!"]}),
            400,
            "Invalid base64 string: ",
        ),
        (
            json!({"ids": ["a"], "embeddings": ["AACAPw"]}),
            400,
            "Invalid base64 string: ",
        ),
        (
            json!({"ids": ["a"], "embeddings": ["AACA=w=="]}),
            400,
            "Invalid base64 string: ",
        ),
        (
            json!({"ids": ["a"], "embeddings": [nan]}),
            400,
            "Non-finite float value at embedding index 0: NaN",
        ),
        (
            json!({"ids": ["a"], "embeddings": [late_nan]}),
            400,
            "Non-finite float value at embedding index 1: inf",
        ),
        (
            json!({"ids": ["a", "b"], "embeddings": [[1], [1, 2]]}),
            400,
            "Inconsistent dimensions in provided embeddings",
        ),
        (
            json!({"ids": ["a", "b"], "embeddings": ["AACAPw==", "AACAPwAAgD8="]}),
            400,
            "Inconsistent dimensions in provided embeddings",
        ),
        (
            json!({"ids": ["a"], "embeddings": [[1], [2]]}),
            400,
            "Inconsistent number of IDs, embeddings, documents, URIs and metadatas",
        ),
        (
            json!({"ids": ["a"], "embeddings": [[1]], "documents": []}),
            400,
            "Inconsistent number",
        ),
        (
            json!({"ids": ["a"], "embeddings": [[1]], "uris": ["x", "y"]}),
            400,
            "Inconsistent number",
        ),
        (
            json!({"ids": ["a"], "embeddings": [[1]], "metadatas": []}),
            400,
            "Inconsistent number",
        ),
        (
            json!({"ids": [""], "embeddings": [[1]]}),
            400,
            "Empty ID, ID must have at least one character",
        ),
        (
            json!({"ids": ["a"], "embeddings": [[1]], "documents": [1]}),
            422,
            "documents[0]: invalid type",
        ),
        (
            json!({"ids": ["a"], "embeddings": [[1]], "metadatas": [{"#k": 1}]}),
            400,
            "Validation error: metadatas: Invalid metadata at index 0",
        ),
        (
            json!({"ids": ["a", "b"], "embeddings": [[1], [2]], "metadatas": [null, {"$k": 1}]}),
            400,
            "Invalid metadata at index 1",
        ),
        (
            json!({"ids": ["a"], "embeddings": [[1]], "metadatas": [{"": 1}]}),
            400,
            "at index 0",
        ),
        (
            json!({"ids": ["a"], "embeddings": [[1]], "metadatas": [{"k": null}]}),
            422,
            "data did not match any variant of untagged enum MetadataValue",
        ),
        (
            json!({"ids": ["a"], "embeddings": [[1]], "metadatas": [{"k": {"n": 1}}]}),
            422,
            "enum MetadataValue",
        ),
        (
            json!({"ids": ["a"], "embeddings": [[1]], "metadatas": [{"k": [1, "x"]}]}),
            422,
            "enum MetadataValue",
        ),
        (
            json!({"ids": ["a"], "embeddings": [[1]], "metadatas": [{"k": [[1]]}]}),
            422,
            "enum MetadataValue",
        ),
        (
            json!({"ids": ["a"], "embeddings": [[1]], "metadatas": [{"k": [null]}]}),
            422,
            "enum MetadataValue",
        ),
        (
            json!({"ids": ["a"], "embeddings": [[1]], "metadatas": [{"k": {"#type": "sparse_vector",
            "indices": [2, 1], "values": [1, 2]}}]}),
            400,
            "Invalid metadata at index 0",
        ),
        (
            json!({"ids": ["a"], "embeddings": [[1]], "metadatas": [{"k": {"#type": "sparse_vector",
            "indices": [1], "values": [1, 2]}}]}),
            400,
            "Invalid metadata at index 0",
        ),
        (
            json!({"ids": ["a"], "embeddings": [[1]], "metadatas": [{"k": {"#type": "other",
            "indices": [1], "values": [1]}}]}),
            422,
            "enum MetadataValue",
        ),
        (json!([]), 422, "expected an object"),
    ];
    for (body, status, message) in table {
        let error = decoded(Operation::Add, &body).unwrap_err();
        assert_eq!(error.status, status, "{body}: {error}");
        assert!(error.message.contains(message), "{body}: {error}");
    }
}

#[test]
fn literal_nan_and_repeated_members_are_refused() {
    for (text, status) in [
        (r#"{"ids":["a"],"embeddings":[[NaN]]}"#, 400),
        (r#"{"ids":["a"],"embeddings":[[1e999]]}"#, 400),
        (r#"{"ids":["a"],"ids":["b"],"embeddings":[[1]]}"#, 422),
        (r#"{"ids":["\ud800"],"embeddings":[[1]]}"#, 400),
        (r#"{"ids":["a"],"embeddings":[[1]]"#, 400),
    ] {
        let error = decode(text.as_bytes(), Operation::Add, 10).unwrap_err();
        assert_eq!(error.status, status, "{text}: {error}");
    }
}

#[test]
fn broken_syntax_anywhere_comes_before_broken_rules() {
    let text = r#"{"ids":[""],"embeddings":[[]],"documents":[x]}"#;
    let error = decode(text.as_bytes(), Operation::Add, 10).unwrap_err();
    assert!(
        error
            .message
            .starts_with("Failed to parse the request body as JSON"),
        "{error}"
    );
    let text = r#"{"embeddings":["!!!!",[1]],"ids":["a"]}"#;
    assert_eq!(
        decode(text.as_bytes(), Operation::Add, 10)
            .unwrap_err()
            .status,
        422
    );
}

#[test]
fn batches_beyond_the_announced_maximum_are_refused() {
    let body = json!({"ids": ["a", "b", "c"], "embeddings": [[1], [2], [3]]}).to_string();
    assert!(decode(body.as_bytes(), Operation::Add, 3).is_ok());
    let error = decode(body.as_bytes(), Operation::Add, 2).unwrap_err();
    assert_eq!(error.message, "Batch size 3 exceeds maximum batch size 2");
    assert_eq!(error.status, 400);
}

#[test]
fn absent_vectors_that_would_take_too_much_memory_are_413() {
    let vector = vec![1.0_f32; 65_535];
    for at in [0, 9_999] {
        let mut rows = vec![serde_json::Value::Null; 10_000];
        rows[at] = json!(vector);
        let ids: Vec<String> = (0..rows.len()).map(|row| row.to_string()).collect();
        let body = json!({"ids": ids, "embeddings": rows});
        let error = decode(body.to_string().as_bytes(), Operation::Update, 10_000).unwrap_err();
        assert_eq!(error.status, 413, "{error}");
        assert!(error.message.contains("separate requests"), "{error}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for operation in [Operation::Add, Operation::Update] {
            let _ = decode(&bytes, operation, 10);
        }
    }

    #[test]
    fn any_base64_is_decoded_or_refused(text in "[A-Za-z0-9+/=!]{0,24}") {
        let body = json!({"ids": ["a"], "embeddings": [text]}).to_string();
        if let Err(error) = decode(body.as_bytes(), Operation::Add, 10) {
            prop_assert_eq!(error.status, 400);
        }
    }

    #[test]
    fn damaged_bodies_are_decoded_or_refused(at in 0_usize..220, byte in any::<u8>()) {
        let mut body = json!({"ids": ["a", "b"], "embeddings": [[1.5, 2], [3, 4]],
            "documents": ["x", null], "uris": [null, "u"],
            "metadatas": [{"k": [1, 2.5], "s": {"indices": [1], "values": [1.0]}}, null]})
            .to_string()
            .into_bytes();
        let at = at % body.len();
        body[at] = byte;
        if let Ok(batch) = decode(&body, Operation::Upsert, 10) {
            prop_assert_eq!(batch.documents.len(), batch.len());
            prop_assert_eq!(batch.metadata.len(), batch.len());
        }
    }

    #[test]
    fn arrays_and_base64_make_equal_batches(
        rows in (1_usize..20).prop_flat_map(|dimension| {
            let number = any::<f32>().prop_filter("finite", |number| number.is_finite());
            prop::collection::vec(
                prop::option::weighted(0.8, prop::collection::vec(number, dimension)),
                0..8,
            )
        })
    ) {
        let ids: Vec<String> = (0..rows.len()).map(|row| row.to_string()).collect();
        let texts: Vec<Option<String>> =
            rows.iter().map(|row| row.as_deref().map(base64_of)).collect();
        let arrays = json!({"ids": ids, "embeddings": rows});
        let strings = json!({"embeddings": texts, "ids": ids});
        let arrays = decoded(Operation::Update, &arrays).unwrap();
        let strings = decoded(Operation::Update, &strings).unwrap();
        prop_assert_eq!(&arrays, &strings);
        for (row, vector) in rows.iter().enumerate() {
            if let Some(vector) = vector {
                let read = arrays.embeddings.get(row).unwrap();
                let bits = |vector: &[f32]| vector.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits(read), bits(vector));
            }
        }
    }
}
