//! Records in Parquet: columns id, embedding, document, metadata (JSON text) and uri; others are metadata under
//! their names.
//!
//! What must stay true: a file that this module wrote reads back as the same records; of other
//! files, embeddings may be lists (of fixed size or not) of 32- or 64-bit floats; nothing of a file is passed
//! over.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::properties::WriterProperties;
use serde_json::Map;

use super::Record;
use super::cells::{cell, is_metadata};
use super::record::{MEMBERS, member_named};
use crate::failure::Failure;
use crate::files;

/// Rows decoded at once.
const ROWS_AT_ONCE: usize = 1024;

/// Reads records from a Parquet file.
pub(super) struct ParquetReader {
    batches: ParquetRecordBatchReader,
    decoded: VecDeque<Record>,
    name: String,
    row: u64,
    rows: u64,
    to_embed: bool,
}

impl ParquetReader {
    /// Opens a file; with `to_embed` records may have no vector.
    pub(super) fn open(path: &Path, to_embed: bool) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let file = files::open(path)?;
        let wrong = |why: String| {
            Failure::new(format!("{name} cannot be read: {why}"))
                .hint("`vermilion import --help` says what the columns hold")
        };
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(|error| wrong(error.to_string()))?;
        check_columns(builder.schema(), to_embed).map_err(wrong)?;
        check_compression(builder.metadata()).map_err(wrong)?;
        let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        let batches = builder
            .with_batch_size(ROWS_AT_ONCE)
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            batches,
            decoded: VecDeque::new(),
            name,
            row: 0,
            rows,
            to_embed,
        })
    }

    /// Rows read, and rows of the file.
    pub(super) fn position(&self) -> (u64, u64) {
        (self.row, self.rows)
    }

    pub(super) fn skip(&mut self, records: u64) -> Result<(), Failure> {
        for _ in 0..records {
            if self.next()?.is_none() {
                return Err(files::too_short(&self.name));
            }
        }
        Ok(())
    }

    /// The next record; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record>, Failure> {
        while self.decoded.is_empty() {
            let Some(batch) = self.batches.next() else {
                return Ok(None);
            };
            let decoded = batch
                .map_err(|error| error.to_string())
                .and_then(|batch| decode(&batch));
            self.decoded = decoded.map_err(|why| self.wrong(&why))?;
        }
        self.row += 1;
        let record = self.decoded.pop_front().expect("the loop filled it");
        record
            .validate(self.to_embed)
            .map_err(|why| self.wrong(&why))?;
        Ok(Some(record))
    }

    fn wrong(&self, why: &str) -> Failure {
        Failure::new(format!("{} near row {}: {why}", self.name, self.row))
            .hint("`vermilion import --help` says what the columns hold; --embed makes vectors")
    }
}

/// Refuses columns that a record cannot have, and a file without those that it must have.
fn check_columns(schema: &Schema, to_embed: bool) -> Result<(), String> {
    let mut known = HashSet::new();
    for field in schema.fields() {
        let name = member_named(field.name());
        if !known.insert(name) {
            return Err(format!("it has two columns for `{name}`"));
        }
        if !MEMBERS.contains(&name) && !is_metadata(field.data_type()) {
            return Err(format!(
                "its column `{name}` holds {}; texts, numbers, truth values and lists of one of these become \
                 metadata",
                field.data_type()
            ));
        }
    }
    match MEMBERS[..if to_embed { 1 } else { 2 }]
        .iter()
        .find(|needed| !known.contains(**needed))
    {
        Some(needed) => Err(format!("it has no column `{needed}`")),
        None => Ok(()),
    }
}

/// Refuses what this program cannot unfold, before a record is read.
fn check_compression(file: &ParquetMetaData) -> Result<(), String> {
    let chunks = file.row_groups().iter().flat_map(RowGroupMetaData::columns);
    for chunk in chunks {
        let unknown = match chunk.compression() {
            Compression::BROTLI(_) => "Brotli",
            Compression::LZO => "LZO",
            _ => continue,
        };
        return Err(format!(
            "its column `{}` is compressed by {unknown}; Snappy, gzip, zstd, LZ4 and no compression are read",
            chunk.column_path()
        ));
    }
    Ok(())
}

/// The records of a batch of rows.
fn decode(batch: &RecordBatch) -> Result<VecDeque<Record>, String> {
    let schema = batch.schema();
    let named = |name: &str| {
        let mut fields = schema.fields().iter();
        let at = fields.position(|field| member_named(field.name()) == name)?;
        Some(batch.column(at))
    };
    let texts = |name: &str| -> Result<Vec<Option<String>>, String> {
        match named(name) {
            Some(column) => strings(column, name),
            None => Ok(vec![None; batch.num_rows()]),
        }
    };
    let (ids, documents, uris) = (texts("id")?, texts("document")?, texts("uri")?);
    let metadata = texts("metadata")?;
    let embeddings = named("embedding");
    let others: Vec<(&String, &ArrayRef)> = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .filter(|(field, _)| !MEMBERS.contains(&member_named(field.name())))
        .map(|(field, column)| (field.name(), column))
        .collect();
    let mut records = VecDeque::with_capacity(batch.num_rows());
    let columns = ids.into_iter().zip(documents).zip(uris).zip(metadata);
    for (row, (((id, document), uri), metadata)) in columns.enumerate() {
        let id = id.ok_or("an id is null")?;
        let metadata =
            match metadata.as_deref() {
                None | Some("null" | "") => None,
                Some(text) => Some(serde_json::from_str(text).map_err(|error| {
                    format!("the metadata of `{id}` is no JSON object: {error}")
                })?),
            };
        let mut record = Record {
            embedding: embeddings.map_or_else(|| Ok(Vec::new()), |column| vector(column, row))?,
            id,
            document,
            metadata,
            uri,
        };
        let mut cells = Map::new();
        for (name, column) in &others {
            let value = cell(column, row);
            let value =
                value.map_err(|why| format!("column `{name}` of `{}`: {why}", record.id))?;
            if let Some(value) = value {
                cells.insert((*name).clone(), value);
            }
        }
        record.add_metadata(cells);
        records.push_back(record);
    }
    Ok(records)
}

fn strings(column: &ArrayRef, name: &str) -> Result<Vec<Option<String>>, String> {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    match column.data_type() {
        DataType::Utf8 => Ok(column.as_string::<i32>().iter().map(owned).collect()),
        DataType::LargeUtf8 => Ok(column.as_string::<i64>().iter().map(owned).collect()),
        DataType::Utf8View => Ok(column.as_string_view().iter().map(owned).collect()),
        other => Err(format!("column `{name}` holds {other}, not texts")),
    }
}

fn vector(column: &ArrayRef, row: usize) -> Result<Vec<f32>, String> {
    if column.is_null(row) {
        return Ok(Vec::new());
    }
    let items = match column.data_type() {
        DataType::List(_) => column.as_list::<i32>().value(row),
        DataType::LargeList(_) => column.as_list::<i64>().value(row),
        DataType::FixedSizeList(..) => column.as_fixed_size_list().value(row),
        other => {
            return Err(format!(
                "column `embedding` holds {other}, not lists of floats"
            ));
        }
    };
    if items.null_count() > 0 {
        return Err("an embedding holds a null".to_owned());
    }
    match items.data_type() {
        DataType::Float32 => Ok(items.as_primitive::<Float32Type>().values().to_vec()),
        DataType::Float64 => {
            let numbers = items.as_primitive::<Float64Type>().values().iter();
            Ok(numbers.map(|number| *number as f32).collect())
        }
        other => Err(format!("embeddings hold {other}, not 32- or 64-bit floats")),
    }
}

/// Writes records to a Parquet file.
pub(super) struct ParquetWriter {
    writer: ArrowWriter<File>,
    schema: Arc<Schema>,
}

impl ParquetWriter {
    pub(super) fn over(file: File) -> Result<Self, Failure> {
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Utf8, false),
            Field::new("embedding", DataType::List(item), false),
            Field::new("document", DataType::Utf8, true),
            Field::new("metadata", DataType::Utf8, true),
            Field::new("uri", DataType::Utf8, true),
        ]));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties));
        Ok(Self {
            writer: writer.map_err(unwritable)?,
            schema,
        })
    }

    pub(super) fn write(&mut self, records: &[Record]) -> Result<(), Failure> {
        let mut embeddings = ListBuilder::new(Float32Builder::new());
        for record in records {
            embeddings.values().append_slice(&record.embedding);
            embeddings.append(true);
        }
        let texts = |of: &dyn Fn(&Record) -> Option<String>| -> ArrayRef {
            let mut builder = StringBuilder::new();
            for record in records {
                builder.append_option(of(record));
            }
            Arc::new(builder.finish())
        };
        let columns: Vec<ArrayRef> = vec![
            texts(&|record| Some(record.id.clone())),
            Arc::new(embeddings.finish()),
            texts(&|record| record.document.clone()),
            texts(&|record| {
                let cells = record.metadata.as_ref()?;
                Some(serde_json::to_string(cells).expect("a JSON object is always writable"))
            }),
            texts(&|record| record.uri.clone()),
        ];
        let batch = RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(|error| Failure::new(error.to_string()))?;
        self.writer.write(&batch).map_err(unwritable)
    }

    pub(super) fn finish(self) -> Result<(), Failure> {
        let file = self.writer.into_inner().map_err(unwritable)?;
        Ok(file.sync_all()?)
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is the argument of map_err"
)]
fn unwritable(error: parquet::errors::ParquetError) -> Failure {
    Failure::new(format!("cannot write the Parquet file: {error}"))
}
