//! Whether production has moved away from a reference, since when, where to, and what that costs.
//!
//! What must stay true: the same records and question give the same answer; what is counted is counted
//! over all records, what needs vectors is computed of an even sample of them, and told as such; too
//! few records are refused, not judged.
//!
//! | file | what |
//! |---|---|
//! | `ask` | the question: windows, the reference, what to explain it by |
//! | `side` | the records of a window or reference, sampled, with their vectors |
//! | `answer` | statistic, timeline, witnesses, estimated accuracy |
//! | `known` | the answer that was given last, for who asks about one record |
//! | `shares` | what classes and metadata tell of the difference |

mod answer;
mod ask;
mod known;
mod shares;
mod side;

pub use ask::{ALPHA_MAX, ALPHA_MIN, AskedDrift};
pub(crate) use known::KnownDrift;
pub(crate) use side::Side;
