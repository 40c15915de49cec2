//! Finds partitions: k-means in two levels over a sample.
//!
//! What must stay true: every result depends on the vectors and the seed alone. Distances are
//! compared through `|c|² / 2 - <x, c>`, which orders centroids as the distance to x does.
//! Two levels because a flat search of C centroids for each row would cost C products; groups of
//! about √C centroids, the nearest few of which are searched, cost a fraction of it. Vectors come
//! many at a time, so that each centroid is read once for many of them.

use vermilion_kernels::random::split_mix;
use vermilion_kernels::squared_norm;
use vermilion_kernels::tiles::{Packed, lowest_difference, products, products_of};

use super::build::{HelpersWhile, THREAD_NAME, stopped};
use crate::Result;
use crate::helper_threads::split;

/// Rounds of k-means.
const ROUNDS: usize = 7;

/// Groups whose centroids are compared with a vector.
const GROUPS_SEARCHED: usize = 8;

/// Groups of which it is first asked whether any is near enough.
const GROUPS_TOGETHER: usize = 8;

/// Sample vectors for each centroid that training looks at.
pub(super) const SAMPLE_PER_CENTROID: usize = 64;

/// Products that are looked at while they are in a near cache.
const PRODUCTS: usize = 1 << 17;

/// Sample vectors for each group that training looks at.
const GROUP_SAMPLE: usize = 128;

/// A sequence of pseudo-random numbers.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        ((u128::from(split_mix(&mut self.0)) * end as u128) >> 64) as usize
    }

    /// `count` numbers below `end`, ascending and all different; all of them if there are no more.
    pub(super) fn sample(&mut self, count: usize, end: usize) -> Vec<usize> {
        let mut wanted = count.min(end);
        let mut chosen = Vec::with_capacity(wanted);
        for at in 0..end {
            if self.below(end - at) < wanted {
                chosen.push(at);
                wanted -= 1;
            }
        }
        chosen
    }
}

/// Centroids, with half of their squared norms.
#[derive(Clone, Debug, Default)]
struct Centroids {
    columns: Packed,
    halves: Vec<f32>,
}

impl Centroids {
    fn new(values: &[f32], dimension: usize) -> Self {
        let halves = values.chunks_exact(dimension);
        Self {
            columns: Packed::new(values, dimension),
            halves: halves.map(|c| squared_norm(c) / 2.0).collect(),
        }
    }

    /// How many vectors are to be compared at a time.
    fn run(&self) -> usize {
        (PRODUCTS / self.halves.len().max(1)).max(1)
    }

    /// Gives for each of `vectors`, one after the other, its products with all centroids.
    fn each(
        &self,
        vectors: &[f32],
        dimension: usize,
        room: &mut Vec<f32>,
        mut with: impl FnMut(&[f32]),
    ) {
        for run in vectors.chunks(self.run() * dimension) {
            room.clear();
            room.resize(run.len() / dimension * self.halves.len(), 0.0);
            products(run, &self.columns, room);
            for products in room.chunks_exact(self.halves.len()) {
                with(products);
            }
        }
    }

    /// For each of `vectors`, one after the other, the number of the nearest centroid.
    fn nearest(&self, vectors: &[f32], dimension: usize, room: &mut Vec<f32>) -> Vec<usize> {
        let mut nearest = Vec::with_capacity(vectors.len() / dimension);
        self.each(vectors, dimension, room, |products| {
            let lowest = lowest_difference(&self.halves, products);
            nearest.push(lowest.map_or(0, |lowest| lowest.0));
        });
        nearest
    }
}

/// Centroids in groups.
#[derive(Debug)]
pub(super) struct Tree {
    dimension: usize,
    groups: Centroids,
    /// For each group the number of its first centroid, and its centroids.
    members: Vec<(usize, Centroids)>,
    count: usize,
}

impl Tree {
    /// Finds about `count` centroids of the vectors in `sample`, one after the other, `dimension`
    /// numbers each, at least one of them.
    pub(super) fn train(
        sample: &[f32],
        dimension: usize,
        count: usize,
        random: &mut Random,
        (helpers, go_on): HelpersWhile<'_>,
    ) -> Result<Self> {
        let vectors = sample.len() / dimension;
        let group_count = count.isqrt().clamp(1, vectors);
        let picked = random.sample(group_count * GROUP_SAMPLE, vectors);
        let own = gather(sample, dimension, &picked);
        let groups = Centroids::new(&k_means(&own, dimension, group_count, random), dimension);
        let mut of_group = vec![Vec::new(); group_count];
        let nearest = groups.nearest(sample, dimension, &mut Vec::new());
        for (at, group) in nearest.into_iter().enumerate() {
            of_group[group].push(at);
        }
        let mut tree = Self {
            dimension,
            groups,
            members: Vec::with_capacity(group_count),
            count: 0,
        };
        // Each group has a sequence of its own, so that it does not matter who is first.
        let groups: Vec<(u64, &Vec<usize>)> = of_group
            .iter()
            .map(|own| (random.below(usize::MAX) as u64, own))
            .collect();
        let members = split(helpers, THREAD_NAME, groups, go_on, |(seed, own), go_on| {
            if !go_on() {
                return Err(stopped());
            }
            if own.is_empty() {
                return Ok(Centroids::default());
            }
            let share = (own.len() * count).div_ceil(vectors).clamp(1, own.len());
            let own = gather(sample, dimension, own);
            let centroids = k_means(&own, dimension, share, &mut Random::new(seed));
            Ok(Centroids::new(&centroids, dimension))
        })?;
        for members in members {
            let first = tree.count;
            tree.count += members.halves.len();
            tree.members.push((first, members));
        }
        Ok(tree)
    }

    /// How many centroids there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// For each of `vectors`, one after the other, the number of the centroid nearest to it, as far
    /// as the nearest groups tell. They are compared group by group.
    pub(super) fn assign(&self, vectors: &[f32], scratch: &mut Scratch) -> Vec<u32> {
        let Scratch { room, of_group } = scratch;
        of_group.resize(self.members.len(), Vec::new());
        of_group.iter_mut().for_each(Vec::clear);
        let mut vector = 0;
        self.groups.each(vectors, self.dimension, room, |products| {
            for &(_, group) in nearest_few(&self.groups.halves, products).iter() {
                of_group[group].push(vector);
            }
            vector += 1;
        });
        let mut best = vec![(f32::INFINITY, 0); vector as usize];
        for ((first, members), own) in self.members.iter().zip(of_group) {
            if members.halves.is_empty() {
                continue;
            }
            for own in own.chunks(members.run()) {
                room.clear();
                room.resize(own.len() * members.halves.len(), 0.0);
                products_of(vectors, own, &members.columns, room);
                let products = room.chunks_exact(members.halves.len());
                for (&vector, products) in own.iter().zip(products) {
                    let best = &mut best[vector as usize];
                    if let Some((at, score)) = lowest_difference(&members.halves, products)
                        && score < best.0
                    {
                        *best = (score, (first + at) as u32);
                    }
                }
            }
        }
        best.into_iter().map(|best| best.1).collect()
    }
}

/// Room for [`Tree::assign`].
#[derive(Debug, Default)]
pub(super) struct Scratch {
    room: Vec<f32>,
    /// For each group the vectors near to it.
    of_group: Vec<Vec<u32>>,
}

/// The few groups nearest to a vector, the nearest first.
struct Few {
    nearest: [(f32, usize); GROUPS_SEARCHED],
    count: usize,
}

impl Few {
    /// Puts a group at its place if it is among the nearest.
    fn put(&mut self, score: f32, group: usize) {
        let nearest = &mut self.nearest;
        if score < nearest[GROUPS_SEARCHED - 1].0 {
            let mut at = GROUPS_SEARCHED - 1;
            while at > 0 && score < nearest[at - 1].0 {
                nearest[at] = nearest[at - 1];
                at -= 1;
            }
            nearest[at] = (score, group);
        }
    }

    fn iter(&self) -> std::slice::Iter<'_, (f32, usize)> {
        self.nearest[..self.count].iter()
    }
}

/// The groups nearest to a vector by `halves` less `products`.
fn nearest_few(halves: &[f32], products: &[f32]) -> Few {
    let mut few = Few {
        nearest: [(f32::INFINITY, 0); GROUPS_SEARCHED],
        count: halves.len().min(GROUPS_SEARCHED),
    };
    // Most groups are farther than those found, so runs of them are looked at together first.
    let runs = halves
        .chunks(GROUPS_TOGETHER)
        .zip(products.chunks(GROUPS_TOGETHER));
    for (run, (halves, products)) in runs.enumerate() {
        let scores = halves.iter().zip(products);
        let scores = scores.map(|(half, product)| half - product);
        let last = few.nearest[GROUPS_SEARCHED - 1].0;
        if scores
            .clone()
            .fold(0, |near, score| near | u32::from(score < last))
            != 0
        {
            for (group, score) in (run * GROUPS_TOGETHER..).zip(scores) {
                few.put(score, group);
            }
        }
    }
    few
}

fn gather(sample: &[f32], dimension: usize, rows: &[usize]) -> Vec<f32> {
    let mut values = Vec::with_capacity(rows.len() * dimension);
    for &row in rows {
        values.extend_from_slice(&sample[row * dimension..(row + 1) * dimension]);
    }
    values
}

/// `count` centroids of `sample`, which has at least as many vectors. A centroid that nothing is
/// nearest to moves beside the one with the most.
fn k_means(sample: &[f32], dimension: usize, count: usize, random: &mut Random) -> Vec<f32> {
    let vectors = sample.len() / dimension;
    let first = random.sample(count, vectors);
    let mut centroids = gather(sample, dimension, &first);
    if count == vectors {
        return centroids;
    }
    let mut room = Vec::new();
    for _ in 0..ROUNDS {
        let nearest = Centroids::new(&centroids, dimension).nearest(sample, dimension, &mut room);
        let mut sums = vec![0.0f32; count * dimension];
        let mut counts = vec![0u32; count];
        for (vector, nearest) in sample.chunks_exact(dimension).zip(nearest) {
            counts[nearest] += 1;
            let sum = &mut sums[nearest * dimension..(nearest + 1) * dimension];
            sum.iter_mut()
                .zip(vector)
                .for_each(|(sum, number)| *sum += number);
        }
        for (sum, &count) in sums.chunks_exact_mut(dimension).zip(&counts) {
            sum.iter_mut()
                .for_each(|number| *number /= count.max(1) as f32);
        }
        for empty in (0..count).filter(|&at| counts[at] == 0).collect::<Vec<_>>() {
            let most = (0..count).max_by_key(|&at| counts[at]).unwrap_or(0);
            let beside = random.below(vectors) * dimension;
            for at in 0..dimension {
                let (own, other) = (sums[most * dimension + at], sample[beside + at]);
                sums[empty * dimension + at] = own + (other - own) * 0.1;
            }
            counts[most] /= 2;
            counts[empty] = counts[most];
        }
        centroids = sums;
    }
    centroids
}
