//! Questions about the metadata values of the records that a read means: their order by values, and
//! what the values come to.

use super::Value;

/// A part of an order by metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderBy {
    /// The metadata key.
    pub key: String,
    /// Whether the largest value comes first. Records without one come last either way.
    pub descending: bool,
}

/// Something to be worked out of the values under a key. A list counts by its elements, each once
/// a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// How many records have each value, the most frequent first.
    CountBy {
        /// The metadata key.
        key: String,
        /// Values that are answered at most.
        limit: usize,
    },
    /// The different values, the least first.
    Distinct {
        /// The metadata key.
        key: String,
        /// Values that are answered at most.
        limit: usize,
    },
    /// The least value.
    Min {
        /// The metadata key.
        key: String,
    },
    /// The greatest value.
    Max {
        /// The metadata key.
        key: String,
    },
}

impl Aggregate {
    /// The metadata key.
    pub fn key(&self) -> &str {
        match self {
            Self::CountBy { key, .. }
            | Self::Distinct { key, .. }
            | Self::Min { key }
            | Self::Max { key } => key,
        }
    }
}

/// What an [`Aggregate`] came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Aggregated {
    /// Records by value.
    Counts {
        /// Values, each with how many records have it.
        values: Vec<(Value, u64)>,
        /// How many different values there are.
        distinct: u64,
        /// Records without a value.
        missing: u64,
    },
    /// Different values.
    Values {
        /// Those that were asked for.
        values: Vec<Value>,
        /// How many different values there are.
        distinct: u64,
    },
    /// One value; `None` where no record has one.
    Value(Option<Value>),
}

/// What is asked besides the records themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// The order of the records; equal ones, and all where nothing is said, in `get` order.
    pub order_by: Vec<OrderBy>,
    /// What is to be worked out of all records that are meant, whatever the page.
    pub aggregates: Vec<Aggregate>,
}

impl Survey {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.order_by.is_empty() && self.aggregates.is_empty()
    }
}
