//! Where everything stands in the bytes of a vector index.
//!
//! What must stay true: all numbers are little-endian; every section begins at a multiple of
//! [`ALIGNMENT`] that follows from the counts in the header alone. Every byte is read through
//! [`Blocks`], which checks it against the checksum written with the file.
//!
//! Sections: header; mean; spreads; radii; first blocks; blocks and levels of the
//! centroids; rows of slots; slots of rows; blocks; levels. An index of one partition has no
//! centroids (its only one is the mean), and its slots are its rows; of more it has a further
//! spread, that of the centroids.

use std::ops::Range;
use std::sync::Arc;

use vermilion_kernels::codes::{BLOCK_ROWS, DIMENSION_STEP, LevelBits, Rotation, block_bytes};

use super::watch::Watch;
use crate::model::Space;
use crate::segments::blocks::Blocks;
use crate::segments::index_file::Index;
use crate::{Error, Result};

const MAGIC: [u8; 8] = *b"VMLNVIDX";
const FORMAT: u32 = 2;
const HEADER_BYTES: usize = 256;
const ALIGNMENT: usize = 64;

/// Bytes before the levels of a row: its constant and its scale, `f32`.
pub(super) const LEVEL_FACTOR_BYTES: usize = 8;

/// The recalls for which an index knows what a search needs.
pub(super) const RECALLS: [f32; 8] = [0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999];

/// A slot of the last block of a partition that holds no row.
pub(super) const NO_ROW: u32 = u32::MAX;

/// What a search needs for a recall.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Knobs {
    /// See [`Reach::probes`](super::walk::Reach::probes).
    pub(super) probes: u32,
    /// See [`Reach::gap`](super::walk::Reach::gap).
    pub(super) gap: f32,
    /// With a mask: the cosine between the way to a partition's centroid and the way from there to
    /// its rows, up to which a partition is searched where a better row takes as much.
    pub(super) cosine: f32,
    /// Candidates to keep beyond those wanted, for ten wanted.
    pub(super) extra: u32,
    /// How far below its estimate a row's score may lie, in deviations of the estimate.
    pub(super) deviations: f32,
}

impl Knobs {
    /// What is enough for both.
    pub(super) fn most(&self, other: &Self) -> Self {
        Self {
            probes: self.probes.max(other.probes),
            gap: self.gap.max(other.gap),
            cosine: self.cosine.max(other.cosine),
            extra: self.extra.max(other.extra),
            deviations: self.deviations.max(other.deviations),
        }
    }
}

/// Words of the header before the knobs, then those of the knobs of a recall.
const HEAD_WORDS: usize = 7;
const KNOB_WORDS: usize = 4;

/// The first of the words after the seed: the gaps of the knobs.
const GAPS_WORD: usize = HEAD_WORDS + KNOB_WORDS * RECALLS.len() + 2;

/// A gap that is not known; indexes written before there were gaps have it.
const NO_GAP: f32 = 0.0;

/// The counts and settings that everything else follows from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Header {
    pub(super) dimension: usize,
    pub(super) space: Space,
    /// Whether offsets say what a row's product with the mean is, in inner product space.
    pub(super) has_mean_products: bool,
    pub(super) bits: LevelBits,
    pub(super) rows: u32,
    pub(super) partitions: u32,
    pub(super) blocks: u32,
    pub(super) seed: u64,
    /// For each of [`RECALLS`] what a search needs.
    pub(super) knobs: [Knobs; RECALLS.len()],
}

/// The ranges of the sections.
#[derive(Clone, Debug)]
pub(super) struct Sections {
    pub(super) mean: Range<usize>,
    pub(super) spreads: Range<usize>,
    pub(super) radii: Range<usize>,
    pub(super) first_blocks: Range<usize>,
    pub(super) centroid_blocks: Range<usize>,
    pub(super) centroid_levels: Range<usize>,
    pub(super) slot_rows: Range<usize>,
    pub(super) row_slots: Range<usize>,
    pub(super) blocks: Range<usize>,
    pub(super) levels: Range<usize>,
}

impl Header {
    /// Dimensions of the codes.
    pub(super) fn padded(&self) -> usize {
        self.dimension.next_multiple_of(DIMENSION_STEP)
    }

    /// Bytes of the levels of a row with their factors.
    pub(super) fn level_bytes(&self) -> usize {
        LEVEL_FACTOR_BYTES + self.bits.bytes(self.padded())
    }

    /// Bytes of the levels of a centroid with their factors.
    pub(super) fn centroid_level_bytes(&self) -> usize {
        LEVEL_FACTOR_BYTES + LevelBits::Eight.bytes(self.padded())
    }

    /// Where the sections are; `None` where they would be larger than memory can be.
    pub(super) fn sections(&self) -> Option<Sections> {
        let partitions = self.partitions as usize;
        let rows = self.rows as usize;
        let all_slots = (self.blocks as usize).checked_mul(BLOCK_ROWS)?;
        let (centroids, slots, row_slots, levels) = if partitions == 1 {
            (0, 0, 0, rows)
        } else {
            (partitions, all_slots, rows, all_slots)
        };
        let mut end = HEADER_BYTES;
        let mut section = |count: usize, bytes: usize| {
            let from = end.checked_next_multiple_of(ALIGNMENT)?;
            end = from.checked_add(count.checked_mul(bytes)?)?;
            Some(from..end)
        };
        Some(Sections {
            mean: section(self.padded(), 4)?,
            spreads: section(partitions + usize::from(partitions > 1), 4)?,
            radii: section(centroids, 4)?,
            first_blocks: section(partitions + 1, 4)?,
            centroid_blocks: section(centroids.div_ceil(BLOCK_ROWS), block_bytes(self.padded()))?,
            centroid_levels: section(centroids, self.centroid_level_bytes())?,
            slot_rows: section(slots, 4)?,
            row_slots: section(row_slots, 4)?,
            blocks: section(self.blocks as usize, block_bytes(self.padded()))?,
            levels: section(levels, self.level_bytes())?,
        })
    }

    /// The header's bytes.
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend(MAGIC);
        let space = match self.space {
            Space::L2 => 0,
            Space::Cosine => 1,
            Space::Ip => 2 + u32::from(self.has_mean_products),
        };
        let bits = match self.bits {
            LevelBits::Four => 4,
            LevelBits::Eight => 8,
        };
        let counts = [self.rows, self.partitions, self.blocks];
        let knobs = self.knobs.iter().flat_map(|knobs| {
            let floats = [knobs.cosine.to_bits(), knobs.deviations.to_bits()];
            [knobs.probes, knobs.extra, floats[0], floats[1]]
        });
        let head = [FORMAT, self.dimension as u32, space, bits];
        for number in head.into_iter().chain(counts).chain(knobs) {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.seed.to_le_bytes());
        for knobs in &self.knobs {
            let gap = if knobs.gap.is_finite() {
                knobs.gap
            } else {
                NO_GAP
            };
            bytes.extend(gap.to_le_bytes());
        }
        bytes.resize(HEADER_BYTES, 0);
        bytes
            .try_into()
            .expect("the header was filled up to its length")
    }

    /// Reads a header.
    fn decode(path: &str, bytes: &[u8]) -> Result<Self> {
        let corrupted = |detail: String| Error::corrupted(path, 0, detail);
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            let found = bytes.len();
            return Err(corrupted(format!(
                "a vector index begins with {HEADER_BYTES} bytes of header; there are {found}"
            )));
        };
        if bytes[..8] != MAGIC {
            return Err(corrupted(
                "this is no vector index: its first bytes differ".to_owned(),
            ));
        }
        let long = |at: usize| {
            let bytes = bytes[at..]
                .first_chunk()
                .expect("offsets are within the header");
            u64::from_le_bytes(*bytes)
        };
        let word = |at: usize| long(8 + at * 4) as u32;
        if word(0) != FORMAT {
            return Err(Error::new(
                crate::ErrorKind::Unsupported,
                format!(
                    "{path} has vector index format {}; {FORMAT} can be read",
                    word(0)
                ),
            ));
        }
        let space = match word(2) {
            0 => Space::L2,
            1 => Space::Cosine,
            2 | 3 => Space::Ip,
            other => return Err(corrupted(format!("there is no space with number {other}"))),
        };
        let bits = match word(3) {
            4 => LevelBits::Four,
            8 => LevelBits::Eight,
            other => return Err(corrupted(format!("levels have 4 or 8 bits, not {other}"))),
        };
        let after = 8 + 4 * (HEAD_WORDS + KNOB_WORDS * RECALLS.len());
        let header = Self {
            dimension: word(1) as usize,
            space,
            has_mean_products: word(2) == 3,
            bits,
            rows: word(4),
            partitions: word(5),
            blocks: word(6),
            seed: long(after),
            knobs: std::array::from_fn(|recall| {
                let at = HEAD_WORDS + recall * KNOB_WORDS;
                let gap = f32::from_bits(word(GAPS_WORD + recall));
                Knobs {
                    probes: word(at),
                    gap: if gap > NO_GAP { gap } else { f32::INFINITY },
                    extra: word(at + 1),
                    cosine: f32::from_bits(word(at + 2)),
                    deviations: f32::from_bits(word(at + 3)),
                }
            }),
        };
        let filled = header.rows > 0 && header.dimension > 0 && header.partitions > 0;
        if !filled || header.partitions == 1 && header.blocks != header.rows.div_ceil(32) {
            return Err(corrupted(
                "the counts of rows and blocks do not fit".to_owned(),
            ));
        }
        Ok(header)
    }
}

/// An opened vector index.
#[derive(Debug)]
pub struct VectorIndex {
    pub(super) header: Header,
    pub(super) sections: Sections,
    pub(super) rotation: Rotation,
    pub(super) mean: Vec<f32>,
    pub(super) spreads: Vec<f32>,
    pub(super) radii: Vec<f32>,
    pub(super) first_blocks: Vec<u32>,
    pub(super) watch: Arc<Watch>,
    blocks: Arc<Blocks>,
}

impl Index for VectorIndex {
    const SET_ASIDE: &'static str =
        "a vector index is set aside; searches are exact until it is rebuilt";

    fn open(blocks: Arc<Blocks>) -> Result<Self> {
        Self::open(blocks)
    }

    fn heap_bytes(&self) -> usize {
        let floats = self.mean.len() + 2 * self.spreads.len();
        // The rotation has up to four rounds of signs.
        (floats + self.first_blocks.len() + 4 * self.mean.len()) * 4
    }
}

impl VectorIndex {
    /// Opens the index that is in `blocks`.
    pub fn open(blocks: Arc<Blocks>) -> Result<Self> {
        let head = blocks.get(0..blocks.len().min(HEADER_BYTES))?;
        let header = Header::decode(blocks.path(), head)?;
        let sections = header.sections();
        let Some(sections) = sections.filter(|sections| sections.levels.end == blocks.len()) else {
            return Err(Error::corrupted(
                blocks.path(),
                blocks.len() as u64,
                "the file ends here; its header announces another length",
            ));
        };
        let first_blocks = words(blocks.get(sections.first_blocks.clone())?);
        if !first_blocks.is_sorted() || first_blocks.last() != Some(&header.blocks) {
            return Err(Error::corrupted(
                blocks.path(),
                sections.first_blocks.start as u64,
                "the first blocks of partitions do not ascend to the number of blocks",
            ));
        }
        Ok(Self {
            rotation: Rotation::new(header.padded(), header.seed),
            mean: floats(blocks.get(sections.mean.clone())?),
            spreads: floats(blocks.get(sections.spreads.clone())?),
            radii: floats(blocks.get(sections.radii.clone())?),
            first_blocks,
            watch: Arc::default(),
            header,
            sections,
            blocks,
        })
    }

    /// Rows in the index.
    pub fn rows(&self) -> u32 {
        self.header.rows
    }

    /// Numbers in a vector.
    pub fn dimension(&self) -> usize {
        self.header.dimension
    }

    /// How vectors are compared.
    pub fn space(&self) -> Space {
        self.header.space
    }

    /// Partitions the rows are in.
    pub fn partitions(&self) -> u32 {
        self.header.partitions
    }

    /// The blocks of `partition`.
    pub(super) fn blocks_of_partition(&self, partition: usize) -> Range<u32> {
        self.first_blocks[partition]..self.first_blocks[partition + 1]
    }

    /// The bytes of `blocks`.
    pub(super) fn blocks(&self, blocks: Range<u32>) -> Result<&[u8]> {
        self.blocks_of(&self.sections.blocks, blocks)
    }

    /// The bytes of `blocks` of centroids.
    pub(super) fn centroid_blocks(&self, blocks: Range<u32>) -> Result<&[u8]> {
        self.blocks_of(&self.sections.centroid_blocks, blocks)
    }

    fn blocks_of(&self, section: &Range<usize>, blocks: Range<u32>) -> Result<&[u8]> {
        let bytes = block_bytes(self.header.padded());
        let from = section.start;
        self.blocks
            .get(from + blocks.start as usize * bytes..from + blocks.end as usize * bytes)
    }

    /// The rows in the slots of `blocks`, [`NO_ROW`] or more where there is none; `None` where a
    /// slot's number is the row's.
    pub(super) fn slot_rows(&self, blocks: Range<u32>) -> Result<Option<&[[u8; 4]]>> {
        if self.header.partitions == 1 {
            return Ok(None);
        }
        let from = self.sections.slot_rows.start;
        let bytes = BLOCK_ROWS * 4;
        let range = from + blocks.start as usize * bytes..from + blocks.end as usize * bytes;
        Ok(Some(self.blocks.get(range)?.as_chunks().0))
    }

    /// For each row its slot; `None` where they are the same.
    pub(super) fn row_slots(&self) -> Result<Option<&[[u8; 4]]>> {
        if self.header.partitions == 1 {
            return Ok(None);
        }
        Ok(Some(
            self.blocks
                .get(self.sections.row_slots.clone())?
                .as_chunks()
                .0,
        ))
    }

    /// The factors and the levels of the row in `slot`.
    pub(super) fn with_levels<T>(&self, slot: u32, look: impl FnOnce(&[u8]) -> T) -> Result<T> {
        self.blocks.with(self.place_of_levels(slot), look)
    }

    /// Asks for them ahead of [`Self::with_levels`].
    pub(super) fn prefetch_levels(&self, slot: u32) -> Result<()> {
        self.blocks.prefetch(self.place_of_levels(slot))
    }

    fn place_of_levels(&self, slot: u32) -> Range<usize> {
        let bytes = self.header.level_bytes();
        let from = self.sections.levels.start + slot as usize * bytes;
        from..from + bytes
    }

    /// The factors and the levels of all centroids, one after the other.
    pub(super) fn all_centroid_levels(&self) -> Result<&[u8]> {
        self.blocks.get(self.sections.centroid_levels.clone())
    }

    /// The factors and the levels of the centroid of `partition`.
    pub(super) fn centroid_levels(&self, partition: u32) -> Result<&[u8]> {
        let bytes = self.header.centroid_level_bytes();
        let from = self.sections.centroid_levels.start + partition as usize * bytes;
        self.blocks.get(from..from + bytes)
    }
}

/// The row in a slot of a run of blocks that begins with block `first` and whose slots have `rows`.
pub(super) fn row_of_slot(rows: Option<&[[u8; 4]]>, first: u32, slot: u32) -> u32 {
    match rows {
        None => first * BLOCK_ROWS as u32 + slot,
        Some(rows) => u32::from_le_bytes(rows[slot as usize]),
    }
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&word| u32::from_le_bytes(word))
        .collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&word| f32::from_le_bytes(word))
        .collect()
}
