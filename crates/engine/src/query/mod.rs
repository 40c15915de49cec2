//! Answers questions about one snapshot of a collection.
//!
//! What must stay true: a request sees one [`Snapshot`] from its first look to its last fetch;
//! equal snapshots give equal answers, ties included, however their rows are spread over parts.
//!
//! | file | what |
//! |---|---|
//! | `snapshot` | what is asked: [`Snapshot`], its [`Part`]s, a [`Location`] in it |
//! | `plan` | which rows a selection means: ids, and filters from cheap tests to dear ones |
//! | `normal` | filters brought to fewer tests that mean the same |
//! | `order` | rows of all parts in `get` order |
//! | `nearest` | the nearest rows to each query vector |
//! | `exact` | rows compared with query vectors |
//! | `tiled` | the same for many query vectors at once |
//! | `distance` | distances, safe from overflow and underflow |
//! | `top` | the best few of many candidates |
//! | `sparse` | the nearest rows to a sparse vector |
//! | `rank` | what an expression of scores means |
//! | `group` | which ranked rows of a group are kept |
//! | `survey` | [`survey`]: records ordered by values, and what values come to |
//! | `census` | [`census`]: how many records have each metadata value |
//! | `values` | metadata values of many records: read, compared, told apart |
//! | `search` | [`search`]: ranked searches, several at a time |
//! | `recheck` | what a search should have found, and how much of it it does find |
//! | `fetch` | the columns of an answer |
//! | `requests` | [`find`], [`select`], [`get`] and [`query`], made of the above |

mod census;
mod distance;
mod exact;
mod fetch;
mod group;
mod nearest;
mod normal;
mod order;
mod plan;
mod rank;
mod recheck;
mod requests;
mod search;
mod snapshot;
mod sparse;
mod survey;
#[cfg(test)]
mod tests;
mod tiled;
mod top;
mod values;

pub use census::{Counted, census};
pub(crate) use rank::knns;
pub(crate) use recheck::{Rechecked, Sample, Tally, recheck, tally};
pub use requests::{count, find, get, query, select};
pub use search::search;
pub use snapshot::{Location, Part, Snapshot};
pub use survey::survey;

use crate::{Error, Result};

/// Records that all queries or expressions of one request may find together.
const FOUND_MAX: u64 = 4 << 20;

/// Fails where numbers of a query cannot be compared with anything.
fn expect_finite(values: &[f32]) -> Result<()> {
    if values.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(Error::invalid(
        "Query embeddings must not contain NaN or Infinity values",
    ))
}
