//! What stands between the matrix products of a transformer: activations, shares and normalisation, each
//! fused with the sums before it, so that a row is read once.
//!
//! What must stay true: a row is made of itself alone, whatever stands beside it; every level agrees with
//! the scalar one up to the rounding of `f32`, and with the exact function to 1e-6 of its size.

use crate::dispatch::{Kernels, kernels};

/// What layer normalisation makes of a row: mean 0 and variance 1, then scaled and moved
/// (Ba et al., "Layer Normalization", 2016).
#[derive(Clone, Debug)]
pub struct Norm {
    /// By what each number is multiplied.
    pub scale: Vec<f32>,
    /// What is added to each number then; as many as `scale` has.
    pub shift: Vec<f32>,
    /// What is added to the variance, so that it is not 0.
    pub epsilon: f32,
}

/// A normalisation of rows with what is added before it.
type NormaliseRows = unsafe fn(&mut [f32], &[f32], &[f32], &Norm);

/// The kernels of layers of one instruction set. Each may be called only where the machine has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerTable {
    pub(crate) gelu: unsafe fn(&mut [f32], &[f32]),
    pub(crate) soften: unsafe fn(&mut [f32], usize),
    pub(crate) normalise: NormaliseRows,
}

/// To each of `rows`, which have the length of `bias`, adds `bias`, and takes the Gaussian error linear
/// unit of each number (Hendrycks and Gimpel, 2016; by the error function, not by the approximation).
///
/// # Panics
/// If `rows` is no whole number of rows.
pub fn gelu_rows(rows: &mut [f32], bias: &[f32]) {
    kernels().gelu_rows(rows, bias);
}

/// Turns each of `rows` of `length` numbers into shares that sum to 1: the softmax of the row.
///
/// # Panics
/// If `rows` is no whole number of rows.
pub fn soften_rows(rows: &mut [f32], length: usize) {
    kernels().soften_rows(rows, length);
}

/// To each of `rows` adds `bias` and the row of `others` at its place, and normalises the sum by `norm`.
///
/// # Panics
/// If `rows` is no whole number of rows of the length of `norm` and `bias`, or has not as many numbers as
/// `others`.
pub fn normalise_rows(rows: &mut [f32], others: &[f32], bias: &[f32], norm: &Norm) {
    kernels().normalise_rows(rows, others, bias, norm);
}

fn check_rows(rows: &[f32], length: usize) {
    assert!(
        length != 0 && rows.len().is_multiple_of(length),
        "{} numbers are no whole number of rows of {length}",
        rows.len()
    );
}

impl Kernels {
    pub(crate) fn gelu_rows(&self, rows: &mut [f32], bias: &[f32]) {
        check_rows(rows, bias.len());
        // SAFETY: the machine has the instructions of every table that `available` gives.
        unsafe { (self.layers.gelu)(rows, bias) }
    }

    pub(crate) fn soften_rows(&self, rows: &mut [f32], length: usize) {
        check_rows(rows, length);
        // SAFETY: as above.
        unsafe { (self.layers.soften)(rows, length) }
    }

    pub(crate) fn normalise_rows(
        &self,
        rows: &mut [f32],
        others: &[f32],
        bias: &[f32],
        norm: &Norm,
    ) {
        check_rows(rows, bias.len());
        assert!(
            rows.len() == others.len()
                && norm.scale.len() == bias.len()
                && norm.shift.len() == bias.len(),
            "rows of {} numbers are to be normalised with {} scales and {} shifts, {} numbers with {} others",
            bias.len(),
            norm.scale.len(),
            norm.shift.len(),
            rows.len(),
            others.len()
        );
        // SAFETY: as above.
        unsafe { (self.layers.normalise)(rows, others, bias, norm) }
    }
}

/// Writes the functions of a `LayerTable` for one instruction set, of the bodies in `scalar::layers`.
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    expect(
        unused_macros,
        reason = "this architecture has the scalar kernels only"
    )
)]
macro_rules! layer_kernels {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        fn gelu_rows(rows: &mut [f32], bias: &[f32]) {
            crate::scalar::layers::gelu_rows(rows, bias);
        }

        #[target_feature(enable = $features)]
        fn soften_rows(rows: &mut [f32], length: usize) {
            crate::scalar::layers::soften_rows(rows, length);
        }

        #[target_feature(enable = $features)]
        fn normalise_rows(
            rows: &mut [f32],
            others: &[f32],
            bias: &[f32],
            norm: &crate::layers::Norm,
        ) {
            crate::scalar::layers::normalise_rows(rows, others, bias, norm);
        }

        /// The kernels of layers of this instruction set.
        pub(crate) const LAYERS: crate::layers::LayerTable = crate::layers::LayerTable {
            gelu: gelu_rows,
            soften: soften_rows,
            normalise: normalise_rows,
        };
    };
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) use layer_kernels;

#[cfg(test)]
mod tests;
