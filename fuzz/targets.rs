//! What is done with arbitrary bytes: each target decodes them as a request would.
//!
//! What must stay true: a decoder answers whatever comes, without a panic, and what it refuses is the
//! client's fault by its status and says why; what it takes keeps the rules that the engine relies on.

use vermilion_engine::model::{Operation, RecordBatch};
use vermilion_protocol::{ApiError, arrow, collections, reads, records, search};

const OPERATIONS: [Operation; 3] = [Operation::Add, Operation::Update, Operation::Upsert];
const RECORDS_MAX: usize = 100;

/// Checks that what was refused was refused as a client's fault.
fn refused<T>(decoded: Result<T, ApiError>) -> Option<T> {
    decoded
        .inspect_err(|error| {
            assert!([400, 413, 422].contains(&error.status), "{error:?}");
            assert!(!error.message.is_empty());
            serde_json::from_slice::<serde_json::Value>(&error.to_json()).expect("errors are JSON");
        })
        .ok()
}

/// Checks the columns of a batch against each other.
fn taken(batch: Option<RecordBatch>) {
    let Some(batch) = batch else { return };
    let rows = batch.len();
    assert!(rows <= RECORDS_MAX);
    assert_eq!(batch.operations.len(), rows);
    assert_eq!(batch.documents.len(), rows);
    assert_eq!(batch.uris.len(), rows);
    assert_eq!(batch.metadata.len(), rows);
    assert!([0, rows].contains(&batch.embeddings.len()));
    assert!(
        batch
            .embeddings
            .values()
            .iter()
            .all(|number| number.is_finite())
    );
    assert!(batch.ids.iter().all(|id| !id.is_empty()));
}

/// `where` and `where_document` of everything that takes them.
pub(crate) fn filter(bytes: &[u8]) {
    let body = [b"{\"where\":", bytes, b",\"where_document\":", bytes, b"}"].concat();
    refused(reads::decode_get(&body));
    let body = [b"{\"where\":", bytes, b"}"].concat();
    refused(reads::decode_delete(&body));
    let body = [b"{\"where_document\":", bytes, b"}"].concat();
    refused(reads::decode_count(&body));
}

/// Ranked searches.
pub(crate) fn search(bytes: &[u8]) {
    refused(search::decode_search(bytes));
    let body = [b"{\"searches\":[{\"rank\":", bytes, b"}]}"].concat();
    refused(search::decode_search(&body));
}

/// Schemas and configurations of collections.
pub(crate) fn schema(bytes: &[u8]) {
    for member in ["schema", "configuration", "metadata"] {
        let head = format!("{{\"name\":\"fuzzed\",\"{member}\":");
        let body = [head.as_bytes(), bytes, b"}"].concat();
        refused(collections::decode_new_collection(
            "default_tenant",
            "default_database",
            &body,
        ));
        let head = format!("{{\"new_{member}\":");
        let body = [head.as_bytes(), bytes, b"}"].concat();
        refused(collections::decode_collection_change(&body));
    }
}

/// Vectors in base64.
pub(crate) fn base64(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let body = serde_json::json!({"ids": ["a", "b"], "embeddings": [text, text]}).to_string();
    let batch = refused(records::decode(
        body.as_bytes(),
        Operation::Add,
        RECORDS_MAX,
    ));
    if let Some(batch) = &batch {
        assert_eq!(batch.embeddings.get(0), batch.embeddings.get(1));
        assert_eq!(
            batch.embeddings.dimension() * 4,
            text.trim_end_matches('=').len() * 3 / 4
        );
    }
    taken(batch);
}

/// Records in JSON.
pub(crate) fn records(bytes: &[u8]) {
    for operation in OPERATIONS {
        taken(refused(records::decode(bytes, operation, RECORDS_MAX)));
    }
}

/// Records as Arrow streams.
pub(crate) fn arrow(bytes: &[u8]) {
    let limits = arrow::Limits {
        records_max: RECORDS_MAX,
        bytes_max: 1 << 20,
    };
    for operation in OPERATIONS {
        taken(refused(arrow::decode(
            bytes.to_vec().into(),
            operation,
            limits,
        )));
    }
    let answers = [
        arrow::read_fetched(bytes.to_vec().into()).map(|answer| vec![answer]),
        arrow::read_nearest(bytes.to_vec().into(), 3),
    ];
    let unreadable = |error: &ApiError| assert_eq!(error.status, 502, "{error:?}");
    let read = answers
        .into_iter()
        .map(|answer| answer.inspect_err(unreadable));
    for answer in read.flatten().flatten() {
        let rows = answer.records.ids.len();
        assert!(rows <= bytes.len());
        if let Some(vectors) = answer.vectors {
            let numbers = rows * vectors.dimension();
            assert_eq!(vectors.take(<[f32]>::len, |all| all.len()), numbers);
        }
    }
}
