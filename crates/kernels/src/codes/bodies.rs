//! The bodies of the kernels over codes, written once for every instruction set.
//!
//! What must stay true: `code_kernels` is used in a module that has, for one instruction set,
//! `block_bounds`, `dot_levels8` and `dot_levels4`. It is a macro for the reason that `sums` tells.

/// Writes the functions of a `CodeTable` for one instruction set, whose `target_feature`
/// attribute it takes; the scalar level has none.
macro_rules! code_kernels {
    ($($attribute:meta)?) => {
        $(#[$attribute])?
        fn scan_blocks(
            scan: &crate::codes::Scan<'_>,
            blocks: &[u8],
            admitted: Option<&[u32]>,
            limit: f32,
            survivors: &mut Vec<crate::codes::Survivor>,
        ) {
            let mut bounds = [0.0f32; crate::codes::BLOCK_ROWS];
            let bytes = scan.table.len() + crate::codes::FACTOR_BYTES;
            for (at, block) in blocks.chunks_exact(bytes).enumerate() {
                let allowed = admitted.map_or(u32::MAX, |words| words[at]);
                if allowed == 0 {
                    continue;
                }
                let mut below = block_bounds(scan, block, limit, &mut bounds) & allowed;
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

pub(crate) use code_kernels;
