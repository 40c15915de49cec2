//! The reference kernels, in plain Rust: what every other level must agree with.
//!
//! What must stay true: no instruction set is assumed and nothing here is `unsafe`.

pub(crate) mod codes;
pub(crate) mod distances;
pub(crate) mod layers;
pub(crate) mod portable;
pub(crate) mod tiles;
