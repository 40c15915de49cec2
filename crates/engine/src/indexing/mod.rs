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
//!
//! Where to look: `collection` takes writes, `new_keys` counts what they bring to the schema,
//! `ends` knows when the first of their records is past its time, `queue` has what is logged and
//! not applied, `settle` applies it, `handoff` is the pool of workers that do so for writers that
//! were answered already, `published` is what the catalogue holds of it, `sight` is what a reader
//! waits on, `apply` the working set with its `chunks`, `publish` seals and merges what is `due`,
//! `samples` keeps some searches and `recall` makes them again exactly, whose `corrections` are
//! kept, `removal` takes away the files that nobody names, `unchanged` deletes what nobody has
//! written since it was looked at, `conditional` writes where nobody has written what was read;
//! both learn from `watch` who writes what.

mod apply;
mod chunks;
mod collection;
mod conditional;
mod corrections;
mod due;
mod ends;
mod handoff;
mod new_keys;
mod publish;
mod published;
mod queue;
mod recall;
mod release;
mod removal;
mod samples;
mod settle;
mod sight;
mod unchanged;
mod watch;

#[cfg(test)]
mod tests;

pub(crate) use apply::WorkingSet;
pub(crate) use collection::{Answered, LiveCollection, read_dead};
pub(crate) use conditional::Condition;
pub(crate) use corrections::Corrections;
pub(crate) use handoff::Handoff;
pub(crate) use publish::{CostlyIndexes, MergeChoice, Publisher};
pub(crate) use queue::Gauges;
pub(crate) use recall::RecallReport;
pub(crate) use settle::{Applier, late};
pub use sight::Sight;
