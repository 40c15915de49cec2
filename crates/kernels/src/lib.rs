//! Distance kernels: a scalar reference and SIMD versions of the same sums, chosen once at run time.
//!
//! What must stay true: every function gives the same answer at every [`Level`] up to the rounding
//! of `f32`, whatever the length and the alignment of its slices; vectors of more than
//! [`BLOCK`] numbers are summed block by block in `f64`, so that precision does not depend on the
//! dimension. This crate is the only home of SIMD and, with the file that maps files, of `unsafe`.
//! Vectors may be kept in elements narrower than `f32` (see [`Element`]); sums are of `f32` all the same.
//! What is deliberately absent: metrics. Callers build cosine from products and norms.
//!
//! ```
//! let query = [1.0, 0.0];
//! let rows = [1.0, 0.0, 0.0, 2.0];
//! let mut distances = [0.0; 2];
//! vermilion_kernels::l2_squared_rows(&query, &rows, &mut distances);
//! assert_eq!(distances, [0.0, 5.0]);
//! ```

#![expect(unsafe_code, reason = "SIMD loads and calls through the kernel table")]

pub mod codes;
pub mod layers;
pub mod random;
pub mod tiles;

mod dispatch;
mod elements;
mod fetch;
mod scalar;
mod sums;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(test)]
mod tests;

pub use dispatch::{Level, UnknownLevel, level};
pub use elements::{Bf16, Element, F16};
pub use fetch::prefetch;

use dispatch::kernels;

/// Numbers that are summed in `f32` at most; longer vectors are summed block by block in `f64`.
pub const BLOCK: usize = 8192;

/// The squared Euclidean distance of two vectors of one length.
///
/// # Panics
/// If the lengths differ.
pub fn l2_squared<E: Element>(a: &[f32], b: &[E]) -> f32 {
    kernels().l2_squared(a, b)
}

/// The inner product of two vectors of one length.
///
/// # Panics
/// If the lengths differ.
pub fn inner_product<E: Element>(a: &[f32], b: &[E]) -> f32 {
    kernels().inner_product(a, b)
}

/// The inner product of a vector with itself.
pub fn squared_norm(a: &[f32]) -> f32 {
    kernels().inner_product(a, a)
}

/// The squared Euclidean distance of `query` to each of the `out.len()` vectors in `rows`.
///
/// # Panics
/// If `rows` does not hold `out.len()` vectors of `query.len()` numbers.
pub fn l2_squared_rows<E: Element>(query: &[f32], rows: &[E], out: &mut [f32]) {
    kernels().l2_squared_rows(query, rows, out);
}

/// The inner product of `query` with each of the `out.len()` vectors in `rows`.
///
/// # Panics
/// If `rows` does not hold `out.len()` vectors of `query.len()` numbers.
pub fn inner_product_rows<E: Element>(query: &[f32], rows: &[E], out: &mut [f32]) {
    kernels().inner_product_rows(query, rows, out);
}

/// For each vector in `rows` its inner product with `query` and its squared norm, in one pass
/// over memory.
///
/// # Panics
/// If `products` and `norms` differ in length, or `rows` does not hold as many vectors of
/// `query.len()` numbers.
pub fn inner_products_and_squared_norms_rows<E: Element>(
    query: &[f32],
    rows: &[E],
    products: &mut [f32],
    norms: &mut [f32],
) {
    kernels().products_and_norms_rows(query, rows, products, norms);
}
