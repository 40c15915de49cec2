//! The bodies of `conditional/get` and `conditional/commit`, and their answers.
//!
//! What must stay true: a commit becomes one batch, its operations in their order; its size is checked before it is made,
//! and a deletion names ids, since a filter would depend on records that nobody has read.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vermilion_engine::model::{
    ConditionalWrite, Fetched, Operation, RecordBatch, SeqId, SeqRange, Strings,
};
use vermilion_engine::{Error, ErrorKind};

use crate::answers::{append_member, write_fetched};
use crate::reads::{Column, GetBody, decode_get};
use crate::{ApiError, WholeNumbers, json, records};

/// Decodes the body of `conditional/get`: that of `get`, and the token of an earlier read.
pub fn decode_conditional_get(body: &[u8]) -> Result<(GetBody, Option<SeqId>), ApiError> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        read_token: Option<u64>,
    }
    let Body { read_token } = json::decode(body)?;
    let asked = decode_get(body)?;
    if !asked.survey.is_empty() {
        return Err(ApiError::validation(
            "order_by, aggregates",
            "conditional/get answers records in their own order; use get",
        ));
    }
    Ok((asked, read_token.map(SeqId)))
}

/// Writes the answer to `conditional/get`: that to `get`, and the token.
pub fn write_conditional_get(fetched: &Fetched, include: &[Column], token: SeqId) -> Vec<u8> {
    let mut written = write_fetched(fetched, include);
    append_member(&mut written, "read_token", &token);
    written
}

#[derive(Deserialize)]
struct CommitBody {
    #[serde(default)]
    read_token: Option<u64>,
    #[serde(default)]
    read_ids: Option<Vec<String>>,
    operations: Vec<OperationBody>,
}

#[derive(Deserialize)]
struct OperationBody {
    operation: OperationName,
    payload: Value,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OperationName {
    Add,
    Update,
    Upsert,
    Delete,
}

/// Decodes the body of `conditional/commit`, of at most `records_max` records in all.
pub fn decode_conditional_commit(
    body: &[u8],
    records_max: usize,
) -> Result<ConditionalWrite, ApiError> {
    let body: CommitBody = json::decode(body)?;
    let mut batches = Vec::with_capacity(body.operations.len());
    let mut size = Size::default();
    for (number, operation) in body.operations.into_iter().enumerate() {
        let batch = decode_operation(operation, records_max).map_err(|error| ApiError {
            message: format!("operations[{number}]: {}", error.message),
            ..error
        })?;
        size.add(&batch, records_max)?;
        batches.push(batch);
    }
    let batch = RecordBatch::join(&batches)
        .ok_or_else(|| ApiError::invalid("Inconsistent dimensions in provided embeddings"))?;
    Ok(ConditionalWrite {
        read_token: body.read_token.map(SeqId),
        read_ids: body.read_ids.unwrap_or_default(),
        batch,
    })
}

/// What the joined batch will be, told before it is made.
#[derive(Default)]
struct Size {
    records: usize,
    absent: usize,
    dimension: usize,
}

impl Size {
    fn add(&mut self, batch: &RecordBatch, records_max: usize) -> Result<(), ApiError> {
        self.records += batch.len();
        if self.records > records_max {
            return Err(ApiError::invalid(format!(
                "Batch size {} exceeds maximum batch size {records_max}",
                self.records
            )));
        }
        let rows = 0..batch.len();
        self.absent += rows
            .filter(|&row| batch.embeddings.get(row).is_none())
            .count();
        self.dimension = self.dimension.max(batch.embeddings.dimension());
        records::check_absent(self.absent, self.dimension)
    }
}

fn decode_operation(body: OperationBody, records_max: usize) -> Result<RecordBatch, ApiError> {
    let operation = match body.operation {
        OperationName::Add => Operation::Add,
        OperationName::Update => Operation::Update,
        OperationName::Upsert => Operation::Upsert,
        OperationName::Delete => return decode_deletion(body.payload),
    };
    let payload = body.payload.to_string();
    records::decode(payload.as_bytes(), operation, records_max)
}

/// A deletion by ids. One by a filter would depend on records that nobody has read.
fn decode_deletion(payload: Value) -> Result<RecordBatch, ApiError> {
    #[derive(Deserialize)]
    struct Payload {
        ids: Vec<String>,
        #[serde(default, rename = "where")]
        metadata: Option<Value>,
        #[serde(default, rename = "where_document")]
        document: Option<Value>,
        #[serde(default)]
        limit: Option<u32>,
    }
    let payload = Payload::deserialize(WholeNumbers(payload))
        .map_err(|error| ApiError::unprocessable(format!("payload: {error}")))?;
    if payload.metadata.is_some() || payload.document.is_some() || payload.limit.is_some() {
        return Err(ApiError::validation(
            "payload",
            "a conditional deletion takes ids alone; get the records first, and name them",
        ));
    }
    let ids: Strings = payload.ids.iter().map(String::as_str).collect();
    Ok(RecordBatch::deletion(ids))
}

/// Writes the answer to `conditional/commit`.
pub fn write_conditional_commit(written: Option<SeqRange>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Answer {
        first_inserted_record_offset: Option<u64>,
        record_count: u64,
    }
    let answer = Answer {
        first_inserted_record_offset: written.map(|seqs| seqs.first.0),
        record_count: written.map_or(0, SeqRange::count),
    };
    serde_json::to_vec(&answer).expect("answers have string keys only")
}

/// An error of a conditional write, under the name that clients look at.
pub fn conditional_error(error: Error) -> ApiError {
    let is_conflict = error.kind() == ErrorKind::Conflict;
    let mut told = ApiError::from(error);
    if is_conflict {
        told.name = "ConditionalWriteConflictError";
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: &str) -> Result<ConditionalWrite, ApiError> {
        decode_conditional_commit(body.as_bytes(), 4)
    }

    #[test]
    fn what_many_deletions_would_take_beside_a_long_vector_is_refused_before_it_is_made() {
        let ids: Vec<String> = (0..10_000).map(|row| row.to_string()).collect();
        let body = serde_json::json!({"operations": [
            {"operation": "upsert", "payload": {"ids": ["a"], "embeddings": [vec![1; 65_535]]}},
            {"operation": "delete", "payload": {"ids": ids}},
        ]});
        let body = body.to_string();
        let error = decode_conditional_commit(body.as_bytes(), 20_000).unwrap_err();
        assert_eq!(error.status, 413, "{error}");
        let error = decode_conditional_commit(body.as_bytes(), 10_000).unwrap_err();
        assert!(
            error.message.contains("Batch size 10001 exceeds"),
            "{error}"
        );
    }

    #[test]
    fn operations_become_one_batch_in_their_order() {
        let write = decode(
            r#"{"read_token":7,"read_ids":["a","b"],"operations":[
                {"operation":"delete","payload":{"ids":["a"]}},
                {"operation":"upsert","payload":{"ids":["b"],"embeddings":[[1,2.5]],
                    "metadatas":[{"n":1}],"documents":["x"]}},
                {"operation":"update","payload":{"ids":["c"],"metadatas":[{"n":null}]}}]}"#,
        )
        .unwrap();
        assert_eq!(write.read_token, Some(SeqId(7)));
        assert_eq!(write.read_ids, ["a", "b"]);
        let batch = write.batch;
        let ids: Vec<_> = batch.ids.iter().collect();
        assert_eq!(ids, ["a", "b", "c"]);
        let expected = [Operation::Delete, Operation::Upsert, Operation::Update];
        assert_eq!(batch.operations, expected);
        let vectors: Vec<_> = (0..3).map(|row| batch.embeddings.get(row)).collect();
        assert_eq!(vectors, [None, Some(&[1.0, 2.5][..]), None]);
        assert_eq!(batch.documents.get(1), Some("x"));
        assert_eq!(batch.metadata.row(2).count(), 1);
        let nothing = decode(r#"{"operations":[]}"#).unwrap();
        assert!(nothing.batch.is_empty() && nothing.read_token.is_none());
    }

    #[test]
    fn operations_that_cannot_be_are_refused_by_their_place() {
        for (body, status, message) in [
            (r"{}", 422, "operations"),
            (
                r#"{"operations":[["delete",{"ids":["a"]}]]}"#,
                422,
                "operations[0]: invalid type: sequence, expected an object",
            ),
            (
                r#"{"operations":[{"operation":"delete","payload":[["a"]]}]}"#,
                422,
                "operations[0]: payload: invalid type: sequence, expected an object",
            ),
            (
                r#"{"operations":[{"operation":"insert","payload":{}}]}"#,
                422,
                "unknown variant `insert`",
            ),
            (
                r#"{"operations":[{"operation":"delete","payload":{"ids":["a"],"where":{"n":1}}}]}"#,
                400,
                "operations[0]: Validation error: payload",
            ),
            (
                r#"{"operations":[{"operation":"add","payload":{"ids":["a"],"embeddings":[[1]]}},
                    {"operation":"add","payload":{"ids":["b"],"embeddings":[[1,2]]}}]}"#,
                400,
                "Inconsistent dimensions",
            ),
            (
                r#"{"operations":[{"operation":"delete","payload":{"ids":["a","b","c"]}},
                    {"operation":"delete","payload":{"ids":["d","e"]}}]}"#,
                400,
                "Batch size 5 exceeds maximum batch size 4",
            ),
            (
                r#"{"operations":[{"operation":"add","payload":{"ids":[""],"embeddings":[[1]]}}]}"#,
                400,
                "operations[0]: Empty ID",
            ),
        ] {
            let error = decode(body).unwrap_err();
            assert_eq!(error.status, status, "{body}: {error}");
            assert!(error.message.contains(message), "{body}: {error}");
        }
    }
}
