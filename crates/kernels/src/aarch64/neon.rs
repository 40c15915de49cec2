//! Kernels for NEON: four numbers at a time.

use std::arch::aarch64::{
    float32x4_t, vaddvq_f32, vdupq_n_f32, vfmaq_f32, vld1q_f32, vst1q_f32, vsubq_f32,
};

use self::{load as load_row, load_part as load_row_part};
use crate::layers::layer_kernels;
use crate::sums::{distance_kernels, tile_kernels};

pub(super) type Vector = float32x4_t;
type Element = f32;
pub(super) const LANES: usize = 4;

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn zero() -> Vector {
    vdupq_n_f32(0.0)
}

/// # Safety
/// `from` points to [`LANES`] numbers.
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn load(from: *const f32) -> Vector {
    // SAFETY: as the caller promises; the load needs no alignment.
    unsafe { vld1q_f32(from) }
}

/// The first `count` numbers, then zeros.
///
/// # Safety
/// `from` points to `count` numbers, at most [`LANES`].
#[inline]
#[target_feature(enable = "neon")]
pub(super) unsafe fn load_part(from: *const f32, count: usize) -> Vector {
    let mut numbers = [0.0f32; LANES];
    // SAFETY: `count` is at most `LANES`, the length of `numbers`, which is no part of the input.
    unsafe {
        std::ptr::copy_nonoverlapping(from, numbers.as_mut_ptr(), count);
        vld1q_f32(numbers.as_ptr())
    }
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn multiply_add(a: Vector, b: Vector, sum: Vector) -> Vector {
    vfmaq_f32(sum, a, b)
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn subtract(a: Vector, b: Vector) -> Vector {
    vsubq_f32(a, b)
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn sum(vector: Vector) -> f32 {
    vaddvq_f32(vector)
}

#[inline]
#[target_feature(enable = "neon")]
fn splat(number: f32) -> Vector {
    vdupq_n_f32(number)
}

#[inline]
#[target_feature(enable = "neon")]
fn store(to: &mut [f32; LANES], vector: Vector) {
    // SAFETY: the array has the numbers that are written; the store needs no alignment.
    unsafe { vst1q_f32(to.as_mut_ptr(), vector) }
}

distance_kernels!("neon", rows: 4, rows_with_norms: 4);
tile_kernels!("neon", rows: 6, vectors: 4);
layer_kernels!("neon");
