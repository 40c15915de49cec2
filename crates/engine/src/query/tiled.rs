//! Compares many query vectors with rows: products of both as tiles, then exactly what may be near.
//!
//! What must stay true: a row is passed over only where its distance, with all that rounding can do
//! to a sum of products, is beyond what the query keeps; what is offered is the distance that the
//! query alone finds.

use vermilion_kernels::squared_norm;
use vermilion_kernels::tiles::{Packed, products, products_of};

use super::distance::QueryVector;
use crate::model::Space;

/// Queries from which tiles pay: a panel of columns has room for twice as many.
pub(super) const QUERIES_MIN: usize = 16;

/// Squared lengths outside of which products in `f32` say nothing.
const TRUSTED: std::ops::Range<f32> = 1e-20..1e30;

/// Memory for the blocks of rows of one search, and what they have shown to be out.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) first: Vec<f32>,
    pub(super) second: Vec<f32>,
    third: Vec<f32>,
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

/// Queries whose products are looked at together.
const LANES: usize = 16;

/// What a product must reach for its row to be near enough: `base + slope * measure`, with the measure of
/// the row.
#[derive(Clone, Copy, Debug)]
struct Least {
    base: f32,
    slope: f32,
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

    /// Gives `offer` the distances of `queries`, those laid out, to those of `rows` that may be near, of the
    /// `picked` ones where some are named: the number of the query, that of the row among all these, the
    /// distance. `offer` says beyond which distance the query keeps none, once there is one; `room` keeps
    /// that from block to block, and is of one search.
    pub(super) fn compare(
        &self,
        queries: &[QueryVector<'_>],
        (rows, picked): (&[f32], Option<&[u32]>),
        room: &mut Room,
        mut offer: impl FnMut(usize, usize, f32) -> Option<f32>,
    ) {
        let (dimension, count) = (queries[0].values.len(), queries.len());
        let wanted = picked.map_or(rows.len() / dimension, <[u32]>::len);
        room.first.resize(wanted * count, 0.0);
        match picked {
            Some(picked) => products_of(rows, picked, &self.packed, &mut room.first),
            None => products(rows, &self.packed, &mut room.first),
        }
        let (bases, slopes) = (&mut room.second, &mut room.third);
        // What blocks before this one have left out stays out.
        bases.resize(count, f32::NEG_INFINITY);
        slopes.resize(count, 0.0);
        for (place, products) in room.first.chunks_exact(count).enumerate() {
            let at = picked.map_or(place, |picked| picked[place] as usize);
            let row = &rows[at * dimension..(at + 1) * dimension];
            let norm = squared_norm(row);
            let trusted = TRUSTED.contains(&norm);
            let measure = self.measure(norm);
            for (lane, products) in products.chunks(LANES).enumerate() {
                let first = lane * LANES;
                let own = first..first + products.len();
                let least = bases[own.clone()].iter().zip(&slopes[own]);
                let is_out = |(product, (base, slope)): (&f32, (&f32, &f32))| {
                    *product < base + slope * measure
                };
                // Most are out, and without a branch for each several are compared at once.
                let out = products.iter().zip(least).map(is_out);
                if trusted && out.fold(true, |all, one| all & one) {
                    continue;
                }
                for (number, &product) in (first..).zip(products) {
                    if trusted && product < bases[number] + slopes[number] * measure {
                        continue;
                    }
                    let (mut distance, mut own) = ([0.0], [0.0]);
                    queries[number].distances(row, &mut distance, &mut own, false);
                    let limit = offer(number, at, distance[0]).unwrap_or(f32::INFINITY);
                    let least = self.least(number, limit);
                    (bases[number], slopes[number]) = (least.base, least.slope);
                }
            }
        }
    }

    /// What [`Least`] is told of a row with this squared norm.
    fn measure(&self, squared_norm: f32) -> f32 {
        match self.space {
            Space::L2 => squared_norm,
            Space::Ip | Space::Cosine => squared_norm.sqrt(),
        }
    }

    /// What the product of a row with a query must reach, if the row is to be no farther than `limit` with
    /// all that rounding can do.
    fn least(&self, query: usize, limit: f32) -> Least {
        let (norm, error) = (self.squared_norms[query], self.error);
        if limit == f32::INFINITY || !TRUSTED.contains(&norm) {
            return Least {
                base: f32::NEG_INFINITY,
                slope: 0.0,
            };
        }
        match self.space {
            // The squared distance is the sum of both squared norms less twice the product.
            Space::L2 => {
                let half = 0.5 - 0.75 * error;
                Least {
                    base: norm * half - 0.5 * limit,
                    slope: half,
                }
            }
            Space::Ip => Least {
                base: 1.0 - error - limit,
                slope: -error * norm.sqrt(),
            },
            Space::Cosine => Least {
                base: 0.0,
                slope: (1.0 - limit - 1.5 * error) * norm.sqrt(),
            },
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
            some in any::<bool>(),
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
            let mut room = Room::default();
            // Blocks of a multiple of three rows, as in each one of three is picked.
            for block in rows.chunks(12 * dimension) {
                let picked: Option<Vec<u32>> =
                    some.then(|| (0..(block.len() / dimension) as u32).step_by(3).collect());
                tiled.compare(&queries, (block, picked.as_deref()), &mut room, |query, at, distance| {
                    assert!(picked.is_none() || at.is_multiple_of(3));
                    let kept = &mut kept[query];
                    kept.push(distance);
                    kept.sort_unstable_by(f32::total_cmp);
                    kept.truncate(keep);
                    (kept.len() == keep).then(|| kept[keep - 1])
                });
            }
            for (query, kept) in queries.iter().zip(kept) {
                let mut all: Vec<f32> = rows
                    .chunks_exact(dimension)
                    .step_by(if some { 3 } else { 1 })
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
