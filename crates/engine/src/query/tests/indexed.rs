//! Queries over segments that have an index of their vectors.

use std::collections::BTreeSet;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::{Record, World};
use crate::model::{CollectionId, SegmentId};
use crate::model::{Comparison, Number};
use crate::model::{
    Embeddings, Filter, GetRequest, QueryRequest, Recall, RecordSelection, Space, Value,
};
use crate::query::{get, query};
use crate::segments::{AnyIndexFile, Segment, Source, write_segment};
use crate::storage::Storage as _;

const DIMENSION: usize = 24;

/// A number from -1 to 1 that follows from `at`.
fn number(at: usize) -> f32 {
    let mut bits = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (bits >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

/// Vector `at` of a world of clumps.
fn vector(at: usize) -> Vec<f32> {
    let clump = at % 20;
    (0..DIMENSION)
        .map(|axis| 2.0 * number(clump * 1000 + axis) + number(1_000_000 + at * DIMENSION + axis))
        .collect()
}

fn records(range: std::ops::Range<usize>) -> Vec<Record> {
    range
        .map(|at| Record {
            id: format!("id{at}"),
            vector: vector(at),
            metadata: [("n".to_owned(), Value::Int(at as i64 % 100))].into(),
            ..Record::default()
        })
        .collect()
}

impl World {
    /// Writes the last part to a segment.
    fn seal(&mut self, space: Space) {
        let (source, dead) = self.parts.pop().unwrap();
        let folder = Segment::folder(CollectionId::random(), SegmentId::random());
        let (above, _) = folder.rsplit_once('/').unwrap();
        self.storage.create_dir(above).unwrap();
        let parts = [(source, Arc::new(dead))];
        let summary = write_segment(&self.storage, &folder, &parts, space, &|| true).unwrap();
        let segment = Segment::open(&self.storage, &folder, summary.toc_checksum).unwrap();
        let source = Source::Segment(Arc::new(segment));
        self.parts.push((source, RoaringBitmap::new()));
    }
}

/// Two segments with an index each, a chunk, and dead rows in all.
fn world(space: Space) -> World {
    let mut world = World::new(DIMENSION);
    world.upsert(&records(0..2500));
    world.seal(space);
    world.upsert(&records(2500..4000));
    world.seal(space);
    world.upsert(&records(4000..4300));
    for at in (0..4300).step_by(7) {
        world.delete(&format!("id{at}"));
    }
    world
}

fn request(filter: Option<Filter>, n_results: u32) -> QueryRequest {
    requests(filter, n_results, 30)
}

/// A request with `count` vectors.
fn requests(filter: Option<Filter>, n_results: u32, count: usize) -> QueryRequest {
    let values: Vec<f32> = (5000..5000 + count).flat_map(vector).collect();
    QueryRequest {
        embeddings: Embeddings::new(DIMENSION, values).unwrap(),
        n_results,
        selection: RecordSelection { ids: None, filter },
        ..QueryRequest::default()
    }
}

fn below(limit: i64) -> Filter {
    Filter::Metadata {
        key: "n".to_owned(),
        comparison: Comparison::Less(Number::Int(limit)),
    }
}

/// The share of the exact nearest records that are found; checks what must always hold.
fn recall(world: &World, space: Space, request: &QueryRequest, asked: Recall) -> f64 {
    let snapshot = world.snapshot(space);
    let truth = query(&snapshot, request, Recall::EXACT).unwrap();
    let found = query(&snapshot, request, asked).unwrap();
    let (mut hits, mut wanted) = (0, 0);
    for (truth, found) in truth.iter().zip(&found) {
        assert_eq!(truth.distances.len(), found.distances.len());
        assert!(found.distances.is_sorted());
        for (id, distance) in found.records.ids.iter().zip(&found.distances) {
            if let Some(at) = truth.records.ids.iter().position(|other| other == id) {
                assert_eq!(
                    truth.distances[at].to_bits(),
                    distance.to_bits(),
                    "distances are exact"
                );
                hits += 1;
            }
        }
        wanted += truth.distances.len();
    }
    f64::from(hits) / wanted as f64
}

#[test]
fn indexed_segments_chunks_and_dead_rows_answer_together() {
    for space in [Space::L2, Space::Cosine, Space::Ip] {
        let world = world(space);
        for filter in [None, Some(below(50)), Some(below(9)), Some(below(1))] {
            for n_results in [1, 10, 60] {
                let request = request(filter.clone(), n_results);
                let found = recall(&world, space, &request, Recall::default());
                assert!(found >= 0.95, "{space:?} {filter:?} {n_results}: {found}");
            }
        }
    }
}

#[test]
fn many_vectors_in_a_call_find_as_much_as_few() {
    for space in [Space::L2, Space::Cosine, Space::Ip] {
        let world = world(space);
        for filter in [None, Some(below(50))] {
            let all = requests(filter.clone(), 10, 100);
            let found = recall(&world, space, &all, Recall::default());
            assert!(found >= 0.95, "{space:?} {filter:?}: {found}");
        }
    }
}

#[test]
fn many_vectors_in_a_call_are_compared_exactly_as_each_alone() {
    for space in [Space::L2, Space::Cosine, Space::Ip] {
        let world = world(space);
        let snapshot = world.snapshot(space);
        // So many that threads share them, where the machine has some.
        for (filter, count) in [(None, 600), (Some(below(50)), 40), (Some(below(3)), 40)] {
            let all = requests(filter, 7, count);
            let together = query(&snapshot, &all, Recall::EXACT).unwrap();
            assert_eq!(together.len(), count);
            for (at, found) in together.iter().enumerate().step_by(7) {
                let values = all.embeddings.get(at).unwrap().to_vec();
                let one = QueryRequest {
                    embeddings: Embeddings::new(DIMENSION, values).unwrap(),
                    ..all.clone()
                };
                let alone = query(&snapshot, &one, Recall::EXACT).unwrap();
                assert_eq!(found.records.ids, alone[0].records.ids, "{space:?}");
                let bits = |distances: &[f32]| -> Vec<u32> {
                    distances
                        .iter()
                        .map(|distance| distance.to_bits())
                        .collect()
                };
                assert_eq!(
                    bits(&found.distances),
                    bits(&alone[0].distances),
                    "{space:?}"
                );
            }
        }
    }
}

#[test]
fn asking_for_more_finds_more_and_for_everything_gives_everything() {
    let world = world(Space::L2);
    let snapshot = world.snapshot(Space::L2);
    let all = query(&snapshot, &request(None, 10_000), Recall::default()).unwrap();
    assert!(
        all.iter()
            .all(|one| one.distances.len() as u64 == snapshot.count)
    );
    let high = Recall::read(&serde_json::json!(0.999)).unwrap();
    assert!(recall(&world, Space::L2, &request(None, 10), high) >= 0.99);
}

#[test]
fn queries_that_codes_cannot_rank_are_answered_exactly() {
    for space in [Space::L2, Space::Cosine] {
        let world = world(space);
        for number in [0.0, 3e38] {
            let request = QueryRequest {
                embeddings: Embeddings::new(DIMENSION, vec![number; DIMENSION]).unwrap(),
                ..request(None, 10)
            };
            let found = recall(&world, space, &request, Recall::default());
            assert!(found >= 0.95, "{space:?} {number}: {found}");
        }
    }
}

/// Ids of the live records that `filter` should pass: those whose number is below `limit`.
fn passing(world: &World, limit: Option<i64>) -> BTreeSet<&str> {
    let passes = |record: &&Record| match (limit, record.metadata.get("n")) {
        (Some(limit), Some(Value::Int(n))) => *n < limit,
        _ => true,
    };
    let records = world.records.values().filter(passes);
    records.map(|record| &*record.id).collect()
}

#[test]
fn filters_that_come_again_see_what_died_and_came_meanwhile() {
    let (mut world, space) = (world(Space::L2), Space::L2);
    let first = world.snapshot(space);
    let first_ids: BTreeSet<String> = passing(&world, Some(50))
        .into_iter()
        .map(str::to_owned)
        .collect();
    for round in 0..5 {
        let snapshot = world.snapshot(space);
        for limit in [None, Some(50), Some(9), Some(1)] {
            let right = passing(&world, limit);
            let filter = limit.map(below);
            for _ in 0..3 {
                let request = request(filter.clone(), 10);
                let found = recall(&world, space, &request, Recall::default());
                assert!(found >= 0.95, "{round} {limit:?}: {found}");
                for one in query(&snapshot, &request, Recall::default()).unwrap() {
                    assert_eq!(one.records.ids.len(), right.len().min(10));
                    assert!(one.records.ids.iter().all(|id| right.contains(id)));
                }
                let all = GetRequest {
                    selection: request.selection,
                    ..GetRequest::default()
                };
                let all = get(&snapshot, &all).unwrap();
                assert_eq!(all.ids.iter().collect::<BTreeSet<_>>(), right);
            }
        }
        // Who still looks at how it was before sees that.
        let then = query(&first, &request(Some(below(50)), 4000), Recall::default()).unwrap();
        assert!(then[0].records.ids.iter().all(|id| first_ids.contains(id)));
        assert_eq!(then[0].records.ids.len(), first_ids.len());
        for at in (round..4300).step_by(11) {
            world.delete(&format!("id{at}"));
        }
        world.upsert(&records(round * 100..round * 100 + 40));
    }
}

#[test]
fn damaged_index_is_set_aside_and_the_answer_is_exact() {
    let world = world(Space::L2);
    let mut reopened = world;
    for (source, _) in &mut reopened.parts {
        let Source::Segment(segment) = source else {
            continue;
        };
        let (folder, toc_checksum) = segment.place();
        let path = format!("{folder}/vectors.index");
        let mut bytes = reopened.storage.read(&path).unwrap();
        let some = bytes.iter_mut().skip(300).step_by(1000);
        some.for_each(|byte| *byte ^= 1);
        reopened.storage.insert(&path, bytes).unwrap();
        let opened = Segment::open(&reopened.storage, &folder, toc_checksum).unwrap();
        *source = Source::Segment(Arc::new(opened));
    }
    let snapshot = reopened.snapshot(Space::L2);
    let found = recall(&reopened, Space::L2, &request(None, 10), Recall::default());
    assert!(found >= 1.0, "{found}");
    let set_aside = |part: &crate::query::Part| {
        let file = part.source.vector_index();
        file.is_some_and(|file| file.is_damaged())
    };
    assert_eq!(
        snapshot.parts.iter().filter(|part| set_aside(part)).count(),
        2
    );
}
