//! Makes an index of sparse vectors.
//!
//! What must stay true: a value lies between the bounds of its code, computed as a search computes
//! them; rows of a dimension ascend.

use std::sync::Arc;

use hashbrown::HashMap;

use super::layout::{ENTRY_BYTES, Entry, HEAD_BYTES, head};
use super::{BLOCK_ROWS, CODES};
use crate::Result;
use crate::model::SparseVector;
use crate::segments::sink::FileSink;

/// The vectors of one key: the rows that have one, ascending, and they.
#[derive(Clone, Copy, Debug)]
pub struct Vectors<'a> {
    /// The key.
    pub key: &'a str,
    /// The rows.
    pub rows: &'a [u32],
    /// The vectors.
    pub vectors: &'a [SparseVector],
}

/// Writes an index of all `keys` to `sink`.
pub(in crate::segments) fn write(sink: &mut FileSink, keys: &[Vectors<'_>]) -> Result<()> {
    put_index(keys, &mut |part| {
        sink.align(8)?;
        sink.put(part)
    })
}

/// The bytes of an index of all `keys`.
pub fn build(keys: &[Vectors<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let put = |part: &[u8]| {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend_from_slice(part);
        Ok(())
    };
    put_index(keys, &mut { put }).expect("memory takes every write");
    bytes
}

/// Puts the parts of an index of all `keys`, each to begin at a multiple of 8 bytes.
fn put_index(keys: &[Vectors<'_>], put: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let built: Vec<Built> = keys.iter().map(Built::new).collect();
    let mut at = HEAD_BYTES + ENTRY_BYTES * built.len() as u64;
    let mut entries = Vec::with_capacity(built.len());
    for index in &built {
        let mut place = |bytes: usize| {
            let place = at.next_multiple_of(8);
            at = place + bytes as u64;
            place
        };
        entries.push(Entry {
            key_at: place(index.key.len()),
            key_bytes: index.key.len() as u32,
            terms: index.dimensions.len() as u32,
            postings: index.rows.len() as u64,
            dimensions_at: place(index.dimensions.len() * 4),
            starts_at: place(index.starts.len() * 8),
            commons: index.commons.len() as u32,
            blocks: index.blocks as u32,
            commons_at: place(index.commons.len() * 4),
            ranges_at: place(index.ranges.len() * 8),
            lowest_at: place(index.lowest.len()),
            highest_at: place(index.highest.len()),
            counts_at: place(index.counts.len()),
            rows_at: place(index.rows.len() * 4),
            values_at: place(index.values.len() * 4),
        });
    }
    put(&head(&entries))?;
    let parts = built.iter().flat_map(Built::parts);
    parts.into_iter().try_for_each(put)
}

/// The parts of one key's index.
struct Built {
    key: Arc<str>,
    dimensions: Vec<u32>,
    starts: Vec<u64>,
    rows: Vec<u32>,
    values: Vec<f32>,
    /// Blocks of rows, the last one that has a row included.
    blocks: usize,
    commons: Vec<u32>,
    ranges: Vec<[f32; 2]>,
    lowest: Vec<u8>,
    highest: Vec<u8>,
    counts: Vec<u8>,
}

impl Built {
    fn new(of: &Vectors<'_>) -> Self {
        let (dimensions, starts) = dimensions(of.vectors);
        let mut next: HashMap<u32, u64> = dimensions
            .iter()
            .copied()
            .zip(starts.iter().copied())
            .collect();
        let postings = *starts.last().expect("there is always an end") as usize;
        let (mut rows, mut values) = (vec![0; postings], vec![0.0; postings]);
        for (&row, vector) in of.rows.iter().zip(of.vectors) {
            for (dimension, &value) in vector.indices.iter().zip(&vector.values) {
                let at = next.get_mut(dimension);
                let at = at.expect("every dimension was counted");
                rows[*at as usize] = row;
                values[*at as usize] = value;
                *at += 1;
            }
        }
        let mut built = Self {
            key: of.key.into(),
            dimensions,
            starts,
            rows,
            values,
            blocks: of
                .rows
                .last()
                .map_or(0, |last| *last as usize / BLOCK_ROWS + 1),
            commons: Vec::new(),
            ranges: Vec::new(),
            lowest: Vec::new(),
            highest: Vec::new(),
            counts: Vec::new(),
        };
        built.bound();
        built
    }

    /// Makes the bounds of the dimensions that have a posting for each block or more.
    fn bound(&mut self) {
        for (term, pair) in self.starts.windows(2).enumerate() {
            let postings = pair[0] as usize..pair[1] as usize;
            if postings.len() < self.blocks {
                continue;
            }
            let values = &self.values[postings.clone()];
            let [low, step] = range(values);
            let first = self.counts.len();
            self.lowest.resize(first + self.blocks, 0);
            self.highest.resize(first + self.blocks, 0);
            self.counts.resize(first + self.blocks, 0);
            for (&row, &value) in self.rows[postings].iter().zip(values) {
                let at = first + row as usize / BLOCK_ROWS;
                let code = code(value, low, step);
                let only = self.counts[at] == 0;
                self.lowest[at] = if only {
                    code
                } else {
                    self.lowest[at].min(code)
                };
                self.highest[at] = self.highest[at].max(code);
                self.counts[at] += 1;
            }
            self.commons.push(term as u32);
            self.ranges.push([low, step]);
        }
    }

    /// The parts in the order of their places.
    fn parts(&self) -> [&[u8]; 10] {
        [
            self.key.as_bytes(),
            bytemuck::cast_slice(&self.dimensions),
            bytemuck::cast_slice(&self.starts),
            bytemuck::cast_slice(&self.commons),
            bytemuck::cast_slice(&self.ranges),
            &self.lowest,
            &self.highest,
            &self.counts,
            bytemuck::cast_slice(&self.rows),
            bytemuck::cast_slice(&self.values),
        ]
    }
}

/// The dimensions of `vectors`, ascending, and where the postings of each begin; the end last.
fn dimensions(vectors: &[SparseVector]) -> (Vec<u32>, Vec<u64>) {
    let mut counts: HashMap<u32, u64> = HashMap::new();
    for dimension in vectors.iter().flat_map(|vector| &vector.indices) {
        *counts.entry(*dimension).or_default() += 1;
    }
    let mut counts: Vec<(u32, u64)> = counts.into_iter().collect();
    counts.sort_unstable();
    let mut starts = vec![0];
    let mut end = 0;
    for (_, count) in &counts {
        end += count;
        starts.push(end);
    }
    let dimensions = counts.into_iter().map(|(dimension, _)| dimension);
    (dimensions.collect(), starts)
}

/// The lowest of `values`, and how much a code is worth so that all codes reach the highest.
fn range(values: &[f32]) -> [f32; 2] {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let codes = f64::from(CODES);
    let mut step = ((f64::from(high) - f64::from(low)) / codes) as f32;
    while f64::from(low) + f64::from(step) * codes < f64::from(high) {
        step = step.next_up();
    }
    [low, step]
}

/// The code of `value`: it lies between `low + step * code` and `low + step * (code + 1)`.
fn code(value: f32, low: f32, step: f32) -> u8 {
    let (value, low, step) = (f64::from(value), f64::from(low), f64::from(step));
    let bound = |code: u32| low + step * f64::from(code);
    let guess = if step > 0.0 {
        (value - low) / step
    } else {
        0.0
    };
    let mut code = (guess as u32).min(CODES - 1);
    while code > 0 && bound(code) > value {
        code -= 1;
    }
    while code < CODES - 1 && bound(code + 1) < value {
        code += 1;
    }
    code as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_value_lies_between_the_bounds_of_its_code(
            values in prop::collection::vec(
                prop_oneof![-3f32..3.0, any::<f32>().prop_filter("finite", |v| v.is_finite())],
                1..40,
            ),
        ) {
            let [low, step] = range(&values);
            for value in values {
                let code = f64::from(code(value, low, step));
                let bound = |code: f64| f64::from(low) + f64::from(step) * code;
                prop_assert!(bound(code) <= f64::from(value), "{value} {code}");
                prop_assert!(f64::from(value) <= bound(code + 1.0), "{value} {code}");
            }
        }
    }
}
