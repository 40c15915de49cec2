//! The bodies of the kernels over codes, written once for every instruction set.
//!
//! What must stay true: `code_kernels` is used in a module that has, for one instruction set,
//! `block_bounds_of`, `dot_levels8` and `dot_levels4`; `one_by_one` makes the first of these of a
//! `block_bounds` for one query. They are macros for the reason that `sums` tells.

/// Writes the functions of a `CodeTable` for one instruction set, whose `target_feature`
/// attribute it takes; the scalar level has none.
macro_rules! code_kernels {
    ($($attribute:meta)?) => {
        $(#[$attribute])?
        fn scan_blocks_of<const Q: usize>(
            scans: [&crate::codes::Scan<'_>; Q],
            blocks: &[u8],
            admitted: Option<&[u32]>,
            limits: [f32; Q],
            survivors: &mut [Vec<crate::codes::Survivor>],
        ) {
            let mut bounds = [[0.0f32; crate::codes::BLOCK_ROWS]; Q];
            let bytes = scans[0].table.len() + crate::codes::FACTOR_BYTES;
            for (at, block) in blocks.chunks_exact(bytes).enumerate() {
                let allowed = admitted.map_or(u32::MAX, |words| words[at]);
                if allowed == 0 {
                    continue;
                }
                let below = block_bounds_of(scans, block, limits, &mut bounds);
                for ((below, bounds), survivors) in below.iter().zip(&bounds).zip(&mut *survivors) {
                    let mut below = below & allowed;
                    while below != 0 {
                        let row = below.trailing_zeros();
                        below &= below - 1;
                        survivors.push(crate::codes::Survivor {
                            slot: (at * crate::codes::BLOCK_ROWS) as u32 + row,
                            bound: bounds[row as usize],
                        });
                    }
                }
            }
        }

        $(#[$attribute])?
        fn scan_blocks(
            scans: &[crate::codes::Scan<'_>],
            blocks: &[u8],
            admitted: Option<&[u32]>,
            limits: &[f32],
            survivors: &mut [Vec<crate::codes::Survivor>],
        ) {
            let mut at = 0;
            while at < scans.len() {
                let (limits, survivors) = (&limits[at..], &mut survivors[at..]);
                // As many at once as have their sums in registers.
                at += match &scans[at..] {
                    [a, b, c, d, ..] => {
                        let limits = [limits[0], limits[1], limits[2], limits[3]];
                        scan_blocks_of([a, b, c, d], blocks, admitted, limits, survivors);
                        4
                    }
                    [a, b, ..] => {
                        let limits = [limits[0], limits[1]];
                        scan_blocks_of([a, b], blocks, admitted, limits, survivors);
                        2
                    }
                    rest => {
                        scan_blocks_of([&rest[0]], blocks, admitted, [limits[0]], survivors);
                        1
                    }
                };
            }
        }

        $(#[$attribute])?
        fn rotate(rotation: &crate::codes::Rotation, values: &mut [f32]) {
            crate::scalar::portable::rotate(rotation, values);
        }

        $(#[$attribute])?
        fn scan_table(query: &[f32], table: &mut [u8]) -> (f32, f32) {
            crate::scalar::portable::scan_table(query, table)
        }

        $(#[$attribute])?
        fn encode_signs(residual: &[f32], block: &mut [u8], slot: usize) -> f32 {
            crate::scalar::portable::encode_signs(residual, block, slot)
        }

        $(#[$attribute])?
        fn encode_levels8(residual: &[f32], scale: f32, codes: &mut [u8]) -> f32 {
            crate::scalar::portable::encode_levels8(residual, scale, codes)
        }

        $(#[$attribute])?
        fn encode_levels4(residual: &[f32], scale: f32, codes: &mut [u8]) -> f32 {
            crate::scalar::portable::encode_levels4(residual, scale, codes)
        }

        $(#[$attribute])?
        fn quantise(numbers: &[f32], out: &mut [i8]) -> (f32, i32) {
            crate::scalar::portable::quantise(numbers, out)
        }

        /// The kernels over codes of this instruction set.
        pub(crate) const CODES: crate::dispatch::CodeTable = crate::dispatch::CodeTable {
            scan_blocks,
            rotate,
            scan_table,
            encode_signs,
            encode_levels8,
            encode_levels4,
            quantise,
            dot_levels8,
            dot_levels4,
        };
    };
}

/// Writes `block_bounds_of` for an instruction set that gains nothing from doing several queries at
/// once: it calls `block_bounds` for each.
macro_rules! one_by_one {
    ($($attribute:meta)?) => {
        #[inline]
        $(#[$attribute])?
        fn block_bounds_of<const Q: usize>(
            scans: [&crate::codes::Scan<'_>; Q],
            block: &[u8],
            limits: [f32; Q],
            bounds: &mut [[f32; crate::codes::BLOCK_ROWS]; Q],
        ) -> [u32; Q] {
            let mut below = [0; Q];
            for at in 0..Q {
                below[at] = block_bounds(scans[at], block, limits[at], &mut bounds[at]);
            }
            below
        }
    };
}

pub(crate) use {code_kernels, one_by_one};
