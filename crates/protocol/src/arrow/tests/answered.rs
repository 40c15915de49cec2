//! Answers that are read back: what was written, and streams that are no answers.

use arrow_array::UInt32Array;
use vermilion_engine::model::{
    Embeddings, Fetched, MetadataColumn, Nearest, OptionalStrings, Survey,
};

use super::reads::fetched;
use super::*;
use crate::arrow::{Answered, read_fetched, read_nearest, write_fetched, write_nearest};

type Vectors = Option<(usize, Vec<f32>)>;
type Distances = Option<Vec<Option<f32>>>;

/// What an answer has besides its vectors, and these.
fn parts(answer: Answered) -> (Fetched, Vectors, Distances) {
    let vectors = answer.vectors.map(|vectors| {
        let dimension = vectors.dimension();
        (dimension, vectors.take(<[f32]>::to_vec, |all| all))
    });
    (answer.records, vectors, answer.distances)
}

fn without_vectors(records: &Fetched) -> Fetched {
    Fetched {
        embeddings: None,
        ..records.clone()
    }
}

fn records() -> Fetched {
    fetched(&json!({
        "ids": ["a", "\u{e9}", "c"], "embeddings": [[1, 2], [3, 4], [5, 6]],
        "documents": ["x", null, ""], "uris": [null, null, "u"],
        "metadatas": [
            {"n": 1, "s": "t", "mixed": 1, "l": [1, 2], "t": ["p", "q"]},
            null,
            {"n": 3, "b": true, "mixed": "1", "v": {"indices": [2], "values": [0.1], "tokens": ["w"]}},
        ],
    }))
}

/// The rows of metadata as sorted texts: the order of keys is nobody's.
fn rows_of(records: &Fetched) -> Vec<Vec<String>> {
    let column = records.metadatas.as_ref().unwrap();
    let row = |row| {
        let mut cells: Vec<_> = column
            .row(row)
            .map(|(key, value)| format!("{key}: {value:?}"))
            .collect();
        cells.sort();
        cells
    };
    (0..column.len()).map(row).collect()
}

#[test]
fn what_get_answers_is_read_back() {
    let written = records();
    let stream = write_fetched(written.clone(), &Survey::default(), &[]).unwrap();
    let (read, vectors, distances) = parts(read_fetched(stream.into()).unwrap());
    assert_eq!(
        (&read.ids, &read.documents),
        (&written.ids, &written.documents)
    );
    assert_eq!(read.uris, written.uris);
    assert_eq!(rows_of(&read), rows_of(&written));
    assert_eq!(vectors, Some((2, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])));
    assert_eq!(distances, None);
}

#[test]
fn columns_that_were_not_asked_for_are_none_and_empty_ones_are_there() {
    let ids = records().ids;
    let bare = Fetched {
        ids,
        ..Fetched::default()
    };
    let stream = write_fetched(bare.clone(), &Survey::default(), &[]).unwrap();
    assert_eq!(
        parts(read_fetched(stream.into()).unwrap()),
        (bare, None, None)
    );
    let empty = Fetched {
        embeddings: Some(Embeddings::default()),
        documents: Some(OptionalStrings::default()),
        uris: Some(OptionalStrings::default()),
        metadatas: Some(MetadataColumn::default()),
        ..Fetched::default()
    };
    let stream = write_fetched(empty.clone(), &Survey::default(), &[]).unwrap();
    let (read, vectors, _) = parts(read_fetched(stream.into()).unwrap());
    assert_eq!(read, without_vectors(&empty));
    assert_eq!(vectors, Some((0, Vec::new())));
}

#[test]
fn what_query_answers_is_read_back_query_by_query() {
    let nearest = |rows: [usize; 2], distances: [f32; 2]| Nearest {
        records: fetched(&json!({
            "ids": rows.map(|row| format!("r{row}")), "embeddings": rows.map(|row| [row, 0]),
            "documents": [null, "d"], "uris": [null, null], "metadatas": [{"k": rows[0]}, {"k": rows[1]}],
        })),
        distances: distances.to_vec(),
    };
    let answers = vec![
        nearest([7, 8], [0.0, 1.5]),
        Nearest::default(),
        nearest([9, 7], [-1.0, f32::INFINITY]),
    ];
    let stream = write_nearest(answers.clone(), true).unwrap();
    let read = read_nearest(stream.clone().into(), 3).unwrap();
    let [first, second, third] = <[Answered; 3]>::try_from(read).unwrap().map(parts);
    assert_eq!(rows_of(&first.0), rows_of(&answers[0].records));
    assert_eq!(first.0.ids, answers[0].records.ids);
    assert_eq!(first.0.documents, answers[0].records.documents);
    assert_eq!(first.1, Some((2, vec![7.0, 0.0, 8.0, 0.0])));
    assert_eq!(first.2, Some(vec![Some(0.0), Some(1.5)]));
    assert!(second.0.ids.is_empty());
    assert_eq!(second.2, Some(Vec::new()));
    assert_eq!(third.1, Some((2, vec![9.0, 0.0, 7.0, 0.0])));
    assert_eq!(third.2, Some(vec![Some(-1.0), None]));
    let few = read_nearest(stream.into(), 2).unwrap_err();
    assert_eq!(few.status, 502);
    assert!(
        few.message.contains("has the query 2; 2 were asked"),
        "{}",
        few.message
    );
}

#[test]
fn batches_of_one_answer_follow_each_other() {
    let part = |ids: &[&str], numbers: &[u32], vectors: &[f32]| {
        let values = Arc::new(Float32Array::from(vectors.to_vec()));
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let ids = ids.iter().map(|id| Some(*id)).collect::<Vec<_>>();
        rows(vec![
            ("query_index", Arc::new(UInt32Array::from(numbers.to_vec()))),
            ("id", texts(&ids)),
            (
                "embedding",
                Arc::new(FixedSizeListArray::new(item, 1, values, None)),
            ),
        ])
    };
    let stream = stream(&[
        part(&["a", "b"], &[0, 1], &[1.0, 2.0]),
        part(&["c", "d"], &[1, 0], &[3.0, 4.0]),
    ]);
    let read = read_nearest(stream.into(), 2).unwrap();
    let told = read.into_iter().map(parts).map(|(records, vectors, _)| {
        let ids: Vec<String> = records.ids.iter().map(str::to_owned).collect();
        (ids, vectors.unwrap().1)
    });
    let expected = [(["a", "d"], [1.0, 4.0]), (["b", "c"], [2.0, 3.0])];
    let expected =
        expected.map(|(ids, numbers)| (ids.map(str::to_owned).to_vec(), numbers.to_vec()));
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_no_answer_is_refused_with_its_reason() {
    let refused = |columns: Vec<(&str, ArrayRef)>| {
        let error = read_nearest(stream(&[rows(columns)]).into(), 1).unwrap_err();
        assert_eq!(error.status, 502);
        assert!(
            error
                .message
                .starts_with("The answer is no Arrow stream of records: "),
            "{}",
            error.message
        );
        error.message
    };
    let ids = || ("id", texts(&[Some("a")]));
    let query = || -> (&str, ArrayRef) { ("query_index", Arc::new(UInt32Array::from(vec![0]))) };
    assert!(refused(vec![ids()]).contains("it has no column `query_index`"));
    assert!(refused(vec![query()]).contains("it has no column `id`"));
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.5]));
    assert!(
        refused(vec![ids(), query(), ("distance", floats.clone())]).contains("must hold Float32")
    );
    assert!(
        refused(vec![ids(), query(), ("embedding", floats.clone())]).contains("of a fixed size")
    );
    assert!(refused(vec![ids(), query(), ("other", floats)]).contains("`other`"));
    let nulls: ArrayRef = Arc::new(UInt32Array::from(vec![None]));
    assert!(refused(vec![ids(), ("query_index", nulls)]).contains("has nulls"));
    for body in [&b""[..], b"{}", b"ARROW1\0\0"] {
        assert_eq!(read_fetched(body.to_vec().into()).unwrap_err().status, 502);
    }
}
