//! What is wrong with the data of a space, worst first, in words and numbers.
//!
//! What must stay true: what takes long is worked out once for a state of the records and kept; a space
//! that is too large for one request is looked at by the job, and told as not ready until then; every
//! issue says why, and which records show it.
//!
//! | file | what |
//! |---|---|
//! | `ask` | the types of issues, and pages of them |
//! | `study` | what takes long: made at once or by the job, and kept |
//! | `labels` | labels that are probably wrong |
//! | `near` | near duplicates, leaks and outliers |
//! | `shape` | weak clusters, dead dimensions, norms that moved |
//! | `counts` | what counting tells: rare and unknown classes, missing probabilities |
//! | `confusion` | how often labels go with inferences |

mod ask;
mod confusion;
mod counts;
mod labels;
mod near;
mod shape;
mod study;

pub use ask::{AskedIssues, PAGE_MAX, TYPES};
pub use confusion::AskedConfusion;
pub(crate) use study::{Slot, Studies, Study, Version};
