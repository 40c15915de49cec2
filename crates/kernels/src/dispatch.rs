//! Which instruction set is used: found out once, kept as a table of function pointers.
//!
//! What must stay true: a table leaves [`available`] only if this machine has every instruction
//! that its functions use. That is the reason why calling through a table is sound.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::codes::{
    BLOCK_ROWS, LevelBits, Quantised, Rotation, Scan, Survivor, TableScale, block_bytes,
    check_dimension, line_bytes,
};
use crate::elements::{Bf16, Element, F16};
use crate::layers::LayerTable;
use crate::tiles::Part;
use crate::{BLOCK, scalar};

/// The environment variable that forces a level.
const VARIABLE: &str = "VERMILION_KERNELS";

/// An instruction set that kernels are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Plain Rust, on every machine.
    Scalar,
    /// NEON, on every 64-bit ARM.
    Neon,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512, with VBMI and VNNI for codes where the machine has them.
    Avx512,
}

impl Level {
    const ALL: [Self; 4] = [Self::Scalar, Self::Neon, Self::Avx2, Self::Avx512];

    /// The name that [`FromStr`] reads and `VERMILION_KERNELS` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is the name of no [`Level`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownLevel(String);

impl fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Level::ALL.map(Level::name).join(", ");
        write!(f, "`{}` is no kernel level; allowed are {names}", self.0)
    }
}

impl std::error::Error for UnknownLevel {}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        Self::ALL
            .into_iter()
            .find(|level| level.name() == text)
            .ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}

/// The level in use: the best that this machine has, or the best up to the one that the
/// environment variable `VERMILION_KERNELS` names (`scalar`, `neon`, `avx2`, `avx512`). A value
/// that names no level is as good as none. It is read once, at the first call of any kernel.
pub fn level() -> Level {
    kernels().level
}

/// A kernel with two results for each row.
type ProductsAndNorms<E> = unsafe fn(&[f32], &[E], &mut [f32], &mut [f32]);

/// The distance kernels of one instruction set over rows of `E`. Each may be called only where the
/// machine has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DistanceTable<E> {
    pub(crate) l2_squared: unsafe fn(&[f32], &[E]) -> f32,
    pub(crate) inner_product: unsafe fn(&[f32], &[E]) -> f32,
    pub(crate) l2_squared_rows: unsafe fn(&[f32], &[E], &mut [f32]),
    pub(crate) inner_product_rows: unsafe fn(&[f32], &[E], &mut [f32]),
    pub(crate) products_and_norms_rows: ProductsAndNorms<E>,
}

/// The distance kernels of one instruction set, one table for each type of elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DistanceTables {
    pub(crate) f32: DistanceTable<f32>,
    pub(crate) f16: DistanceTable<F16>,
    pub(crate) bf16: DistanceTable<Bf16>,
    pub(crate) i8: DistanceTable<i8>,
}

/// A scan of blocks of one-bit codes.
type ScanBlocks = unsafe fn(&Scan<'_>, &[u8], Option<&[u32]>, f32, &mut Vec<Survivor>);

/// The kernels over codes of one instruction set. Each may be called only where the machine has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodeTable {
    pub(crate) scan_blocks: ScanBlocks,
    pub(crate) rotate: unsafe fn(&Rotation, &mut [f32]),
    pub(crate) scan_table: unsafe fn(&[f32], &mut [u8]) -> (f32, f32),
    pub(crate) encode_signs: unsafe fn(&[f32], &mut [u8], usize) -> f32,
    pub(crate) encode_levels8: unsafe fn(&[f32], f32, &mut [u8]) -> f32,
    pub(crate) encode_levels4: unsafe fn(&[f32], f32, &mut [u8]) -> f32,
    pub(crate) quantise: unsafe fn(&[f32], &mut [i8]) -> (f32, i32),
    pub(crate) dot_levels8: unsafe fn(&[u8], &[i8]) -> i32,
    pub(crate) dot_levels4: unsafe fn(&[u8], &[i8]) -> i32,
}

/// A search for the lowest difference.
type LowestDifference = unsafe fn(&[f32], &[f32]) -> Option<(usize, f32)>;

/// The tile kernels of one instruction set. Each may be called only where the machine has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TileTable {
    pub(crate) products: unsafe fn(&Part<'_>, &mut [f32]),
    pub(crate) lowest_difference: LowestDifference,
}

/// The kernels of one level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernels {
    pub(crate) level: Level,
    distances: DistanceTables,
    codes: CodeTable,
    pub(crate) tiles: TileTable,
    pub(crate) layers: LayerTable,
}

const SCALAR: Kernels = Kernels {
    level: Level::Scalar,
    distances: scalar::distances::TABLES,
    codes: scalar::codes::CODES,
    tiles: scalar::tiles::TILES,
    layers: scalar::layers::LAYERS,
};

/// The kernels this machine can run, worst first.
pub(crate) fn available() -> Vec<Kernels> {
    #[cfg_attr(
        not(any(target_arch = "x86_64", target_arch = "aarch64")),
        expect(
            unused_mut,
            reason = "other architectures have the scalar kernels only"
        )
    )]
    let mut tables = vec![SCALAR];
    #[cfg(target_arch = "x86_64")]
    {
        use crate::x86_64;
        if has_avx2_with_its_company() {
            tables.push(Kernels {
                level: Level::Avx2,
                distances: x86_64::avx2_rows::TABLES,
                codes: x86_64::avx2_codes::CODES,
                tiles: x86_64::avx2::TILES,
                layers: x86_64::avx2::LAYERS,
            });
            if is_x86_feature_detected!("avx512f") {
                tables.push(Kernels {
                    level: Level::Avx512,
                    distances: x86_64::avx512_rows::TABLES,
                    codes: if has_avx512_for_codes() {
                        x86_64::avx512_codes::CODES
                    } else {
                        x86_64::avx2_codes::CODES
                    },
                    tiles: x86_64::avx512::TILES,
                    layers: x86_64::avx512::LAYERS,
                });
            }
        }
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("neon") {
        tables.push(Kernels {
            level: Level::Neon,
            distances: crate::aarch64::neon_rows::TABLES,
            codes: crate::aarch64::neon_codes::CODES,
            tiles: crate::aarch64::neon::TILES,
            layers: crate::aarch64::neon::LAYERS,
        });
    }
    tables
}

/// Whether the machine has AVX2 and what every processor with it has had beside it.
#[cfg(target_arch = "x86_64")]
fn has_avx2_with_its_company() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

/// Whether the machine has what the AVX-512 kernels over codes use beyond AVX-512F.
#[cfg(target_arch = "x86_64")]
fn has_avx512_for_codes() -> bool {
    is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vnni")
}

/// The best of `tables` up to the level that `forced` names.
pub(crate) fn choose(tables: &[Kernels], forced: Option<&str>) -> Kernels {
    let most = forced.and_then(|name| name.parse().ok());
    tables
        .iter()
        .rfind(|table| most.is_none_or(|most| table.level <= most))
        .copied()
        .unwrap_or(SCALAR)
}

/// The kernels in use.
#[inline]
pub(crate) fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| choose(&available(), std::env::var(VARIABLE).ok().as_deref()))
}

/// Sums `part` over blocks of both vectors, in `f64`.
fn blockwise<E>(a: &[f32], b: &[E], part: impl Fn(&[f32], &[E]) -> f32) -> f32 {
    let blocks = a.chunks(BLOCK).zip(b.chunks(BLOCK));
    blocks.map(|(a, b)| f64::from(part(a, b))).sum::<f64>() as f32
}

fn check_rows<E>(query: &[f32], rows: &[E], count: usize) {
    assert!(
        query.len().checked_mul(count) == Some(rows.len()),
        "{count} rows of {} numbers were announced, {} numbers given",
        query.len(),
        rows.len()
    );
}

pub(crate) fn check_lengths<E>(a: &[f32], b: &[E]) {
    assert!(
        a.len() == b.len(),
        "the vectors have {} and {} numbers",
        a.len(),
        b.len()
    );
}

impl Kernels {
    #[inline]
    pub(crate) fn l2_squared<E: Element>(&self, a: &[f32], b: &[E]) -> f32 {
        check_lengths(a, b);
        // SAFETY: the machine has the instructions of every table that `available` gives.
        let part = |a: &[f32], b: &[E]| unsafe { (E::table(&self.distances).l2_squared)(a, b) };
        if a.len() <= BLOCK {
            part(a, b)
        } else {
            blockwise(a, b, part)
        }
    }

    #[inline]
    pub(crate) fn inner_product<E: Element>(&self, a: &[f32], b: &[E]) -> f32 {
        check_lengths(a, b);
        // SAFETY: the machine has the instructions of every table that `available` gives.
        let part = |a: &[f32], b: &[E]| unsafe { (E::table(&self.distances).inner_product)(a, b) };
        if a.len() <= BLOCK {
            part(a, b)
        } else {
            blockwise(a, b, part)
        }
    }

    pub(crate) fn l2_squared_rows<E: Element>(&self, query: &[f32], rows: &[E], out: &mut [f32]) {
        check_rows(query, rows, out.len());
        if query.len() <= BLOCK {
            // SAFETY: the machine has the instructions of every table that `available` gives.
            unsafe { (E::table(&self.distances).l2_squared_rows)(query, rows, out) }
        } else {
            for (row, out) in rows.chunks_exact(query.len()).zip(out) {
                *out = self.l2_squared(query, row);
            }
        }
    }

    pub(crate) fn inner_product_rows<E: Element>(
        &self,
        query: &[f32],
        rows: &[E],
        out: &mut [f32],
    ) {
        check_rows(query, rows, out.len());
        if query.len() <= BLOCK {
            // SAFETY: the machine has the instructions of every table that `available` gives.
            unsafe { (E::table(&self.distances).inner_product_rows)(query, rows, out) }
        } else {
            for (row, out) in rows.chunks_exact(query.len()).zip(out) {
                *out = self.inner_product(query, row);
            }
        }
    }

    pub(crate) fn products_and_norms_rows<E: Element>(
        &self,
        query: &[f32],
        rows: &[E],
        products: &mut [f32],
        norms: &mut [f32],
    ) {
        assert!(
            products.len() == norms.len(),
            "there is room for {} products and {} norms",
            products.len(),
            norms.len()
        );
        check_rows(query, rows, products.len());
        // SAFETY: the machine has the instructions of every table that `available` gives.
        let part = |query: &[f32], rows: &[E], products: &mut [f32], norms: &mut [f32]| unsafe {
            (E::table(&self.distances).products_and_norms_rows)(query, rows, products, norms);
        };
        if query.len() <= BLOCK {
            part(query, rows, products, norms);
            return;
        }
        let out = products.iter_mut().zip(norms);
        for (row, (product, norm)) in rows.chunks_exact(query.len()).zip(out) {
            let mut sums = (0.0, 0.0);
            for (query, row) in query.chunks(BLOCK).zip(row.chunks(BLOCK)) {
                let mut own = ([0.0], [0.0]);
                part(query, row, &mut own.0, &mut own.1);
                sums.0 += f64::from(own.0[0]);
                sums.1 += f64::from(own.1[0]);
            }
            (*product, *norm) = (sums.0 as f32, sums.1 as f32);
        }
    }
}

impl Kernels {
    pub(crate) fn scan_blocks(
        &self,
        scan: &Scan<'_>,
        blocks: &[u8],
        admitted: Option<&[u32]>,
        limit: f32,
        survivors: &mut Vec<Survivor>,
    ) {
        let dimension = scan.table.len() / 4;
        check_dimension(dimension);
        check_bytes(line_bytes(dimension), scan.table.len());
        let count = blocks.len() / block_bytes(dimension);
        check_bytes(count * block_bytes(dimension), blocks.len());
        assert!(
            admitted.is_none_or(|words| words.len() >= count),
            "the mask has fewer words than there are blocks, {count}"
        );
        // SAFETY: the machine has the instructions of every table that `available` gives.
        unsafe { (self.codes.scan_blocks)(scan, blocks, admitted, limit, survivors) }
    }

    pub(crate) fn rotate(&self, rotation: &Rotation, values: &mut [f32]) {
        assert!(
            values.len() == rotation.dimension(),
            "the rotation has {} dimensions, the vector {}",
            rotation.dimension(),
            values.len()
        );
        // SAFETY: the machine has the instructions of every table that `available` gives.
        unsafe { (self.codes.rotate)(rotation, values) }
    }

    pub(crate) fn scan_table(&self, query: &[f32], table: &mut [u8]) -> TableScale {
        check_dimension(query.len());
        check_bytes(line_bytes(query.len()), table.len());
        // SAFETY: the machine has the instructions of every table that `available` gives.
        let (step, sizes) = unsafe { (self.codes.scan_table)(query, table) };
        TableScale { step, sizes }
    }

    pub(crate) fn encode_signs(&self, residual: &[f32], block: &mut [u8], slot: usize) -> f32 {
        check_dimension(residual.len());
        check_bytes(block_bytes(residual.len()), block.len());
        assert!(
            slot < BLOCK_ROWS,
            "a block has {BLOCK_ROWS} rows; {slot} is not one of them"
        );
        // SAFETY: the machine has the instructions of every table that `available` gives.
        unsafe { (self.codes.encode_signs)(residual, block, slot) }
    }

    pub(crate) fn encode_levels(
        &self,
        residual: &[f32],
        bits: LevelBits,
        scale: f32,
        codes: &mut [u8],
    ) -> f32 {
        check_dimension(residual.len());
        check_bytes(bits.bytes(residual.len()), codes.len());
        let encode = match bits {
            LevelBits::Four => self.codes.encode_levels4,
            LevelBits::Eight => self.codes.encode_levels8,
        };
        // SAFETY: the machine has the instructions of every table that `available` gives.
        unsafe { encode(residual, scale, codes) }
    }

    pub(crate) fn dot_levels(&self, codes: &[u8], bits: LevelBits, query: &[i8]) -> i32 {
        check_dimension(query.len());
        check_bytes(bits.bytes(query.len()), codes.len());
        let dot = match bits {
            LevelBits::Four => self.codes.dot_levels4,
            LevelBits::Eight => self.codes.dot_levels8,
        };
        // SAFETY: the machine has the instructions of every table that `available` gives.
        unsafe { dot(codes, query) }
    }

    pub(crate) fn quantise(&self, numbers: &[f32], out: &mut [i8]) -> Quantised {
        check_bytes(numbers.len(), out.len());
        // SAFETY: the machine has the instructions of every table that `available` gives.
        let (scale, sum) = unsafe { (self.codes.quantise)(numbers, out) };
        Quantised { scale, sum }
    }
}

fn check_bytes(expected: usize, given: usize) {
    assert!(
        expected == given,
        "{expected} bytes were expected, {given} given"
    );
}
