//! Metadata of segments: typed columns on the way to disk, and the index that filters use.
//!
//! What must stay true: a segment answers a comparison exactly as [`comparison::passes`] does
//! cell by cell. Each key and kind of value has postings of its own (a list's elements under
//! the list's kind), so that scalar tests never see lists and `$contains` never sees scalars.

pub(super) mod comparison;
pub(super) mod extra;
pub(super) mod gather;
mod kind;
mod number;
mod one_of;
pub(super) mod operands;
pub(super) mod postings;
pub(super) mod search;

pub(super) use kind::Kind;
pub(crate) use number::compare as compare_numbers;
