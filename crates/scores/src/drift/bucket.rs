//! What is kept of the records of one stretch of time.
//!
//! What must stay true: merging is commutative and associative, up to the rounding of sums; the sample holds the
//! records whose ids have the lowest hashes, so that it is the same whatever came first, and evenly drawn.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vermilion_kernels::random::split_mix;

use super::features::FEATURES;
use crate::sketch::QuantileSketch;

/// A record of the sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    /// The random features of its vector.
    pub features: Vec<f32>,
    /// What it belongs to (a video, a user): records of a group are not independent.
    pub group: Option<u64>,
}

/// A record that is added to a bucket.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Its number, which no other record has.
    pub id: u64,
    /// The random features of its vector.
    pub features: &'a [f32],
    /// What it belongs to, if it is not independent of others.
    pub group: Option<u64>,
    /// The class that the model says.
    pub class: Option<u32>,
    /// Its trouble.
    pub trouble: Option<f64>,
    /// Whether its novelty is above that of 99 % of the reference.
    pub is_new: bool,
}

/// A mergeable summary of some records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftBucket {
    count: u64,
    sum: Vec<f64>,
    classes: BTreeMap<u32, u64>,
    trouble: QuantileSketch,
    new: u64,
    capacity: usize,
    /// By hash of the id, and the id.
    sample: BTreeMap<(u64, u64), Sampled>,
}

impl DriftBucket {
    /// A summary of nothing that samples at most `capacity` records.
    pub fn new(capacity: usize) -> Self {
        Self {
            count: 0,
            sum: vec![0.0; FEATURES],
            classes: BTreeMap::new(),
            trouble: QuantileSketch::new(),
            new: 0,
            capacity,
            sample: BTreeMap::new(),
        }
    }

    /// Adds a record.
    ///
    /// # Panics
    /// If there are not [`FEATURES`] features.
    pub fn add(&mut self, record: &Observed<'_>) {
        let features = record.features;
        assert!(
            features.len() == FEATURES,
            "{} features, not {FEATURES}",
            features.len()
        );
        self.count += 1;
        self.sum
            .iter_mut()
            .zip(features)
            .for_each(|(sum, &value)| *sum += f64::from(value));
        if let Some(class) = record.class {
            *self.classes.entry(class).or_default() += 1;
        }
        self.trouble
            .extend(record.trouble.map(|value| value as f32));
        self.new += u64::from(record.is_new);
        let place = (split_mix(&mut record.id.clone()), record.id);
        let last = self.sample.last_key_value();
        if self.sample.len() < self.capacity || last.is_some_and(|(last, _)| place < *last) {
            let sampled = Sampled {
                features: features.to_vec(),
                group: record.group,
            };
            self.sample.insert(place, sampled);
            self.cut();
        }
    }

    /// Adds all that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum
            .iter_mut()
            .zip(&other.sum)
            .for_each(|(sum, value)| *sum += value);
        for (&class, &count) in &other.classes {
            *self.classes.entry(class).or_default() += count;
        }
        self.trouble.merge(&other.trouble);
        self.new += other.new;
        self.sample.extend(
            other
                .sample
                .iter()
                .map(|(&place, record)| (place, record.clone())),
        );
        self.cut();
    }

    fn cut(&mut self) {
        while self.sample.len() > self.capacity {
            self.sample.pop_last();
        }
    }

    /// How many records there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean of their features; zeros where there are none.
    pub fn mean(&self) -> Vec<f64> {
        self.sum
            .iter()
            .map(|sum| sum / self.count.max(1) as f64)
            .collect()
    }

    /// How many records the model gave each class.
    pub fn classes(&self) -> &BTreeMap<u32, u64> {
        &self.classes
    }

    /// The distribution of trouble.
    pub fn trouble(&self) -> &QuantileSketch {
        &self.trouble
    }

    /// The share of records that are newer than 99 % of the reference, 0 where there are none.
    pub fn share_new(&self) -> f64 {
        self.new as f64 / self.count.max(1) as f64
    }

    /// The sampled records with their ids.
    pub fn sample(&self) -> impl Iterator<Item = (u64, &Sampled)> {
        self.sample.iter().map(|((_, id), record)| (*id, record))
    }
}
