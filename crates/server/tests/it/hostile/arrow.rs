//! Arrow streams that are broken, do not fit together, or are too much.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, Float32Array, Int64Array, NullArray, RecordBatch,
    StringArray,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field, Schema};

use super::Case;

const STREAM: &str = "application/vnd.apache.arrow.stream";
const FILE: &str = "application/vnd.apache.arrow.file";

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn vectors(dimension: i32, values: Vec<f32>) -> ArrayRef {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let values = Arc::new(Float32Array::from(values));
    Arc::new(FixedSizeListArray::new(item, dimension, values, None))
}

/// Two records as they should be.
pub(crate) fn good() -> Vec<(&'static str, ArrayRef)> {
    vec![
        ("id", texts(&[Some("x"), Some("y")])),
        ("embedding", vectors(2, vec![1.0, 2.0, 3.0, 4.0])),
        ("document", texts(&[Some("text"), None])),
        ("metadata.n", Arc::new(Int64Array::from(vec![1, 2]))),
    ]
}

fn table(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    let field =
        |(name, column): &(&str, ArrayRef)| Field::new(*name, column.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let columns = columns.iter().map(|(_, column)| column.clone()).collect();
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

pub(crate) fn stream(
    columns: &[(&str, ArrayRef)],
    compression: Option<CompressionType>,
) -> Vec<u8> {
    let table = table(columns);
    let options = IpcWriteOptions::default();
    let options = options.try_with_compression(compression).unwrap();
    let schema = table.schema();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options).unwrap();
    writer.write(&table).unwrap();
    writer.into_inner().unwrap()
}

/// The good columns with `column` in place of the one of its name, or after them.
fn with(name: &'static str, column: ArrayRef) -> Vec<u8> {
    let mut columns = good();
    match columns.iter_mut().find(|(known, _)| *known == name) {
        Some(known) => known.1 = column,
        None => columns.push((name, column)),
    }
    stream(&columns, None)
}

/// Streams that no operation takes.
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn everywhere() -> Vec<Vec<u8>> {
    let whole = stream(&good(), None);
    let mut bodies: Vec<Vec<u8>> = [0, 1, 4, 8, 9, 100, 400, whole.len() - 9, whole.len() - 8]
        .map(|end| whole[..end].to_vec())
        .into();
    bodies.push([&whole[..], b"x"].concat());
    bodies.push([&whole[..], &whole[..]].concat());
    bodies.push(b"{\"ids\":[\"x\"],\"embeddings\":[[1,2]]}".to_vec());
    bodies.push(vec![0xff; 1000]);
    bodies.push(vec![0; 1000]);
    let table = table(&good());
    let mut file = FileWriter::try_new(Vec::new(), &table.schema()).unwrap();
    file.write(&table).unwrap();
    bodies.push(file.into_inner().unwrap());
    // Lengths of messages and of their bodies that are not so.
    for lie in [u32::MAX, i32::MAX as u32, 1 << 20, 1, 8] {
        let mut body = whole.clone();
        body[4..8].copy_from_slice(&lie.to_le_bytes());
        bodies.push(body);
    }
    let numbers = || -> ArrayRef { Arc::new(Int64Array::from(vec![1, 2])) };
    for column in [
        "id",
        "embedding",
        "document",
        "uri",
        "metadata",
        "unknown",
        "metadata.$k",
        "metadata.",
    ] {
        bodies.push(with(column, numbers()));
    }
    for id in [None, Some("")] {
        bodies.push(with("id", texts(&[id, Some("y")])));
    }
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        bodies.push(with("embedding", vectors(2, vec![1.0, number, 3.0, 4.0])));
    }
    bodies.push(with("embedding", vectors(1, vec![1.0, 2.0])));
    bodies.push(with("embedding", vectors(65_536, vec![0.0; 131_072])));
    bodies.push(with(
        "metadata.f",
        Arc::new(Float32Array::from(vec![f32::NAN, 0.0])),
    ));
    bodies.push(with(
        "metadata.v",
        vectors(2, vec![1.0, f32::NAN, 0.0, 0.0]),
    ));
    for text in [
        "",
        "{",
        "[]",
        "1",
        "{} {}",
        r#"{"n":3}"#,
        r#"{"k":{}}"#,
        r##"{"#k":1}"##,
        r#"{"":1}"#,
    ] {
        bodies.push(with("metadata", texts(&[Some(text), None])));
    }
    let deep = format!("{{\"n\":{}", "[".repeat(5_000));
    bodies.push(with("metadata", texts(&[Some(&deep), None])));
    let long = "x".repeat((64 << 10) + 1);
    bodies.push(with("id", texts(&[Some(&long), Some("y")])));
    let mut twice = good();
    twice.push(twice[0].clone());
    bodies.push(stream(&twice, None));
    bodies.push(stream(&good()[1..], None));
    let keys: Vec<String> = (0..10_001).map(|key| format!("metadata.{key}")).collect();
    let mut many = good();
    many.extend(
        keys.iter()
            .map(|key| -> (&'static str, ArrayRef) { (key.clone().leak(), numbers()) }),
    );
    bodies.push(stream(&many, None));
    bodies
}

pub(super) fn cases(records: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let arrow = |path: &str, body: Vec<u8>| Case {
        headers: vec![format!("content-type: {STREAM}")],
        ..Case::post(path, body).with(&[400])
    };
    for operation in ["add", "upsert", "update"] {
        let path = format!("{records}/{operation}");
        cases.extend(everywhere().into_iter().map(|body| arrow(&path, body)));
        if operation != "update" {
            cases.push(arrow(&path, with("embedding", Arc::new(NullArray::new(2)))));
            let mut without = good();
            without.remove(1);
            cases.push(arrow(&path, stream(&without, None)));
        }
        // 45 MB of zeros, packed to a few thousand bytes.
        let ids: StringArray = (0..200).map(|id| Some(id.to_string())).collect();
        let zeros = vectors(60_000, vec![0.0; 200 * 60_000]);
        let bomb = [("id", Arc::new(ids) as ArrayRef), ("embedding", zeros)];
        let bomb = stream(&bomb, Some(CompressionType::ZSTD));
        assert!(bomb.len() < 100_000);
        cases.push(arrow(&path, bomb).with(&[413]));
        cases.push(Case {
            headers: vec![format!("content-type: {FILE}")],
            ..Case::post(path, stream(&good(), None)).with(&[415])
        });
    }
    for operation in ["get", "query", "search", "delete", "count"] {
        cases.push(arrow(&format!("{records}/{operation}"), stream(&good(), None)).with(&[415]));
    }
    for operation in ["get", "query", "search"] {
        for accept in ["text/html", FILE, "application/json;q=0", "*/*;q=0"] {
            let asked = Case::post(format!("{records}/{operation}"), "{}");
            cases.push(asked.header(&format!("accept: {accept}")).with(&[406]));
        }
    }
    cases
}
