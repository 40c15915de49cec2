//! The members of a record body, and the rules that hold between them.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use vermilion_engine::model::{
    Embeddings, MetadataColumn, Operation, OptionalStrings, RecordBatch, Strings,
};

use super::metadata::MetadataSeed;
use super::strings::{IdsSeed, StringsSeed};
use super::vectors::{Forms, VectorBlock, explain_overflow};
use crate::{ApiError, json};

/// Decodes the body of `add`, `upsert` or `update`, of at most `records_max` records.
pub fn decode(
    body: &[u8],
    operation: Operation,
    records_max: usize,
) -> Result<RecordBatch, ApiError> {
    let seed = || BodySeed {
        operation,
        vectors_apart: false,
    };
    json::decode_seed(body, seed)
        .map_err(|error| explain_overflow(error, "embeddings"))?
        .into_batch(None, operation, records_max)
}

/// Decodes the same members from what `columns` reads, whatever form it has, with the vectors apart:
/// they are in one block already.
pub fn decode_columns<'de, D: Deserializer<'de>>(
    columns: D,
    embeddings: Option<Embeddings>,
    operation: Operation,
    records_max: usize,
) -> Result<RecordBatch, ApiError> {
    let seed = BodySeed {
        operation,
        vectors_apart: embeddings.is_some(),
    };
    let body = seed
        .deserialize(columns)
        .map_err(|error| ApiError::unprocessable(error.to_string()))?;
    body.into_batch(embeddings, operation, records_max)
}

/// What a body holds; a member that was absent or null is `None`.
#[derive(Default)]
struct Body {
    ids: Option<Strings>,
    vectors: Option<VectorBlock>,
    documents: Option<OptionalStrings>,
    uris: Option<OptionalStrings>,
    metadata: Option<MetadataColumn>,
    metadata_problem: Option<usize>,
}

impl Body {
    /// The batch; `apart` are the vectors where they did not come with the other members.
    fn into_batch(
        self,
        apart: Option<Embeddings>,
        operation: Operation,
        records_max: usize,
    ) -> Result<RecordBatch, ApiError> {
        if let Some(row) = self.metadata_problem {
            return Err(ApiError::validation(
                "metadatas",
                format_args!("Invalid metadata at index {row}"),
            ));
        }
        let ids = self.ids.unwrap_or_default();
        let rows = ids.len();
        let (vector_rows, embeddings) = match (apart, self.vectors) {
            (Some(embeddings), _) => (Some(embeddings.len()), embeddings),
            (None, Some(vectors)) => (Some(vectors.rows()), vectors.into_embeddings("embeddings")?),
            (None, None) => (None, Embeddings::default()),
        };
        if rows > records_max {
            return Err(ApiError::invalid(format!(
                "Batch size {rows} exceeds maximum batch size {records_max}"
            )));
        }
        let lengths = [
            vector_rows,
            self.documents.as_ref().map(OptionalStrings::len),
            self.uris.as_ref().map(OptionalStrings::len),
            self.metadata.as_ref().map(MetadataColumn::len),
        ];
        if lengths.into_iter().flatten().any(|length| length != rows) {
            return Err(ApiError::invalid(
                "Inconsistent number of IDs, embeddings, documents, URIs and metadatas",
            ));
        }
        if (0..rows).any(|row| ids.bytes_of(row) == 0) {
            return Err(ApiError::invalid(
                "Empty ID, ID must have at least one character",
            ));
        }
        let absent = || OptionalStrings::absent(rows);
        Ok(RecordBatch {
            operations: vec![operation; rows],
            ids,
            embeddings,
            documents: self.documents.unwrap_or_else(absent),
            uris: self.uris.unwrap_or_else(absent),
            metadata: self
                .metadata
                .unwrap_or_else(|| MetadataColumn::absent(rows)),
        })
    }
}

struct BodySeed {
    operation: Operation,
    /// Whether the vectors come another way, so that nobody misses them here.
    vectors_apart: bool,
}

impl<'de> DeserializeSeed<'de> for BodySeed {
    type Value = Body;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Body, D::Error> {
        deserializer.deserialize_map(self)
    }
}

/// The members that mean something, each found once at most.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    Ids,
    Embeddings,
    Documents,
    Uris,
    Metadatas,
    Unknown,
}

impl Member {
    const NAMES: [&str; 5] = ["ids", "embeddings", "documents", "uris", "metadatas"];

    fn named(name: &str) -> Self {
        match name {
            "ids" => Self::Ids,
            "embeddings" => Self::Embeddings,
            "documents" => Self::Documents,
            "uris" => Self::Uris,
            "metadatas" => Self::Metadatas,
            _ => Self::Unknown,
        }
    }
}

struct MemberSeed;

impl<'de> DeserializeSeed<'de> for MemberSeed {
    type Value = Member;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for MemberSeed {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Member, E> {
        Ok(Member::named(name))
    }
}

impl<'de> Visitor<'de> for BodySeed {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with ids and columns of records")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Body, A::Error> {
        let mut body = Body::default();
        let mut seen = [false; Member::NAMES.len()];
        // Rows of the last column, to make room for those of the next.
        let mut rows = 0;
        while let Some(member) = map.next_key_seed(MemberSeed)? {
            if member == Member::Unknown {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let number = member as usize;
            if std::mem::replace(&mut seen[number], true) {
                return Err(A::Error::duplicate_field(Member::NAMES[number]));
            }
            rows = rows.max(self.read(member, &mut map, &mut body, rows)?);
        }
        if body.ids.is_none() {
            return Err(A::Error::missing_field("ids"));
        }
        let needs_vectors = self.operation != Operation::Update && !self.vectors_apart;
        if body.vectors.is_none() && needs_vectors {
            return Err(A::Error::missing_field("embeddings"));
        }
        Ok(body)
    }
}

impl BodySeed {
    /// Reads the value of `member` into `body`; answers how many rows it has.
    fn read<'de, A: MapAccess<'de>>(
        &self,
        member: Member,
        map: &mut A,
        body: &mut Body,
        rows: usize,
    ) -> Result<usize, A::Error> {
        match member {
            Member::Ids => {
                let ids = map.next_value_seed(IdsSeed { rows })?;
                let count = ids.len();
                body.ids = Some(ids);
                Ok(count)
            }
            Member::Embeddings => {
                let update = self.operation == Operation::Update;
                let forms = if update { Forms::AnyOrNull } else { Forms::Any };
                let vectors = map.next_value_seed(VectorBlock::seed(forms, rows))?;
                let count = vectors.as_ref().map_or(0, VectorBlock::rows);
                body.vectors = vectors;
                Ok(count)
            }
            Member::Documents => {
                body.documents = map.next_value_seed(StringsSeed { rows })?;
                Ok(body.documents.as_ref().map_or(0, OptionalStrings::len))
            }
            Member::Uris => {
                body.uris = map.next_value_seed(StringsSeed { rows })?;
                Ok(body.uris.as_ref().map_or(0, OptionalStrings::len))
            }
            Member::Metadatas => {
                let nulls = self.operation != Operation::Add;
                let read = map.next_value_seed(MetadataSeed { nulls })?;
                let Some((column, problem)) = read else {
                    return Ok(0);
                };
                let count = column.len();
                body.metadata = Some(column);
                body.metadata_problem = problem;
                Ok(count)
            }
            Member::Unknown => Ok(0),
        }
    }
}
