//! Distances to rows of narrower elements for AVX2 with F16C: eight are widened at a time.

use std::arch::x86_64::{
    _mm_loadl_epi64, _mm_loadu_si128, _mm256_castsi256_ps, _mm256_cvtepi8_epi32,
    _mm256_cvtepi32_ps, _mm256_cvtepu16_epi32, _mm256_cvtph_ps, _mm256_slli_epi32,
};

use super::avx2::{LANES, Vector, load, load_part, multiply_add, subtract, sum, zero};
use crate::dispatch::DistanceTables;
use crate::sums::{distance_kernels, load_row_part};

mod f16 {
    use super::{
        _mm_loadu_si128, _mm256_cvtph_ps, LANES, Vector, distance_kernels, load, load_part,
        load_row_part, multiply_add, subtract, sum, zero,
    };

    type Element = crate::F16;

    /// # Safety
    /// `from` points to [`LANES`] elements.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load_row(from: *const Element) -> Vector {
        // SAFETY: as the caller promises; the load needs no alignment.
        _mm256_cvtph_ps(unsafe { _mm_loadu_si128(from.cast()) })
    }

    load_row_part!("avx2,fma,f16c");
    distance_kernels!("avx2,fma,f16c", rows: 4, rows_with_norms: 2);
}

mod bf16 {
    use super::{
        _mm_loadu_si128, _mm256_castsi256_ps, _mm256_cvtepu16_epi32, _mm256_slli_epi32, LANES,
        Vector, distance_kernels, load, load_part, load_row_part, multiply_add, subtract, sum,
        zero,
    };

    type Element = crate::Bf16;

    /// # Safety
    /// `from` points to [`LANES`] elements.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load_row(from: *const Element) -> Vector {
        // SAFETY: as the caller promises; the load needs no alignment.
        let wide = _mm256_cvtepu16_epi32(unsafe { _mm_loadu_si128(from.cast()) });
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
    }

    load_row_part!("avx2,fma");
    distance_kernels!("avx2,fma", rows: 4, rows_with_norms: 2);
}

mod i8 {
    use super::{
        _mm_loadl_epi64, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, LANES, Vector, distance_kernels,
        load, load_part, load_row_part, multiply_add, subtract, sum, zero,
    };

    type Element = ::core::primitive::i8;

    /// # Safety
    /// `from` points to [`LANES`] elements.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load_row(from: *const Element) -> Vector {
        // SAFETY: as the caller promises; eight bytes are read, without alignment.
        let wide = _mm256_cvtepi8_epi32(unsafe { _mm_loadl_epi64(from.cast()) });
        _mm256_cvtepi32_ps(wide)
    }

    load_row_part!("avx2,fma");
    distance_kernels!("avx2,fma", rows: 4, rows_with_norms: 2);
}

/// The distance kernels of this instruction set.
pub(crate) const TABLES: DistanceTables = DistanceTables {
    f32: super::avx2::DISTANCES,
    f16: f16::DISTANCES,
    bf16: bf16::DISTANCES,
    i8: i8::DISTANCES,
};
