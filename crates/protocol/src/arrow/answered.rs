//! Answers to `get` and `query`, read back into the columns that they were written from: for clients.
//!
//! What must stay true: what is read is what the JSON answer says, nulls included; a column that is not there is
//! `None`; whatever bytes come in, reading them takes memory in proportion to them and never panics. Aggregates,
//! which are a note of the schema, are not read.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt32Type};
use arrow_array::{Array, Float32Array, RecordBatch};
use arrow_schema::DataType;
use bytes::Bytes;
use vermilion_engine::model::{Fetched, Operation};

use super::columns::{Columns, Layout};
use super::records::Records;
use super::stream::Stream;
use super::{BROKEN, Budget, EMBEDDING, Limits, QUERY_INDEX, broken, shown, wrong_column};
use crate::ApiError;

/// How many times its bytes an answer may unfold to: a truth value is one bit of it, and eight bytes of a cell.
const UNFOLDED_MAX: usize = 64;
/// The status of an answer that cannot be read: whoever answers between client and server is at fault, or the server.
const BAD_ANSWER: u16 = 502;

/// Records of an answer: all of a `get`, or the nearest to one vector.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answered {
    /// The records, without their vectors.
    pub records: Fetched,
    /// Their vectors.
    pub vectors: Option<Vectors>,
    /// Their distances, if they were asked for; `None` where JSON has null.
    pub distances: Option<Vec<Option<f32>>>,
}

/// Vectors of one dimension, row after row; where one is absent are zeros.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vectors {
    dimension: usize,
    /// The numbers, where they came, one part for each batch.
    parts: Vec<Float32Array>,
}

impl Vectors {
    /// Numbers in a vector; 0 where there is none.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The numbers: what `one` makes of those of a single batch, or `several` of all.
    pub fn take<T>(self, one: impl FnOnce(&[f32]) -> T, several: impl FnOnce(Vec<f32>) -> T) -> T {
        if let [part] = &self.parts[..] {
            return one(part.values());
        }
        let parts: Vec<&[f32]> = self.parts.iter().map(|part| &**part.values()).collect();
        several(parts.concat())
    }

    fn push(&mut self, batch: &RecordBatch, number: usize) -> Result<(), ApiError> {
        let column = batch.column(number).as_fixed_size_list();
        // A column without any vector may have no numbers.
        self.dimension = column.value_length() as usize;
        let numbers = column.values().as_primitive::<Float32Type>();
        if numbers.null_count() > 0 {
            return Err(wrong_column(EMBEDDING, "has vectors with nulls"));
        }
        self.parts.push(numbers.clone());
        Ok(())
    }
}

/// Refuses a column that is not of vectors as answers have them.
pub(super) fn check_vectors(holds: &DataType) -> Result<(), ApiError> {
    if let DataType::FixedSizeList(items, 0..) = holds
        && *items.data_type() == DataType::Float32
    {
        return Ok(());
    }
    let problem = format!(
        "holds {}; it must hold lists of 32-bit floats, of a fixed size",
        shown(holds)
    );
    Err(wrong_column(EMBEDDING, problem))
}

/// Reads an answer to `get`.
pub fn read_fetched(body: Bytes) -> Result<Answered, ApiError> {
    let read = || {
        let mut answer = Answer::open(body)?;
        let columns = answer.columns()?;
        let mut part = Part::new(&columns);
        while let Some(batch) = answer.stream.next()? {
            part.push(&batch, &mut answer.budget)?;
        }
        Ok(part.finish())
    };
    read().map_err(|error| unreadable(&error))
}

/// Reads an answer to `query` with so many vectors: one entry for each.
pub fn read_nearest(body: Bytes, queries: usize) -> Result<Vec<Answered>, ApiError> {
    let read = || {
        let mut answer = Answer::open(body)?;
        let columns = answer.columns()?;
        let place = columns.query;
        let place = place.ok_or_else(|| broken(&format!("it has no column `{QUERY_INDEX}`")))?;
        let mut parts: Vec<Part> = (0..queries).map(|_| Part::new(&columns)).collect();
        while let Some(batch) = answer.stream.next()? {
            let numbers = batch.column(place).as_primitive::<UInt32Type>();
            if numbers.null_count() > 0 {
                return Err(wrong_column(QUERY_INDEX, "has nulls"));
            }
            let mut first = 0;
            for run in numbers.values().chunk_by(|a, b| a == b) {
                let part = parts.get_mut(run[0] as usize).ok_or_else(|| {
                    let problem = format!("has the query {}; {queries} were asked", run[0]);
                    wrong_column(QUERY_INDEX, problem)
                })?;
                part.push(&batch.slice(first, run.len()), &mut answer.budget)?;
                first += run.len();
            }
        }
        Ok(parts.into_iter().map(Part::finish).collect())
    };
    read().map_err(|error| unreadable(&error))
}

fn unreadable(error: &ApiError) -> ApiError {
    let why = error.message.strip_prefix(BROKEN).unwrap_or(&error.message);
    let message = format!("The answer is no Arrow stream of records: {why}");
    ApiError::new(BAD_ANSWER, message)
}

/// A stream of an answer, as far as it has been read.
struct Answer {
    stream: Stream,
    budget: Budget,
}

impl Answer {
    fn open(body: Bytes) -> Result<Self, ApiError> {
        let bytes_max = body.len().saturating_mul(UNFOLDED_MAX);
        let limits = Limits {
            // Each has an id, whose offset alone takes more than a byte.
            records_max: body.len(),
            bytes_max,
        };
        Ok(Self {
            stream: Stream::open(body, limits)?,
            budget: Budget::new(bytes_max),
        })
    }

    fn columns(&self) -> Result<Columns, ApiError> {
        Columns::of(self.stream.schema(), Layout::Answer)
    }
}

/// The records for one query.
struct Part<'a> {
    columns: &'a Columns,
    records: Records<'a>,
    vectors: Vectors,
    distances: Vec<Option<f32>>,
}

impl<'a> Part<'a> {
    fn new(columns: &'a Columns) -> Self {
        Self {
            columns,
            // A change may have what an answer may have: records without vectors, and nulls.
            records: Records::new(Operation::Update, true, columns),
            vectors: Vectors::default(),
            distances: Vec::new(),
        }
    }

    fn push(&mut self, batch: &RecordBatch, budget: &mut Budget) -> Result<(), ApiError> {
        if let Some(number) = self.columns.distance {
            let distances = batch.column(number).as_primitive::<Float32Type>();
            self.distances.extend(distances);
        }
        if let Some(number) = self.columns.answered_embedding {
            self.vectors.push(batch, number)?;
        }
        self.records.push(batch, budget)
    }

    fn finish(self) -> Answered {
        let columns = self.columns;
        let records = self.records.finish();
        let has_metadata = columns.metadata.is_some() || !columns.keys.is_empty();
        Answered {
            records: Fetched {
                ids: records.ids,
                embeddings: None,
                documents: columns.document.map(|_| records.documents),
                uris: columns.uri.map(|_| records.uris),
                metadatas: has_metadata.then_some(records.metadata),
            },
            vectors: columns.answered_embedding.map(|_| self.vectors),
            distances: columns.distance.map(|_| self.distances),
        }
    }
}
