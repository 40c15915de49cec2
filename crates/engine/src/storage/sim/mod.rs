//! Storages for tests: one that records what happens and rebuilds the folder as a power cut could
//! have left it, and one that fails when it is told to.
//!
//! What must stay true: nothing here is used by a running database. It is part of the engine, not
//! of its tests, so that tests of every crate can use it.

mod faulty;
mod random;
mod rebuild;
mod recording;

pub use faulty::{Fault, FaultyStorage};
pub use random::Random;
pub use rebuild::{Rebuilt, Survival};
pub use recording::{Mark, RecordingStorage, Trace};
