//! Finds partitions: k-means in two levels over a sample.
//!
//! What must stay true: every result depends on the vectors and the seed alone. Distances are
//! compared through `|c|² / 2 - <x, c>`, which orders centroids as the distance to x does.
//! Two levels because a flat search of C centroids for each row would cost C products; groups of
//! about √C centroids, the nearest few of which are searched, cost a fraction of it.

use std::ops::Range;

use vermilion_kernels::{inner_product_rows, squared_norm};

/// Rounds of k-means.
const ROUNDS: usize = 7;

/// Groups whose centroids are compared with a vector.
const GROUPS_SEARCHED: usize = 8;

/// Sample vectors for each centroid that training looks at.
pub(super) const SAMPLE_PER_CENTROID: usize = 64;

/// A sequence of pseudo-random numbers.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(bits ^ bits >> 31) * end as u128) >> 64) as usize
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

/// Centroids, one after the other, with half of their squared norms.
#[derive(Clone, Debug, Default)]
pub(super) struct Centroids {
    pub(super) values: Vec<f32>,
    halves: Vec<f32>,
}

impl Centroids {
    fn new(values: Vec<f32>, dimension: usize) -> Self {
        let halves = values
            .chunks_exact(dimension)
            .map(|c| squared_norm(c) / 2.0)
            .collect();
        Self { values, halves }
    }

    /// For each centroid of `range`, what orders it by distance to `vector`.
    fn scores(&self, vector: &[f32], range: Range<usize>, scores: &mut Vec<f32>) {
        let dimension = vector.len();
        scores.clear();
        scores.resize(range.len(), 0.0);
        let values = &self.values[range.start * dimension..range.end * dimension];
        inner_product_rows(vector, values, scores);
        for (score, half) in scores.iter_mut().zip(&self.halves[range]) {
            *score = half - *score;
        }
    }

    /// The nearest centroid of `range` with its score.
    fn nearest(
        &self,
        vector: &[f32],
        range: Range<usize>,
        scores: &mut Vec<f32>,
    ) -> Option<(f32, usize)> {
        let first = range.start;
        self.scores(vector, range, scores);
        let numbered = scores
            .iter()
            .enumerate()
            .map(|(at, &score)| (score, first + at));
        numbered.min_by(|a, b| a.0.total_cmp(&b.0))
    }
}

/// Centroids in groups.
#[derive(Debug)]
pub(super) struct Tree {
    dimension: usize,
    groups: Centroids,
    members: Vec<Range<usize>>,
    pub(super) leaves: Centroids,
}

impl Tree {
    /// Finds about `count` centroids of the vectors in `sample`, one after the other, `dimension`
    /// numbers each, at least one of them.
    pub(super) fn train(
        sample: &[f32],
        dimension: usize,
        count: usize,
        random: &mut Random,
    ) -> Self {
        let vectors = sample.len() / dimension;
        let group_count = count.isqrt().clamp(1, vectors);
        let picked = random.sample(group_count * SAMPLE_PER_CENTROID * 2, vectors);
        let groups = k_means(
            &gather(sample, dimension, &picked),
            dimension,
            group_count,
            random,
        );
        let mut scores = Vec::new();
        let mut of_group = vec![Vec::new(); group_count];
        for (at, vector) in sample.chunks_exact(dimension).enumerate() {
            let nearest = groups.nearest(vector, 0..group_count, &mut scores);
            of_group[nearest.map_or(0, |nearest| nearest.1)].push(at);
        }
        let mut values = Vec::with_capacity(count * dimension);
        let mut members = Vec::with_capacity(group_count);
        for own in &of_group {
            let first = values.len() / dimension;
            if !own.is_empty() {
                let share = (own.len() * count).div_ceil(vectors).clamp(1, own.len());
                let own = gather(sample, dimension, own);
                values.extend(k_means(&own, dimension, share, random).values);
            }
            members.push(first..values.len() / dimension);
        }
        Self {
            dimension,
            groups,
            members,
            leaves: Centroids::new(values, dimension),
        }
    }

    /// How many centroids there are.
    pub(super) fn len(&self) -> usize {
        self.leaves.halves.len()
    }

    /// The centroid nearest to `vector`, as far as the nearest groups tell.
    pub(super) fn assign(&self, vector: &[f32], scratch: &mut Scratch) -> usize {
        let Scratch { scores, order } = scratch;
        self.groups.scores(vector, 0..self.members.len(), scores);
        order.clear();
        order.extend(scores.iter().copied().zip(0..));
        let searched = GROUPS_SEARCHED.min(order.len());
        if searched < order.len() {
            order.select_nth_unstable_by(searched, |a, b| a.0.total_cmp(&b.0));
        }
        let mut best = (f32::INFINITY, 0);
        for &(_, group) in &order[..searched] {
            let members = self.members[group].clone();
            if let Some(nearest) = self.leaves.nearest(vector, members, scores)
                && nearest.0 < best.0
            {
                best = nearest;
            }
        }
        best.1
    }

    /// Replaces each centroid by the mean of the vectors that were assigned to it: `sums` has the
    /// sums, `counts` how many there were.
    pub(super) fn settle(&mut self, sums: &[f32], counts: &[u32]) {
        let rows = self.leaves.values.chunks_exact_mut(self.dimension);
        for ((centroid, sums), &count) in rows.zip(sums.chunks_exact(self.dimension)).zip(counts) {
            if count > 0 {
                for (number, sum) in centroid.iter_mut().zip(sums) {
                    *number = sum / count as f32;
                }
            }
        }
    }
}

/// Room for [`Tree::assign`].
#[derive(Debug, Default)]
pub(super) struct Scratch {
    scores: Vec<f32>,
    order: Vec<(f32, usize)>,
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
fn k_means(sample: &[f32], dimension: usize, count: usize, random: &mut Random) -> Centroids {
    let vectors = sample.len() / dimension;
    let first = random.sample(count, vectors);
    let mut centroids = Centroids::new(gather(sample, dimension, &first), dimension);
    if count == vectors {
        return centroids;
    }
    let mut scores = Vec::new();
    for _ in 0..ROUNDS {
        let mut sums = vec![0.0f32; count * dimension];
        let mut counts = vec![0u32; count];
        for vector in sample.chunks_exact(dimension) {
            let nearest = centroids.nearest(vector, 0..count, &mut scores);
            let nearest = nearest.map_or(0, |nearest| nearest.1);
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
        centroids = Centroids::new(sums, dimension);
    }
    centroids
}
