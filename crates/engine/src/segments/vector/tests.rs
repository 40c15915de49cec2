//! Search against oracles over all rows, masks, spaces, odd vectors, layout and damage.

use std::sync::Arc;

use proptest::prelude::*;
use vermilion_kernels::codes::LevelBits;

use super::cluster::Random;
use super::filtered::AdmittedOrder;
use super::search::Effort;
use super::walk::Reach;
use super::{Best, BuildOptions, Candidate, SearchOptions, VectorIndex, build, exact_distance};
use crate::model::Space;
use crate::segments::RowSet;
use crate::segments::blocks::{Blocks, checksums};
use crate::{ErrorKind, Result};

pub(super) const SPACES: [Space; 3] = [Space::L2, Space::Cosine, Space::Ip];

/// Vectors in clumps around `clumps` centres.
pub(super) fn clumps(seed: u64, rows: usize, dimension: usize, clumps: usize) -> Vec<f32> {
    let mut random = Random::new(seed);
    let mut number = || random.below(2_000_001) as f32 / 1e6 - 1.0;
    let centres: Vec<f32> = (0..clumps * dimension).map(|_| 3.0 * number()).collect();
    (0..rows * dimension)
        .map(|at| centres[at / dimension % clumps * dimension + at % dimension] + number())
        .collect()
}

pub(super) fn options(space: Space, partitions: u32) -> BuildOptions<'static> {
    BuildOptions {
        partitions: Some(partitions),
        ..BuildOptions::new(space)
    }
}

pub(super) fn built(rows: &[f32], dimension: usize, options: &BuildOptions<'_>) -> VectorIndex {
    let bytes = build(rows, dimension, options, &|| true);
    let bytes = bytes
        .expect("the rows are whole")
        .expect("codes can hold the rows");
    opened(bytes.clone(), &bytes).expect("the bytes were just made")
}

/// The index in `bytes`, of which `written` were written.
fn opened(bytes: Vec<u8>, written: &[u8]) -> Result<VectorIndex> {
    let blocks = Blocks::new("test".into(), bytes.into(), checksums(written))?;
    VectorIndex::open(Arc::new(blocks))
}

/// Every row that `mask` admits, nearest first.
pub(super) fn exact(
    rows: &[f32],
    query: &[f32],
    space: Space,
    mask: Option<&RowSet>,
) -> Vec<Candidate> {
    let mut all: Vec<Candidate> = rows
        .chunks_exact(query.len())
        .zip(0..)
        .filter(|&(_, row)| mask.is_none_or(|mask| mask.contains(row)))
        .map(|(vector, row)| Candidate {
            row,
            distance: exact_distance(space, query, vector),
        })
        .collect();
    all.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.row.cmp(&b.row)));
    all
}

fn search(
    index: &VectorIndex,
    rows: &[f32],
    query: &[f32],
    options: &SearchOptions<'_>,
) -> Vec<Candidate> {
    let vector = |row: u32| Ok(&rows[row as usize * query.len()..(row as usize + 1) * query.len()]);
    index
        .search(query, options, vector)
        .expect("the query fits the index")
}

/// The share of the ten exact nearest rows of twenty queries that a search finds.
fn recall(index: &VectorIndex, rows: &[f32], asked: f32, mask: Option<&RowSet>) -> f64 {
    let dimension = index.dimension();
    let (mut hits, mut wanted) = (0u32, 0u32);
    for at in Random::new(5).sample(20, index.rows() as usize) {
        let mut query = rows[at * dimension..(at + 1) * dimension].to_vec();
        query
            .iter_mut()
            .zip(&rows[..dimension])
            .for_each(|(a, b)| *a = 0.8 * *a + 0.2 * b);
        let truth = exact(rows, &query, index.space(), mask);
        let admitted = mask.map(|mask| index.mask(mask).unwrap());
        let options = SearchOptions {
            k: 10,
            recall: asked,
            mask: admitted.as_ref(),
        };
        let found = search(index, rows, &query, &options);
        let last = truth[truth.len().min(10) - 1].distance;
        hits += found.iter().filter(|found| found.distance <= last).count() as u32;
        wanted += truth.len().min(10) as u32;
    }
    f64::from(hits) / f64::from(wanted)
}

pub(super) fn masked(rows: u32, seed: u64, one_in: usize) -> RowSet {
    let mut random = Random::new(seed);
    let mut mask = RowSet::none(rows);
    (0..rows)
        .filter(|_| random.below(one_in) == 0)
        .for_each(|row| mask.insert(row));
    mask
}

/// The rows kept with the bits of their scores, best first.
pub(super) fn sorted(best: Best) -> Vec<(u32, u32)> {
    let best = best.heap.into_sorted_vec().into_iter();
    best.map(|scored| (scored.row, scored.score.to_bits()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn masks_that_are_changed_or_combined_are_those_made_anew(
        seed in any::<u64>(),
        count in 1usize..700,
        partitions in prop_oneof![Just(1u32), 2u32..12],
        one_in in prop::collection::vec(1usize..9, 3),
    ) {
        let rows = clumps(seed, count, 8, 5);
        let index = built(&rows, 8, &options(Space::L2, partitions));
        let sets: Vec<RowSet> = (seed..).zip(one_in).map(|(seed, one_in)| masked(index.rows(), seed, one_in)).collect();
        let made = |set: &RowSet| index.mask(set).expect("the set is over the rows");
        let mut both = sets[0].clone();
        both.intersect(&sets[1]);
        prop_assert_eq!(index.mask_of_both(&made(&sets[0]), &made(&sets[1])), made(&both));
        let mut mask = made(&sets[0]);
        let (mut more, mut fewer) = (sets[2].clone(), sets[0].clone());
        more.subtract(&sets[0]);
        fewer.subtract(&sets[2]);
        // Rows twice, and one that the index does not have.
        for _ in 0..2 {
            let beyond = [index.rows() + 5];
            index.admit(&mut mask, fewer.iter().chain(beyond), false).expect("there are slots");
            index.admit(&mut mask, more.iter().chain(beyond), true).expect("there are slots");
        }
        prop_assert_eq!(mask, made(&sets[2]));
    }


    /// Where the bounds rule nothing out and all partitions are searched, what is left is the
    /// mechanics of blocks, masks, limits and the heap, and they must lose nothing.
    #[test]
    fn a_masked_scan_keeps_exactly_the_best_admitted_rows(
        seed in any::<u64>(),
        count in 1usize..700,
        partitions in 1u32..12,
        depth in 1usize..60,
        one_in in prop_oneof![Just(1usize), 2usize..6, 20usize..200],
        space in prop::sample::select(&SPACES[..]),
        clumped in any::<bool>(),
    ) {
        let dimension = 24;
        let rows = clumps(seed, count, dimension, if clumped { 5 } else { 1 });
        let index = built(&rows, dimension, &options(space, partitions));
        let mut mask = masked(index.rows(), seed, one_in);
        let prepared = index.prepare(&rows[..dimension]);
        // The bound of a row that is its partition's centroid has no width: it is exact, and may
        // rule out a row whose levels claim too little.
        let centroids = index.partition_scores(&prepared).unwrap();
        for (row, slot) in (0..).zip(index.slots().unwrap()) {
            let own = index.partition_of(slot);
            if index.sign_score(&prepared, slot, own, centroids[own]).unwrap().1 <= 0.0 {
                mask.remove(row);
            }
        }
        let reach = Reach { probes: 1, gap: f32::INFINITY };
        let effort = Effort { deviations: 1e4, depth, reach, cosine: f32::INFINITY, wide: None };
        let mask = index.mask(&mask).unwrap();
        let (mut found, mut expected) = (Best::new(depth), Best::new(depth));
        index.search_partitions(&prepared, &effort, Some(&mask), &mut found).unwrap();
        index.search_slots(&prepared, mask.slots(), &mut expected).unwrap();
        prop_assert_eq!(sorted(found), sorted(expected));
    }

    #[test]
    fn only_admitted_rows_are_found_and_each_once(
        seed in any::<u64>(), partitions in 1u32..40, one_in in 1usize..50, k in 0usize..50,
    ) {
        let (count, dimension) = (3000, 20);
        let rows = clumps(seed, count, dimension, 9);
        let index = built(&rows, dimension, &options(Space::L2, partitions));
        let mask = masked(index.rows(), seed, one_in);
        let admitted = index.mask(&mask).unwrap();
        let options = SearchOptions { k, recall: 0.95, mask: Some(&admitted) };
        let found = search(&index, &rows, &rows[..dimension], &options);
        prop_assert_eq!(found.len(), k.min(mask.len() as usize));
        prop_assert!(found.iter().all(|found| mask.contains(found.row)));
        prop_assert!(found.is_sorted_by(|a, b| (a.distance, a.row) < (b.distance, b.row)));
    }
}

#[test]
fn the_nearest_rows_are_found_in_every_space_with_one_partition_and_many() {
    let (count, dimension) = (6000, 100);
    let rows = clumps(1, count, dimension, 40);
    for space in SPACES {
        for partitions in [1, 50] {
            for bits in [LevelBits::Four, LevelBits::Eight] {
                let options = BuildOptions {
                    bits,
                    ..options(space, partitions)
                };
                let index = built(&rows, dimension, &options);
                let found = recall(&index, &rows, 0.95, None);
                assert!(found >= 0.95, "{space:?}, {partitions}, {bits:?}: {found}");
                let found = recall(&index, &rows, 0.999, None);
                assert!(found >= 0.99, "{space:?}, {partitions}, {bits:?}: {found}");
            }
        }
    }
}

#[test]
fn a_mask_of_rows_far_from_the_query_keeps_its_recall() {
    let (count, dimension) = (8000, 48);
    let rows = clumps(3, count, dimension, 40);
    for partitions in [1, 60, 250] {
        let index = built(&rows, dimension, &options(Space::L2, partitions));
        for one_in in [2, 10, 100, 1000] {
            let mask = masked(index.rows(), 7, one_in);
            let found = recall(&index, &rows, 0.95, Some(&mask));
            assert!(
                found >= 0.95,
                "{partitions} partitions, 1 in {one_in}: {found}"
            );
        }
        // All rows of every other clump, and of the farther half of them.
        let mut mask = RowSet::none(index.rows());
        (0..index.rows())
            .filter(|row| row % 40 >= 20)
            .for_each(|row| mask.insert(row));
        let found = recall(&index, &rows, 0.95, Some(&mask));
        assert!(found >= 0.95, "{partitions} partitions, clumps: {found}");
    }
}

#[test]
fn many_rows_are_found_in_full_number_and_with_their_recall() {
    let waves = waves(20_000, 24);
    let clumps = clumps(3, 12_000, 24, 40);
    let alike = alike(40_000, 24);
    for (rows, space) in [
        (&waves, Space::L2),
        (&clumps, Space::L2),
        (&clumps, Space::Cosine),
        (&clumps, Space::Ip),
        (&alike, Space::Ip),
    ] {
        let index = built(rows, 24, &options(space, 320));
        for (k, asked) in [(30, 0.95), (100, 0.95), (100, 0.999), (700, 0.95)] {
            let (mut hits, mut wanted) = (0, 0);
            for at in Random::new(6).sample(60, index.rows() as usize) {
                let query = halfway(rows, 24, at, at / 2);
                let truth = exact(rows, &query, space, None);
                let options = SearchOptions {
                    k,
                    recall: asked,
                    mask: None,
                };
                let found = search(&index, rows, &query, &options);
                assert_eq!(found.len(), k, "{space:?}");
                let near = |one: &&Candidate| one.distance <= truth[k - 1].distance;
                hits += found.iter().filter(near).count();
                wanted += k;
            }
            let recall = hits as f32 / wanted as f32;
            assert!(recall >= asked, "{space:?} {k}: {recall} of {asked}");
        }
    }
}

/// The point between two rows.
fn halfway(rows: &[f32], dimension: usize, one: usize, other: usize) -> Vec<f32> {
    let row = |at: usize| &rows[at * dimension..(at + 1) * dimension];
    let pairs = row(one).iter().zip(row(other));
    pairs
        .map(|(one, other)| f32::midpoint(*one, *other))
        .collect()
}

/// Points far from the origin that differ much in a few directions and little in the others.
fn alike(rows: usize, dimension: usize) -> Vec<f32> {
    let mut random = Random::new(9);
    let mut normal = || {
        (0..12)
            .map(|_| random.below(1_000_001) as f32 / 1e6)
            .sum::<f32>()
            - 6.0
    };
    let mean: Vec<f32> = (0..dimension).map(|_| 5.0 * normal()).collect();
    let each = (0..rows * dimension).map(|at| {
        let at = at % dimension;
        mean[at] + normal() * (at as f32 + 1.0).powf(-0.8)
    });
    each.collect()
}

/// Points of waves: where one is tells in which of many narrow partitions the next are.
fn waves(rows: usize, dimension: usize) -> Vec<f32> {
    let mut random = Random::new(8);
    let mut number = || random.below(1_000_001) as f32 / 1e6;
    let wave = |length: f32, from: f32| {
        (0..dimension).map(move |at| {
            (std::f32::consts::TAU * length * at as f32 / dimension as f32 + from).sin()
        })
    };
    let each = (0..rows).flat_map(|_| wave(1.0 + 3.0 * number(), std::f32::consts::TAU * number()));
    each.collect()
}

#[test]
fn products_with_vectors_that_are_mostly_the_same_keep_their_recall() {
    // Of 64 numbers four differ; what they have in common is far longer.
    let mut rows = clumps(9, 9_000, 64, 9_000);
    for (at, number) in rows.iter_mut().enumerate() {
        if at % 64 >= 4 {
            *number = 7.0;
        }
    }
    let index = built(&rows, 64, &BuildOptions::new(Space::Ip));
    assert!(recall(&index, &rows, 0.95, None) >= 0.95);
    let depth = index.effort(10, 0.95).depth();
    assert!(depth < 60, "{depth} candidates for ten rows");
    // An index made before offsets said what the mean tells goes without.
    let bytes = build(&rows, 64, &BuildOptions::new(Space::Ip), &|| true);
    let mut bytes = bytes.unwrap().unwrap();
    assert_eq!(bytes[16], 3);
    bytes[16] = 2;
    let index = opened(bytes.clone(), &bytes).unwrap();
    let found = search(
        &index,
        &rows,
        &rows[..64],
        &SearchOptions {
            k: 10,
            recall: 0.999,
            mask: None,
        },
    );
    assert_eq!(found.len(), 10);
}

#[test]
fn a_group_much_closer_together_than_the_whole_keeps_its_recall() {
    let (rows, dimension) = (24_000, 24);
    let mut random = Random::new(3);
    // Every fourth row is of the group.
    let mut draw = |row: usize| -> Vec<f32> {
        let (at, size) = if row.is_multiple_of(4) {
            (10.0, 0.02)
        } else {
            (0.0, 1.0)
        };
        let mut number = || random.below(2_000_001) as f32 / 1e6 - 1.0;
        (0..dimension).map(|_| at + size * number()).collect()
    };
    let all: Vec<f32> = (0..rows).flat_map(&mut draw).collect();
    let index = built(&all, dimension, &BuildOptions::new(Space::L2));
    let (mut hits, queries) = (0, 40);
    for row in 0..queries {
        let query = draw(row);
        let truth = exact(&all, &query, Space::L2, None);
        let options = SearchOptions {
            k: 10,
            recall: 0.95,
            mask: None,
        };
        let found = search(&index, &all, &query, &options);
        let near = found.iter().filter(|one| one.distance <= truth[9].distance);
        hits += near.count();
    }
    assert!(hits * 20 >= 19 * queries * 10, "{hits} of {}", queries * 10);
}

#[test]
fn estimates_are_near_the_exact_distances_in_every_space() {
    let (count, dimension) = (500, 96);
    let rows = clumps(9, count, dimension, 4);
    for space in SPACES {
        let options = BuildOptions {
            bits: LevelBits::Eight,
            ..options(space, 4)
        };
        let index = built(&rows, dimension, &options);
        let query = &rows[..dimension];
        let truth = exact(&rows, query, space, None);
        let range = truth[count - 1].distance - truth[0].distance;
        let found = estimates(&index, query, count);
        assert_eq!(found.len(), count);
        for candidate in found {
            let from = candidate.row as usize * dimension;
            let exact = exact_distance(space, query, &rows[from..from + dimension]);
            let error = (candidate.distance - exact).abs();
            assert!(error < 0.02 * range, "{space:?}: {error} of {range}");
        }
    }
}

/// The `k` rows nearest by estimated distance, which is given.
fn estimates(index: &VectorIndex, query: &[f32], k: usize) -> Vec<Candidate> {
    let mut best = Best::new(k);
    let effort = index.effort(k, 1.0);
    index
        .search_into(query, &effort, None, 0, &mut best)
        .expect("the query fits");
    let norm = vermilion_kernels::squared_norm(query).sqrt();
    let found = best.heap.into_sorted_vec().into_iter();
    found
        .map(|scored| Candidate {
            row: scored.row,
            distance: match index.space() {
                Space::L2 => scored.score,
                Space::Cosine => scored.score / 2.0,
                Space::Ip => 1.0 + scored.score * norm / 2.0,
            },
        })
        .collect()
}

#[test]
fn vectors_that_are_all_equal_or_zero_or_of_one_number_are_found() {
    for space in SPACES {
        for partitions in [1, 8] {
            for (rows, dimension) in [
                (vec![0.5; 300 * 17], 17),
                (vec![0.0; 300 * 17], 17),
                (clumps(2, 300, 1, 1), 1),
            ] {
                let index = built(&rows, dimension, &options(space, partitions));
                let wanted = SearchOptions {
                    k: 7,
                    recall: 0.95,
                    mask: None,
                };
                let found = search(&index, &rows, &rows[..dimension], &wanted);
                assert_eq!(found.len(), 7, "{space:?}");
                assert!(found.iter().all(|found| found.distance.is_finite()));
            }
        }
    }
}

#[test]
fn the_most_dimensions_are_coded_and_found() {
    let dimension = 65_535;
    let rows = clumps(21, 60, dimension, 5);
    for space in SPACES {
        let index = built(&rows, dimension, &options(space, 2));
        let masked = recall(&index, &rows, 0.95, None);
        assert!(masked >= 0.9, "{space:?}: {masked}");
    }
}

#[test]
fn a_few_huge_rows_leave_the_usual_ones_apart() {
    let dimension = 24;
    let mut rows = clumps(22, 3_000, dimension, 20);
    for row in rows.chunks_exact_mut(dimension).skip(1).step_by(700) {
        row.iter_mut().for_each(|number| *number *= 1e12);
    }
    let index = built(&rows, dimension, &options(Space::L2, 1));
    let found = recall(&index, &rows, 0.95, None);
    assert!(found >= 0.94, "{found}");
}

#[test]
fn a_zero_vector_is_farther_by_cosine_than_a_similar_one() {
    let dimension = 32;
    let mut rows = clumps(4, 400, dimension, 1);
    rows[..dimension].fill(0.0);
    let index = built(&rows, dimension, &options(Space::Cosine, 1));
    let query = rows[dimension..2 * dimension].to_vec();
    let found = estimates(&index, &query, 400);
    let zero = found
        .iter()
        .find(|found| found.row == 0)
        .expect("all rows are found");
    assert!((zero.distance - 1.0).abs() < 0.05, "{}", zero.distance);
}

#[test]
fn numbers_too_large_for_codes_make_no_index_and_a_large_query_still_finds_rows() {
    let huge = vec![1e20; 64 * 20];
    let made = build(&huge, 20, &options(Space::L2, 1), &|| true).expect("the rows are whole");
    assert!(made.is_none());
    assert!(
        build(&[], 20, &options(Space::L2, 1), &|| true)
            .expect("no rows")
            .is_none()
    );
    let large: Vec<f32> = clumps(1, 300, 20, 3)
        .iter()
        .map(|number| number * 1e13)
        .collect();
    let index = built(&large, 20, &options(Space::L2, 4));
    assert!(recall(&index, &large, 0.95, None) >= 0.95);
    assert!(index.can_rank(&large[..20]));
    assert!(!index.can_rank(&[3e38; 20]));
}

#[test]
fn large_and_small_queries_are_the_same_to_cosine_and_rank_the_same_by_product() {
    let rows = clumps(6, 500, 30, 3);
    for space in [Space::Cosine, Space::Ip] {
        let index = built(&rows, 30, &options(space, 3));
        let found = |scale: f32| -> Vec<u32> {
            let query: Vec<f32> = rows[..30].iter().map(|number| number * scale).collect();
            let found = estimates(&index, &query, 10);
            found.iter().map(|found| found.row).collect()
        };
        assert_eq!(found(1.0), found(1e-25));
        assert_eq!(found(1.0), found(1e30));
    }
}

#[test]
fn the_same_rows_give_the_same_bytes_and_other_masks_and_queries_are_refused() {
    let rows = clumps(8, 2000, 40, 6);
    let options = options(Space::L2, 12);
    let first = build(&rows, 40, &options, &|| true)
        .expect("whole")
        .expect("rows");
    for threads in [1, 2, 3] {
        let options = BuildOptions { threads, ..options };
        let second = build(&rows, 40, &options, &|| true)
            .expect("whole")
            .expect("rows");
        assert!(first == second, "{threads} threads");
    }
    let index = built(&rows, 40, &options);
    let (effort, mut best) = (index.effort(1, 0.95), Best::new(1));
    let error = index
        .search_into(&[0.0; 39], &effort, None, 0, &mut best)
        .expect_err("39 numbers");
    assert_eq!(
        error.message(),
        "the query has 39 numbers, the index vectors of 40"
    );
    assert!(index.mask(&RowSet::all(1999)).is_err());
    assert!(build(&rows[1..], 40, &options, &|| true).is_err());
}

#[test]
fn a_stopped_build_ends_busy() {
    let rows = clumps(8, 5000, 20, 6);
    let asked = std::cell::Cell::new(0);
    let go_on = || {
        asked.set(asked.get() + 1);
        asked.get() < 4
    };
    let error = build(&rows, 20, &options(Space::L2, 8), &go_on).expect_err("stopped");
    assert_eq!(error.kind(), ErrorKind::Busy);
}

#[test]
fn damage_is_found_before_it_can_answer() {
    let rows = clumps(8, 400, 20, 6);
    let bytes = build(&rows, 20, &options(Space::L2, 3), &|| true)
        .expect("whole")
        .expect("rows");
    for at in (0..bytes.len()).step_by(101) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        let wanted = SearchOptions {
            k: 3,
            recall: 1.0,
            mask: None,
        };
        let found = opened(damaged, &bytes).and_then(|index| {
            let vector = |row: u32| Ok(&rows[row as usize * 20..(row as usize + 1) * 20]);
            index.search(&rows[..20], &wanted, vector)
        });
        assert_eq!(
            found.expect_err("damaged").kind(),
            ErrorKind::Corrupted,
            "{at}"
        );
    }
    for length in [0, 100, 256, 1000, bytes.len() - 1] {
        let cut = &bytes[..length];
        let error = opened(cut.to_vec(), cut).expect_err("cut off");
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{length}");
    }
}

#[test]
fn the_score_of_a_partition_is_about_that_of_the_mean_of_its_rows() {
    let (dimension, count) = (40, 3000);
    let rows = clumps(5, count, dimension, 50);
    let query = &rows[80..120];
    for partitions in [1, 200] {
        let index = built(&rows, dimension, &options(Space::L2, partitions));
        let slots = index.slots().unwrap();
        let mut means = vec![(vec![0.0f32; dimension], 0.0); index.partitions() as usize];
        for (row, &slot) in rows.chunks_exact(dimension).zip(&slots) {
            let (sum, count) = &mut means[index.partition_of(slot)];
            sum.iter_mut()
                .zip(row)
                .for_each(|(sum, number)| *sum += number);
            *count += 1.0;
        }
        let scores = index.partition_scores(&index.prepare(query)).unwrap();
        let usual = scores.iter().sum::<f32>() / scores.len() as f32;
        for ((mut mean, count), score) in means.into_iter().zip(scores) {
            mean.iter_mut().for_each(|sum| *sum /= count);
            let exact = exact_distance(Space::L2, query, &mean);
            assert!(
                (exact - score).abs() < 0.02 * usual,
                "{exact} {score} {usual}"
            );
        }
    }
}

#[test]
fn an_order_gives_every_partition_once_and_the_nearest_first() {
    let rows = clumps(5, 6000, 40, 50);
    for space in SPACES {
        let index = built(&rows, 40, &options(space, 400));
        let prepared = index.prepare(&rows[80..120]);
        let scores = index.partition_scores(&prepared).unwrap();
        let mut exact: Vec<u32> = (0..index.partitions()).collect();
        exact.sort_by(|&a, &b| scores[a as usize].total_cmp(&scores[b as usize]));
        for expected in [1, 10, 300, 1000] {
            let mut order = super::order::Order::new(&index, &prepared, expected).unwrap();
            let given: Vec<u32> = std::iter::from_fn(|| order.next().unwrap())
                .map(|one| one.1)
                .collect();
            let ten = exact[..10].iter().filter(|&one| given[..30].contains(one));
            assert!(ten.count() >= 8, "{space:?} {expected}");
            assert!(exact[..5].contains(&given[0]), "{space:?} {expected}");
            let mut all = given;
            all.sort_unstable();
            assert!(
                all.into_iter().eq(0..index.partitions()),
                "{space:?} {expected}"
            );
        }
    }
}

#[test]
fn an_order_of_admitted_partitions_gives_each_with_an_admitted_row_once() {
    let rows = clumps(5, 6000, 40, 50);
    for space in SPACES {
        let index = built(&rows, 40, &options(space, 400));
        let prepared = index.prepare(&rows[80..120]);
        let scores = index.partition_scores(&prepared).unwrap();
        for one_in in [1, 20, 500] {
            let set = masked(6000, 3, one_in);
            let mask = index.mask(&set).unwrap();
            let slots = index.slots().unwrap();
            let own = |row: u32| index.partition_of(slots[row as usize]) as u32;
            let mut wanted: Vec<u32> = set.iter().map(own).collect();
            wanted.sort_unstable();
            wanted.dedup();
            let mut order = AdmittedOrder::new(&index, &prepared, 1, &mask).unwrap();
            let mut given = Vec::new();
            while let Some((_, partition)) = order.next().unwrap() {
                given.push(partition);
            }
            let nearest = wanted
                .iter()
                .copied()
                .min_by(|&a, &b| scores[a as usize].total_cmp(&scores[b as usize]))
                .unwrap();
            assert!(
                given[..given.len().min(3)].contains(&nearest),
                "{space:?} {one_in}"
            );
            given.sort_unstable();
            assert_eq!(given, wanted, "{space:?} {one_in}");
        }
    }
}

#[test]
fn a_description_tells_of_partitions_bytes_and_calibration() {
    let index = built(&clumps(1, 6000, 100, 40), 100, &options(Space::L2, 50));
    let told = index.describe();
    assert_eq!(told.partitions, index.partitions());
    assert_eq!(told.level_bits, 4);
    assert!(told.largest_partition >= 6000 / 50 && told.largest_partition <= 6000);
    // 128 dimensions and factors take 24 bytes of signs a row, and blocks are not all full.
    assert!((24.0..60.0).contains(&told.sign_bytes_per_row), "{told:?}");
    assert!(
        told.bytes_per_row > told.sign_bytes_per_row + 72.0,
        "{told:?}"
    );
    let needs: Vec<(u32, u32)> = told
        .calibrated
        .iter()
        .map(|one| (one.partitions, one.candidates))
        .collect();
    assert!(needs.first() <= needs.last(), "{needs:?}");
}
