//! The reference tile kernels.

use crate::tiles::{PANEL, Part};

fn products(part: &Part<'_>, out: &mut [f32]) {
    part.check(out);
    let (dimension, count) = (part.columns.dimension, part.columns.count);
    for (at, panel) in part
        .columns
        .panels
        .chunks_exact(PANEL * dimension)
        .enumerate()
    {
        let (columns, _) = panel.as_chunks::<PANEL>();
        let columns = &columns[part.dimensions.clone()];
        let first = at * PANEL;
        let width = PANEL.min(count - first);
        for row in 0..part.wanted() {
            let mut totals = [0.0f32; PANEL];
            for (number, columns) in part.rows[part.offset(row)..].iter().zip(columns) {
                for (total, column) in totals.iter_mut().zip(columns) {
                    *total += number * column;
                }
            }
            let out = &mut out[row * count + first..row * count + first + width];
            out.copy_from_slice(&totals[..width]);
        }
    }
}

crate::sums::lowest_kernel!();
