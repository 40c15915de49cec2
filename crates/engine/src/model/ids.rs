//! Newtypes for every id and position.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A position in a collection's log: dense, in order, from 1. Zero means "before the first".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct SeqId(pub u64);

impl SeqId {
    /// The position `count` records further on.
    #[must_use]
    pub fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }
}

impl fmt::Display for SeqId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The SeqIds of one batch, first and last inclusive. An empty batch has `last < first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeqRange {
    /// SeqId of the batch's first record.
    pub first: SeqId,
    /// SeqId of the batch's last record.
    pub last: SeqId,
}

impl SeqRange {
    /// The range of `count` records from `first`.
    pub fn of(first: SeqId, count: usize) -> Self {
        Self {
            first,
            last: SeqId(first.0 + count as u64 - 1),
        }
    }

    /// How many records the range covers.
    pub fn count(self) -> u64 {
        (self.last.0 + 1).saturating_sub(self.first.0)
    }
}

macro_rules! uuid_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Makes a new random id.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_newtype!(
    /// Names a collection for ever, whatever it is renamed to.
    CollectionId
);
uuid_newtype!(
    /// Names a segment; never used again after the segment is gone.
    SegmentId
);
uuid_newtype!(
    /// Names one append, so that a repeated append is recognised and answered, not repeated.
    FlushKey
);
