//! How often values occurred, in little room: the distribution of a signal over millions of records.
//!
//! A q-digest (Shrivastava, Buragohain, Agrawal, Suri, "Medians and Beyond", SenSys 2004) over the bits of `f32` in the
//! order of their numbers: a binary tree over all 2^32 values whose nodes hold counts, where nodes that hold little are
//! folded into their parents.
//!
//! What must stay true: a rank is at most 1 % wrong, whatever the values are and in whatever order they came; as long as
//! there are fewer than [`NODES_MAX`] distinct values nothing is folded, so that ranks are exact, do not depend on the
//! order, and removing takes back what adding did.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Levels below the root, one for each bit.
const LEVELS: u32 = 32;
/// A node whose family holds fewer than the count divided by this is folded. A rank is uncertain by the counts of the
/// nodes above its value, less than this share each, and is taken in their middle: 32 / (2 * 2048) is 0.8 %.
const COMPRESSION: u64 = 2048;
/// Nodes from which on the tree is folded; folding leaves at most three times [`COMPRESSION`].
const NODES_MAX: usize = 8 * COMPRESSION as usize;

/// A mergeable sketch of a distribution. NaN is no value and is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct QuantileSketch {
    count: u64,
    /// Counts by node: 1 is the root, 2n and 2n + 1 are the children of n.
    nodes: BTreeMap<u64, u64>,
}

impl QuantileSketch {
    /// A sketch of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many values were added and not removed.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds a value.
    pub fn add(&mut self, value: f32) {
        if value.is_nan() {
            return;
        }
        *self.nodes.entry(leaf(value)).or_default() += 1;
        self.count += 1;
        self.fold();
    }

    /// Takes back a value that was added: exactly while nothing was folded, else from the node that took it in.
    /// Returns whether there was such a node.
    pub fn remove(&mut self, value: f32) -> bool {
        if value.is_nan() {
            return false;
        }
        let leaf = leaf(value);
        let way = (0..=LEVELS).map(|level| leaf >> level);
        let Some(node) = way.into_iter().find(|node| self.nodes.contains_key(node)) else {
            return false;
        };
        self.count -= 1;
        let left = self.nodes.get_mut(&node).map_or(0, |count| {
            *count -= 1;
            *count
        });
        if left == 0 {
            self.nodes.remove(&node);
        }
        true
    }

    /// Adds everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        for (&node, &count) in &other.nodes {
            *self.nodes.entry(node).or_default() += count;
        }
        self.count += other.count;
        self.fold();
    }

    /// The distribution as it is now, ready to be asked for ranks.
    pub fn percentiles(&self) -> Percentiles {
        let mut ends = Vec::with_capacity(self.nodes.len());
        let mut starts = Vec::with_capacity(self.nodes.len());
        for (&node, &count) in &self.nodes {
            let below = LEVELS - node.ilog2();
            let first = (node << below) as u32;
            let last = first | (((1_u64 << below) - 1) as u32);
            ends.push((last, count));
            starts.push((first, count));
        }
        let sums = |mut places: Vec<(u32, u64)>| -> Vec<(u32, u64)> {
            places.sort_unstable();
            let mut sum = 0;
            for place in &mut places {
                sum += place.1;
                place.1 = sum;
            }
            places
        };
        Percentiles {
            count: self.count,
            starts: sums(starts),
            ends: sums(ends),
        }
    }

    /// Folds what holds little into its parent, from the leaves up, once there are too many nodes.
    fn fold(&mut self) {
        if self.nodes.len() < NODES_MAX {
            return;
        }
        let least = self.count / COMPRESSION;
        for level in (1..=LEVELS).rev() {
            let range = 1_u64 << level..1_u64 << (level + 1);
            let families: Vec<u64> = self.nodes.range(range).map(|(node, _)| node >> 1).collect();
            for parent in families {
                let held = |node: u64| self.nodes.get(&node).copied().unwrap_or(0);
                let children = held(2 * parent) + held(2 * parent + 1);
                if children != 0 && children + held(parent) <= least {
                    self.nodes.remove(&(2 * parent));
                    self.nodes.remove(&(2 * parent + 1));
                    *self.nodes.entry(parent).or_default() += children;
                }
            }
        }
    }
}

impl Extend<f32> for QuantileSketch {
    fn extend<I: IntoIterator<Item = f32>>(&mut self, values: I) {
        values.into_iter().for_each(|value| self.add(value));
    }
}

impl FromIterator<f32> for QuantileSketch {
    fn from_iter<I: IntoIterator<Item = f32>>(values: I) -> Self {
        let mut sketch = Self::new();
        sketch.extend(values);
        sketch
    }
}

impl From<Vec<(u64, u64)>> for QuantileSketch {
    fn from(nodes: Vec<(u64, u64)>) -> Self {
        let sound = |&(node, count): &(u64, u64)| (1..2 << LEVELS).contains(&node) && count != 0;
        let nodes: BTreeMap<u64, u64> = nodes.into_iter().filter(sound).collect();
        Self {
            count: nodes.values().sum(),
            nodes,
        }
    }
}

impl From<QuantileSketch> for Vec<(u64, u64)> {
    fn from(sketch: QuantileSketch) -> Self {
        sketch.nodes.into_iter().collect()
    }
}

/// A distribution that is asked for ranks.
#[derive(Clone, Debug, Default)]
pub struct Percentiles {
    count: u64,
    /// Where nodes begin and end in the order of values, with the counts up to there.
    starts: Vec<(u32, u64)>,
    ends: Vec<(u32, u64)>,
}

impl Percentiles {
    /// How many values the distribution is of.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The share of values below `value`, equal ones counted half: in [0, 1], at most 1 % wrong. A half where the
    /// distribution is empty or `value` is NaN.
    pub fn rank(&self, value: f32) -> f64 {
        if self.count == 0 || value.is_nan() {
            return 0.5;
        }
        let at = key(value);
        let below = sum_of(&self.ends, self.ends.partition_point(|place| place.0 < at));
        let begun = sum_of(
            &self.starts,
            self.starts.partition_point(|place| place.0 <= at),
        );
        (below + begun) as f64 / (2 * self.count) as f64
    }

    /// The least value of which at least the share `rank` is below or equal, as far as ranks are known; `None` where
    /// the distribution is empty.
    pub fn value(&self, rank: f64) -> Option<f32> {
        let (lowest, highest) = (self.ends.first()?.0, self.starts.last()?.0);
        let (mut low, mut high) = (lowest.min(highest), highest);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.until(middle) < rank * self.count as f64 {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Some(value_of(low))
    }

    /// How many values are at most that of `key`, those of a node that reaches beyond it counted half.
    fn until(&self, key: u32) -> f64 {
        let ended = sum_of(
            &self.ends,
            self.ends.partition_point(|place| place.0 <= key),
        );
        let begun = sum_of(
            &self.starts,
            self.starts.partition_point(|place| place.0 <= key),
        );
        (ended + begun) as f64 / 2.0
    }
}

/// The sum of the counts of the first `count` places.
fn sum_of(places: &[(u32, u64)], count: usize) -> u64 {
    count.checked_sub(1).map_or(0, |last| places[last].1)
}

/// The node of a value.
fn leaf(value: f32) -> u64 {
    (1 << LEVELS) | u64::from(key(value))
}

/// The bits of a value, in the order of values; both zeros are one.
fn key(value: f32) -> u32 {
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    }
}

/// The value of bits that [`key`] made, or of the first or last value of a node, which may be no number.
fn value_of(key: u32) -> f32 {
    let bits = if key >> 31 == 1 {
        key & !(1 << 31)
    } else {
        !key
    };
    let value = f32::from_bits(bits);
    match (value.is_nan(), bits >> 31) {
        (false, _) => value,
        (true, 0) => f32::INFINITY,
        (true, _) => f32::NEG_INFINITY,
    }
}

#[cfg(test)]
mod tests;
