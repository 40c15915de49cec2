//! The reference distance kernels.
//!
//! What must stay true: sums run over [`LANES`] accumulators, which the compiler turns into
//! whatever vectors the target always has.

use crate::dispatch::DistanceTable;

const LANES: usize = 16;

fn sum(a: &[f32], b: &[f32], step: impl Fn(f32, f32) -> f32) -> f32 {
    assert_eq!(a.len(), b.len());
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut totals = [0.0f32; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for (total, (&a, &b)) in totals.iter_mut().zip(a.iter().zip(b)) {
            *total += step(a, b);
        }
    }
    for (total, (&a, &b)) in totals.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *total += step(a, b);
    }
    totals.iter().sum()
}

fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |a, b| (a - b) * (a - b))
}

fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |a, b| a * b)
}

fn each_row(query: &[f32], rows: &[f32], out: &mut [f32], distance: fn(&[f32], &[f32]) -> f32) {
    assert_eq!(rows.len(), query.len() * out.len());
    for (at, out) in out.iter_mut().enumerate() {
        *out = distance(query, &rows[at * query.len()..(at + 1) * query.len()]);
    }
}

fn l2_squared_rows(query: &[f32], rows: &[f32], out: &mut [f32]) {
    each_row(query, rows, out, l2_squared);
}

fn inner_product_rows(query: &[f32], rows: &[f32], out: &mut [f32]) {
    each_row(query, rows, out, inner_product);
}

fn products_and_norms_rows(query: &[f32], rows: &[f32], products: &mut [f32], norms: &mut [f32]) {
    assert_eq!(products.len(), norms.len());
    each_row(query, rows, products, inner_product);
    each_row(query, rows, norms, |_, row| inner_product(row, row));
}

/// The scalar distance kernels.
pub(crate) const DISTANCES: DistanceTable = DistanceTable {
    l2_squared,
    inner_product,
    l2_squared_rows,
    inner_product_rows,
    products_and_norms_rows,
};
