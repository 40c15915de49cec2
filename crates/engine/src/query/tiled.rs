//! Compares many query vectors with rows: products of both as tiles, then exactly what may be near.
//!
//! What must stay true: a row is passed over only where its distance, with all that rounding can do
//! to a sum of products, is beyond what the query keeps; what is offered is the distance that the
//! query alone finds.

use vermilion_kernels::squared_norm;
use vermilion_kernels::tiles::{Packed, products};

use super::distance::QueryVector;
use crate::model::Space;

/// Queries from which tiles pay: a panel of columns has room for twice as many.
const QUERIES_MIN: usize = 16;

/// Squared lengths outside of which products in `f32` say nothing.
const TRUSTED: std::ops::Range<f32> = 1e-20..1e30;

/// Memory for one block of rows, kept from block to block.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) first: Vec<f32>,
    pub(super) second: Vec<f32>,
}

/// Queries laid out for tiles.
#[derive(Debug)]
pub(super) struct Tiled {
    packed: Packed,
    squared_norms: Vec<f32>,
    space: Space,
    /// How far a product of vectors of length 1 may be from what another order of summing gives.
    error: f32,
}

impl Tiled {
    /// Lays out `queries`; `None` where they are too few for it to pay.
    pub(super) fn new(queries: &[QueryVector<'_>]) -> Option<Self> {
        let first = queries.first()?;
        let dimension = first.values.len();
        if queries.len() < QUERIES_MIN || dimension == 0 {
            return None;
        }
        let values: Vec<f32> = queries
            .iter()
            .flat_map(|query| query.values)
            .copied()
            .collect();
        let squared_norms = queries.iter().map(|query| squared_norm(query.values));
        let summed = dimension.min(vermilion_kernels::BLOCK) as f32;
        Some(Self {
            packed: Packed::new(&values, dimension),
            squared_norms: squared_norms.collect(),
            space: first.space,
            // Each of so many sums rounds by half of this at most; other orders are of shorter sums.
            error: 0.75 * (summed + 16.0) * f32::EPSILON,
        })
    }

    /// Gives `offer` the distances of `queries`, those laid out, to those of `rows` that may be near:
    /// the number of the query, that of the row among these, the distance. `offer` says beyond which
    /// distance the query keeps none, once there is one.
    pub(super) fn compare(
        &self,
        queries: &[QueryVector<'_>],
        rows: &[f32],
        room: &mut Room,
        mut offer: impl FnMut(usize, usize, f32) -> Option<f32>,
    ) {
        let (dimension, count) = (queries[0].values.len(), queries.len());
        room.first.resize(rows.len() / dimension * count, 0.0);
        products(rows, &self.packed, &mut room.first);
        room.second.clear();
        room.second.resize(count, f32::INFINITY);
        let (found, limits) = (room.first.chunks_exact(count), &mut room.second);
        for (at, (row, products)) in rows.chunks_exact(dimension).zip(found).enumerate() {
            let norm = squared_norm(row);
            for (number, (&product, limit)) in products.iter().zip(&mut *limits).enumerate() {
                if self.least(product, norm, self.squared_norms[number]) > *limit {
                    continue;
                }
                let (mut distance, mut own) = ([0.0], [0.0]);
                queries[number].distances(row, &mut distance, &mut own, false);
                *limit = offer(number, at, distance[0]).unwrap_or(f32::INFINITY);
            }
        }
    }

    /// The least distance that a row may have whose product with a query is `product`; both squared
    /// norms are given.
    fn least(&self, product: f32, row: f32, query: f32) -> f32 {
        if !TRUSTED.contains(&row) || !TRUSTED.contains(&query) {
            return f32::NEG_INFINITY;
        }
        match self.space {
            Space::L2 => {
                let both = row + query;
                both - 2.0 * product - 1.5 * self.error * both
            }
            Space::Ip => {
                let lengths = row.sqrt() * query.sqrt();
                1.0 - product - self.error * (1.0 + lengths)
            }
            Space::Cosine => 1.0 - product / (row.sqrt() * query.sqrt()) - 1.5 * self.error,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers of very different size, many of them equal.
    fn numbers(seed: u64, count: usize, scale: f32) -> Vec<f32> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (0..count)
            .map(|_| {
                scale * ((next() >> 40) % 9) as f32 * [1.0, -1.0, 1e-3, 0.0][next() as usize % 4]
            })
            .collect()
    }

    proptest! {
        /// Whatever is passed over is beyond the limit that was told.
        #[test]
        fn every_row_within_the_limit_is_offered(
            seed in any::<u64>(),
            dimension in prop_oneof![1usize..12, 12usize..300],
            rows in 1usize..40,
            queries in QUERIES_MIN..40,
            scale in prop_oneof![Just(1.0f32), Just(1e-25), Just(1e17), Just(1e30)],
            keep in 1usize..6,
            space in prop::sample::select(&[Space::L2, Space::Cosine, Space::Ip][..]),
        ) {
            let rows = numbers(seed, rows * dimension, scale);
            let values = numbers(!seed, queries * dimension, scale);
            let queries: Vec<QueryVector<'_>> = values
                .chunks_exact(dimension)
                .map(|values| QueryVector::new(values, space))
                .collect();
            let tiled = Tiled::new(&queries).expect("they are enough");
            let mut kept = vec![Vec::<f32>::new(); queries.len()];
            tiled.compare(&queries, &rows, &mut Room::default(), |query, _, distance| {
                let kept = &mut kept[query];
                kept.push(distance);
                kept.sort_unstable_by(f32::total_cmp);
                kept.truncate(keep);
                (kept.len() == keep).then(|| kept[keep - 1])
            });
            for (query, kept) in queries.iter().zip(kept) {
                let mut all: Vec<f32> = rows
                    .chunks_exact(dimension)
                    .map(|row| {
                        let (mut distance, mut norm) = ([0.0], [0.0]);
                        query.distances(row, &mut distance, &mut norm, false);
                        distance[0]
                    })
                    .collect();
                all.sort_unstable_by(f32::total_cmp);
                all.truncate(keep);
                prop_assert_eq!(kept, all);
            }
        }
    }
}
