//! Ranked searches: a filter, an expression that scores records, groups, a page and columns.
//!
//! Semantics (see the API reference, 6.3): lower scores are better. An expression gives some
//! records a score, its support, and may have a default for all others. A search answers with the
//! support of its whole expression; without one, with the records of its filter in `get` order.

use std::collections::BTreeSet;

use super::{Consistency, Fetched, Filter, SparseVector};

/// Some searches of one collection, answered from one snapshot.
#[derive(Clone, Debug, Default)]
pub struct SearchRequest {
    /// The searches.
    pub searches: Vec<Search>,
    /// What must be seen.
    pub consistency: Consistency,
}

/// One search.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Which records may answer; `None` for all.
    pub filter: Option<Filter>,
    /// How they are scored; `None` leaves them in `get` order.
    pub rank: Option<Rank>,
    /// How many of each group are kept; needs a rank.
    pub group_by: Option<GroupBy>,
    /// How many to pass over.
    pub offset: u32,
    /// How many at most.
    pub limit: Option<u32>,
    /// Which columns.
    pub select: Select,
}

/// An expression that scores records.
#[derive(Clone, Debug, PartialEq)]
pub enum Rank {
    /// This score for every record: no support, a default.
    Value(f64),
    /// The nearest records to a vector.
    Knn(Knn),
    /// All of these added, at least one.
    Sum(Vec<Rank>),
    /// All of these multiplied, at least one.
    Product(Vec<Rank>),
    /// The largest of these, at least one.
    Max(Vec<Rank>),
    /// The smallest of these, at least one.
    Min(Vec<Rank>),
    /// The first less the second.
    Difference(Box<[Rank; 2]>),
    /// The first by the second.
    Quotient(Box<[Rank; 2]>),
    /// Without its sign.
    Absolute(Box<Rank>),
    /// e to the power of it.
    Exponential(Box<Rank>),
    /// Its natural logarithm.
    Logarithm(Box<Rank>),
}

/// The nearest records to a vector, among those that the search's filter lets through.
#[derive(Clone, Debug, PartialEq)]
pub struct Knn {
    /// The vector.
    pub query: KnnQuery,
    /// Which vectors of records it is compared with: [`EMBEDDING_KEY`](super::EMBEDDING_KEY) or a
    /// metadata key.
    pub key: String,
    /// How many records at most.
    pub limit: u32,
    /// The score of all other records.
    pub default: Option<f64>,
    /// Whether a record's score is its place, from 0, and not its distance.
    pub by_place: bool,
}

/// The vector of a [`Knn`].
#[derive(Clone, Debug, PartialEq)]
pub enum KnnQuery {
    /// As many numbers as the collection's vectors have.
    Dense(Vec<f32>),
    /// Numbers for some dimensions.
    Sparse(SparseVector),
}

/// Keeps some records of each group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupBy {
    /// Records with equal values of these metadata keys make a group; a key that is missing is a
    /// value like another.
    pub keys: Vec<String>,
    /// What decides who is kept, the most important first. Records without a value come last.
    pub order: Vec<GroupKey>,
    /// Whether the largest are kept, and not the smallest.
    pub largest: bool,
    /// How many are kept of each group.
    pub count: u32,
}

/// What members of a group are ordered by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupKey {
    /// The score.
    Score,
    /// A metadata key.
    Metadata(String),
}

/// The columns of a search's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Select {
    /// Documents.
    pub documents: bool,
    /// Vectors.
    pub embeddings: bool,
    /// Scores.
    pub scores: bool,
    /// Metadata.
    pub metadata: SelectMetadata,
}

/// Which metadata a search answers with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SelectMetadata {
    /// None.
    #[default]
    Nothing,
    /// These keys.
    Keys(BTreeSet<String>),
    /// All keys.
    Everything,
}

/// The records that a search found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The records, with all their metadata where any is selected.
    pub records: Fetched,
    /// Their scores, where the search ranks; a score may be infinite or no number.
    pub scores: Option<Vec<f32>>,
}
