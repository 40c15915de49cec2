//! Exports as Parquet.
//!
//! What must stay true: a file takes the memory of one group of rows; numbers are those of the JSON, and
//! what a row does not know is null.

use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::properties::WriterProperties;
use serde_json::Value as Json;

use super::{Columns, Kind};
use crate::{Refusal, Result};

/// Rows that are compressed together.
const GROUP_ROWS: usize = 16_384;

/// A file that is being written.
pub(crate) struct Rows {
    columns: Columns,
    dimension: i32,
    schema: Arc<Schema>,
    writer: ArrowWriter<Vec<u8>>,
}

impl Rows {
    /// A file of these columns, whose vectors have `dimension` numbers.
    pub(super) fn begin(columns: Columns, dimension: usize) -> Result<Self> {
        let dimension = i32::try_from(dimension).map_err(unwritable)?;
        let fields = columns
            .iter()
            .map(|(name, kind)| Field::new(*name, data_type(*kind, dimension), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties));
        Ok(Self {
            columns,
            dimension,
            schema,
            writer: writer.map_err(unwritable)?,
        })
    }

    /// Takes rows; the bytes of the file that are known with them.
    pub(super) fn put(&mut self, rows: &[Json]) -> Result<Vec<u8>> {
        let columns = self.columns.iter().map(|(name, kind)| {
            let cells = rows.iter().map(|row| &row[*name]);
            column(*kind, cells, self.dimension)
        });
        let batch = RecordBatch::try_new(self.schema.clone(), columns.collect());
        let batch = batch.map_err(unwritable)?;
        self.writer.write(&batch).map_err(unwritable)?;
        Ok(std::mem::take(self.writer.inner_mut()))
    }

    /// The rest of the file.
    pub(super) fn end(self) -> Result<Vec<u8>> {
        self.writer.into_inner().map_err(unwritable)
    }
}

/// How many rows a file has, by its footer.
pub(super) fn count(file: &Bytes) -> Result<u64> {
    let footer = ParquetMetaDataReader::new().parse_and_finish(file);
    let rows = footer.map_err(unwritable)?.file_metadata().num_rows();
    Ok(rows.unsigned_abs())
}

fn unwritable(error: impl std::fmt::Display) -> Refusal {
    let message = format!("The export cannot be written as Parquet: {error}.");
    Refusal::new(500, "internal", message).hint("ask for jsonl")
}

/// The list items of a column.
fn item(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", data_type, true))
}

fn data_type(kind: Kind, dimension: i32) -> DataType {
    match kind {
        Kind::Text | Kind::Object => DataType::Utf8,
        Kind::Texts => DataType::List(item(DataType::Utf8)),
        Kind::Integer => DataType::Int64,
        Kind::Number => DataType::Float64,
        Kind::Flag => DataType::Boolean,
        Kind::Vector => DataType::FixedSizeList(item(DataType::Float32), dimension),
    }
}

fn column<'a>(kind: Kind, cells: impl Iterator<Item = &'a Json>, dimension: i32) -> ArrayRef {
    match kind {
        Kind::Text => Arc::new(cells.map(|cell| cell.as_str()).collect::<StringArray>()),
        Kind::Object => {
            let text = |cell: &Json| (!cell.is_null()).then(|| cell.to_string());
            Arc::new(cells.map(text).collect::<StringArray>())
        }
        Kind::Texts => {
            let mut built = ListBuilder::new(StringBuilder::new());
            for cell in cells {
                let texts = cell.as_array();
                for text in texts.into_iter().flatten() {
                    built.values().append_option(text.as_str());
                }
                built.append(texts.is_some());
            }
            Arc::new(built.finish())
        }
        Kind::Integer => Arc::new(cells.map(Json::as_i64).collect::<Int64Array>()),
        Kind::Number => Arc::new(cells.map(Json::as_f64).collect::<Float64Array>()),
        Kind::Flag => Arc::new(cells.map(Json::as_bool).collect::<BooleanArray>()),
        Kind::Vector => {
            let mut built = FixedSizeListBuilder::new(Float32Builder::new(), dimension);
            for cell in cells {
                let numbers = cell
                    .as_array()
                    .filter(|all| all.len() == dimension as usize);
                for at in 0..dimension as usize {
                    let number = numbers.and_then(|all| all[at].as_f64());
                    built
                        .values()
                        .append_option(number.map(|number| number as f32));
                }
                built.append(numbers.is_some());
            }
            Arc::new(built.finish())
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float32Type, Float64Type, Int64Type};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use serde_json::json;

    use super::*;

    const COLUMNS: Columns = &[
        ("id", Kind::Text),
        ("ids", Kind::Texts),
        ("records", Kind::Integer),
        ("score", Kind::Number),
        ("drawn", Kind::Flag),
        ("embedding", Kind::Vector),
        ("metadata", Kind::Object),
    ];

    #[test]
    fn rows_come_back_from_a_file_that_was_taken_piece_by_piece() {
        let row = |at: usize| {
            json!({
                "id": format!("r{at}"), "ids": ["a", "b"], "records": at, "score": at as f64 / 3.0,
                "drawn": at.is_multiple_of(2), "embedding": [at, 0.5], "metadata": {"at": at},
            })
        };
        let mut written = Rows::begin(COLUMNS, 2).unwrap();
        let mut file = Vec::new();
        let rows = GROUP_ROWS + 5000;
        let mut early = 0;
        for first in (0..rows).step_by(1000) {
            let page: Vec<Json> = (first..rows.min(first + 1000)).map(row).collect();
            let piece = written.put(&page).unwrap();
            early += piece.len();
            file.extend(piece);
        }
        let nothing = written
            .put(&[json!({}), json!({"embedding": [1]})])
            .unwrap();
        file.extend(nothing);
        assert!(early > 10_000, "a whole group waited for the end");
        file.extend(written.end().unwrap());
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap();
        assert_eq!(reader.metadata().num_row_groups(), 2);
        let mut batches = reader.with_batch_size(2 * rows).build().unwrap();
        let all = batches.next().unwrap().unwrap();
        assert_eq!(all.num_rows(), rows + 2);
        let at = rows - 1;
        assert_eq!(all.column(0).as_string::<i32>().value(at), format!("r{at}"));
        let ids = all.column(1).as_list::<i32>().value(at);
        assert_eq!(ids.as_string::<i32>().value(1), "b");
        assert_eq!(
            all.column(2).as_primitive::<Int64Type>().value(at),
            at as i64
        );
        let score = all.column(3).as_primitive::<Float64Type>().value(at);
        assert_eq!(score.to_bits(), (at as f64 / 3.0).to_bits());
        let vector = all.column(5).as_fixed_size_list().value(at);
        assert_eq!(
            vector.as_primitive::<Float32Type>().values(),
            &[at as f32, 0.5]
        );
        let metadata = all.column(6).as_string::<i32>().value(at);
        assert_eq!(metadata, format!("{{\"at\":{at}}}"));
        for column in all.columns() {
            assert!(column.is_null(rows) && column.is_null(rows + 1));
        }
    }
}
