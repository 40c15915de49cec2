//! Tests of records on their way: what is read, what is refused, and that nothing is lost.

use std::io::Cursor;

use serde_json::{Map, Value, json};
use vermilion_engine::model::Operation;

use super::record::to_batch;
use super::state::State;
use super::*;
use crate::transfer::jsonl::{id_of_line, write_line};

fn read(text: &str) -> Result<Vec<Record>, Failure> {
    let input = Cursor::new(text.as_bytes().to_vec());
    let mut reader = JsonlReader::over(input, "records.jsonl".to_owned(), false)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next()? {
        records.push(record);
    }
    Ok(records)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

/// Records with everything that a record can have.
fn varied() -> Vec<Record> {
    let full = Record {
        id: "a/\u{e9}\n".to_owned(),
        embedding: vec![0.1, -3.0e-12, 16_777_216.0],
        document: Some("two\nlines \"quoted\"".to_owned()),
        metadata: Some(object(json!({
            "text": "x", "int": i64::MIN, "float": 0.1, "flag": true,
            "list": ["a", "b"], "numbers": [1, 2],
            "sparse": {"#type": "sparse_vector", "indices": [1, 5], "values": [0.5, 2.0]},
        }))),
        uri: Some("file:///x".to_owned()),
    };
    let bare = Record {
        id: "b".to_owned(),
        embedding: vec![1.0, 2.0, 3.0],
        ..Record::default()
    };
    vec![full, bare]
}

#[test]
fn a_written_record_reads_back_as_it_was() {
    let mut text = Vec::new();
    for record in varied() {
        write_line(&mut text, &record).expect("memory is writable");
    }
    let text = String::from_utf8(text).expect("JSON is text");
    assert_eq!(read(&text).expect("what was written is readable"), varied());
}

#[test]
fn numbers_base64_and_halves_are_the_same_vector() {
    let text = concat!(
        "{\"id\":\"a\",\"embedding\":[1.0,-2.0]}\n\n",
        "{\"id\":\"b\",\"embedding\":\"AACAPwAAAMA=\"}\n",
        "{\"id\":\"c\",\"embedding_f16\":\"ADwAwA==\"}",
    );
    let records = read(text).expect("all three are right");
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record.embedding == [1.0, -2.0]));
}

#[test]
fn a_wrong_line_is_named_with_its_number() {
    let good = "{\"id\":\"a\",\"embedding\":[1.0]}\n";
    for (line, expected) in [
        (
            "{\"id\":\"a\"",
            "line 2: EOF while parsing an object at column 9",
        ),
        ("{\"id\":\"\",\"embedding\":[1]}", "the id is empty"),
        ("{\"id\":\"x\"}", "record `x` has no embedding"),
        (
            "{\"id\":\"x\",\"embedding\":[]}",
            "record `x` has no embedding",
        ),
        ("{\"id\":\"x\",\"embedding\":[1e39]}", "no 32-bit float"),
        ("{\"id\":\"x\",\"embedding\":\"AAA\"}", "no base64"),
        ("{\"id\":\"x\",\"embedding\":\"AAAA\"}", "3 bytes"),
        (
            "{\"id\":\"x\",\"embedding\":[1],\"embedding_f16\":\"\"}",
            "not both",
        ),
        (
            "{\"id\":\"x\",\"embedding\":[1],\"text\":{\"y\":1}}",
            "metadata `text` of record `x`",
        ),
        (
            "{\"id\":\"x\",\"embedding\":[1],\"metadata\":{\"#k\":1}}",
            "does not begin with #",
        ),
        (
            "{\"id\":\"x\",\"embedding\":[1],\"metadata\":{\"k\":{\"a\":1}}}",
            "metadata `k`",
        ),
        (
            "{\"id\":\"x\",\"embedding\":[1],\"metadata\":{\"k\":[1,\"a\"]}}",
            "one type",
        ),
        ("[1]", "line 2"),
    ] {
        let failure = read(&format!("{good}{line}\n"))
            .expect_err(line)
            .to_string();
        assert!(failure.contains(expected), "{failure} lacks {expected}");
        assert!(failure.contains("records.jsonl line 2"), "{failure}");
    }
}

#[test]
fn other_members_of_a_line_are_metadata_and_count_before_the_same_names_in_it() {
    let text = concat!(
        "{\"ids\":\"a\",\"embeddings\":[1],\"colour\":\"red\",\"n\":2,\"none\":null,",
        "\"metadata\":{\"n\":1,\"m\":3}}\n",
        "{\"id\":\"b\",\"embedding\":[1]}",
    );
    let records = read(text).expect("both lines are right");
    let expected = object(json!({"n": 2, "m": 3, "colour": "red", "none": null}));
    assert_eq!(records[0].metadata, Some(expected));
    assert_eq!(records[1].metadata, None);
}

#[test]
fn a_batch_holds_the_records_in_columns() {
    let records = varied();
    let batch = to_batch(&records, Operation::Upsert).expect("one dimension");
    assert_eq!(batch.len(), 2);
    assert_eq!(batch.embeddings.get(1), Some([1.0, 2.0, 3.0].as_slice()));
    assert_eq!(batch.documents.get(1), None);
    assert_eq!(
        (batch.metadata.cells(0).len(), batch.metadata.cells(1).len()),
        (7, 0)
    );
    let mut odd = records;
    odd[1].embedding.pop();
    let failure = to_batch(&odd, Operation::Upsert).expect_err("two dimensions");
    assert!(
        failure
            .to_string()
            .contains("has 2 numbers in its embedding")
    );
}

#[test]
fn formats_are_told_by_name() {
    let format = |name: &str| format_of(Path::new(name)).ok();
    assert_eq!(format("a/b.JSONL"), Some(Format::Jsonl));
    assert_eq!(format("b.jsonl.zst"), Some(Format::CompressedJsonl));
    assert_eq!(format("b.csv"), Some(Format::Csv));
    assert_eq!(format("b.jsonl.gz"), None);
    assert_eq!(format("b"), None);
    #[cfg(feature = "parquet")]
    assert_eq!(format("b.parquet"), Some(Format::Parquet));
}

#[test]
fn a_mark_of_the_byte_order_is_passed_over_at_the_beginning_alone() {
    let line = r#"{"id":"a","embedding":[1]}"#;
    assert_eq!(read(&format!("\u{feff}{line}\n")).unwrap().len(), 1);
    let later = read(&format!("{line}\n\u{feff}{line}\n")).unwrap_err();
    assert!(later.to_string().contains("line 2"), "{later}");
}

#[test]
fn a_torn_line_is_no_record() {
    assert_eq!(
        id_of_line(b"{\"id\":\"a\",\"embedding\":[1]}"),
        Some("a".to_owned())
    );
    assert_eq!(id_of_line(b"{\"id\":\"a\",\"embeddi"), None);
}

#[test]
fn a_state_counts_only_for_the_same_bytes_and_the_same_collection() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("r.jsonl");
    std::fs::write(&file, "one").expect("writable");
    let state = |collection: &str| {
        State::of(&file, "here".to_owned(), collection.to_owned()).expect("the file is readable")
    };
    assert_eq!(state("c").records(), 0);
    state("c").keep(7).expect("writable");
    assert_eq!((state("c").records(), state("d").records()), (7, 0));
    std::fs::write(&file, "two").expect("writable");
    assert_eq!(state("c").records(), 0);
    state("c").keep(9).expect("writable");
    state("c").forget();
    assert_eq!(state("c").records(), 0);
}

#[cfg(feature = "parquet")]
#[test]
fn a_parquet_file_reads_back_as_it_was() {
    use super::parquet::{ParquetReader, ParquetWriter};
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("r.parquet");
    let file = std::fs::File::create(&path).expect("writable");
    let mut writer = ParquetWriter::over(file).expect("writable");
    writer.write(&varied()).expect("writable");
    writer.write(&varied()).expect("writable");
    writer.finish().expect("writable");
    let mut reader = ParquetReader::open(&path, false).expect("readable");
    reader.skip(2).expect("there are four");
    let mut records = Vec::new();
    while let Some(record) = reader.next().expect("readable") {
        records.push(record);
    }
    assert_eq!((records, reader.position()), (varied(), (4, 4)));
}
