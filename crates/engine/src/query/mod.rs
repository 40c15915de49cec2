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
//! | `distance` | distances, safe from overflow and underflow |
//! | `top` | the best few of many candidates |
//! | `fetch` | the columns of an answer |
//! | `requests` | [`find`], [`select`], [`get`] and [`query`], made of the above |

mod distance;
mod fetch;
mod nearest;
mod normal;
mod order;
mod plan;
mod requests;
mod snapshot;
#[cfg(test)]
mod tests;
mod top;

pub use requests::{find, get, query, select};
pub use snapshot::{Location, Part, Snapshot};
