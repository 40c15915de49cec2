//! From the log to what searches see: applies logged batches to a collection, and publishes its
//! records as segments.
//!
//! What must stay true:
//!
//! - Batches of a collection are applied in the order of their SeqIds, each once.
//! - Applying is idempotent by SeqId: the segments at the applied SeqId of the catalogue, plus the
//!   log after it, always give the same records. That is why the catalogue keeps, for each
//!   segment, the rows that are dead *at the applied SeqId*, and not those dead now.
//! - What readers see changes in one step, by swapping an immutable [`crate::query::Snapshot`].

mod apply;
mod collection;
mod publish;
mod release;

#[cfg(test)]
mod tests;

pub(crate) use apply::WorkingSet;
pub(crate) use collection::LiveCollection;
pub(crate) use collection::{missing, wrong_dimension};
pub(crate) use publish::{MergeChoice, Publisher};
