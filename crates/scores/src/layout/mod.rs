//! Rows as points of a plane, near rows near each other.
//!
//! The method is UMAP (McInnes, Healy, Melville, "UMAP: Uniform Manifold Approximation and Projection", 2018): from the
//! neighbours of each row the strength of each edge, and points that edges pull together while random pairs push each
//! other apart. Points begin at the first two principal components, or where they were before.
//!
//! What must stay true: the same graph, start and seed give the same points, however the work is cut into steps; every
//! point is finite.

mod edges;
mod plane;

#[cfg(test)]
mod tests;

pub use plane::{Layout, LayoutOptions, Point, place, principal_start};
