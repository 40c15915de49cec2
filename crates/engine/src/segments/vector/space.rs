//! What the three ways of comparing vectors mean to the index.
//!
//! What must stay true: the index ranks rows by a *score* that is smaller for nearer rows: the
//! squared distance for `l2` and, between vectors of length 1, for `cosine`; for `ip` minus twice
//! the inner product with the query brought to length 1.

use crate::model::Space;
use vermilion_kernels::{inner_product, l2_squared, squared_norm};

/// Squared lengths within which sums of products can be trusted in `f32`.
const TRUSTED: std::ops::Range<f32> = 1e-24..1e30;

/// The exact distance of two vectors, as users see it: a finite number.
pub fn exact_distance(space: Space, query: &[f32], vector: &[f32]) -> f32 {
    let distance = match space {
        Space::L2 => l2_squared(query, vector),
        Space::Ip => 1.0 - inner_product(query, vector),
        Space::Cosine => {
            let (own, other) = (squared_norm(query), squared_norm(vector));
            if TRUSTED.contains(&own) && TRUSTED.contains(&other) {
                1.0 - inner_product(query, vector) / (own.sqrt() * other.sqrt())
            } else {
                f32::NAN
            }
        }
    };
    if distance.is_finite() {
        return distance;
    }
    // In `f64` nothing leaves the range.
    let product = |a: &[f32], b: &[f32]| -> f64 {
        let pairs = a.iter().zip(b);
        pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let distance = match space {
        Space::L2 => {
            let pairs = query.iter().zip(vector);
            pairs
                .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
                .sum()
        }
        Space::Ip => 1.0 - product(query, vector),
        Space::Cosine => {
            let norms = product(query, query).sqrt() * product(vector, vector).sqrt();
            if norms > 0.0 {
                1.0 - product(query, vector) / norms
            } else {
                1.0
            }
        }
    };
    distance.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

/// How far a centroid is whose score is a squared distance. Differences of it are about as large for
/// a query that is far from all centroids as for one among them.
pub(super) fn farness(score: f32) -> f32 {
    score.max(0.0).sqrt()
}

/// Brings `vector` to length 1 and gives the length it had; one of zeros stays as it is.
pub(super) fn normalise(vector: &mut [f32]) -> f32 {
    let largest = vector
        .iter()
        .fold(0.0f32, |most, number| most.max(number.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    // Squares of very large or very small numbers leave the range of f32, so scale first.
    let first = if (1e-12..1e12).contains(&largest) {
        1.0
    } else {
        largest
    };
    vector.iter_mut().for_each(|number| *number /= first);
    let norm = squared_norm(vector).sqrt();
    vector.iter_mut().for_each(|number| *number /= norm);
    norm * first
}
