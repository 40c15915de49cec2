//! The way of a query through the partitions of an index.
//!
//! What must stay true: a way gives each partition at most once, the nearest first as far as is
//! known; without a mask as many as the effort says, with one as long as better rows are likely.

use super::filtered::AdmittedWalk;
use super::layout::VectorIndex;
use super::mask::Mask;
use super::order::Order;
use super::search::{Effort, Prepared};
use crate::Result;

/// A partition that a query is to look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    pub(super) partition: usize,
    /// The score of its centroid.
    pub(super) score: f32,
    /// Whether so few of its rows are admitted that their levels are read, and no block is scanned.
    pub(super) listed: bool,
}

impl Visit {
    /// The score of the centroid, and the partition.
    pub(super) fn at(&self) -> (f32, usize) {
        (self.score, self.partition)
    }
}

/// The way of a query.
pub(super) enum Walk<'a> {
    /// Through the nearest partitions, as many as are left.
    Nearest { order: Order<'a>, left: usize },
    /// Through those that have rows which a mask admits.
    Admitted(AdmittedWalk<'a>),
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        index: &'a VectorIndex,
        query: &'a Prepared,
        effort: &Effort,
        mask: Option<&'a Mask>,
    ) -> Result<Self> {
        match mask {
            Some(mask) if index.header.partitions > 1 => {
                AdmittedWalk::new(index, query, effort, mask).map(Self::Admitted)
            }
            _ => Ok(Self::through(
                Order::new(index, query, effort.probes)?,
                effort,
            )),
        }
    }

    /// Through as many partitions of `order` as `effort` says.
    fn through(order: Order<'a>, effort: &Effort) -> Self {
        let left = effort.probes;
        Self::Nearest { order, left }
    }

    /// For each of `queries` its way.
    pub(super) fn each(
        index: &'a VectorIndex,
        queries: &'a [Prepared],
        effort: &Effort,
        mask: Option<&'a Mask>,
    ) -> Result<Vec<Self>> {
        if mask.is_some() && index.header.partitions > 1 {
            let walks = queries.iter();
            return walks
                .map(|query| Self::new(index, query, effort, mask))
                .collect();
        }
        let orders = Order::each(index, queries, effort.probes)?.into_iter();
        Ok(orders.map(|order| Self::through(order, effort)).collect())
    }

    /// The next partition, where `limit` is what a row's score must be below.
    pub(super) fn next(&mut self, limit: f32) -> Result<Option<Visit>> {
        match self {
            Self::Nearest { left: 0, .. } => Ok(None),
            Self::Nearest { order, left } => {
                *left -= 1;
                let next = order.next()?;
                Ok(next.map(|(score, partition)| Visit {
                    partition: partition as usize,
                    score,
                    listed: false,
                }))
            }
            Self::Admitted(walk) => walk.next(limit),
        }
    }

    /// The partition that may come next, where it is known.
    pub(super) fn peek(&self) -> Option<u32> {
        match self {
            Self::Nearest { order, .. } => order.peek(),
            Self::Admitted(walk) => walk.peek(),
        }
    }

    /// How many partitions may be asked for before what they hold is known: where the way depends
    /// on what was found, few.
    pub(super) fn ahead(&self) -> usize {
        match self {
            Self::Nearest { left, .. } => *left,
            Self::Admitted(_) => ADMITTED_AHEAD,
        }
    }
}

/// See [`Walk::ahead`].
const ADMITTED_AHEAD: usize = 8;
