//! The greedy choice itself, made lazily: gains only fall, so that a gain computed earlier is a bound, and only the
//! record with the highest bound has to be looked at again (Minoux 1978).
//!
//! What must stay true: each pick has the highest gain there is at that moment, the lower number among equals.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::coverage::Coverage;
use super::mass::{Objective, PriorityOptions, Similarity, Undecided, radius};
use crate::parallel;
use vermilion_kernels::random::split_mix;

/// One entry of the list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pick {
    /// The record.
    pub row: u32,
    /// What it adds to the mass that is covered, its own left out.
    pub gain: f64,
    /// The gain by that of the first pick: from 1 down to 0. For `Verify` the trouble, for draws 0.
    pub priority: f64,
    /// The share of the mass that was not covered at first and is now, in [0, 1].
    pub coverage: f64,
    /// How many of its neighbours it stands for: those that it covers by half at least, and that nothing covered as much.
    pub stands_for: u32,
    /// Whether it was drawn, and speaks for all undecided records.
    pub drawn: bool,
}

/// A bound of a candidate's gain.
#[derive(Clone, Copy, Debug)]
struct Bound {
    gain: f64,
    row: u32,
    /// How many picks there were when it was computed.
    picks: u32,
}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> Ordering {
        self.gain
            .total_cmp(&other.gain)
            .then(other.row.cmp(&self.row))
    }
}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Bound {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Bound {}

/// A list that grows by one record a step, best first; an iterator of its picks.
#[derive(Clone, Debug)]
pub struct Selection<'a> {
    records: Undecided<'a>,
    options: PriorityOptions,
    coverage: Coverage,
    picked: Vec<bool>,
    bounds: BinaryHeap<Bound>,
    /// Undecided records in the order in which they are drawn, last first; empty where none are.
    draws: Vec<u32>,
    of_class: HashMap<u32, usize>,
    of_group: HashMap<u32, usize>,
    picks: u32,
}

impl<'a> Selection<'a> {
    /// Gets ready: computes masses, and the gain of every candidate.
    ///
    /// # Panics
    /// If an array has neither no place nor one for each record.
    pub fn new(records: Undecided<'a>, options: PriorityOptions) -> Self {
        records.check();
        let rows = records.graph.len();
        let similarity = Similarity::new(options.radius.unwrap_or_else(|| radius(records.graph)));
        let of_rows =
            |value: &(dyn Fn(usize) -> f64 + Sync)| parallel::map(rows, |row| value(row) as f32);
        let mass = of_rows(&|row| records.mass(&options, similarity, row));
        let covered = of_rows(&|row| records.covered(similarity, row));
        let mut selection = Self {
            draws: draws(&records, &options),
            records,
            coverage: Coverage::new(similarity, mass, covered),
            picked: vec![false; rows],
            bounds: BinaryHeap::new(),
            of_class: HashMap::new(),
            of_group: HashMap::new(),
            picks: 0,
            options,
        };
        selection.bounds = selection.first_bounds();
        selection
    }

    /// What is covered now.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// What is covered, to be kept when the list is made.
    pub fn into_coverage(self) -> Coverage {
        self.coverage
    }

    /// The most uncertain undecided records, each with its gain.
    fn first_bounds(&self) -> BinaryHeap<Bound> {
        let objective = self.options.objective;
        if objective == Objective::Random {
            return BinaryHeap::new();
        }
        let rank = |row: u32| self.records.rank(objective, row as usize);
        let rows = 0..self.records.graph.len() as u32;
        let open = rows.filter(|&row| !self.records.is_decided(row as usize));
        let candidates = self.options.candidates_of(open.collect(), rank);
        let gains = parallel::map(candidates.len(), |at| self.gain(candidates[at] as usize));
        let bound = |(&row, gain)| Bound {
            gain,
            row,
            picks: 0,
        };
        candidates.iter().zip(gains).map(bound).collect()
    }

    fn gain(&self, row: usize) -> f64 {
        if self.options.objective == Objective::Verify {
            return self.records.rank(Objective::Verify, row);
        }
        let graph = self.records.graph;
        let edges = graph
            .neighbours(row)
            .iter()
            .copied()
            .zip(graph.distances(row).iter().copied());
        self.coverage.gain(edges) + self.options.singletons * self.coverage.own(row)
    }

    /// Whether a cap leaves room for a record.
    fn has_room(&self, row: usize) -> bool {
        let room = |cap: Option<usize>, of: &[u32], taken: &HashMap<u32, usize>| match (
            cap,
            of.get(row),
        ) {
            (Some(cap), Some(kind)) => taken.get(kind).copied().unwrap_or(0) < cap,
            _ => true,
        };
        room(
            self.options.per_class_cap,
            self.records.classes,
            &self.of_class,
        ) && room(
            self.options.per_group_cap,
            self.records.groups,
            &self.of_group,
        )
    }

    /// The candidate with the highest gain now.
    fn best(&mut self) -> Option<(u32, f64)> {
        while let Some(bound) = self.bounds.pop() {
            let row = bound.row as usize;
            if self.picked[row] || !self.has_room(row) {
                continue;
            }
            if bound.picks == self.picks {
                return Some((bound.row, bound.gain));
            }
            let gain = self.gain(row);
            self.bounds.push(Bound {
                gain,
                row: bound.row,
                picks: self.picks,
            });
        }
        None
    }

    /// The next record that is drawn.
    fn draw(&mut self) -> Option<u32> {
        while let Some(row) = self.draws.pop() {
            if !self.picked[row as usize] && self.has_room(row as usize) {
                return Some(row);
            }
        }
        None
    }

    /// Whether the next pick is one of those that are drawn: every 1 / share-th.
    fn draws_next(&self) -> bool {
        let share = self.options.random_share;
        let until = |picks: u32| (f64::from(picks) * share + 1e-9).floor();
        self.options.objective == Objective::Random || until(self.picks + 1) > until(self.picks)
    }

    /// Picks a record; how many of its neighbours it stands for.
    fn take(&mut self, row: u32) -> u32 {
        let at = row as usize;
        self.picked[at] = true;
        self.picks += 1;
        if let Some(&class) = self.records.classes.get(at) {
            *self.of_class.entry(class).or_default() += 1;
        }
        if let Some(&group) = self.records.groups.get(at) {
            *self.of_group.entry(group).or_default() += 1;
        }
        let graph = self.records.graph;
        self.coverage
            .take(row, graph.neighbours(at), graph.distances(at))
    }
}

impl Iterator for Selection<'_> {
    type Item = Pick;

    fn next(&mut self) -> Option<Pick> {
        let drawn = self.draws_next().then(|| self.draw()).flatten();
        let (row, gain) = match drawn {
            Some(row) => (row, self.gain(row as usize)),
            None => self.best()?,
        };
        let priority = match (drawn, self.options.objective) {
            (Some(_), _) => 0.0,
            (None, Objective::Verify) => gain,
            (None, _) => {
                self.coverage.note_first(gain);
                self.coverage.by_first(gain)
            }
        };
        let stands_for = self.take(row);
        let coverage = self.coverage.share();
        Some(Pick {
            row,
            gain,
            priority,
            coverage,
            stands_for,
            drawn: drawn.is_some(),
        })
    }
}

/// Undecided records in a random order that follows from the seed, last first.
fn draws(records: &Undecided<'_>, options: &PriorityOptions) -> Vec<u32> {
    if options.objective != Objective::Random && options.random_share <= 0.0 {
        return Vec::new();
    }
    let rows = 0..records.graph.len() as u32;
    let rows = rows.filter(|&row| !records.is_decided(row as usize));
    let mut order: Vec<(u64, u32)> = rows
        .map(|row| {
            let mut state = options.seed ^ u64::from(row).wrapping_mul(0xd134_2543_de82_ef95);
            (split_mix(&mut state), row)
        })
        .collect();
    order.sort_unstable_by(|a, b| b.cmp(a));
    order.into_iter().map(|(_, row)| row).collect()
}
