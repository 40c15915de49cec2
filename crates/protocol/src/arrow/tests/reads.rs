//! Answers as tables, against the answers in JSON.

use std::io::Cursor;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt32Type};
use arrow_ipc::reader::StreamReader;
use vermilion_engine::model::{
    Aggregate, Aggregated, Embeddings, Fetched, Found, MetadataColumn, Nearest, OptionalStrings,
    Search, Select, SelectMetadata, Survey,
};

use super::*;
use crate::arrow::{write_fetched, write_found, write_nearest};
use crate::{answers, reads};

/// The only table of a stream.
fn read(stream: Vec<u8>) -> Rows {
    let mut reader = StreamReader::try_new(Cursor::new(stream), None).unwrap();
    let table = reader.next().unwrap().unwrap();
    assert!(reader.next().is_none());
    table
}

/// All columns of the records in a body.
pub(super) fn fetched(body: &Value) -> Fetched {
    let batch = from_json(Operation::Add, body);
    Fetched {
        ids: batch.ids,
        embeddings: Some(batch.embeddings),
        documents: Some(batch.documents),
        uris: Some(batch.uris),
        metadatas: Some(batch.metadata),
    }
}

fn names(table: &Rows) -> Vec<String> {
    let schema = table.schema();
    schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect()
}

fn column_of<'a>(table: &'a Rows, name: &str) -> Vec<Option<&'a str>> {
    table
        .column_by_name(name)
        .unwrap()
        .as_string::<i32>()
        .iter()
        .collect()
}

#[test]
fn keys_have_columns_of_their_type_and_the_rest_is_json() {
    let table = read(write_fetched(
        fetched(&json!({
            "ids": ["a", "b", "c"], "embeddings": [[1, 2], [3, 4], [5, 6]],
            "documents": ["x", null, ""], "uris": [null, null, "u"],
            "metadatas": [
                {"n": 1, "f": 0.5, "s": "t", "mixed": 1, "l": [1, 2], "t": ["p", "q"], "chroma:x": 1},
                null,
                {"n": 3, "b": true, "mixed": "1", "v": {"indices": [2], "values": [1.5]}},
            ],
        })),
        &Survey::default(),
        &[],
    ).unwrap());
    let expected = [
        "id",
        "embedding",
        "document",
        "uri",
        "metadata.b",
        "metadata.f",
        "metadata.l",
        "metadata.n",
        "metadata.s",
        "metadata.t",
        "metadata",
    ];
    assert_eq!(names(&table), expected);
    assert_eq!(column_of(&table, "id"), [Some("a"), Some("b"), Some("c")]);
    assert_eq!(column_of(&table, "document"), [Some("x"), None, Some("")]);
    let rest = column_of(&table, "metadata");
    let parsed =
        |row: usize| rest[row].map(|text: &str| serde_json::from_str::<Value>(text).unwrap());
    assert_eq!(parsed(0), Some(json!({"mixed": 1})));
    assert_eq!(parsed(1), None);
    let sparse = json!({"#type": "sparse_vector", "indices": [2], "values": [1.5]});
    assert_eq!(parsed(2), Some(json!({"mixed": "1", "v": sparse})));
    let lists = table.column_by_name("metadata.t").unwrap().as_list::<i32>();
    let words: Vec<_> = lists
        .value(0)
        .as_string::<i32>()
        .iter()
        .flatten()
        .map(str::to_owned)
        .collect();
    assert_eq!(words, ["p", "q"]);
    assert!(lists.is_null(1) && lists.is_null(2));
}

#[test]
fn rare_keys_have_no_column() {
    let ids: Vec<String> = (0..100).map(|row| row.to_string()).collect();
    let metadatas: Vec<Value> = (0..100)
        .map(|row| match row {
            0..6 => json!({"rare": row, "often": row}),
            6 => json!({"often": 6}),
            _ => Value::Null,
        })
        .collect();
    let body = json!({"ids": ids, "embeddings": vec![[1]; 100], "metadatas": metadatas});
    let table = read(write_fetched(fetched(&body), &Survey::default(), &[]).unwrap());
    assert!(table.column_by_name("metadata.often").is_some());
    assert!(table.column_by_name("metadata.rare").is_none());
    assert_eq!(column_of(&table, "metadata")[5], Some(r#"{"rare":5}"#));
}

#[test]
fn answers_without_records_are_tables_without_rows() {
    let empty = Fetched {
        embeddings: Some(Embeddings::default()),
        documents: Some(OptionalStrings::default()),
        metadatas: Some(MetadataColumn::default()),
        ..Fetched::default()
    };
    let table = read(write_fetched(empty, &Survey::default(), &[]).unwrap());
    assert_eq!(table.num_rows(), 0);
    assert_eq!(names(&table), ["id", "embedding", "document", "metadata"]);
    let table = read(write_nearest(Vec::new(), true).unwrap());
    assert_eq!(names(&table), ["query_index", "rank", "id", "distance"]);
    assert_eq!(table.num_rows(), 0);
    let nothing = Fetched::default();
    assert_eq!(
        read(write_fetched(nothing, &Survey::default(), &[]).unwrap()).num_rows(),
        0
    );
}

#[test]
fn aggregates_are_a_note_of_the_schema() {
    let survey = Survey {
        aggregates: vec![Aggregate::Min {
            key: "n".to_owned(),
        }],
        ..Survey::default()
    };
    let found = [Aggregated::Value(Some(
        vermilion_engine::model::Value::Int(3),
    ))];
    let table = read(write_fetched(Fetched::default(), &survey, &found).unwrap());
    assert_eq!(
        table.schema().metadata()["aggregates"],
        r#"[{"min":"n","value":3}]"#
    );
}

#[test]
fn query_puts_the_records_of_each_vector_one_after_the_other() {
    let nearest = |ids: [&str; 2], distances: [f32; 2]| Nearest {
        records: fetched(&json!({
            "ids": ids, "embeddings": [[1, 2], [3, 4]], "metadatas": [{ids[0]: 1}, {"k": 2}],
        })),
        distances: distances.to_vec(),
    };
    let answers = vec![
        nearest(["a", "b"], [0.0, 1.5]),
        Nearest::default(),
        nearest(["c", "a"], [-1.0, f32::INFINITY]),
    ];
    let table = read(write_nearest(answers.clone(), true).unwrap());
    let places = |name: &str| -> Vec<u32> {
        table
            .column_by_name(name)
            .unwrap()
            .as_primitive::<UInt32Type>()
            .values()
            .to_vec()
    };
    assert_eq!(places("query_index"), [0, 0, 2, 2]);
    assert_eq!(places("rank"), [0, 1, 0, 1]);
    assert_eq!(
        column_of(&table, "id"),
        [Some("a"), Some("b"), Some("c"), Some("a")]
    );
    let distances: Vec<_> = table
        .column_by_name("distance")
        .unwrap()
        .as_primitive::<Float32Type>()
        .iter()
        .collect();
    assert_eq!(distances, [Some(0.0), Some(1.5), Some(-1.0), None]);
    let vectors = table
        .column_by_name("embedding")
        .unwrap()
        .as_fixed_size_list();
    assert_eq!(
        vectors
            .value(3)
            .as_primitive::<Float32Type>()
            .values()
            .to_vec(),
        [3.0, 4.0]
    );
    let keys: Vec<_> = names(&table)
        .into_iter()
        .filter(|name| name.starts_with("metadata."))
        .collect();
    assert_eq!(keys, ["metadata.a", "metadata.c", "metadata.k"]);
    assert!(
        read(write_nearest(answers, false).unwrap())
            .column_by_name("distance")
            .is_none()
    );
}

#[test]
fn search_has_a_column_that_one_of_its_searches_selects() {
    let records = |id: &str| {
        fetched(&json!({
            "ids": [id], "embeddings": [[1]], "documents": ["x"], "metadatas": [{"k": 1, "l": 2}],
        }))
    };
    let found = vec![
        Found {
            records: Fetched {
                embeddings: None,
                uris: None,
                ..records("a")
            },
            scores: Some(vec![0.5]),
        },
        Found {
            records: Fetched {
                ids: records("b").ids,
                ..Fetched::default()
            },
            scores: Some(vec![0.25]),
        },
    ];
    let mut searches = vec![Search::default(), Search::default()];
    searches[0].select = Select {
        documents: true,
        scores: true,
        metadata: SelectMetadata::Keys(["k".to_owned()].into()),
        ..Select::default()
    };
    let table = read(write_found(found, &searches).unwrap());
    let expected = [
        "query_index",
        "rank",
        "id",
        "score",
        "document",
        "metadata.k",
        "metadata",
    ];
    assert_eq!(names(&table), expected);
    let scores: Vec<_> = table
        .column_by_name("score")
        .unwrap()
        .as_primitive::<Float32Type>()
        .iter()
        .collect();
    assert_eq!(scores, [Some(0.5), None]);
    assert_eq!(column_of(&table, "document"), [Some("x"), None]);
}

proptest! {
    #[test]
    fn an_answer_as_a_stream_says_what_it_says_as_json(
        (dimension, records) in (1_usize..6).prop_flat_map(|dimension| {
            (Just(dimension), prop::collection::vec(record(dimension), 0..40))
        }),
    ) {
        let ids: Vec<String> = (0..records.len()).map(|row| format!("r{row}")).collect();
        let vectors: Vec<_> = records.iter().map(|record| {
            record.0.clone().unwrap_or_else(|| vec![0.0; dimension])
        }).collect();
        let metadatas: Vec<Value> = records.iter().enumerate().map(|(row, record)| {
            let (n, s, l, b) = &record.3;
            // A key whose type depends on the record, and one that few have.
            let odd = if row % 3 == 0 { json!(row) } else { json!("odd") };
            match (n, row % 20) {
                (None, _) => json!({"odd": odd, "s": s.clone().unwrap_or_default()}),
                (Some(n), 7) => json!({"n": n, "rare": {"indices": [row], "values": [0.5]}}),
                (Some(n), _) => json!({"n": n, "l": l.clone().unwrap_or(vec![1]), "b": b.unwrap_or(true)}),
            }
        }).collect();
        let body = json!({
            "ids": ids, "embeddings": vectors, "metadatas": metadatas,
            "documents": records.iter().map(|record| record.1.clone()).collect::<Vec<_>>(),
            "uris": records.iter().map(|record| record.2.clone()).collect::<Vec<_>>(),
        });
        let fetched = fetched(&body);
        let include = reads::decode_get(br#"{"include":["documents","metadatas","embeddings","uris"]}"#);
        let written = answers::write_fetched(&fetched, &include.unwrap().include);
        let told_by_json = from_json(Operation::Upsert, &serde_json::from_slice(&written).unwrap());
        let stream = write_fetched(fetched, &Survey::default(), &[]).unwrap();
        // An empty answer has vectors of no dimension, which insertions may not have.
        if !records.is_empty() {
            let told_by_arrow = decode(stream.into(), Operation::Upsert, LIMITS).unwrap();
            prop_assert_eq!(told(&told_by_arrow), told(&told_by_json));
        }
    }
}
