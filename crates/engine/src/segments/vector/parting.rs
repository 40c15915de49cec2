//! Puts the rows of an index into partitions.
//!
//! What must stay true: every row is in one partition, and none is empty; sums are added part by
//! part, so that the result does not depend on how many threads there were.

use std::ops::Range;

use super::build::{Coder, HelpersWhile, PARTS, THREAD_NAME, ask};
use super::cluster::{Random, SAMPLE_PER_CENTROID, Scratch, Tree};
use crate::Result;
use crate::helper_threads::split;

/// Rows that are turned and assigned at once, at most.
const BATCH_ROWS_MAX: usize = 4096;

/// Bytes of the sample that partitions are found from, at most.
const SAMPLE_BYTES: usize = 256 << 20;

/// Bytes of turned rows that are put into partitions together.
const BATCH_BYTES: usize = 16 << 20;

/// Which partition each row is in.
pub(super) struct Parting {
    /// Centroids relative to the mean; none where there is one partition.
    pub(super) centroids: Vec<f32>,
    /// For each partition its rows.
    pub(super) rows: Vec<Vec<u32>>,
}

impl Parting {
    /// One partition with all of `count` rows.
    pub(super) fn whole(count: usize) -> Self {
        Self {
            centroids: Vec::new(),
            rows: vec![(0..count as u32).collect()],
        }
    }
}

/// The rows of a part put into partitions.
struct Assigned {
    partitions: Vec<u32>,
    /// For each partition the sum of its rows of the part, and how many they are.
    sums: Vec<f32>,
    counts: Vec<u32>,
}

impl Coder<'_> {
    /// Puts the rows into about `partitions` partitions.
    pub(super) fn part(
        &self,
        partitions: usize,
        (helpers, go_on): HelpersWhile<'_>,
    ) -> Result<Parting> {
        let padded = self.padded();
        let mut random = Random::new(self.seed());
        let sample_rows = (partitions * SAMPLE_PER_CENTROID).min(SAMPLE_BYTES / (padded * 4));
        let picked = random.sample(sample_rows.max(partitions), self.count());
        let mut sample = vec![0.0; picked.len() * padded];
        let few = picked.len().div_ceil(PARTS);
        let parts = picked.chunks(few).zip(sample.chunks_mut(few * padded));
        split(
            helpers,
            THREAD_NAME,
            parts,
            go_on,
            |(picked, sample), go_on| {
                let rows = picked.iter().zip(sample.chunks_exact_mut(padded));
                for (at, (&row, out)) in rows.enumerate() {
                    ask(go_on, at)?;
                    self.turn(row, out);
                }
                Ok(())
            },
        )?;
        let tree = Tree::train(&sample, padded, partitions, &mut random, (helpers, go_on))?;
        drop(sample);

        let length = self.count().div_ceil(PARTS);
        let parts = (0..self.count()).step_by(length);
        let parts = parts.map(|from| from..self.count().min(from + length));
        let parts = split(helpers, THREAD_NAME, parts, go_on, |rows, go_on| {
            self.assign(&tree, rows, go_on)
        })?;
        let mut parts = parts.into_iter();
        let Some(mut all) = parts.next() else {
            return Ok(Parting::whole(0));
        };
        for part in parts {
            all.partitions.extend(part.partitions);
            all.sums
                .iter_mut()
                .zip(part.sums)
                .for_each(|(to, sum)| *to += sum);
            all.counts
                .iter_mut()
                .zip(part.counts)
                .for_each(|(to, count)| *to += count);
        }
        // The sums become the means of what was assigned.
        for (sum, &count) in all.sums.chunks_exact_mut(padded).zip(&all.counts) {
            sum.iter_mut()
                .for_each(|number| *number /= count.max(1) as f32);
        }
        Ok(gather(&all.sums, padded, &all.partitions, &all.counts))
    }

    /// Puts `rows` into the partitions of `tree`.
    fn assign(
        &self,
        tree: &Tree,
        rows: Range<usize>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Assigned> {
        let padded = self.padded();
        let mut assigned = Assigned {
            partitions: Vec::with_capacity(rows.len()),
            sums: vec![0.0; tree.len() * padded],
            counts: vec![0; tree.len()],
        };
        let mut scratch = Scratch::default();
        let batch = (BATCH_BYTES / (padded * 4)).clamp(1, BATCH_ROWS_MAX);
        let mut turned = vec![0.0; batch * padded];
        for from in rows.clone().step_by(batch) {
            ask(go_on, 0)?;
            let turned = &mut turned[..batch.min(rows.end - from) * padded];
            for (row, out) in (from..).zip(turned.chunks_exact_mut(padded)) {
                self.turn(row, out);
            }
            let own = tree.assign(turned, &mut scratch);
            for (vector, &own) in turned.chunks_exact(padded).zip(&own) {
                assigned.counts[own as usize] += 1;
                let sums = &mut assigned.sums[own as usize * padded..][..padded];
                sums.iter_mut()
                    .zip(vector)
                    .for_each(|(sum, number)| *sum += number);
            }
            assigned.partitions.extend(own);
        }
        Ok(assigned)
    }
}

/// Groups rows by the partition each was assigned to, and drops partitions without a row.
fn gather(centroids: &[f32], padded: usize, assigned: &[u32], counts: &[u32]) -> Parting {
    let mut rows: Vec<Vec<u32>> = counts
        .iter()
        .map(|&count| Vec::with_capacity(count as usize))
        .collect();
    for (row, &partition) in assigned.iter().enumerate() {
        rows[partition as usize].push(row as u32);
    }
    let mut parting = Parting {
        centroids: Vec::new(),
        rows: Vec::new(),
    };
    for (rows, centroid) in rows.into_iter().zip(centroids.chunks_exact(padded)) {
        if !rows.is_empty() {
            parting.centroids.extend_from_slice(centroid);
            parting.rows.push(rows);
        }
    }
    if let [_] = parting.rows[..] {
        return Parting::whole(assigned.len());
    }
    parting
}
