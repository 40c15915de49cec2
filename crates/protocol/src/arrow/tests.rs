//! Streams against JSON of the same content, and streams that must be refused.

mod answered;
mod hostile;
mod reads;
mod received;

use std::sync::Arc;

use arrow_array::builder::{StringDictionaryBuilder, StringViewBuilder};
use arrow_array::types::{Float64Type, Int8Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array,
    LargeListArray, LargeStringArray, ListArray, NullArray, RecordBatch as Rows, StringArray,
    UInt64Array,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema};
use proptest::prelude::*;
use serde_json::{Value, json};
use vermilion_engine::model::{Operation, RecordBatch};

use super::{Limits, decode};
use crate::{ApiError, records};

type F32 = arrow_array::types::Float32Type;
type I64 = arrow_array::types::Int64Type;

const LIMITS: Limits = Limits {
    records_max: 1000,
    bytes_max: 1 << 20,
};

/// A table of these columns.
fn rows(columns: Vec<(&str, ArrayRef)>) -> Rows {
    let field =
        |(name, column): &(&str, ArrayRef)| Field::new(*name, column.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    Rows::try_new(Arc::new(schema), columns).unwrap()
}

/// The stream of tables that have the same columns.
fn stream(tables: &[Rows]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &tables[0].schema()).unwrap();
    for table in tables {
        writer.write(table).unwrap();
    }
    writer.into_inner().unwrap()
}

fn decoded(operation: Operation, tables: &[Rows]) -> Result<RecordBatch, ApiError> {
    decode(stream(tables).into(), operation, LIMITS)
}

fn from_json(operation: Operation, body: &Value) -> RecordBatch {
    records::decode(body.to_string().as_bytes(), operation, LIMITS.records_max).unwrap()
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn ids(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// Vectors of a fixed size, 32 bits each.
fn vectors(dimension: i32, values: Vec<f32>) -> ArrayRef {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let values = Arc::new(Float32Array::from(values));
    Arc::new(FixedSizeListArray::new(item, dimension, values, None))
}

#[test]
fn columns_of_a_stream_are_the_members_of_a_body() {
    let table = rows(vec![
        ("id", ids(&["a", "b"])),
        ("embedding", vectors(2, vec![1.0, 2.0, 3.0, 4.5])),
        ("document", texts(&[Some("first"), None])),
        ("uri", texts(&[None, Some("file:///b")])),
        (
            "metadata.n",
            Arc::new(Int64Array::from(vec![Some(7), None])),
        ),
        (
            "metadata.big",
            Arc::new(UInt64Array::from(vec![3, u64::MAX])),
        ),
        ("metadata.f", Arc::new(Float64Array::from(vec![0.5, 1e300]))),
        (
            "metadata.b",
            Arc::new(BooleanArray::from(vec![None, Some(true)])),
        ),
        ("metadata.a.b", texts(&[Some("x"), None])),
        (
            "metadata",
            texts(&[
                Some(r#"{"s":{"indices":[1],"values":[2]},"m":[1,2.5]}"#),
                Some("null"),
            ]),
        ),
    ]);
    let body = json!({
        "ids": ["a", "b"], "embeddings": [[1, 2], [3, 4.5]],
        "documents": ["first", null], "uris": [null, "file:///b"],
        "metadatas": [
            {"n": 7, "big": 3, "f": 0.5, "a.b": "x", "m": [1, 2.5],
             "s": {"indices": [1], "values": [2]}},
            {"big": u64::MAX, "f": 1e300, "b": true},
        ],
    });
    for operation in [Operation::Add, Operation::Upsert, Operation::Update] {
        let batch = decoded(operation, std::slice::from_ref(&table)).unwrap();
        assert_eq!(told(&batch), told(&from_json(operation, &body)));
    }
}

/// All that a batch says; metadata by key, since columns come in another order than members.
fn told(batch: &RecordBatch) -> impl PartialEq + std::fmt::Debug + use<> {
    let metadata: Vec<Vec<(String, String)>> = (0..batch.metadata.len())
        .map(|row| {
            let cells = batch.metadata.row(row);
            let mut cells: Vec<_> = cells
                .map(|(key, value)| (key.to_owned(), format!("{value:?}")))
                .collect();
            cells.sort();
            cells
        })
        .collect();
    let columns = (batch.documents.clone(), batch.uris.clone());
    let head = (batch.operations.clone(), batch.ids.clone());
    (head, batch.embeddings.clone(), columns, metadata)
}

#[test]
fn a_null_in_a_column_says_nothing_and_one_in_json_takes_the_key_away() {
    let table = rows(vec![
        ("id", ids(&["a", "b"])),
        (
            "metadata.n",
            Arc::new(Int64Array::from(vec![None, Some(1)])),
        ),
        ("metadata", texts(&[Some(r#"{"gone":null}"#), None])),
    ]);
    let body = json!({"ids": ["a", "b"], "metadatas": [{"gone": null}, {"n": 1}]});
    let batch = decoded(Operation::Update, std::slice::from_ref(&table)).unwrap();
    assert_eq!(told(&batch), told(&from_json(Operation::Update, &body)));
    assert_eq!(batch.embeddings.dimension(), 0);
}

#[test]
fn empty_lists_are_what_they_are_in_json() {
    let none: [Option<i64>; 0] = [];
    let lists = ListArray::from_iter_primitive::<I64, _, _>([
        Some(none.to_vec()),
        Some(vec![Some(1), Some(2)]),
    ]);
    let table = rows(vec![
        ("id", ids(&["a", "b"])),
        ("embedding", vectors(1, vec![1.0, 2.0])),
        ("metadata.l", Arc::new(lists)),
    ]);
    let body = json!({"ids": ["a", "b"], "embeddings": [[1], [2]],
        "metadatas": [{"l": []}, {"l": [1, 2]}]});
    for operation in [Operation::Add, Operation::Upsert] {
        let batch = decoded(operation, std::slice::from_ref(&table)).unwrap();
        assert_eq!(told(&batch), told(&from_json(operation, &body)));
    }
}

#[test]
fn a_stream_without_rows_is_an_empty_batch_and_metadata_has_many_batches() {
    let table = rows(vec![
        ("id", ids(&[])),
        ("embedding", vectors(2, Vec::new())),
    ]);
    assert!(
        decoded(Operation::Add, std::slice::from_ref(&table))
            .unwrap()
            .is_empty()
    );
    let mut writer = StreamWriter::try_new(Vec::new(), &table.schema()).unwrap();
    writer.finish().unwrap();
    let nothing = writer.into_inner().unwrap();
    assert!(
        decode(nothing.into(), Operation::Add, LIMITS)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_body_that_lies_anywhere_in_memory_is_read() {
    let table = rows(vec![
        ("id", ids(&["a", "b"])),
        ("embedding", vectors(2, vec![1.0, 2.0, 3.0, 4.0])),
    ]);
    let written = stream(std::slice::from_ref(&table));
    let expected = decoded(Operation::Add, std::slice::from_ref(&table)).unwrap();
    for offset in 0..9 {
        let mut moved = vec![0; offset];
        moved.extend_from_slice(&written);
        let body = bytes::Bytes::from(moved).slice(offset..);
        assert_eq!(decode(body, Operation::Add, LIMITS).unwrap(), expected);
    }
}

/// In which layout a column of strings is sent.
fn laid_out(values: &[Option<String>], layout: usize) -> ArrayRef {
    let values = values.iter().map(Option::as_deref);
    match layout % 4 {
        0 => Arc::new(values.collect::<StringArray>()),
        1 => Arc::new(values.collect::<LargeStringArray>()),
        2 => {
            let mut builder = StringViewBuilder::new();
            values.for_each(|value| builder.append_option(value));
            Arc::new(builder.finish())
        }
        _ => {
            let mut builder = StringDictionaryBuilder::<Int8Type>::new();
            values.for_each(|value| builder.append_option(value));
            Arc::new(builder.finish())
        }
    }
}

/// In which layout vectors are sent; all numbers are exact in 16 bits.
fn vectors_laid_out(values: &[Option<Vec<f32>>], dimension: usize, layout: usize) -> ArrayRef {
    if values.iter().all(Option::is_none) && layout.is_multiple_of(2) {
        return Arc::new(NullArray::new(values.len()));
    }
    let items = |value: &Option<Vec<f32>>| {
        let value = value.as_ref()?;
        Some(value.iter().map(|&number| Some(number)).collect::<Vec<_>>())
    };
    let wide = |value: &Option<Vec<f32>>| {
        let value = value.as_ref()?;
        Some(
            value
                .iter()
                .map(|&number| Some(f64::from(number)))
                .collect::<Vec<_>>(),
        )
    };
    let size = i32::try_from(dimension).unwrap();
    match layout % 4 {
        0 => Arc::new(ListArray::from_iter_primitive::<F32, _, _>(
            values.iter().map(items),
        )),
        1 => {
            let lists = values.iter().map(wide);
            Arc::new(LargeListArray::from_iter_primitive::<Float64Type, _, _>(
                lists,
            ))
        }
        2 => {
            let lists = values.iter().map(items);
            Arc::new(FixedSizeListArray::from_iter_primitive::<F32, _, _>(
                lists, size,
            ))
        }
        _ => {
            let lists = values.iter().map(wide);
            Arc::new(FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(lists, size))
        }
    }
}

/// One record: vector, document, uri, and metadata under a few keys.
type Record = (Option<Vec<f32>>, Option<String>, Option<String>, Cells);
type Cells = (Option<i64>, Option<String>, Option<Vec<i64>>, Option<bool>);

fn record(dimension: usize) -> impl Strategy<Value = Record> {
    let number = (-2000_i16..2000).prop_map(f32::from);
    let text = || prop::option::of("[a-z\u{e9}\u{1f600}]{0,8}");
    (
        prop::option::weighted(0.7, prop::collection::vec(number, dimension)),
        text(),
        text(),
        (
            prop::option::of(any::<i64>()),
            text(),
            prop::option::of(prop::collection::vec(any::<i64>(), 0..4)),
            prop::option::of(any::<bool>()),
        ),
    )
}

proptest! {
    #[test]
    fn a_stream_and_a_body_of_the_same_content_make_the_same_batch(
        (dimension, records) in (1_usize..6).prop_flat_map(|dimension| {
            (Just(dimension), prop::collection::vec(record(dimension), 1..12))
        }),
        layouts in prop::array::uniform5(0_usize..4),
        parts in 1_usize..4,
        compressed in any::<bool>(),
    ) {
        let names: Vec<String> = (0..records.len()).map(|row| format!("r{row}")).collect();
        let metadata = |cells: &Cells| {
            let (n, s, l, b) = cells;
            let mut object = serde_json::Map::new();
            let mut put = |key: &str, value: Option<Value>| {
                value.map(|value| object.insert(key.to_owned(), value));
            };
            put("n", n.map(Value::from));
            put("s", s.clone().map(Value::from));
            put("l", l.clone().map(Value::from));
            put("b", b.map(Value::from));
            object
        };
        let body = json!({
            "ids": names,
            "embeddings": records.iter().map(|record| record.0.clone()).collect::<Vec<_>>(),
            "documents": records.iter().map(|record| record.1.clone()).collect::<Vec<_>>(),
            "uris": records.iter().map(|record| record.2.clone()).collect::<Vec<_>>(),
            "metadatas": records.iter().map(|record| metadata(&record.3)).collect::<Vec<_>>(),
        });
        let table = |(names, records): (&[String], &[Record])| {
            let names: Vec<_> = names.iter().cloned().map(Some).collect();
            let vectors: Vec<_> = records.iter().map(|record| record.0.clone()).collect();
            let column = |of: fn(&Record) -> &Option<String>, layout: usize| {
                laid_out(&records.iter().map(|record| of(record).clone()).collect::<Vec<_>>(), layout)
            };
            let lists = records.iter().map(|record| {
                let list = record.3.2.as_ref()?;
                Some(list.iter().map(|&item| Some(item)).collect::<Vec<_>>())
            });
            let lists = ListArray::from_iter_primitive::<I64, _, _>(lists);
            let bools: BooleanArray = records.iter().map(|record| record.3.3).collect();
            rows(vec![
                ("metadata.n", Arc::new(records.iter().map(|record| record.3.0).collect::<Int64Array>())),
                ("uri", column(|record| &record.2, layouts[0])),
                ("metadata.s", column(|record| &record.3.1, layouts[1])),
                ("embedding", vectors_laid_out(&vectors, dimension, layouts[2] | 1)),
                ("metadata.l", Arc::new(lists)),
                ("id", laid_out(&names, layouts[3])),
                ("metadata.b", Arc::new(bools)),
                ("document", column(|record| &record.1, layouts[4])),
            ])
        };
        let size = records.len().div_ceil(parts);
        let tables: Vec<Rows> = names.chunks(size).zip(records.chunks(size)).map(table).collect();
        let options = arrow_ipc::writer::IpcWriteOptions::default()
            .try_with_compression(compressed.then_some(arrow_ipc::CompressionType::ZSTD))
            .unwrap();
        let schema = tables[0].schema();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options).unwrap();
        for table in &tables {
            writer.write(table).unwrap();
        }
        let sent = writer.into_inner().unwrap();
        let batch = decode(sent.into(), Operation::Update, LIMITS).unwrap();
        prop_assert_eq!(told(&batch), told(&from_json(Operation::Update, &body)));
    }
}

#[test]
fn a_log_names_its_fields_as_columns_and_needs_no_id() {
    let table = |more: Vec<(&str, ArrayRef)>| {
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let values = Arc::new(Float32Array::from(vec![1.0, 2.0]));
        let vectors: ArrayRef = Arc::new(FixedSizeListArray::new(item, 1, values, None));
        let columns = vec![("embedding", vectors)];
        rows(columns.into_iter().chain(more).collect())
    };
    let fields = ["context", "label"];
    let logged = |more| {
        let body = stream(&[table(more)]).into();
        super::decode_logged(body, &fields, LIMITS)
    };
    let batch = logged(vec![
        ("input_uri", texts(&[Some("a"), Some("b")])),
        ("context", texts(&[Some("test"), None])),
        ("metadata.k", texts(&[None, Some("v")])),
    ])
    .unwrap();
    assert_eq!(batch.ids.iter().collect::<Vec<_>>(), ["", ""]);
    assert_eq!(batch.uris.get(1), Some("b"));
    let cells = |row| -> Vec<String> {
        let cells = batch.metadata.row(row);
        cells
            .map(|(key, value)| format!("{key}={value:?}"))
            .collect()
    };
    assert_eq!(cells(0), ["context=Str(\"test\")"]);
    assert_eq!(cells(1), ["k=Str(\"v\")"]);
    for (column, value, message) in [
        ("metadata.label", "x", "has the key of a field of the log"),
        (
            "metadata",
            r#"{"label":"x"}"#,
            "the key `label` is a field of the log",
        ),
        (
            "uri",
            "x",
            "is none of `id`, `embedding`, `input_uri`, `context`, `label`",
        ),
        ("document", "x", "is none of"),
    ] {
        let error = logged(vec![(column, texts(&[None, Some(value)]))]).unwrap_err();
        assert_eq!(error.status, 400, "{error}");
        assert!(error.message.contains(message), "{error}");
    }
}
