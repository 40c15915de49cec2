//! Kernels over codes for AVX-512 with VBMI and VNNI.
//!
//! Four lines of a block are turned so that the four groups of one row stand next to each other;
//! one byte permutation then looks up 64 entries of four tables, and one dot instruction with ones
//! adds the four entries of each row to its sum of 32 bits.

use std::arch::x86_64::{
    __m512i, _CMP_LT_OQ, _mm256_and_si256, _mm256_dpbusd_epi32, _mm256_loadu_si256,
    _mm256_set1_epi8, _mm256_setzero_si256, _mm256_srli_epi16, _mm512_add_epi32,
    _mm512_cmp_ps_mask, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_fnmadd_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_permutexvar_epi8,
    _mm512_reduce_add_epi32, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_si512, _mm512_srli_epi16, _mm512_storeu_ps, _mm512_ternarylogic_epi32,
};

use crate::codes::bodies::code_kernels;
use crate::codes::{BLOCK_ROWS, FACTOR_BYTES, LEVELS_STRIPE, Scan};

/// Byte 4 i + g of the turned vector is byte 16 g + i of four lines.
const TURN: [u8; 64] = {
    let mut turn = [0; 64];
    let mut at = 0;
    while at < 64 {
        turn[at] = (at % 4 * 16 + at / 4) as u8;
        at += 1;
    }
    turn
};

/// `(a & b) | c` for `_mm512_ternarylogic_epi32`.
const AND_OR: i32 = 0xea;

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn load(from: &[u8; 64]) -> __m512i {
    // SAFETY: the array has the 64 bytes that are read; the load needs no alignment.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

/// What `codes::scan_blocks` says of one block: the rows below the limit, and every bound.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,fma,avx2")]
fn block_bounds(scan: &Scan<'_>, block: &[u8], limit: f32, bounds: &mut [f32; BLOCK_ROWS]) -> u32 {
    let lines = block.len() - FACTOR_BYTES;
    assert!(scan.table.len() == lines);
    let (codes, factors) = block.split_at(lines);
    let turn = load(&TURN);
    let halves = _mm512_set1_epi8(15);
    // The table of group g of four begins at entry 16 g.
    let starts = _mm512_set1_epi32(0x3020_1000);
    let ones = _mm512_set1_epi8(1);
    // Two sums for each half: one would wait for the latency of the dot instruction.
    let mut sums = [[_mm512_setzero_si512(); 2]; 2];
    let pairs = codes.as_chunks::<128>().0.iter();
    for (lines, table) in pairs.zip(scan.table.as_chunks::<128>().0) {
        let (lines, table) = (lines.as_chunks::<64>().0, table.as_chunks::<64>().0);
        for ((lines, table), sums) in lines.iter().zip(table).zip(&mut sums) {
            let turned = _mm512_permutexvar_epi8(turn, load(lines));
            let table = load(table);
            let low = _mm512_ternarylogic_epi32::<AND_OR>(turned, halves, starts);
            let shifted = _mm512_srli_epi16::<4>(turned);
            let high = _mm512_ternarylogic_epi32::<AND_OR>(shifted, halves, starts);
            sums[0] = _mm512_dpbusd_epi32(sums[0], _mm512_permutexvar_epi8(low, table), ones);
            sums[1] = _mm512_dpbusd_epi32(sums[1], _mm512_permutexvar_epi8(high, table), ones);
        }
    }
    let [first, second] = sums;
    let halves = [
        _mm512_add_epi32(first[0], second[0]),
        _mm512_add_epi32(first[1], second[1]),
    ];
    bounds_of_sums(scan, halves, factors, limit, bounds)
}

/// The rows below `limit`, and every bound, from the sums of both halves of the rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,fma,avx2")]
fn bounds_of_sums(
    scan: &Scan<'_>,
    halves: [__m512i; 2],
    factors: &[u8],
    limit: f32,
    bounds: &mut [f32; BLOCK_ROWS],
) -> u32 {
    let base = _mm512_set1_ps(scan.base);
    let step = _mm512_set1_ps(scan.step);
    let times = _mm512_set1_ps(scan.times);
    let limit = _mm512_set1_ps(limit);
    let mut below = 0;
    for (half, sums) in halves.into_iter().enumerate() {
        let factors = &factors[half * 64..];
        assert!(factors.len() >= FACTOR_BYTES / 2 + 64);
        // SAFETY: 64 bytes of offsets stand at 0, as many of slopes 128 bytes on, by the
        // assertion; `bounds` has room for 16 numbers at 0 and at 16.
        below |= unsafe {
            let offsets = _mm512_loadu_ps(factors.as_ptr().cast());
            let slopes = _mm512_loadu_ps(factors.as_ptr().add(FACTOR_BYTES / 2).cast());
            let terms = _mm512_fnmadd_ps(step, _mm512_cvtepi32_ps(sums), base);
            let values = _mm512_fmadd_ps(slopes, terms, _mm512_mul_ps(times, offsets));
            _mm512_storeu_ps(bounds.as_mut_ptr().add(half * 16), values);
            u32::from(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(values, limit)) << (half * 16)
        };
    }
    below
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn dot_levels8(codes: &[u8], query: &[i8]) -> i32 {
    let mut sums = [_mm512_setzero_si512(); 2];
    for (at, (codes, query)) in codes
        .as_chunks::<64>()
        .0
        .iter()
        .zip(query.as_chunks::<64>().0)
        .enumerate()
    {
        // SAFETY: the array has the 64 bytes that are read.
        let query = unsafe { _mm512_loadu_si512(query.as_ptr().cast()) };
        sums[at % 2] = _mm512_dpbusd_epi32(sums[at % 2], load(codes), query);
    }
    _mm512_reduce_add_epi32(sums[0]) + _mm512_reduce_add_epi32(sums[1])
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn dot_levels4(codes: &[u8], query: &[i8]) -> i32 {
    let halves = _mm256_set1_epi8(15);
    let mut low = _mm256_setzero_si256();
    let mut high = _mm256_setzero_si256();
    let stripes = codes.as_chunks::<{ LEVELS_STRIPE / 2 }>().0.iter();
    for (codes, query) in stripes.zip(query.as_chunks::<LEVELS_STRIPE>().0) {
        // SAFETY: 32 bytes of codes and two times 32 of the query are read, as the arrays have.
        let (codes, query) = unsafe {
            let query = query.as_ptr();
            (
                _mm256_loadu_si256(codes.as_ptr().cast()),
                [
                    _mm256_loadu_si256(query.cast()),
                    _mm256_loadu_si256(query.add(32).cast()),
                ],
            )
        };
        low = _mm256_dpbusd_epi32(low, _mm256_and_si256(codes, halves), query[0]);
        let shifted = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), halves);
        high = _mm256_dpbusd_epi32(high, shifted, query[1]);
    }
    super::avx2_codes::sum(low).wrapping_add(super::avx2_codes::sum(high))
}

code_kernels!(target_feature(
    enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni,fma,avx2"
));
