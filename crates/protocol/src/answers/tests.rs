//! Tests of the answer writers, which compare whole texts.

use vermilion_engine::model::{SeqId, Strings};

use super::*;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn two_records() -> Fetched {
    let mut metadatas = MetadataColumn::default();
    metadatas.push_row([
        ("s", Value::Str("x\"\n".into())),
        ("i", Value::Int(1)),
        ("f", Value::Float(1.0)),
        ("b", Value::Bool(true)),
        ("chroma:document", Value::Str("hidden".into())),
        (
            "l",
            Value::Strs(vec!["a".to_owned(), "b".to_owned()].into()),
        ),
        (
            "sv",
            Value::from(SparseVector {
                indices: vec![1, 5],
                values: vec![0.5, 0.25],
                tokens: None,
            }),
        ),
    ]);
    metadatas.push_row([("chroma:uri", Value::Str("hidden".into()))]);
    Fetched {
        ids: Strings::from_iter(["a", "ü"]),
        embeddings: Embeddings::with_absent(2, vec![0.1, -1.0, 0.0, 0.0], vec![true, false]),
        documents: Some([Some("hello"), None].into_iter().collect()),
        uris: None,
        metadatas: Some(metadatas),
    }
}

#[test]
fn every_member_of_get_is_there_and_text_is_compact() {
    let include = [Column::Metadatas, Column::Embeddings, Column::Documents];
    assert_eq!(
        text(&write_fetched(&two_records(), &include)),
        concat!(
            r#"{"ids":["a","ü"],"embeddings":[[0.1,-1.0],null],"documents":["hello",null],"#,
            r#""uris":null,"metadatas":[{"s":"x\"\n","i":1,"f":1.0,"b":true,"l":["a","b"],"#,
            r##""sv":{"#type":"sparse_vector","indices":[1,5],"values":[0.5,0.25]}},null],"##,
            r#""include":["metadatas","embeddings","documents"]}"#
        )
    );
    assert_eq!(
        text(&write_fetched(&Fetched::default(), &[])),
        r#"{"ids":[],"embeddings":null,"documents":null,"uris":null,"metadatas":null,"include":[]}"#
    );
}

#[test]
fn query_answers_have_an_entry_for_each_query_vector() {
    let first = Nearest {
        records: Fetched {
            ids: Strings::from_iter(["b", "a"]),
            documents: Some([None, Some("d")].into_iter().collect()),
            ..Fetched::default()
        },
        distances: vec![0.010_050_476, 2.0],
    };
    let second = Nearest {
        records: Fetched {
            documents: Some(OptionalStrings::default()),
            ..Fetched::default()
        },
        distances: Vec::new(),
    };
    assert_eq!(
        text(&write_nearest(
            &[first, second],
            &[Column::Documents, Column::Distances]
        )),
        concat!(
            r#"{"ids":[["b","a"],[]],"embeddings":null,"documents":[[null,"d"],[]],"uris":null,"#,
            r#""metadatas":null,"distances":[[0.010050476,2.0],[]],"#,
            r#""include":["documents","distances"]}"#
        )
    );
    assert_eq!(
        text(&write_nearest(&[], &[Column::Documents])),
        concat!(
            r#"{"ids":[],"embeddings":null,"documents":[],"uris":null,"metadatas":null,"#,
            r#""distances":null,"include":["documents"]}"#
        )
    );
}

#[test]
fn every_number_reads_back_as_it_was() {
    let values = [
        f32::MIN_POSITIVE,
        f32::MAX,
        1.0e-45,
        0.1,
        -0.0,
        16_777_217.0,
        1.0e10,
    ];
    let fetched = Fetched {
        ids: Strings::from_iter(["a"]),
        embeddings: Embeddings::new(values.len(), values.to_vec()),
        ..Fetched::default()
    };
    let answer: serde_json::Value =
        serde_json::from_slice(&write_fetched(&fetched, &[Column::Embeddings])).unwrap();
    let read = answer["embeddings"][0].as_array().unwrap();
    for (value, read) in values.iter().zip(read) {
        assert_eq!(value.to_bits(), (read.as_f64().unwrap() as f32).to_bits());
    }
}

#[test]
fn deleted_counts_are_an_object() {
    let deleted = |seqs| {
        write_deleted(&Deleted {
            count: 3,
            seqs,
            ids: None,
        })
    };
    assert_eq!(deleted(None), br#"{"deleted":3}"#);
    let seqs = Some(SeqRange::of(SeqId(5), 3));
    let expected = br#"{"deleted":3,"first_seq_id":5,"last_seq_id":7}"#;
    assert_eq!(deleted(seqs), expected);
    assert_eq!(write_written(None), b"{}");
    let expected = br#"{"first_seq_id":5,"last_seq_id":7}"#;
    assert_eq!(write_written(seqs), expected);
}
