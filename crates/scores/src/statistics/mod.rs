//! What the classes of a training set are like: how many examples, their mean and their scatter, and what follows from
//! them, from one example a class on.
//!
//! What must stay true: adding, removing, merging and subtracting take O(d^2) and give what counting all over would,
//! up to rounding; a fit is defined for every set of finite rows, however few, equal or constant they are.

mod fit;
mod held_out;
mod moments;

#[cfg(test)]
mod tests;

pub use fit::FittedClasses;
pub use held_out::HeldOut;
pub use moments::{ClassMoments, ClassStatistics};
