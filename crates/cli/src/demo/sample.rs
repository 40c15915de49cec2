//! The sample that the demo loads, held in the program itself.

use std::io::Cursor;

use serde::Deserialize;

use crate::failure::Failure;
use crate::transfer::{JsonlReader, Record, decode_half};

/// The records; where they come from is told in `sample/debdoc3k/README.md`.
const RECORDS: &[u8] = include_bytes!("../../../../sample/debdoc3k/records.jsonl.zst");
/// The queries.
const QUERIES: &str = include_str!("../../../../sample/debdoc3k/queries.jsonl");

/// The records and queries of the sample.
pub(super) struct Sample {
    pub(super) records: Vec<Record>,
    pub(super) queries: Vec<Query>,
}

/// A text with its embedding.
pub(super) struct Query {
    pub(super) text: String,
    pub(super) embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct QueryLine {
    text: String,
    embedding_f16: String,
}

impl Sample {
    /// Decodes the sample.
    pub(super) fn read() -> Result<Self, Failure> {
        let name = "the sample".to_owned();
        let mut reader = JsonlReader::over(Cursor::new(RECORDS), name, true)?;
        let mut records = Vec::new();
        while let Some(record) = reader.next()? {
            records.push(record);
        }
        let queries = QUERIES.lines().map(|line| {
            let line: QueryLine =
                serde_json::from_str(line).map_err(|error| Failure::new(error.to_string()))?;
            Ok(Query {
                embedding: decode_half(&line.embedding_f16).map_err(Failure::new)?,
                text: line.text,
            })
        });
        Ok(Self {
            queries: queries.collect::<Result<_, Failure>>()?,
            records,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_has_3000_distinct_records_and_ten_queries_of_one_dimension() {
        let sample = Sample::read().expect("the sample is readable");
        let ids: std::collections::HashSet<_> =
            sample.records.iter().map(|record| &record.id).collect();
        assert_eq!(
            (sample.records.len(), ids.len(), sample.queries.len()),
            (3000, 3000, 10)
        );
        let vectors = sample
            .records
            .iter()
            .map(|record| &record.embedding)
            .chain(sample.queries.iter().map(|query| &query.embedding));
        for vector in vectors {
            let length: f32 = vector.iter().map(|number| number * number).sum();
            assert!(vector.len() == 384 && (length - 1.0).abs() < 0.01);
        }
        assert!(RECORDS.len() + QUERIES.len() < 4 << 20);
    }
}
