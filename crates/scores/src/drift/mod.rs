//! Whether production has moved away from the reference, how surely, and where to.
//!
//! The distance of two windows is the squared distance of their mean random Fourier features, an estimate of the
//! squared maximum mean discrepancy (Gretton, Borgwardt, Rasch, Schoelkopf, Smola, JMLR 2012) of a Gaussian kernel.
//! How often chance alone makes it as large is found by dealing the samples of both windows out again.
//!
//! What must stay true: buckets merge, in any order, to the bucket of all their records; nothing depends on the order
//! in which records came.

mod bucket;
mod features;
mod permutation;
mod witness;

#[cfg(test)]
mod tests;

pub use bucket::{DriftBucket, Observed, Sampled};
pub use features::{FEATURES, RandomFeatures};
pub use permutation::{Drift, drift};
pub use witness::{Witness, WitnessCluster, witness_clusters};
