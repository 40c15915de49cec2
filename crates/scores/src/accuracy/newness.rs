//! How many records of production are of something that training does not have, as far as distances tell.
//!
//! A record is as new as the higher of the ranks of its novelty and of its class distance among those of training, each
//! held out. Production is taken for a mixture of records like those of training and of others. Whatever the others
//! are, of the former a share F(t) is no newer than t: where only G(t) of production is, the former are no more than
//! G(t) / F(t) of it (Blanchard, Lee, Scott, "Semi-Supervised Novelty Detection", JMLR 2010).
//!
//! What must stay true: the share is in [0, 1]; where there is no more of what is new than chance brings it is 0.

use serde::{Deserialize, Serialize};

use crate::signals::Signals;

/// Parts of training that are told apart, as many records in each.
const PARTS: usize = 20;
/// The first part by whose end production may lack records: of the newest tenth for what is likely, so that production
/// that is of the newer half of what training knows is not taken for unknown; of the newer half for what may be.
pub(super) const LIKELY: usize = 18;
/// See [`LIKELY`].
pub(super) const POSSIBLE: usize = 10;

/// See the head of this file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Newness {
    /// Ascending.
    novelties: Vec<f32>,
    distances: Vec<f32>,
    /// Ends of the parts, and the share of training up to each.
    ends: Vec<(f64, f64)>,
    records: usize,
}

/// Where production's records are among the parts of training.
pub(super) struct Spread {
    /// The part of each record.
    parts: Vec<usize>,
    /// The share of production in each part.
    shares: Vec<f64>,
}

impl Newness {
    /// What training is like, by its records' signals.
    pub(super) fn fit(signals: &[Signals]) -> Self {
        let sorted = |of: fn(&Signals) -> Option<f32>| {
            let mut values: Vec<f32> = signals.iter().filter_map(of).collect();
            values.sort_by(f32::total_cmp);
            values
        };
        let mut made = Self {
            novelties: sorted(|signals| signals.novelty),
            distances: sorted(|signals| signals.class_distance),
            ends: Vec::new(),
            records: signals.len(),
        };
        let mut ranks: Vec<f64> = signals.iter().map(|signals| made.rank(signals)).collect();
        ranks.sort_by(f64::total_cmp);
        let end = |part: usize| {
            let end = ranks[part * ranks.len() / PARTS];
            let up_to = ranks.partition_point(|rank| *rank <= end);
            (end, up_to as f64 / ranks.len() as f64)
        };
        if !ranks.is_empty() {
            made.ends = (1..PARTS).map(end).collect();
        }
        made
    }

    /// How new a record is, in [0, 1]; 0 where nothing tells.
    fn rank(&self, signals: &Signals) -> f64 {
        let among = |value: Option<f32>, all: &[f32]| {
            let value = value.filter(|_| !all.is_empty())?;
            let below = all.partition_point(|other| *other < value);
            let up_to = all.partition_point(|other| *other <= value);
            Some((below + up_to) as f64 / (2 * all.len()) as f64)
        };
        let novelty = among(signals.novelty, &self.novelties);
        let distance = among(signals.class_distance, &self.distances);
        novelty.unwrap_or(0.0).max(distance.unwrap_or(0.0))
    }

    /// Where these records of production are.
    pub(super) fn spread<'a>(&self, signals: impl Iterator<Item = &'a Signals>) -> Spread {
        let part = |signals: &Signals| {
            let rank = self.rank(signals);
            self.ends.partition_point(|(end, _)| *end < rank)
        };
        let parts: Vec<usize> = signals.map(part).collect();
        let mut shares = vec![0.0; self.ends.len() + 1];
        for &part in &parts {
            shares[part] += 1.0 / parts.len() as f64;
        }
        Spread { parts, shares }
    }

    /// The share of production that is unlike training: the most that any end from that of part `first` on tells, where
    /// what it tells is taken to be so many of its deviations higher.
    pub(super) fn unlike(&self, spread: &Spread, first: usize, deviations: f64) -> f64 {
        let of = spread.parts.len().max(1) as f64;
        let (mut up_to, mut most) = (0.0, 0.0_f64);
        for (part, (_, training)) in self.ends.iter().enumerate() {
            up_to += spread.shares[part];
            if part + 1 < first || *training >= 1.0 {
                continue;
            }
            let like = up_to / training;
            let seen = up_to.max(0.5 / of) * (1.0 - up_to).max(0.0) / of / training.powi(2);
            let known = like.powi(2) * (1.0 - training) / training / self.records as f64;
            most = most.max(1.0 - like + deviations * (seen + known).sqrt());
        }
        most.min(1.0)
    }

    /// The chance of each record to be one of the share that is unlike training: in the newest part whatever is more
    /// than its share of the others, then in the next, until the share is spent.
    pub(super) fn chances(&self, spread: &Spread, unlike: f64) -> Vec<f64> {
        let mut chances = vec![0.0; spread.shares.len()];
        let (mut left, mut above) = (unlike, 1.0);
        for part in (0..chances.len()).rev() {
            let below = part.checked_sub(1).map_or(0.0, |part| self.ends[part].1);
            let share = spread.shares[part];
            let more = (share - (1.0 - unlike) * (above - below)).clamp(0.0, left);
            if share > 0.0 {
                chances[part] = more / share;
            }
            (left, above) = (left - more, below);
        }
        spread.parts.iter().map(|&part| chances[part]).collect()
    }
}
