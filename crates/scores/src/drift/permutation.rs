//! How surely two windows differ.
//!
//! What must stay true: where both windows are of one distribution, and groups of records are independent of each
//! other, a p below alpha is found in a share alpha of cases at most. Records of a group stay together when the
//! samples are dealt out again, since the frames of a video differ less by chance than independent records do.

use std::collections::BTreeMap;

use super::bucket::DriftBucket;
use super::features::FEATURES;
use crate::parallel;
use crate::random::Dice;

/// How two windows differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift {
    /// The squared distance of the mean features of all their records, in [0, 4].
    pub statistic: f64,
    /// How often chance alone makes the distance of the samples as large; `None` where a sample is empty.
    pub p: Option<f64>,
    /// Independent blocks in the two samples: groups, and records without one.
    pub blocks: [usize; 2],
    /// Half the sum of the differences of the class shares, in [0, 1].
    pub class_shift: f64,
}

/// Records that are dealt out together.
struct Block {
    sum: Vec<f32>,
    count: [usize; 2],
}

impl Block {
    fn size(&self) -> usize {
        self.count[0] + self.count[1]
    }
}

/// Compares a window with a reference, whose features must be of one map, by `permutations` deals (199 give a p of
/// 1/200 at least).
pub fn drift(
    reference: &DriftBucket,
    window: &DriftBucket,
    permutations: usize,
    seed: u64,
) -> Drift {
    let means = [reference.mean(), window.mean()];
    let apart = means[0]
        .iter()
        .zip(&means[1])
        .map(|(a, b)| (a - b) * (a - b));
    let (blocks, whole, observed) = blocks([reference, window]);
    let own = |side: usize| blocks.iter().filter(|block| block.count[side] != 0).count();
    Drift {
        statistic: apart.sum(),
        p: observed.map(|observed| {
            let wanted: usize = blocks.iter().map(|block| block.count[1]).sum();
            let as_large = parallel::each(permutations, |at| {
                dealt(&blocks, &whole, wanted, seed.wrapping_add(at as u64))
                    >= observed - 1e-9 * observed.abs()
            });
            let as_large = as_large.into_iter().filter(|large| *large).count();
            (1 + as_large) as f64 / (1 + permutations) as f64
        }),
        blocks: [own(0), own(1)],
        class_shift: class_shift(reference, window),
    }
}

/// The blocks of both samples, the sum of all, and the distance of the samples; `None` where one is empty.
fn blocks(sides: [&DriftBucket; 2]) -> (Vec<Block>, Vec<f32>, Option<f64>) {
    let mut blocks: BTreeMap<(bool, u64), Block> = BTreeMap::new();
    let mut whole = vec![0.0_f32; FEATURES];
    let mut window = vec![0.0_f32; FEATURES];
    let mut counts = [0, 0];
    for (side, bucket) in sides.into_iter().enumerate() {
        for (number, (_, record)) in bucket.sample().enumerate() {
            let alone = (2 * number + side) as u64;
            let key = record.group.map_or((false, alone), |group| (true, group));
            let empty = || Block {
                sum: vec![0.0; FEATURES],
                count: [0, 0],
            };
            let block = blocks.entry(key).or_insert_with(empty);
            add(&mut block.sum, &record.features);
            add(&mut whole, &record.features);
            if side == 1 {
                add(&mut window, &record.features);
            }
            block.count[side] += 1;
            counts[side] += 1;
        }
    }
    let observed = (!counts.contains(&0)).then(|| distance(&whole, &window, counts));
    (blocks.into_values().collect(), whole, observed)
}

fn add(sum: &mut [f32], features: &[f32]) {
    sum.iter_mut()
        .zip(features)
        .for_each(|(sum, value)| *sum += value);
}

/// The squared distance of the means of the window and of the rest of the whole, by how large it is by chance for
/// samples of these sizes.
fn distance(whole: &[f32], window: &[f32], counts: [usize; 2]) -> f64 {
    let [a, b] = counts.map(|count| count as f64);
    let apart = whole.iter().zip(window).map(|(&whole, &window)| {
        let (whole, window) = (f64::from(whole), f64::from(window));
        ((whole - window) / a - window / b).powi(2)
    });
    apart.sum::<f64>() * a * b / (a + b)
}

/// The distance after blocks were dealt out, about `wanted` records to the window. Only that is summed: the rest is
/// what it leaves of the whole.
fn dealt(blocks: &[Block], whole: &[f32], wanted: usize, seed: u64) -> f64 {
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    Dice::new(seed).shuffle(&mut order);
    let mut window = vec![0.0_f32; FEATURES];
    let mut counts = [0, 0];
    for (place, &at) in order.iter().enumerate() {
        let (block, last) = (&blocks[at], place + 1 == order.len());
        // A block goes to the window where that brings it nearer to its size; neither side is left with nothing.
        let nearer = 2 * counts[1] + block.size() <= 2 * wanted;
        let side = usize::from((nearer && !(last && counts[0] == 0)) || (last && counts[1] == 0));
        if side == 1 {
            add(&mut window, &block.sum);
        }
        counts[side] += block.size();
    }
    if counts.contains(&0) {
        0.0
    } else {
        distance(whole, &window, counts)
    }
}

fn class_shift(reference: &DriftBucket, window: &DriftBucket) -> f64 {
    let share = |bucket: &DriftBucket, class: u32| {
        let all: u64 = bucket.classes().values().sum();
        bucket
            .classes()
            .get(&class)
            .map_or(0.0, |&count| count as f64 / all as f64)
    };
    let mut classes: Vec<u32> = reference
        .classes()
        .keys()
        .chain(window.classes().keys())
        .copied()
        .collect();
    classes.sort_unstable();
    classes.dedup();
    let apart = classes
        .into_iter()
        .map(|class| (share(reference, class) - share(window, class)).abs());
    0.5 * apart.sum::<f64>()
}
