//! Searches of sparse vectors in segments, in memory, and in segments with a damaged index.

use super::*;
use crate::model::{Knn, KnnQuery, Rank, Recall, Search, SparseVector};
use crate::query::search;
use crate::segments::AnyIndexFile;

/// Records whose vectors have common and rare dimensions, in two segments and a chunk, with dead
/// rows in each.
fn world() -> World {
    let mut world = World::new(1);
    for part in 0..3u32 {
        let records = (0..700u32).map(|at| {
            let number = part * 600 + at;
            let indices: Vec<u32> = [number % 2, 2 + number % 17, 40 + number % 211].into();
            let values = (1..=3).map(|n| ((number * n) % 89) as f32 * 0.1).collect();
            let vector = Value::from(SparseVector {
                indices,
                values,
                tokens: None,
            });
            let metadata = ["s", "t"].map(|key| (key.to_owned(), vector.clone()));
            Record {
                id: format!("r{number}"),
                vector: vec![0.0],
                metadata: metadata.into(),
                ..Record::default()
            }
        });
        // Each part replaces some records of the one before.
        world.upsert(&records.collect::<Vec<_>>());
        if part < 2 {
            seal(&mut world);
        }
    }
    (0..90).for_each(|at| world.delete(&format!("r{}", at * 17)));
    world
}

/// Writes the newest part of `world` to a segment of its own.
fn seal(world: &mut World) {
    let (source, dead) = world.parts.pop().unwrap();
    let mut one = World::new(1);
    std::mem::swap(&mut one.storage, &mut world.storage);
    one.parts.push((source, dead));
    one.records.insert(0, Record::default());
    one.join(true);
    std::mem::swap(&mut one.storage, &mut world.storage);
    world.parts.append(&mut one.parts);
}

fn found(snapshot: &Snapshot, key: &str, number: u32) -> Vec<(String, f32)> {
    let query = SparseVector {
        indices: vec![0, 2 + number % 17, 40 + number, 300],
        values: vec![0.3, 1.7, 2.1, 9.0],
        tokens: None,
    };
    let rank = Rank::Knn(Knn {
        query: KnnQuery::Sparse(query),
        key: key.to_owned(),
        limit: 12,
        default: None,
        by_place: false,
    });
    let asked = Search {
        rank: Some(rank),
        ..Search::default()
    };
    let mut answers = search(snapshot, &[asked], Recall::EXACT).unwrap();
    let answer = answers.remove(0);
    let ids = answer.records.ids.iter().map(str::to_owned);
    ids.zip(answer.scores.unwrap()).collect()
}

/// The same records in memory alone.
fn in_memory(mut world: World) -> World {
    world.join(false);
    world
}

#[test]
fn segments_and_memory_find_the_same_with_and_without_weights() {
    let (mixed, memory) = (world(), in_memory(world()));
    let (mixed, memory) = (mixed.snapshot(Space::L2), memory.snapshot(Space::L2));
    let indexed = mixed.parts.iter();
    assert_eq!(
        indexed
            .filter(|part| part.source.sparse_index().is_some())
            .count(),
        2
    );
    for number in 0..60 {
        for key in ["s", "t"] {
            let expected = found(&memory, key, number);
            assert_eq!(expected.len(), 12);
            assert_eq!(found(&mixed, key, number), expected);
        }
    }
}

#[test]
fn damaged_index_is_set_aside_and_the_answer_is_the_same() {
    let mut world = world();
    let sound = world.snapshot(Space::L2);
    let expected: Vec<_> = (0..20).map(|number| found(&sound, "t", number)).collect();
    for (source, _) in &mut world.parts {
        let Source::Segment(segment) = source else {
            continue;
        };
        let (folder, toc_checksum) = segment.place();
        let path = format!("{folder}/sparse.index");
        let mut bytes = world.storage.read(&path).unwrap();
        let some = bytes.iter_mut().skip(20).step_by(101);
        some.for_each(|byte| *byte ^= 1);
        world.storage.insert(&path, bytes).unwrap();
        let opened = Segment::open(&world.storage, &folder, toc_checksum).unwrap();
        *source = Source::Segment(Arc::new(opened));
    }
    let damaged = world.snapshot(Space::L2);
    for (number, expected) in (0..20).zip(expected) {
        assert_eq!(found(&damaged, "t", number), expected);
    }
    let set_aside = |part: &&Part| {
        part.source
            .sparse_index()
            .is_some_and(AnyIndexFile::is_damaged)
    };
    assert_eq!(damaged.parts.iter().filter(set_aside).count(), 2);
    assert!(damaged.parts[0].source.has_damaged_index());
}
