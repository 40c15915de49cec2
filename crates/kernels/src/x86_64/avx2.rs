//! Kernels for AVX2 with FMA: eight numbers at a time.

use std::arch::x86_64::{
    __m256, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehl_ps, _mm_shuffle_ps,
    _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_maskload_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    _mm256_sub_ps,
};

use self::{load as load_row, load_part as load_row_part};
use crate::layers::layer_kernels;
use crate::sums::{distance_kernels, tile_kernels};

pub(super) type Vector = __m256;
type Element = f32;
pub(super) const LANES: usize = 8;

/// Eight words of ones, then eight of zeros: loaded from word `8 - n`, it selects n lanes.
const LANE_MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn zero() -> Vector {
    _mm256_setzero_ps()
}

/// # Safety
/// `from` points to [`LANES`] numbers.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn load(from: *const f32) -> Vector {
    // SAFETY: as the caller promises; the load needs no alignment.
    unsafe { _mm256_loadu_ps(from) }
}

/// The first `count` numbers, then zeros.
///
/// # Safety
/// `from` points to `count` numbers, at most [`LANES`].
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn load_part(from: *const f32, count: usize) -> Vector {
    // SAFETY: the mask is eight words of sixteen from word 0 to 8, and lanes outside of it are
    // not read from `from`.
    unsafe {
        let mask = _mm256_loadu_si256(LANE_MASKS.as_ptr().add(LANES - count).cast());
        _mm256_maskload_ps(from, mask)
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn multiply_add(a: Vector, b: Vector, sum: Vector) -> Vector {
    _mm256_fmadd_ps(a, b, sum)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn subtract(a: Vector, b: Vector) -> Vector {
    _mm256_sub_ps(a, b)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn sum(vector: Vector) -> f32 {
    let half = _mm_add_ps(
        _mm256_castps256_ps128(vector),
        _mm256_extractf128_ps::<1>(vector),
    );
    let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
    _mm_cvtss_f32(_mm_add_ss(quarter, _mm_shuffle_ps::<1>(quarter, quarter)))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn splat(number: f32) -> Vector {
    _mm256_set1_ps(number)
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn store(to: &mut [f32; LANES], vector: Vector) {
    // SAFETY: the array has the numbers that are written; the store needs no alignment.
    unsafe { _mm256_storeu_ps(to.as_mut_ptr(), vector) }
}

distance_kernels!("avx2,fma", rows: 4, rows_with_norms: 2);
tile_kernels!("avx2,fma", rows: 6, vectors: 2);
layer_kernels!("avx2,fma");
