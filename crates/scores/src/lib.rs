//! What embeddings, labels and probabilities say about the inputs of a model: the pure half of curation.
//!
//! What must stay true: functions of arrays only, with no file, clock or thread that outlives a call; the same
//! arguments and seed give the same answer in every run and on any number of threads; rows are `f32` and sums are
//! `f64`; whatever is finite going in is finite coming out. Arrays whose lengths contradict each other are a mistake
//! of the caller and panic; what users sent is validated before it comes here. Classes are numbers from 0, the places
//! of their names in a list that the caller keeps.
//! What is deliberately absent: ids, storage, metadata, HTTP.
//!
//! ```
//! use vermilion_scores::{ClassStatistics, Matrix};
//!
//! let rows = [0.0, 0.1, 0.1, 0.0, 1.0, 1.1, 1.1, 1.0];
//! let mut statistics = ClassStatistics::new(2);
//! for (row, class) in Matrix::new(&rows, 2).rows().zip([0, 0, 1, 1]) {
//!     statistics.add(class, row);
//! }
//! let fitted = statistics.fit();
//! assert_eq!(fitted.predict(&[0.9, 1.0]), Some(1));
//! ```

mod accuracy;
mod algebra;
mod by_heart;
mod clusters;
mod drift;
mod graph;
pub mod issues;
mod labels;
pub mod layout;
mod matrix;
mod parallel;
mod priority;
mod random;
mod reduction;
mod signals;
mod sketch;
mod statistics;
mod unit_rows;

pub use accuracy::{AccuracyEstimate, CorrectnessModel, counted_interval};
pub use by_heart::{Contradictions, is_by_heart};
pub use clusters::weighted_clusters;
pub use drift::{
    Drift, DriftBucket, FEATURES, Observed, RandomFeatures, Sampled, Witness, WitnessCluster,
    drift, witness_clusters,
};
pub use graph::{Graph, nearest};
pub use labels::{
    ConfidentCount, EXAMPLES_MIN, EXPERTS, LABEL_VOTERS, LabelEvidence, LabelReport, LabelVerdict,
    label_issues,
};
pub use matrix::Matrix;
pub use priority::{Coverage, Objective, Pick, PriorityOptions, Selection, Undecided, radius};
pub use reduction::{DIMENSIONS_MAX, Reduction};
pub use signals::{
    Evidence, Measured, Neighbours, PRODUCTION_MIN, Signal, SignalPercentiles, SignalSketches,
    SignalWeight, SignalWeights, Signals, Trouble, VOTERS, uncertainty,
};
pub use sketch::{Percentiles, QuantileSketch};
pub use statistics::{ClassMoments, ClassStatistics, FittedClasses, HeldOut};
pub use unit_rows::{UnitRows, scaled_distance};
