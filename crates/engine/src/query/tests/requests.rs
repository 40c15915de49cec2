//! Requests whose answers are spelt out: errors, empty answers, ties.

use super::*;
use crate::ErrorKind;
use crate::asker::Answers;
use crate::model::{
    Comparison, DocumentTest, Embeddings, Filter, GetRequest, Include, QueryRequest, Recall,
    RecordSelection, Scalar,
};
use crate::query::{find, get, query, select};

fn record(id: &str, vector: [f32; 2]) -> Record {
    Record {
        id: id.into(),
        vector: vector.into(),
        ..Default::default()
    }
}

fn world() -> World {
    let mut world = World::new(2);
    world.upsert(&[record("a", [1.0, 0.0]), record("b", [0.0, 2.0])]);
    world.upsert(&[record("z", [3.0, 4.0]), record("c", [0.0, 0.0])]);
    world
}

fn ids(ids: &[&str]) -> RecordSelection {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    RecordSelection {
        ids: Some(ids),
        filter: None,
    }
}

fn filtered(filter: Filter) -> RecordSelection {
    RecordSelection {
        ids: None,
        filter: Some(filter),
    }
}

fn answered(snapshot: &Snapshot, request: &GetRequest) -> Vec<String> {
    get(snapshot, request)
        .unwrap()
        .ids
        .iter()
        .map(str::to_owned)
        .collect()
}

fn ask(vectors: &[f32], dimension: usize) -> QueryRequest {
    QueryRequest {
        embeddings: Embeddings::new(dimension, vectors.to_vec()).unwrap(),
        n_results: 10,
        ..Default::default()
    }
}

#[test]
fn updated_record_keeps_its_place_and_a_new_one_goes_to_the_end() {
    let mut world = world();
    world.upsert(&[record("a", [9.0, 9.0])]);
    world.delete("b");
    world.upsert(&[record("b", [0.0, 1.0])]);
    let snapshot = world.snapshot(Space::L2);
    assert_eq!(
        answered(&snapshot, &GetRequest::default()),
        ["a", "z", "c", "b"]
    );
    assert_eq!(
        find(&snapshot, "a").unwrap().map(|location| location.part),
        Some(2)
    );
    assert_eq!(find(&snapshot, "missing").unwrap(), None);
    world.delete("z");
    assert_eq!(find(&world.snapshot(Space::L2), "z").unwrap(), None);
}

#[test]
fn get_by_ids_answers_in_insertion_order_each_once_and_skips_the_missing() {
    let world = world();
    let snapshot = world.snapshot(Space::L2);
    let request = |selection, limit, offset| GetRequest {
        selection,
        limit,
        offset,
        include: Include::default(),
        ..GetRequest::default()
    };
    let selection = ids(&["z", "missing", "a", "z", "b"]);
    assert_eq!(
        answered(&snapshot, &request(selection.clone(), None, 0)),
        ["a", "b", "z"]
    );
    assert_eq!(answered(&snapshot, &request(selection, Some(1), 1)), ["b"]);
    assert_eq!(answered(&snapshot, &request(ids(&[]), None, 0)), [""; 0]);
    assert_eq!(
        answered(&snapshot, &request(ids(&["a"]), Some(0), 0)),
        [""; 0]
    );
    assert_eq!(
        select(&snapshot, &ids(&["c", "b"]), Some(1)).unwrap().len(),
        1
    );
}

#[test]
fn collection_that_never_had_a_record_answers_any_dimension_with_nothing() {
    let snapshot = World::new(2).snapshot(Space::L2);
    let mut request = ask(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3);
    request.include.documents = true;
    request.include.embeddings = true;
    request.selection = ids(&["a"]);
    let answers = query(&snapshot, &request, Recall::EXACT).unwrap();
    assert_eq!(answers.len(), 2);
    for answer in answers {
        assert!(answer.distances.is_empty() && answer.records.ids.is_empty());
        assert!(answer.records.documents.unwrap().is_empty());
        assert!(answer.records.embeddings.unwrap().is_empty());
        assert_eq!(answer.records.metadatas, None);
    }
    assert_eq!(answered(&snapshot, &GetRequest::default()), [""; 0]);
}

#[test]
fn query_of_another_dimension_is_refused_even_when_all_records_are_gone() {
    let mut world = world();
    for id in ["a", "b", "c", "z"] {
        world.delete(id);
    }
    let snapshot = world.snapshot(Space::L2);
    let error = query(&snapshot, &ask(&[1.0; 3], 3), Recall::EXACT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(
        error.message(),
        "Collection expecting embedding with dimension of 2, got 3"
    );
    assert!(
        query(&snapshot, &ask(&[1.0; 2], 2), Recall::EXACT).unwrap()[0]
            .distances
            .is_empty()
    );
    assert_eq!(query(&snapshot, &ask(&[], 0), Recall::EXACT).unwrap(), []);
}

#[test]
fn query_for_an_id_that_is_not_there_is_refused() {
    let mut world = world();
    world.delete("z");
    let snapshot = world.snapshot(Space::L2);
    let with = |selection| QueryRequest {
        selection,
        ..ask(&[1.0, 1.0], 2)
    };
    for missing in ["z", "missing"] {
        let error = query(&snapshot, &with(ids(&["a", missing])), Recall::EXACT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("Error finding id"), "{error}");
        let asked = RecordSelection {
            ids: ids(&["a", missing]).ids,
            ..filtered(Filter::And(Vec::new()))
        };
        let found = query(&snapshot, &with(asked), Recall::EXACT).unwrap();
        assert_eq!(found[0].records.ids.iter().collect::<Vec<_>>(), ["a"]);
    }
    assert!(
        query(&snapshot, &with(ids(&[])), Recall::EXACT).unwrap()[0]
            .distances
            .is_empty()
    );
    let answer = &query(&snapshot, &with(ids(&["b", "a", "b"])), Recall::EXACT).unwrap()[0];
    assert_eq!(answer.records.ids.iter().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn distances_and_their_order_are_those_of_the_reference() {
    let world = world();
    let check = |space, expected: [(&str, f32); 4]| {
        let answer = query(&world.snapshot(space), &ask(&[1.0, 1.0], 2), Recall::EXACT)
            .unwrap()
            .remove(0);
        let found: Vec<(&str, f32)> = answer
            .records
            .ids
            .iter()
            .zip(answer.distances.iter().copied())
            .collect();
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(found.0, expected.0, "{space:?}");
            assert!((found.1 - expected.1).abs() < 1e-6, "{space:?} {found:?}");
        }
        assert_eq!(found.len(), 4);
    };
    check(Space::L2, [("a", 1.0), ("b", 2.0), ("c", 2.0), ("z", 13.0)]);
    check(
        Space::Cosine,
        [
            ("z", 0.010_050_506),
            ("a", 0.292_893_23),
            ("b", 0.292_893_23),
            ("c", 1.0),
        ],
    );
    check(
        Space::Ip,
        [("z", -6.0), ("b", -1.0), ("a", 0.0), ("c", 1.0)],
    );
}

#[test]
fn tie_goes_to_the_record_inserted_first_even_when_it_was_rewritten_last() {
    let mut world = World::new(2);
    world.upsert(&[record("first", [5.0, 5.0])]);
    world.upsert(&[record("second", [1.0, 0.0]), record("third", [0.0, 1.0])]);
    world.upsert(&[record("first", [-1.0, 0.0])]);
    let request = QueryRequest {
        n_results: 2,
        ..ask(&[0.0, 0.0], 2)
    };
    let answer = query(&world.snapshot(Space::L2), &request, Recall::EXACT)
        .unwrap()
        .remove(0);
    assert_eq!(
        answer.records.ids.iter().collect::<Vec<_>>(),
        ["first", "second"]
    );
}

#[test]
fn filter_on_what_the_schema_does_not_index_is_refused() {
    let mut world = world();
    world.upsert(&[record("d", [0.0, 0.0])]);
    let mut snapshot = world.snapshot(Space::L2);
    let mut schema = serde_json::to_value(&*snapshot.schema).unwrap();
    schema["keys"]["cat"] =
        serde_json::json!({"string": {"string_inverted_index": {"enabled": false, "config": {}}}});
    schema["keys"]["#document"]["string"]["fts_index"]["enabled"] = false.into();
    snapshot.schema = Arc::new(serde_json::from_value(schema).unwrap());
    let refused = |filter: Filter, message: &str| {
        let nested = filtered(Filter::And(vec![Filter::Or(vec![filter])]));
        let error = select(&snapshot, &nested, None).unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::InvalidArgument, message)
        );
        let request = QueryRequest {
            selection: nested,
            ..ask(&[1.0, 1.0], 2)
        };
        assert_eq!(
            query(&snapshot, &request, Recall::EXACT)
                .unwrap_err()
                .message(),
            message
        );
    };
    let cat = |comparison| Filter::Metadata {
        key: "cat".into(),
        comparison,
    };
    let text = || Scalar::Str("x".into());
    let message =
        "Cannot filter using metadata key 'cat' with type 'Str' because indexing is disabled";
    refused(cat(Comparison::Equal(text())), message);
    refused(cat(Comparison::NotIn(vec![text()])), message);
    refused(
        Filter::Document(DocumentTest::Contains("x".into())),
        "Cannot filter using full-text search because FTS indexing is disabled",
    );
    select(
        &snapshot,
        &filtered(cat(Comparison::Equal(Scalar::Int(1)))),
        None,
    )
    .unwrap();
}

#[test]
fn thousands_of_alternatives_are_one_test() {
    let mut world = World::new(2);
    let records: Vec<Record> = (0..500)
        .map(|number| {
            let mut record = record(&format!("id{number}"), [1.0, 0.0]);
            record.metadata.insert("n".into(), Value::Int(number));
            record
        })
        .collect();
    world.upsert(&records);
    let equal = |number: i64| Filter::Metadata {
        key: "n".into(),
        comparison: Comparison::Equal(Scalar::Int(number)),
    };
    let filter = Filter::Or((400..10_400).map(equal).collect());
    let found = select(&world.snapshot(Space::L2), &filtered(filter), None).unwrap();
    assert_eq!(found.len(), 100);
}

#[test]
fn a_read_whose_asker_is_gone_is_left() {
    let snapshot = world().snapshot(Space::L2);
    let asker = Answers::new(1 << 20).asker();
    let asked = ask(&[1.0, 0.0], 2);
    let look = || {
        let found = query(&snapshot, &asked, Recall::default())?;
        let got = get(&snapshot, &GetRequest::default())?;
        Ok::<_, crate::Error>((found, got))
    };
    assert!(asker.serve(look).is_ok());
    asker.leave();
    assert_eq!(asker.serve(look).unwrap_err().kind(), ErrorKind::Busy);
    assert!(look().is_ok());
}

#[test]
fn many_queries_of_one_request_are_answered_as_each_alone_is() {
    let snapshot = world().snapshot(Space::L2);
    let vectors: Vec<f32> = (0..6000u16).map(|number| f32::from(number % 7)).collect();
    let two = |request: QueryRequest| QueryRequest {
        n_results: 2,
        ..request
    };
    let all = query(&snapshot, &two(ask(&vectors, 2)), Recall::EXACT).unwrap();
    assert_eq!(all.len(), 3000);
    for (vector, nearest) in vectors.chunks(2).zip(&all) {
        let alone = query(&snapshot, &two(ask(vector, 2)), Recall::EXACT).unwrap();
        assert_eq!(alone.first(), Some(nearest));
    }
}

#[test]
fn queries_that_find_nothing_take_room_of_the_answer_too() {
    let snapshot = world().snapshot(Space::L2);
    let many = QueryRequest {
        n_results: 0,
        ..ask(&[0.0; 2000], 2)
    };
    let asker = Answers::new(100_000).asker();
    let refused = asker.serve(|| query(&snapshot, &many, Recall::EXACT));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_search_for_many_queries_is_left_on_its_way() {
    let mut world = World::new(2);
    let records: Vec<Record> = (0..2000u16)
        .map(|number| record(&format!("id{number}"), [f32::from(number), 1.0]))
        .collect();
    world.upsert(&records);
    let snapshot = world.snapshot(Space::L2);
    // Long enough that no test would wait for its end.
    let many = ask(&vec![1.0; 4 << 20], 2);
    let many = QueryRequest {
        n_results: 1,
        ..many
    };
    let asker = Answers::new(u64::MAX).asker();
    asker.leave_after(std::time::Duration::from_millis(100));
    let left = asker.serve(|| query(&snapshot, &many, Recall::EXACT));
    assert_eq!(left.unwrap_err().kind(), ErrorKind::Busy);
}
