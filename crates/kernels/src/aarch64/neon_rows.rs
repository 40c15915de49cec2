//! Distances to rows of narrower elements for NEON: four are widened at a time.

use std::arch::aarch64::{
    vandq_u32, vbslq_u32, vcgeq_u32, vcvtq_f32_s32, vdup_n_u32, vdupq_n_f32, vdupq_n_u32,
    vget_low_s16, vld1_u16, vmovl_s8, vmovl_s16, vmovl_u16, vmulq_f32, vorrq_u32,
    vreinterpret_s8_u32, vreinterpretq_f32_u32, vreinterpretq_u32_f32, vshlq_n_u32,
};

use super::neon::{LANES, Vector, load, load_part, multiply_add, subtract, sum, zero};
use crate::dispatch::DistanceTables;
use crate::sums::{distance_kernels, load_row_part};

mod f16 {
    use super::{
        LANES, Vector, distance_kernels, load, load_part, load_row_part, multiply_add, subtract,
        sum, vandq_u32, vbslq_u32, vcgeq_u32, vdupq_n_f32, vdupq_n_u32, vld1_u16, vmovl_u16,
        vmulq_f32, vorrq_u32, vreinterpretq_f32_u32, vreinterpretq_u32_f32, vshlq_n_u32, zero,
    };

    type Element = crate::F16;

    /// # Safety
    /// `from` points to [`LANES`] elements.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_row(from: *const Element) -> Vector {
        // SAFETY: as the caller promises; the load needs no alignment beyond the element's.
        let wide = vmovl_u16(unsafe { vld1_u16(from.cast()) });
        let sign = vshlq_n_u32::<16>(vandq_u32(wide, vdupq_n_u32(0x8000)));
        let bits = vshlq_n_u32::<13>(vandq_u32(wide, vdupq_n_u32(0x7fff)));
        // The exponents differ by 112; a product sets that right for numbers without all digits too.
        let scale = vdupq_n_f32(crate::elements::F16_SCALE);
        let size = vreinterpretq_u32_f32(vmulq_f32(vreinterpretq_f32_u32(bits), scale));
        let endless = vorrq_u32(bits, vdupq_n_u32(0xff << 23));
        let size = vbslq_u32(vcgeq_u32(bits, vdupq_n_u32(31 << 23)), endless, size);
        vreinterpretq_f32_u32(vorrq_u32(size, sign))
    }

    load_row_part!("neon");
    distance_kernels!("neon", rows: 4, rows_with_norms: 4);
}

mod bf16 {
    use super::{
        LANES, Vector, distance_kernels, load, load_part, load_row_part, multiply_add, subtract,
        sum, vld1_u16, vmovl_u16, vreinterpretq_f32_u32, vshlq_n_u32, zero,
    };

    type Element = crate::Bf16;

    /// # Safety
    /// `from` points to [`LANES`] elements.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_row(from: *const Element) -> Vector {
        // SAFETY: as the caller promises; the load needs no alignment beyond the element's.
        let wide = vmovl_u16(unsafe { vld1_u16(from.cast()) });
        vreinterpretq_f32_u32(vshlq_n_u32::<16>(wide))
    }

    load_row_part!("neon");
    distance_kernels!("neon", rows: 4, rows_with_norms: 4);
}

mod i8 {
    use super::{
        LANES, Vector, distance_kernels, load, load_part, load_row_part, multiply_add, subtract,
        sum, vcvtq_f32_s32, vdup_n_u32, vget_low_s16, vmovl_s8, vmovl_s16, vreinterpret_s8_u32,
        zero,
    };

    type Element = ::core::primitive::i8;

    /// # Safety
    /// `from` points to [`LANES`] elements.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_row(from: *const Element) -> Vector {
        // SAFETY: as the caller promises; four bytes are read, without alignment.
        let four = unsafe { from.cast::<u32>().read_unaligned() };
        let wide = vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four)));
        vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)))
    }

    load_row_part!("neon");
    distance_kernels!("neon", rows: 4, rows_with_norms: 4);
}

/// The distance kernels of this instruction set.
pub(crate) const TABLES: DistanceTables = DistanceTables {
    f32: super::neon::DISTANCES,
    f16: f16::DISTANCES,
    bf16: bf16::DISTANCES,
    i8: i8::DISTANCES,
};
