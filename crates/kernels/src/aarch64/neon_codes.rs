//! Kernels over codes for NEON.

use std::arch::aarch64::{
    int8x16_t, uint8x16_t, uint16x8_t, vaddq_s32, vaddvq_s32, vaddw_high_u8, vaddw_u8, vandq_u8,
    vdupq_n_s32, vdupq_n_u8, vdupq_n_u16, vget_high_s8, vget_high_s16, vget_high_u8, vget_low_s8,
    vget_low_s16, vget_low_u8, vld1q_s8, vld1q_u8, vmlal_s16, vmovl_s8, vmovl_u8, vmull_s8,
    vpadalq_s16, vqtbl1q_u8, vreinterpretq_s8_u8, vreinterpretq_s16_u16, vshrq_n_u8, vst1q_u16,
};

use crate::codes::bodies::code_kernels;
use crate::codes::{BLOCK_ROWS, FACTOR_BYTES, LEVELS_STRIPE, Scan};

/// Bytes of lines whose entries, at most 255 each, are added up in 16 bits: 256 lines.
const LINES_BYTES: usize = 256 * 16;

#[inline]
#[target_feature(enable = "neon")]
fn load(from: &[u8; 16]) -> uint8x16_t {
    // SAFETY: the array has the 16 bytes that are read; the load needs no alignment.
    unsafe { vld1q_u8(from.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn load_query(from: &[i8; 16]) -> int8x16_t {
    // SAFETY: the array has the 16 bytes that are read; the load needs no alignment.
    unsafe { vld1q_s8(from.as_ptr()) }
}

/// Adds the sums of eight rows to `totals`.
#[inline]
#[target_feature(enable = "neon")]
fn add_rows(sums: uint16x8_t, totals: &mut [u32]) {
    let mut rows = [0u16; 8];
    // SAFETY: the array has room for the eight numbers.
    unsafe { vst1q_u16(rows.as_mut_ptr(), sums) };
    for (total, row) in totals.iter_mut().zip(rows) {
        *total += u32::from(row);
    }
}

/// What `codes::scan_blocks` says of one block: the rows below the limit, and every bound.
#[inline]
#[target_feature(enable = "neon")]
fn block_bounds(scan: &Scan<'_>, block: &[u8], limit: f32, bounds: &mut [f32; BLOCK_ROWS]) -> u32 {
    assert!(block.len() == scan.table.len() + FACTOR_BYTES);
    let (codes, factors) = block.split_at(scan.table.len());
    let halves = vdupq_n_u8(15);
    let mut totals = [0u32; BLOCK_ROWS];
    for (lines, tables) in codes
        .chunks(LINES_BYTES)
        .zip(scan.table.chunks(LINES_BYTES))
    {
        let mut sums = [vdupq_n_u16(0); 4];
        for (line, table) in lines.as_chunks().0.iter().zip(tables.as_chunks().0) {
            let (line, table) = (load(line), load(table));
            let low = vqtbl1q_u8(table, vandq_u8(line, halves));
            let high = vqtbl1q_u8(table, vshrq_n_u8::<4>(line));
            sums[0] = vaddw_u8(sums[0], vget_low_u8(low));
            sums[1] = vaddw_high_u8(sums[1], low);
            sums[2] = vaddw_u8(sums[2], vget_low_u8(high));
            sums[3] = vaddw_high_u8(sums[3], high);
        }
        for (at, sums) in sums.into_iter().enumerate() {
            add_rows(sums, &mut totals[at * 8..at * 8 + 8]);
        }
    }
    let (factors, _) = factors.as_chunks::<4>();
    let (offsets, slopes) = factors.split_at(BLOCK_ROWS);
    let mut below = 0;
    for (at, bound) in bounds.iter_mut().enumerate() {
        let offset = f32::from_le_bytes(offsets[at]);
        let slope = f32::from_le_bytes(slopes[at]);
        *bound = scan.times * offset + slope * (scan.base - scan.step * totals[at] as f32);
        below |= u32::from(*bound < limit) << at;
    }
    below
}

#[target_feature(enable = "neon")]
fn dot_levels8(codes: &[u8], query: &[i8]) -> i32 {
    let mut sums = [vdupq_n_s32(0); 4];
    let pairs = codes
        .as_chunks::<16>()
        .0
        .iter()
        .zip(query.as_chunks::<16>().0);
    for (codes, query) in pairs {
        let (codes, query) = (load(codes), load_query(query));
        let low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(codes)));
        let high = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(codes)));
        let query_low = vmovl_s8(vget_low_s8(query));
        let query_high = vmovl_s8(vget_high_s8(query));
        sums[0] = vmlal_s16(sums[0], vget_low_s16(low), vget_low_s16(query_low));
        sums[1] = vmlal_s16(sums[1], vget_high_s16(low), vget_high_s16(query_low));
        sums[2] = vmlal_s16(sums[2], vget_low_s16(high), vget_low_s16(query_high));
        sums[3] = vmlal_s16(sums[3], vget_high_s16(high), vget_high_s16(query_high));
    }
    let halves = [vaddq_s32(sums[0], sums[1]), vaddq_s32(sums[2], sums[3])];
    vaddvq_s32(vaddq_s32(halves[0], halves[1]))
}

#[target_feature(enable = "neon")]
fn dot_levels4(codes: &[u8], query: &[i8]) -> i32 {
    let halves = vdupq_n_u8(15);
    let mut total = vdupq_n_s32(0);
    let stripes = codes.as_chunks::<{ LEVELS_STRIPE / 2 }>().0.iter();
    for (codes, query) in stripes.zip(query.as_chunks::<LEVELS_STRIPE>().0) {
        let (query, _) = query.as_chunks::<16>();
        for (at, codes) in codes.as_chunks::<16>().0.iter().enumerate() {
            let codes = load(codes);
            let low = vreinterpretq_s8_u8(vandq_u8(codes, halves));
            let high = vreinterpretq_s8_u8(vshrq_n_u8::<4>(codes));
            for (levels, query) in [(low, &query[at]), (high, &query[at + 2])] {
                let query = load_query(query);
                total = vpadalq_s16(total, vmull_s8(vget_low_s8(levels), vget_low_s8(query)));
                total = vpadalq_s16(total, vmull_s8(vget_high_s8(levels), vget_high_s8(query)));
            }
        }
    }
    vaddvq_s32(total)
}

code_kernels!(target_feature(enable = "neon"));
