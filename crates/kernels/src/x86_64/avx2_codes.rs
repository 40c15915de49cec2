//! Kernels over codes for AVX2.
//!
//! Two lines of a block are looked up by one shuffle. Entries are added up as 16-bit numbers, those
//! of odd rows apart and those of even rows together with the odd ones, which are taken off later.

use std::arch::x86_64::{
    __m128i, __m256i, _CMP_LT_OQ, _mm_add_epi16, _mm_add_epi32, _mm_cvtsi128_si32, _mm_loadu_si128,
    _mm_shuffle_epi32, _mm_unpackhi_epi16, _mm_unpacklo_epi16, _mm256_add_epi16, _mm256_add_epi32,
    _mm256_and_si256, _mm256_castsi256_si128, _mm256_cmp_ps, _mm256_cvtepi8_epi16,
    _mm256_cvtepi32_ps, _mm256_cvtepu8_epi16, _mm256_cvtepu16_epi32, _mm256_extracti128_si256,
    _mm256_fmadd_ps, _mm256_fnmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_movemask_ps, _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_set1_ps, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi16,
    _mm256_srli_epi16, _mm256_storeu_ps, _mm256_sub_epi16,
};

use crate::codes::bodies::code_kernels;
use crate::codes::{BLOCK_ROWS, FACTOR_BYTES, LEVELS_STRIPE, Scan};

/// Bytes of lines whose entries, at most 255 each, are added up in 16 bits: 256 lines.
const LINES_BYTES: usize = 256 * 16;

#[inline]
#[target_feature(enable = "avx2,fma")]
fn load(from: &[u8; 32]) -> __m256i {
    // SAFETY: the array has the 32 bytes that are read; the load needs no alignment.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

/// The sum of eight numbers.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sum(numbers: __m256i) -> i32 {
    let half = _mm_add_epi32(
        _mm256_castsi256_si128(numbers),
        _mm256_extracti128_si256::<1>(numbers),
    );
    let quarter = _mm_add_epi32(half, _mm_shuffle_epi32::<0b00_00_11_10>(half));
    _mm_cvtsi128_si32(_mm_add_epi32(quarter, _mm_shuffle_epi32::<1>(quarter)))
}

/// The sum of both halves.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn fold(numbers: __m256i) -> __m128i {
    _mm_add_epi16(
        _mm256_castsi256_si128(numbers),
        _mm256_extracti128_si256::<1>(numbers),
    )
}

/// Adds to `totals` the sums of sixteen rows, from sums where odd rows stand in the upper byte.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_rows(both: __m256i, odd: __m256i, totals: &mut [__m256i]) {
    let even = fold(_mm256_sub_epi16(both, _mm256_slli_epi16::<8>(odd)));
    let odd = fold(odd);
    let rows = [_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd)];
    for (total, rows) in totals.iter_mut().zip(rows) {
        *total = _mm256_add_epi32(*total, _mm256_cvtepu16_epi32(rows));
    }
}

/// What `codes::scan_blocks` says of one block: the rows below the limit, and every bound.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn block_bounds(scan: &Scan<'_>, block: &[u8], limit: f32, bounds: &mut [f32; BLOCK_ROWS]) -> u32 {
    assert!(block.len() == scan.table.len() + FACTOR_BYTES);
    let (codes, factors) = block.split_at(scan.table.len());
    let halves = _mm256_set1_epi8(15);
    let mut totals = [_mm256_setzero_si256(); 4];
    for (lines, tables) in codes
        .chunks(LINES_BYTES)
        .zip(scan.table.chunks(LINES_BYTES))
    {
        let mut low = [_mm256_setzero_si256(); 2];
        let mut high = [_mm256_setzero_si256(); 2];
        for (lines, table) in lines.as_chunks().0.iter().zip(tables.as_chunks().0) {
            let (lines, table) = (load(lines), load(table));
            let entries = _mm256_shuffle_epi8(table, _mm256_and_si256(lines, halves));
            low[0] = _mm256_add_epi16(low[0], entries);
            low[1] = _mm256_add_epi16(low[1], _mm256_srli_epi16::<8>(entries));
            let shifted = _mm256_and_si256(_mm256_srli_epi16::<4>(lines), halves);
            let entries = _mm256_shuffle_epi8(table, shifted);
            high[0] = _mm256_add_epi16(high[0], entries);
            high[1] = _mm256_add_epi16(high[1], _mm256_srli_epi16::<8>(entries));
        }
        let (first, second) = totals.split_at_mut(2);
        add_rows(low[0], low[1], first);
        add_rows(high[0], high[1], second);
    }
    let base = _mm256_set1_ps(scan.base);
    let step = _mm256_set1_ps(scan.step);
    let times = _mm256_set1_ps(scan.times);
    let limit = _mm256_set1_ps(limit);
    let mut below = 0;
    for (at, total) in totals.into_iter().enumerate() {
        let factors = &factors[at * 32..];
        assert!(factors.len() >= FACTOR_BYTES / 2 + 32);
        // SAFETY: 32 bytes of offsets stand at 0, as many of slopes 128 bytes on, by the
        // assertion; `bounds` has room for 8 numbers at 0, 8, 16 and 24.
        below |= unsafe {
            let offsets = _mm256_loadu_ps(factors.as_ptr().cast());
            let slopes = _mm256_loadu_ps(factors.as_ptr().add(FACTOR_BYTES / 2).cast());
            let terms = _mm256_fnmadd_ps(step, _mm256_cvtepi32_ps(total), base);
            let values = _mm256_fmadd_ps(slopes, terms, _mm256_mul_ps(times, offsets));
            _mm256_storeu_ps(bounds.as_mut_ptr().add(at * 8), values);
            let mask = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(values, limit));
            mask.cast_unsigned() << (at * 8)
        };
    }
    below
}

#[target_feature(enable = "avx2,fma")]
fn dot_levels8(codes: &[u8], query: &[i8]) -> i32 {
    let mut sums = [_mm256_setzero_si256(); 2];
    let pairs = codes
        .as_chunks::<16>()
        .0
        .iter()
        .zip(query.as_chunks::<16>().0);
    for (at, (codes, query)) in pairs.enumerate() {
        // SAFETY: both arrays have the 16 bytes that are read.
        let (codes, query) = unsafe {
            (
                _mm_loadu_si128(codes.as_ptr().cast()),
                _mm_loadu_si128(query.as_ptr().cast()),
            )
        };
        let products = _mm256_madd_epi16(_mm256_cvtepu8_epi16(codes), _mm256_cvtepi8_epi16(query));
        sums[at % 2] = _mm256_add_epi32(sums[at % 2], products);
    }
    sum(_mm256_add_epi32(sums[0], sums[1]))
}

#[target_feature(enable = "avx2,fma")]
fn dot_levels4(codes: &[u8], query: &[i8]) -> i32 {
    let halves = _mm256_set1_epi8(15);
    let ones = _mm256_set1_epi16(1);
    let mut total = _mm256_setzero_si256();
    let stripes = codes.as_chunks::<{ LEVELS_STRIPE / 2 }>().0.iter();
    for (codes, query) in stripes.zip(query.as_chunks::<LEVELS_STRIPE>().0) {
        // SAFETY: two times 32 bytes of the query are read, as the array has.
        let query = unsafe {
            let query = query.as_ptr();
            [
                _mm256_loadu_si256(query.cast()),
                _mm256_loadu_si256(query.add(32).cast()),
            ]
        };
        let codes = load(codes);
        let low = _mm256_maddubs_epi16(_mm256_and_si256(codes, halves), query[0]);
        let shifted = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), halves);
        let high = _mm256_maddubs_epi16(shifted, query[1]);
        // Each is at most 2 * 15 * 127, so that their sum fits 16 bits.
        let products = _mm256_madd_epi16(_mm256_add_epi16(low, high), ones);
        total = _mm256_add_epi32(total, products);
    }
    sum(total)
}

code_kernels!(target_feature(enable = "avx2,fma"));
