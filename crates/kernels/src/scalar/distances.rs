//! The reference distance kernels.
//!
//! What must stay true: sums run over [`LANES`] accumulators, which the compiler turns into
//! whatever vectors the target always has.

use crate::Element;
use crate::dispatch::{DistanceTable, DistanceTables};

const LANES: usize = 16;

fn sum<E: Element>(a: &[f32], b: &[E], step: impl Fn(f32, f32) -> f32) -> f32 {
    assert_eq!(a.len(), b.len());
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut totals = [0.0f32; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for (total, (&a, &b)) in totals.iter_mut().zip(a.iter().zip(b)) {
            *total += step(a, b.to_f32());
        }
    }
    for (total, (&a, &b)) in totals.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *total += step(a, b.to_f32());
    }
    totals.iter().sum()
}

fn l2_squared<E: Element>(a: &[f32], b: &[E]) -> f32 {
    sum(a, b, |a, b| (a - b) * (a - b))
}

fn inner_product<E: Element>(a: &[f32], b: &[E]) -> f32 {
    sum(a, b, |a, b| a * b)
}

fn squared_norm<E: Element>(_: &[f32], row: &[E]) -> f32 {
    let mut total = 0.0;
    for part in row.chunks(LANES) {
        let mut numbers = [0.0; LANES];
        let numbers = &mut numbers[..part.len()];
        numbers
            .iter_mut()
            .zip(part)
            .for_each(|(to, from)| *to = from.to_f32());
        total += inner_product(numbers, numbers);
    }
    total
}

fn each_row<E>(query: &[f32], rows: &[E], out: &mut [f32], distance: impl Fn(&[f32], &[E]) -> f32) {
    assert_eq!(rows.len(), query.len() * out.len());
    for (at, out) in out.iter_mut().enumerate() {
        *out = distance(query, &rows[at * query.len()..(at + 1) * query.len()]);
    }
}

fn l2_squared_rows<E: Element>(query: &[f32], rows: &[E], out: &mut [f32]) {
    each_row(query, rows, out, l2_squared);
}

fn inner_product_rows<E: Element>(query: &[f32], rows: &[E], out: &mut [f32]) {
    each_row(query, rows, out, inner_product);
}

fn products_and_norms_rows<E: Element>(
    query: &[f32],
    rows: &[E],
    products: &mut [f32],
    norms: &mut [f32],
) {
    assert_eq!(products.len(), norms.len());
    each_row(query, rows, products, inner_product);
    each_row(query, rows, norms, squared_norm);
}

const fn table<E: Element>() -> DistanceTable<E> {
    DistanceTable {
        l2_squared,
        inner_product,
        l2_squared_rows,
        inner_product_rows,
        products_and_norms_rows,
    }
}

/// The scalar distance kernels.
pub(crate) const TABLES: DistanceTables = DistanceTables {
    f32: table(),
    f16: table(),
    bf16: table(),
    i8: table(),
};
