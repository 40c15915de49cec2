//! What the list is made from: the records, what is wanted of them, and the mass of each.
//!
//! What must stay true: masses and coverages are in [0, 1].

use crate::graph::Graph;

/// The neighbour whose distance is typical of how far similarity reaches.
const RADIUS_NEIGHBOUR: usize = 10;

/// What the list is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Objective {
    /// Cover what the model is uncertain of: mass F(u)^exponent.
    #[default]
    Retrain,
    /// Cover what is new: mass F(N).
    Explore,
    /// The most troublesome first.
    Verify,
    /// Any order, so that what is found speaks for all records.
    Random,
}

/// How the list is made.
#[derive(Clone, Debug, PartialEq)]
pub struct PriorityOptions {
    /// What it is for.
    pub objective: Objective,
    /// The share of undecided records, the most uncertain ones, that may be picked, in (0, 1].
    pub candidates: f64,
    /// How much more an uncertain record weighs than others.
    pub exponent: f64,
    /// How far similarity reaches; the median distance of the tenth neighbour where it is `None`.
    pub radius: Option<f64>,
    /// Records of one class at most.
    pub per_class_cap: Option<usize>,
    /// Records of one group at most.
    pub per_group_cap: Option<usize>,
    /// The weight of a record's own mass, in [0, 1].
    pub singletons: f64,
    /// The share of the list that is drawn evenly from all undecided records, in [0, 1].
    pub random_share: f64,
    /// Where draws begin.
    pub seed: u64,
}

impl PriorityOptions {
    /// Those of the `open` records that may be picked, in no order: of [`Objective::Retrain`] the share with the
    /// highest `rank`, equal ones by their number; else all.
    pub fn candidates_of(&self, mut open: Vec<u32>, rank: impl Fn(u32) -> f64) -> Vec<u32> {
        let wanted = (open.len() as f64 * self.candidates).ceil() as usize;
        if self.objective == Objective::Retrain && wanted < open.len() && wanted != 0 {
            let by_rank = |a: &u32, b: &u32| rank(*b).total_cmp(&rank(*a)).then(a.cmp(b));
            open.select_nth_unstable_by(wanted - 1, by_rank);
            open.truncate(wanted);
        }
        open
    }
}

impl Default for PriorityOptions {
    fn default() -> Self {
        Self {
            objective: Objective::Retrain,
            candidates: 0.3,
            exponent: 3.0,
            radius: None,
            per_class_cap: None,
            per_group_cap: None,
            singletons: 0.0,
            random_share: 0.0,
            seed: 0,
        }
    }
}

/// The records of production. Arrays have a place for each row of the graph, or are empty where nothing is known.
#[derive(Clone, Copy, Debug)]
pub struct Undecided<'a> {
    /// Neighbours within production, without the record itself; 15 each are enough.
    pub graph: &'a Graph,
    /// Ranks of uncertainty, of novelty and of trouble, in [0, 1].
    pub uncertainty: &'a [f32],
    /// Ranks of novelty.
    pub novelty: &'a [f32],
    /// Trouble.
    pub trouble: &'a [f32],
    /// Which records are decided: they count as production, and are not picked.
    pub decided: &'a [bool],
    /// Distance to the nearest labelled record: of the training data, or decided as labelled.
    pub labelled: &'a [f32],
    /// Distance to the nearest record of an open triage set.
    pub triage: &'a [f32],
    /// Distance to the nearest record that was rejected as junk.
    pub rejected: &'a [f32],
    /// The class of each record, for the cap.
    pub classes: &'a [u32],
    /// The group of each record, for the cap.
    pub groups: &'a [u32],
}

impl<'a> Undecided<'a> {
    /// Records of which nothing is known but how uncertain they are.
    pub fn new(graph: &'a Graph, uncertainty: &'a [f32]) -> Self {
        Self {
            graph,
            uncertainty,
            novelty: &[],
            trouble: &[],
            decided: &[],
            labelled: &[],
            triage: &[],
            rejected: &[],
            classes: &[],
            groups: &[],
        }
    }

    pub(super) fn check(&self) {
        let rows = self.graph.len();
        let lengths = [
            self.uncertainty.len(),
            self.novelty.len(),
            self.trouble.len(),
            self.decided.len(),
            self.labelled.len(),
            self.triage.len(),
            self.rejected.len(),
            self.classes.len(),
            self.groups.len(),
        ];
        let odd = lengths
            .iter()
            .find(|&&length| length != 0 && length != rows);
        assert!(
            odd.is_none(),
            "an array has {odd:?} places for {rows} records"
        );
    }

    pub(super) fn is_decided(&self, row: usize) -> bool {
        self.decided.get(row).copied().unwrap_or(false)
    }

    /// What candidates are the highest of.
    pub(super) fn rank(&self, objective: Objective, row: usize) -> f64 {
        let ranks = match objective {
            Objective::Retrain => self.uncertainty,
            Objective::Explore => self.novelty,
            Objective::Verify => self.trouble,
            Objective::Random => &[],
        };
        ranks
            .get(row)
            .map_or(0.0, |&rank| f64::from(rank).clamp(0.0, 1.0))
    }

    /// How much it matters that a record is covered.
    pub(super) fn mass(
        &self,
        options: &PriorityOptions,
        similarity: Similarity,
        row: usize,
    ) -> f64 {
        let rank = self.rank(options.objective, row);
        let own = if options.objective == Objective::Retrain {
            rank.powf(options.exponent)
        } else {
            rank
        };
        let like = |distances: &[f32]| distances.get(row).map_or(0.0, |&d| similarity.of(d));
        own.max(like(self.triage)) * (1.0 - like(self.rejected))
    }

    /// How much of a record the labelled ones cover before the list begins.
    pub(super) fn covered(&self, similarity: Similarity, row: usize) -> f64 {
        self.labelled
            .get(row)
            .map_or(0.0, |&distance| similarity.of(distance))
    }
}

/// Similarity by distance: exp(-d^2 / 2 s^2).
#[derive(Clone, Copy, Debug)]
pub(super) struct Similarity(f64);

impl Similarity {
    pub(super) fn new(radius: f64) -> Self {
        Self(if radius > 0.0 {
            1.0 / (2.0 * radius * radius)
        } else {
            f64::INFINITY
        })
    }

    pub(super) fn of(self, distance: f32) -> f64 {
        let square = f64::from(distance).powi(2);
        // Without a radius only equal vectors are similar; 0 times infinity is no number.
        if square == 0.0 {
            1.0
        } else {
            (-square * self.0).exp()
        }
    }
}

/// The median distance of the tenth neighbour, or of the last where a record has fewer; 0 where none has any.
pub fn radius(graph: &Graph) -> f64 {
    let tenth = |row| {
        let distances = graph.distances(row);
        distances
            .get(RADIUS_NEIGHBOUR - 1)
            .or(distances.last())
            .copied()
    };
    let mut distances: Vec<f32> = (0..graph.len()).filter_map(tenth).collect();
    if distances.is_empty() {
        return 0.0;
    }
    let middle = distances.len() / 2;
    f64::from(*distances.select_nth_unstable_by(middle, f32::total_cmp).1)
}
