//! What else is wrong with the data: duplicates, leaks, outliers, rare classes, weak spots, dead dimensions, norms that
//! moved, classes that nobody labelled.
//!
//! What must stay true: each function says what it was asked about and nothing more, in a fixed order, worst first.

mod clusters;
mod columns;
mod duplicates;

#[cfg(test)]
mod tests;

pub use clusters::{WeakCluster, underperforming_clusters};
pub use columns::{
    DimensionStatistics, NormShift, RareClass, dead_dimensions, imbalance, norm_shift,
    unknown_classes,
};
pub use duplicates::{duplicate_threshold, leaks, near_duplicates, outliers};
