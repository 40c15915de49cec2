//! The bodies of the kernels, written once for every instruction set.
//!
//! What must stay true: `distance_kernels` is used in a module that has, for one instruction set,
//! `Vector`, `LANES` and the steps `zero`, `load`, `load_part`, `multiply_add`, `subtract`, `sum`,
//! and for what rows are made of `Element`, `load_row` and `load_row_part`.
//! `tile_kernels` likewise, with `splat` and `store` beside the vector's steps.
//! The bodies live in macros and not in generic functions because `target_feature` must stand on
//! each function that is to be compiled with the wide registers, and takes a literal only.
//! Several accumulators per row hide the latency of the multiply-add; several rows at a time share
//! the loads of the query.

/// Writes the functions of a `DistanceTable` for one instruction set.
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    expect(
        unused_macros,
        reason = "this architecture has the scalar kernels only"
    )
)]
macro_rules! distance_kernels {
    ($features:literal, rows: $rows:literal, rows_with_norms: $rows_with_norms:literal) => {
        /// One step of a sum: the squared difference, or the product.
        #[inline]
        #[target_feature(enable = $features)]
        fn step<const L2: bool>(query: Vector, row: Vector, sum: Vector) -> Vector {
            if L2 {
                let difference = subtract(query, row);
                multiply_add(difference, difference, sum)
            } else {
                multiply_add(query, row, sum)
            }
        }

        /// The sums of `query` with R rows, U accumulators for each.
        ///
        /// # Safety
        /// `query` and each of `rows` point to `length` numbers.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn sums<const R: usize, const U: usize, const L2: bool>(
            query: *const f32,
            rows: [*const Element; R],
            length: usize,
        ) -> [f32; R] {
            let mut totals = [[zero(); U]; R];
            let mut at = 0;
            while at + U * LANES <= length {
                for lane in 0..U {
                    let offset = at + lane * LANES;
                    // SAFETY: `offset + LANES <= length` by the loop's condition.
                    let numbers = unsafe { load(query.add(offset)) };
                    for (row, total) in rows.iter().zip(&mut totals) {
                        // SAFETY: as above.
                        let row = unsafe { load_row(row.add(offset)) };
                        total[lane] = step::<L2>(numbers, row, total[lane]);
                    }
                }
                at += U * LANES;
            }
            while at < length {
                let count = LANES.min(length - at);
                // SAFETY: `at + count <= length`.
                let numbers = unsafe { load_part(query.add(at), count) };
                for (row, total) in rows.iter().zip(&mut totals) {
                    // SAFETY: as above.
                    let row = unsafe { load_row_part(row.add(at), count) };
                    total[0] = step::<L2>(numbers, row, total[0]);
                }
                at += LANES;
            }
            totals.map(|total| total.iter().map(|&part| sum(part)).sum())
        }

        /// The products of `query` with R rows, and the squared norms of the rows.
        ///
        /// # Safety
        /// `query` and each of `rows` point to `length` numbers.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn products_and_norms<const R: usize, const U: usize>(
            query: *const f32,
            rows: [*const Element; R],
            length: usize,
        ) -> [(f32, f32); R] {
            let mut totals = [[(zero(), zero()); U]; R];
            let mut at = 0;
            while at + U * LANES <= length {
                for lane in 0..U {
                    let offset = at + lane * LANES;
                    // SAFETY: `offset + LANES <= length` by the loop's condition.
                    let numbers = unsafe { load(query.add(offset)) };
                    for (row, total) in rows.iter().zip(&mut totals) {
                        // SAFETY: as above.
                        let row = unsafe { load_row(row.add(offset)) };
                        let (product, norm) = total[lane];
                        total[lane] = (
                            multiply_add(numbers, row, product),
                            multiply_add(row, row, norm),
                        );
                    }
                }
                at += U * LANES;
            }
            while at < length {
                let count = LANES.min(length - at);
                // SAFETY: `at + count <= length`.
                let numbers = unsafe { load_part(query.add(at), count) };
                for (row, total) in rows.iter().zip(&mut totals) {
                    // SAFETY: as above.
                    let row = unsafe { load_row_part(row.add(at), count) };
                    let (product, norm) = total[0];
                    total[0] = (
                        multiply_add(numbers, row, product),
                        multiply_add(row, row, norm),
                    );
                }
                at += LANES;
            }
            totals.map(|total| {
                total.iter().fold((0.0, 0.0), |(product, norm), part| {
                    (product + sum(part.0), norm + sum(part.1))
                })
            })
        }

        #[target_feature(enable = $features)]
        fn l2_squared(a: &[f32], b: &[Element]) -> f32 {
            assert_eq!(a.len(), b.len());
            // SAFETY: both slices have the length given.
            unsafe { sums::<1, 4, true>(a.as_ptr(), [b.as_ptr()], a.len())[0] }
        }

        #[target_feature(enable = $features)]
        fn inner_product(a: &[f32], b: &[Element]) -> f32 {
            assert_eq!(a.len(), b.len());
            // SAFETY: both slices have the length given.
            unsafe { sums::<1, 4, false>(a.as_ptr(), [b.as_ptr()], a.len())[0] }
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn rows_of<const L2: bool>(query: &[f32], rows: &[Element], out: &mut [f32]) {
            const R: usize = $rows;
            let length = query.len();
            assert_eq!(rows.len(), length * out.len());
            let query = query.as_ptr();
            let mut row = rows.as_ptr();
            let (groups, rest) = out.as_chunks_mut::<R>();
            for group in groups {
                // SAFETY: `rows` holds `length` numbers for each of `out`, R of them for a group.
                unsafe {
                    let rows = std::array::from_fn(|at| row.add(at * length));
                    *group = sums::<R, 2, L2>(query, rows, length);
                    row = row.add(R * length);
                }
            }
            for out in rest {
                // SAFETY: as above, for the rows that make no whole group.
                unsafe {
                    [*out] = sums::<1, 4, L2>(query, [row], length);
                    row = row.add(length);
                }
            }
        }

        #[target_feature(enable = $features)]
        fn l2_squared_rows(query: &[f32], rows: &[Element], out: &mut [f32]) {
            rows_of::<true>(query, rows, out);
        }

        #[target_feature(enable = $features)]
        fn inner_product_rows(query: &[f32], rows: &[Element], out: &mut [f32]) {
            rows_of::<false>(query, rows, out);
        }

        #[target_feature(enable = $features)]
        fn products_and_norms_rows(
            query: &[f32],
            rows: &[Element],
            products: &mut [f32],
            norms: &mut [f32],
        ) {
            const R: usize = $rows_with_norms;
            let length = query.len();
            assert_eq!(products.len(), norms.len());
            assert_eq!(rows.len(), length * products.len());
            let query = query.as_ptr();
            let mut row = rows.as_ptr();
            let (product_groups, products) = products.as_chunks_mut::<R>();
            let (norm_groups, norms) = norms.as_chunks_mut::<R>();
            for (products, norms) in product_groups.iter_mut().zip(norm_groups) {
                // SAFETY: `rows` holds `length` numbers for each of `products`, R for a group.
                let sums = unsafe {
                    let rows = std::array::from_fn(|at| row.add(at * length));
                    row = row.add(R * length);
                    products_and_norms::<R, 2>(query, rows, length)
                };
                *products = sums.map(|(product, _)| product);
                *norms = sums.map(|(_, norm)| norm);
            }
            for (product, norm) in products.iter_mut().zip(norms) {
                // SAFETY: as above, for the rows that make no whole group.
                unsafe {
                    [(*product, *norm)] = products_and_norms::<1, 2>(query, [row], length);
                    row = row.add(length);
                }
            }
        }

        /// The distance kernels of this instruction set.
        pub(crate) const DISTANCES: crate::dispatch::DistanceTable<Element> =
            crate::dispatch::DistanceTable {
                l2_squared,
                inner_product,
                l2_squared_rows,
                inner_product_rows,
                products_and_norms_rows,
            };
    };
}

/// Writes `load_row_part` for elements that cannot be loaded under a mask.
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    expect(
        unused_macros,
        reason = "this architecture has the scalar kernels only"
    )
)]
macro_rules! load_row_part {
    ($features:literal) => {
        /// The first `count` elements as numbers, then zeros.
        ///
        /// # Safety
        /// `from` points to `count` elements, at most [`LANES`].
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn load_row_part(from: *const Element, count: usize) -> Vector {
            let mut elements = [<Element as crate::elements::Element>::ZERO; LANES];
            // SAFETY: `count` is at most `LANES`, the length of `elements`, which is no part of
            // the input, and which `load_row` reads.
            unsafe {
                std::ptr::copy_nonoverlapping(from, elements.as_mut_ptr(), count);
                load_row(elements.as_ptr())
            }
        }
    };
}

/// Writes the functions of a `TileTable` for one instruction set: R rows and V vectors of columns
/// are held in registers.
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    expect(
        unused_macros,
        reason = "this architecture has the scalar kernels only"
    )
)]
macro_rules! tile_kernels {
    ($features:literal, rows: $rows:literal, vectors: $vectors:literal) => {
        /// The products of R rows with `VECTORS` vectors of columns of a panel.
        ///
        /// # Safety
        /// Each of `rows` points to `length` numbers, `panel` to as many times the columns of a
        /// panel, less those before the first column wanted.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn tile<const R: usize>(
            rows: [*const f32; R],
            panel: *const f32,
            length: usize,
        ) -> [[Vector; VECTORS]; R] {
            let mut totals = [[zero(); VECTORS]; R];
            for at in 0..length {
                let mut columns = [zero(); VECTORS];
                for (lane, column) in columns.iter_mut().enumerate() {
                    // SAFETY: `at` is below `length`, and the vectors end within the panel.
                    *column = unsafe { load(panel.add(at * crate::tiles::PANEL + lane * LANES)) };
                }
                for (row, total) in rows.iter().zip(&mut totals) {
                    // SAFETY: `at` is below `length`.
                    let number = splat(unsafe { *row.add(at) });
                    for (total, column) in total.iter_mut().zip(columns) {
                        *total = multiply_add(number, column, *total);
                    }
                }
            }
            totals
        }

        /// Products of R rows from row `at` of those wanted with the columns of a panel from
        /// column `first`, whose numbers begin at `panel`.
        #[inline]
        #[target_feature(enable = $features)]
        fn tile_into<const R: usize>(
            part: &crate::tiles::Part<'_>,
            at: usize,
            first: usize,
            panel: &[f32],
            out: &mut [f32],
        ) {
            let (count, length) = (part.columns.count, part.dimensions.len());
            assert!(panel.len() + first % crate::tiles::PANEL >= length * crate::tiles::PANEL);
            assert!(first % crate::tiles::PANEL + VECTORS * LANES <= crate::tiles::PANEL);
            let rows =
                std::array::from_fn(|row| part.rows[part.offset(at + row)..][..length].as_ptr());
            // SAFETY: the slices just taken have `length` numbers, and by the assertions a panel
            // goes on for as many dimensions and holds the vectors of columns whole.
            let totals = unsafe { tile::<R>(rows, panel.as_ptr(), length) };
            let width = (count - first).min(VECTORS * LANES);
            for (row, total) in totals.iter().enumerate() {
                let out = &mut out[(at + row) * count + first..][..width];
                let mut numbers = [0.0f32; VECTORS * LANES];
                for (numbers, &vector) in numbers.as_chunks_mut::<LANES>().0.iter_mut().zip(total) {
                    store(numbers, vector);
                }
                out.copy_from_slice(&numbers[..width]);
            }
        }

        #[target_feature(enable = $features)]
        fn products(part: &crate::tiles::Part<'_>, out: &mut [f32]) {
            use crate::tiles::PANEL;
            part.check(out);
            let (dimension, wanted) = (part.columns.dimension, part.wanted());
            // As many rows as stay in a near cache while the panels pass by.
            let chunk =
                (TILE_ROWS_BYTES / (4 * part.dimensions.len().max(1))).next_multiple_of(ROWS);
            for from in (0..wanted).step_by(chunk) {
                let to = wanted.min(from + chunk);
                for first in (0..part.columns.count).step_by(VECTORS * LANES) {
                    let start = first / PANEL * PANEL * dimension;
                    let start = start + part.dimensions.start * PANEL + first % PANEL;
                    let panel = &part.columns.panels[start..];
                    let mut at = from;
                    while at + ROWS <= to {
                        tile_into::<ROWS>(part, at, first, panel, out);
                        at += ROWS;
                    }
                    while at + 4 <= to {
                        tile_into::<4>(part, at, first, panel, out);
                        at += 4;
                    }
                    while at < to {
                        tile_into::<1>(part, at, first, panel, out);
                        at += 1;
                    }
                }
            }
        }

        const ROWS: usize = $rows;
        const VECTORS: usize = $vectors;

        /// Bytes of rows that are multiplied with one panel after the other.
        const TILE_ROWS_BYTES: usize = 256 << 10;

        crate::sums::lowest_kernel!(target_feature(enable = $features));
    };
}

/// Writes the kernel that finds the lowest difference, and the `TileTable` with it.
macro_rules! lowest_kernel {
    ($($attribute:meta)?) => {
        $(#[$attribute])?
        fn lowest_difference(constants: &[f32], products: &[f32]) -> Option<(usize, f32)> {
            crate::scalar::portable::lowest_difference(constants, products)
        }

        /// The tile kernels of this instruction set.
        pub(crate) const TILES: crate::dispatch::TileTable = crate::dispatch::TileTable {
            products,
            lowest_difference,
        };
    };
}

pub(crate) use lowest_kernel;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) use tile_kernels;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) use {distance_kernels, load_row_part};
