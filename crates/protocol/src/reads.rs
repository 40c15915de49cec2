//! The bodies of `get`, `query` and `delete`.
//!
//! What must stay true: null and absent mean the same for every member but `include`, whose
//! members are echoed in the answer as they came.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vermilion_engine::model::{
    Consistency, Deletion, GetRequest, Include, QueryRequest, ReadLevel, Recall, RecordSelection,
    Survey,
};

use crate::records::{PackedQueryVectors, QueryVectors, explain_overflow};
use crate::survey::{self, RawAggregate, RawOrder};
use crate::{ApiError, filters, json};

/// A column that an answer can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Column {
    /// Documents.
    Documents,
    /// Metadata.
    Metadatas,
    /// Vectors.
    Embeddings,
    /// Uris.
    Uris,
    /// Distances.
    Distances,
}

/// A request for records, with the columns in the order they were asked for.
#[derive(Clone, Debug)]
pub struct GetBody {
    /// The request.
    pub request: GetRequest,
    /// The columns, echoed in the answer.
    pub include: Vec<Column>,
    /// What is asked of metadata values.
    pub survey: Survey,
}

/// A request for nearest records, with the columns in the order they were asked for.
#[derive(Clone, Debug)]
pub struct QueryBody {
    /// The request.
    pub request: QueryRequest,
    /// The columns, echoed in the answer.
    pub include: Vec<Column>,
}

#[derive(Deserialize)]
struct RawGet {
    #[serde(default)]
    ids: Option<Vec<String>>,
    #[serde(default, rename = "where", deserialize_with = "json::filter")]
    metadata: Option<Value>,
    #[serde(default, rename = "where_document", deserialize_with = "json::filter")]
    document: Option<Value>,
    #[serde(default)]
    limit: Option<u32>,
    #[serde(default)]
    offset: Option<u32>,
    #[serde(default = "get_columns")]
    include: Vec<Column>,
    #[serde(default)]
    read_level: Option<Value>,
    #[serde(default)]
    order_by: Option<Vec<RawOrder>>,
    #[serde(default)]
    aggregates: Option<Vec<RawAggregate>>,
}

#[derive(Deserialize)]
struct RawQuery {
    query_embeddings: QueryVectors,
    #[serde(default)]
    packed_query_embeddings: Option<PackedQueryVectors>,
    #[serde(default)]
    n_results: Option<u32>,
    #[serde(default)]
    recall: Option<Value>,
    #[serde(default)]
    ids: Option<Vec<String>>,
    #[serde(default, rename = "where", deserialize_with = "json::filter")]
    metadata: Option<Value>,
    #[serde(default, rename = "where_document", deserialize_with = "json::filter")]
    document: Option<Value>,
    #[serde(default = "query_columns")]
    include: Vec<Column>,
    #[serde(default)]
    read_level: Option<Value>,
}

#[derive(Deserialize)]
struct RawDelete {
    #[serde(default)]
    ids: Option<Vec<String>>,
    #[serde(default, rename = "where", deserialize_with = "json::filter")]
    metadata: Option<Value>,
    #[serde(default, rename = "where_document", deserialize_with = "json::filter")]
    document: Option<Value>,
    #[serde(default)]
    limit: Option<u32>,
    #[serde(default, deserialize_with = "json::null_as_default")]
    return_ids: bool,
}

/// What counts records by a selection.
#[derive(Clone, Debug, Default)]
pub struct CountBody {
    /// The records.
    pub selection: RecordSelection,
    /// What must be seen.
    pub consistency: Consistency,
}

/// Decodes the body of `count` with a selection.
pub fn decode_count(body: &[u8]) -> Result<CountBody, ApiError> {
    #[derive(Deserialize)]
    struct Raw {
        #[serde(default)]
        ids: Option<Vec<String>>,
        #[serde(default, rename = "where", deserialize_with = "json::filter")]
        metadata: Option<Value>,
        #[serde(default, rename = "where_document", deserialize_with = "json::filter")]
        document: Option<Value>,
        #[serde(default)]
        read_level: Option<Value>,
    }
    let raw: Raw = json::decode(body)?;
    Ok(CountBody {
        selection: selection(raw.ids, raw.metadata, raw.document)?,
        consistency: consistency(raw.read_level)?,
    })
}

/// The records that the members of a body mean.
fn selection(
    ids: Option<Vec<String>>,
    metadata: Option<Value>,
    document: Option<Value>,
) -> Result<RecordSelection, ApiError> {
    Ok(RecordSelection {
        ids,
        filter: filters::parse(metadata, document)?,
    })
}

fn get_columns() -> Vec<Column> {
    vec![Column::Documents, Column::Metadatas]
}

fn query_columns() -> Vec<Column> {
    vec![Column::Documents, Column::Metadatas, Column::Distances]
}

fn include_of(columns: &[Column]) -> Include {
    let has = |column| columns.contains(&column);
    Include {
        documents: has(Column::Documents),
        metadatas: has(Column::Metadatas),
        embeddings: has(Column::Embeddings),
        uris: has(Column::Uris),
        distances: has(Column::Distances),
    }
}

/// The read level that `name` stands for.
pub fn read_level(name: &str) -> Result<ReadLevel, ApiError> {
    match name {
        "index_and_wal" => Ok(ReadLevel::IndexAndWal),
        "index_only" => Ok(ReadLevel::IndexOnly),
        "index_and_bounded_wal" => Ok(ReadLevel::IndexAndBoundedWal),
        _ => Err(unknown_level(&Value::from(name))),
    }
}

fn unknown_level(level: &Value) -> ApiError {
    ApiError::validation(
        "read_level",
        format_args!(
            "{level} is no read level; use \"index_and_wal\", \"index_only\" or \
             \"index_and_bounded_wal\""
        ),
    )
}

/// What a body says of what must be seen.
pub(crate) fn consistency(level: Option<Value>) -> Result<Consistency, ApiError> {
    let read_level = match level {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(read_level(&name)?),
        Some(other) => return Err(unknown_level(&other)),
    };
    Ok(Consistency {
        read_level,
        ..Consistency::default()
    })
}

/// Decodes the body of `get`.
pub fn decode_get(body: &[u8]) -> Result<GetBody, ApiError> {
    let raw: RawGet = json::decode(body)?;
    Ok(GetBody {
        request: GetRequest {
            selection: selection(raw.ids, raw.metadata, raw.document)?,
            limit: raw.limit,
            offset: raw.offset.unwrap_or(0),
            include: include_of(&raw.include),
            consistency: consistency(raw.read_level)?,
        },
        include: raw.include,
        survey: survey::check(raw.order_by, raw.aggregates)?,
    })
}

/// Decodes the body of `query`.
pub fn decode_query(body: &[u8]) -> Result<QueryBody, ApiError> {
    let raw: RawQuery =
        json::decode(body).map_err(|error| explain_overflow(error, "query_embeddings"))?;
    let embeddings = match raw.packed_query_embeddings {
        Some(packed) => packed.check(&raw.query_embeddings)?,
        None => raw.query_embeddings.check()?,
    };
    Ok(QueryBody {
        request: QueryRequest {
            embeddings,
            n_results: raw.n_results.unwrap_or(10),
            recall: raw.recall.as_ref().map(Recall::read).transpose()?,
            selection: selection(raw.ids, raw.metadata, raw.document)?,
            include: include_of(&raw.include),
            consistency: consistency(raw.read_level)?,
        },
        include: raw.include,
    })
}

/// Decodes the body of `delete`; one that selects nothing deletes nothing.
pub fn decode_delete(body: &[u8]) -> Result<Deletion, ApiError> {
    let raw: RawDelete = json::decode(body)?;
    let selection = selection(raw.ids, raw.metadata, raw.document)?;
    let has_filter = selection.filter.is_some();
    if !has_filter && raw.limit.is_some() {
        return Err(ApiError::validation(
            "limit, where",
            "limit can only be specified when a where clause is provided",
        ));
    }
    if !has_filter && selection.ids.as_ref().is_some_and(Vec::is_empty) {
        return Err(ApiError::validation(
            "ids, where",
            "Either ids or where must be specified",
        ));
    }
    Ok(Deletion {
        selection,
        limit: raw.limit,
        tell_ids: raw.return_ids,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::fails;

    #[test]
    fn get_has_its_defaults_and_echoes_what_was_asked() {
        let body = decode_get(b"{}").unwrap();
        assert_eq!(body.include, [Column::Documents, Column::Metadatas]);
        assert!(body.request.include.documents && !body.request.include.embeddings);
        assert_eq!((body.request.limit, body.request.offset), (None, 0));
        let body = decode_get(
            br#"{"ids":["a"],"limit":3,"offset":null,"unknown":1,
                 "include":["uris","uris","distances","embeddings"]}"#,
        )
        .unwrap();
        assert_eq!(body.include.len(), 4);
        assert!(body.request.include.uris && !body.request.include.documents);
        assert_eq!(body.request.limit, Some(3));
        assert_eq!(body.request.selection.ids.unwrap(), ["a"]);
    }

    #[test]
    fn wrong_members_of_get_are_422_and_bad_filters_400() {
        fails(
            decode_get(br#"{"include":null}"#),
            422,
            "include: invalid type: null",
        );
        fails(
            decode_get(br#"{"include":["data"]}"#),
            422,
            "unknown variant `data`",
        );
        fails(
            decode_get(br#"{"limit":-1}"#),
            422,
            "limit: invalid value: integer `-1`",
        );
        fails(decode_get(br#"{"where":{}}"#), 400, "Invalid where clause");
        fails(
            decode_get(br#"{"where_document":[]}"#),
            400,
            "Invalid where document clause",
        );
    }

    #[test]
    fn read_levels_have_three_names_and_others_are_400() {
        let level = |body: &str| decode_get(body.as_bytes()).map(|got| got.request.consistency);
        assert_eq!(level("{}").unwrap().read_level, None);
        assert_eq!(level(r#"{"read_level":null}"#).unwrap().read_level, None);
        let body = r#"{"query_embeddings":[],"read_level":"index_and_bounded_wal"}"#;
        let query = decode_query(body.as_bytes()).unwrap();
        assert_eq!(
            query.request.consistency.read_level,
            Some(ReadLevel::IndexAndBoundedWal)
        );
        for wrong in [r#""wal""#, "1", "[]"] {
            let body = format!(r#"{{"read_level":{wrong}}}"#);
            fails(level(&body), 400, "is no read level; use \"index_and_wal\"");
        }
    }

    #[test]
    fn query_has_its_defaults() {
        let body = decode_query(br#"{"query_embeddings":[[1,2],[3,4.5]],"n_results":null}"#);
        let body = body.unwrap();
        assert_eq!(body.request.n_results, 10);
        assert_eq!(body.request.embeddings.values(), [1.0, 2.0, 3.0, 4.5]);
        assert!(body.request.include.distances);
        let body = decode_query(br#"{"query_embeddings":[],"n_results":4294967295}"#).unwrap();
        assert!(body.request.embeddings.is_empty());
    }

    #[test]
    fn query_vectors_may_be_packed() {
        let packed = |vectors: &str, packed: &str| {
            let body =
                format!(r#"{{"query_embeddings":{vectors},"packed_query_embeddings":{packed}}}"#);
            decode_query(body.as_bytes()).map(|body| body.request.embeddings)
        };
        let vectors = packed("[]", r#"["AACAPwAAAEA=","AABAQAAAgEA="]"#).unwrap();
        assert_eq!(vectors.values(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!((vectors.len(), vectors.dimension()), (2, 2));
        assert_eq!(packed("[[1]]", "null").unwrap().values(), [1.0]);
        assert!(packed("[]", "[]").unwrap().is_empty());
        fails(packed("[[1]]", r#"["AACAPw=="]"#), 400, "not in both");
        fails(
            packed("[]", r#"["AACAPw==","AACAPwAAAEA="]"#),
            400,
            "Inconsistent",
        );
        fails(packed("[]", r#"["AACAPw"]"#), 400, "Invalid base64 string");
        fails(packed("[]", r#"["AADAfw=="]"#), 400, "Non-finite");
        fails(packed("[]", r#"[""]"#), 400, "at least 1 dimension");
    }

    #[test]
    fn query_says_how_much_it_wants_found() {
        let recall = |said: &str| {
            let body = format!(r#"{{"query_embeddings":[[1]],"recall":{said}}}"#);
            decode_query(body.as_bytes()).map(|body| body.request.recall)
        };
        assert_eq!(recall("null").unwrap(), None);
        assert!(recall("\"exact\"").unwrap().unwrap().is_exact());
        assert!(!recall("0.9").unwrap().unwrap().is_exact());
        for wrong in ["0.5", "2", "\"much\"", "[]"] {
            let error = recall(wrong).unwrap_err();
            assert_eq!(error.status, 400);
            assert!(error.message.contains("from 0.8 to 0.999"), "{error:?}");
        }
    }

    #[test]
    fn wrong_query_vectors_are_refused() {
        fails(decode_query(b"{}"), 422, "missing field `query_embeddings`");
        fails(
            decode_query(br#"{"query_embeddings":null}"#),
            422,
            "query_embeddings: invalid type",
        );
        fails(
            decode_query(br#"{"query_embeddings":["AACAPw=="]}"#),
            422,
            "invalid type: string",
        );
        fails(
            decode_query(br#"{"query_embeddings":[[1],[1,2]]}"#),
            400,
            "Inconsistent dimensions",
        );
        fails(
            decode_query(br#"{"query_embeddings":[[]]}"#),
            400,
            "at least 1 dimension",
        );
        fails(
            decode_query(br#"{"query_embeddings":[[1e39]]}"#),
            400,
            "NaN or Infinity",
        );
        fails(
            decode_query(br#"{"query_embeddings":[],"n_results":-1}"#),
            422,
            "n_results",
        );
    }

    #[test]
    fn delete_means_nothing_or_needs_ids_or_a_filter() {
        for nothing in ["{}", r#"{"ids":null,"where":null}"#] {
            let selection = decode_delete(nothing.as_bytes()).unwrap().selection;
            assert!(selection.ids.is_none() && selection.filter.is_none());
        }
        fails(
            decode_delete(br#"{"ids":[]}"#),
            400,
            "Validation error: ids, where: Either ids or where must be specified",
        );
        fails(
            decode_delete(br#"{"ids":["a"],"limit":1}"#),
            400,
            "Validation error: limit, where: limit can only be specified when a where clause",
        );
        let deletion = decode_delete(br#"{"where":{"k":1},"limit":2}"#).unwrap();
        assert_eq!(deletion.limit, Some(2));
        assert!(deletion.selection.filter.is_some());
    }
}
