//! The retraining order: which records to label next, so that they cover most of what the model is uncertain of.
//!
//! The list is the greedy maximiser of a submodular coverage (facility location over neighbours; Nemhauser, Wolsey,
//! Fisher 1978 bound how far greedy is from the best). With a_ij = exp(-d_ij^2 / 2 s^2), s the median distance of the
//! tenth neighbour, masses w_j and coverages c_j, the next record is the candidate with the highest
//! `gain(i) = sum over neighbours j of w_j max(0, a_ij - c_j)`, after which c_i = 1 and c_j = max(c_j, a_ij).
//! A record's own mass is left out, so that one without neighbours like it earns nothing.
//!
//! What must stay true: a shorter list is the head of a longer one; the same input gives the same list.

mod coverage;
mod mass;
mod selection;

#[cfg(test)]
mod tests;

pub use coverage::Coverage;
pub use mass::{Objective, PriorityOptions, Undecided, radius};
pub use selection::{Pick, Selection};
