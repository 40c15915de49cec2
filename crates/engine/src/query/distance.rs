//! Distances between a query vector and rows, safe from overflow and underflow.
//!
//! What must stay true: every distance is a finite number; a zero vector has cosine distance 1
//! from everything; cosine is never below 0. The kernels sum in `f32`; the few sums that leave
//! its range are done again in `f64`, which cannot overflow for any finite `f32`.

use crate::model::Space;

/// A query vector with what is known of it before the first row is seen.
#[derive(Debug)]
pub(super) struct QueryVector<'a> {
    /// Its numbers.
    pub(super) values: &'a [f32],
    squared_norm: f64,
    /// How it is compared.
    pub(super) space: Space,
}

impl<'a> QueryVector<'a> {
    /// Prepares `values` for `space`.
    pub(super) fn new(values: &'a [f32], space: Space) -> Self {
        Self {
            values,
            squared_norm: exact_product(values, values),
            space,
        }
    }

    /// Writes to `distances` how far each of the `distances.len()` vectors in `rows` is.
    /// `norms` keeps the rows' squared norms for further queries over the same rows, for which
    /// `norms_known` is then true; spaces that need none leave it alone.
    pub(super) fn distances(
        &self,
        rows: &[f32],
        distances: &mut [f32],
        norms: &mut [f32],
        norms_known: bool,
    ) {
        let dimension = self.values.len();
        let row = |at: usize| &rows[at * dimension..(at + 1) * dimension];
        match self.space {
            Space::L2 => {
                vermilion_kernels::l2_squared_rows(self.values, rows, distances);
                for (at, distance) in distances.iter_mut().enumerate() {
                    if !distance.is_finite() {
                        *distance = finite(exact_l2(self.values, row(at)));
                    }
                }
            }
            Space::Ip => {
                vermilion_kernels::inner_product_rows(self.values, rows, distances);
                for (at, distance) in distances.iter_mut().enumerate() {
                    *distance = if distance.is_finite() {
                        finite(1.0 - f64::from(*distance))
                    } else {
                        finite(1.0 - exact_product(self.values, row(at)))
                    };
                }
            }
            Space::Cosine => {
                if norms_known {
                    vermilion_kernels::inner_product_rows(self.values, rows, distances);
                } else {
                    vermilion_kernels::inner_products_and_squared_norms_rows(
                        self.values,
                        rows,
                        distances,
                        norms,
                    );
                }
                for (at, (distance, norm)) in distances.iter_mut().zip(norms.iter()).enumerate() {
                    *distance = self.cosine(row(at), *distance, *norm);
                }
            }
        }
    }

    fn cosine(&self, row: &[f32], product: f32, norm: f32) -> f32 {
        let sums_hold = norm.is_finite()
            && product.is_finite()
            && f64::from(norm) > MIN_NORM
            && self.squared_norm > MIN_NORM;
        let (product, norm) = if sums_hold {
            (f64::from(product), f64::from(norm))
        } else {
            (exact_product(self.values, row), exact_product(row, row))
        };
        if norm == 0.0 || self.squared_norm == 0.0 {
            return 1.0;
        }
        finite((1.0 - product / (norm.sqrt() * self.squared_norm.sqrt())).max(0.0))
    }
}

/// Squares and products of vectors with a smaller squared norm may have lost digits in `f32`.
const MIN_NORM: f64 = 1e-30;

/// The nearest finite `f32`.
fn finite(value: f64) -> f32 {
    value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

fn exact_product(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

fn exact_l2(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(space: Space, query: &[f32], rows: &[f32], expected: &[f32]) {
        let query = QueryVector::new(query, space);
        let mut found = vec![0.0; expected.len()];
        let mut norms = vec![0.0; expected.len()];
        query.distances(rows, &mut found, &mut norms, false);
        for (found, expected) in found.iter().zip(expected) {
            let tolerance = expected.abs().max(0.1) * 1e-6;
            assert!(
                (found - expected).abs() <= tolerance,
                "{found} is not {expected}"
            );
        }
        let mut again = vec![0.0; expected.len()];
        query.distances(rows, &mut again, &mut norms, true);
        assert_eq!(again, found);
    }

    #[test]
    fn distances_are_those_of_the_reference() {
        let rows = [1.0, 0.0, 0.0, 2.0, 3.0, 4.0, 0.0, 0.0];
        check(Space::L2, &[1.0, 1.0], &rows, &[1.0, 2.0, 13.0, 2.0]);
        check(
            Space::Cosine,
            &[1.0, 1.0],
            &rows,
            &[0.292_893_23, 0.292_893_23, 0.010_050_506, 1.0],
        );
        check(Space::Ip, &[1.0, 1.0], &rows, &[0.0, -1.0, -6.0, 1.0]);
    }

    #[test]
    fn zero_query_is_at_cosine_distance_one_from_everything() {
        check(
            Space::Cosine,
            &[0.0, 0.0],
            &[1.0, 0.0, 0.0, 0.0],
            &[1.0, 1.0],
        );
    }

    #[test]
    fn cosine_of_equal_vectors_is_never_below_zero() {
        let vector: Vec<f32> = (0..37).map(|at| (at as f32).sin() * 1.7).collect();
        let query = QueryVector::new(&vector, Space::Cosine);
        let (mut distance, mut norm) = ([f32::NAN], [0.0]);
        query.distances(&vector, &mut distance, &mut norm, false);
        assert!((0.0..1e-6).contains(&distance[0]), "{}", distance[0]);
    }

    #[test]
    fn vectors_out_of_the_range_of_sums_keep_their_angle() {
        for scale in [1e-38, 1e-30, 1e-21, 1e-16, 1e16, 1e19, 1e30, 1e37] {
            let rows = [
                scale,
                0.0,
                0.0,
                2.0 * scale,
                3.0 * scale,
                4.0 * scale,
                0.0,
                0.0,
            ];
            let expected = [0.292_893_23, 0.292_893_23, 0.010_050_506, 1.0];
            check(Space::Cosine, &[1.0, 1.0], &rows, &expected);
            check(Space::Cosine, &[scale, scale], &rows, &expected);
        }
    }

    #[test]
    fn distances_beyond_the_range_of_floats_stop_at_its_end() {
        let huge = f32::MAX;
        check(
            Space::L2,
            &[huge, huge],
            &[-huge, huge, huge, huge],
            &[huge, 0.0],
        );
        check(
            Space::Ip,
            &[huge, huge],
            &[huge, huge, -huge, huge],
            &[-huge, 1.0],
        );
        check(Space::Ip, &[huge, 1.0], &[-huge, 1.0], &[huge]);
    }
}
