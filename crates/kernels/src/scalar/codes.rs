//! The reference kernels over codes.

use crate::codes::bodies::code_kernels;
use crate::codes::{BLOCK_ROWS, LEVELS_STRIPE, Scan};

/// What `codes::scan_blocks` says of one block: the rows below the limit, and every bound.
fn block_bounds(scan: &Scan<'_>, record: &[u8], limit: f32, bounds: &mut [f32; BLOCK_ROWS]) -> u32 {
    let mut sums = [0u32; BLOCK_ROWS];
    let (codes, factors) = record.split_at(scan.table.len());
    let (tables, _) = scan.table.as_chunks::<16>();
    for (line, table) in codes.as_chunks::<16>().0.iter().zip(tables) {
        for (at, byte) in line.iter().enumerate() {
            sums[at] += u32::from(table[usize::from(byte & 15)]);
            sums[at + 16] += u32::from(table[usize::from(byte >> 4)]);
        }
    }
    let (factors, _) = factors.as_chunks::<4>();
    let (offsets, slopes) = factors.split_at(BLOCK_ROWS);
    let mut below = 0;
    for (at, bound) in bounds.iter_mut().enumerate() {
        let offset = f32::from_le_bytes(offsets[at]);
        let slope = f32::from_le_bytes(slopes[at]);
        *bound = scan.times * offset + slope * (scan.base - scan.step * sums[at] as f32);
        below |= u32::from(*bound < limit) << at;
    }
    below
}

fn dot_levels8(codes: &[u8], query: &[i8]) -> i32 {
    let pairs = codes.iter().zip(query);
    pairs
        .map(|(&code, &number)| i32::from(code) * i32::from(number))
        .sum()
}

fn dot_levels4(codes: &[u8], query: &[i8]) -> i32 {
    let stripes = codes.as_chunks::<{ LEVELS_STRIPE / 2 }>().0.iter();
    let mut sum = 0;
    for (codes, query) in stripes.zip(query.as_chunks::<LEVELS_STRIPE>().0) {
        let (low, high) = query.split_at(LEVELS_STRIPE / 2);
        for (&code, (&low, &high)) in codes.iter().zip(low.iter().zip(high)) {
            sum += i32::from(code & 15) * i32::from(low) + i32::from(code >> 4) * i32::from(high);
        }
    }
    sum
}

code_kernels!();
