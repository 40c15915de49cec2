//! Kernels for AVX-512F: sixteen numbers at a time.

use std::arch::x86_64::{
    __m512, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_maskz_loadu_ps, _mm512_reduce_add_ps,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps, _mm512_sub_ps,
};

use self::{load as load_row, load_part as load_row_part};
use crate::layers::layer_kernels;
use crate::sums::{distance_kernels, tile_kernels};

pub(super) type Vector = __m512;
type Element = f32;
pub(super) const LANES: usize = 16;

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn zero() -> Vector {
    _mm512_setzero_ps()
}

/// # Safety
/// `from` points to [`LANES`] numbers.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn load(from: *const f32) -> Vector {
    // SAFETY: as the caller promises; the load needs no alignment.
    unsafe { _mm512_loadu_ps(from) }
}

/// The first `count` numbers, then zeros.
///
/// # Safety
/// `from` points to `count` numbers, at most [`LANES`].
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn load_part(from: *const f32, count: usize) -> Vector {
    let lanes = ((1u32 << count) - 1) as u16;
    // SAFETY: lanes outside of the mask are not read.
    unsafe { _mm512_maskz_loadu_ps(lanes, from) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn multiply_add(a: Vector, b: Vector, sum: Vector) -> Vector {
    _mm512_fmadd_ps(a, b, sum)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn subtract(a: Vector, b: Vector) -> Vector {
    _mm512_sub_ps(a, b)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn sum(vector: Vector) -> f32 {
    _mm512_reduce_add_ps(vector)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(number: f32) -> Vector {
    _mm512_set1_ps(number)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(to: &mut [f32; LANES], vector: Vector) {
    // SAFETY: the array has the numbers that are written; the store needs no alignment.
    unsafe { _mm512_storeu_ps(to.as_mut_ptr(), vector) }
}

distance_kernels!("avx512f", rows: 4, rows_with_norms: 4);
tile_kernels!("avx512f", rows: 12, vectors: 2);
layer_kernels!("avx512f");
