//! What people are told of a vector index.

use serde::Serialize;

use super::layout::{RECALLS, VectorIndex};

/// A vector index as `vermilion inspect` shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IndexDescription {
    /// Partitions that the rows are in.
    pub partitions: u32,
    /// Rows of the largest partition, to whole blocks of 32.
    pub largest_partition: u32,
    /// Bits a dimension of the second code.
    pub level_bits: u32,
    /// Bytes a row of the one-bit codes, which every search reads some of.
    pub sign_bytes_per_row: f32,
    /// Bytes a row of all that searches read often, the one-bit codes among it: what should be in
    /// memory.
    pub searched_bytes_per_row: f32,
    /// Bytes a row of the whole file.
    pub bytes_per_row: f32,
    /// What a search for ten rows takes at each recall, as calibrated when the index was built.
    pub calibrated: Vec<Calibrated>,
}

/// What a search takes at a recall.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibrated {
    /// The recall.
    pub recall: f32,
    /// Partitions searched, about.
    pub partitions: u32,
    /// Rows compared exactly.
    pub candidates: u32,
}

impl VectorIndex {
    /// What people are told of it.
    pub fn describe(&self) -> IndexDescription {
        let rows = self.header.rows.max(1) as f32;
        let largest = self.first_blocks.windows(2).map(|ends| ends[1] - ends[0]);
        IndexDescription {
            partitions: self.header.partitions,
            largest_partition: largest.max().unwrap_or(0) * 32,
            level_bits: self.header.bits.half().log2() as u32 + 1,
            sign_bytes_per_row: self.sections.blocks.len() as f32 / rows,
            searched_bytes_per_row: self.sections.levels.start as f32 / rows,
            bytes_per_row: self.sections.levels.end as f32 / rows,
            calibrated: RECALLS
                .iter()
                .map(|&recall| {
                    let effort = self.effort(10, recall);
                    Calibrated {
                        recall,
                        partitions: effort.reach.probes as u32,
                        candidates: effort.depth as u32,
                    }
                })
                .collect(),
        }
    }
}
