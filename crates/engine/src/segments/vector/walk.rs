//! The way of a query through the partitions of an index.
//!
//! What must stay true: a way gives each partition at most once, the nearest first as far as is
//! known; without a mask as far as the effort reaches, with one as long as better rows are likely.

use super::filtered::AdmittedWalk;
use super::layout::{Knobs, VectorIndex};
use super::mask::Mask;
use super::order::Order;
use super::search::{Effort, Prepared};
use super::space::farness;
use crate::Result;

/// Partitions that a search without a mask looks at whatever their gap, and those that it looks at
/// where all are about as near as the nearest, each as a share of the probes. Measured on images,
/// texts and clumps: between them a gap keeps a recall with the fewest partitions.
const SURELY: (usize, usize) = (1, 3);
const AT_MOST: (usize, usize) = (3, 2);

/// Partitions in turn that are not worth a search, after which none is looked for: they come by the
/// distances of their centroids, and their radii differ.
pub(super) const PASSED_OVER_MAX: usize = 8;

/// What is left of the cosine asked of a partition where many rows are wanted, at a recall of 0.95, and what
/// comes to it where a tenth as many may be missed. Measured with 20 to 1,000 rows wanted of images, texts,
/// waves and vectors of which few numbers differ; with 100 wanted by inner product of vectors that have much
/// in common.
const WIDE_COSINE: f32 = 0.85;
const WIDE_COSINE_MORE: f32 = 0.215;
/// What may be missed at that recall, and at the one from which on no more comes to it.
const WIDE_MISSED: f32 = 0.05;
const WIDE_MISSED_LEAST: f32 = 0.0002;

/// What is left of the cosine asked of a partition where many rows are wanted at `recall`.
pub(super) fn wide_cosine(recall: f32) -> f32 {
    let missed = (1.0 - recall).max(WIDE_MISSED_LEAST);
    WIDE_COSINE + WIDE_COSINE_MORE * (WIDE_MISSED / missed).log10()
}

/// How far a search goes through the partitions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// Partitions to search, were every query to search as many.
    pub(super) probes: usize,
    /// How much farther than the nearest centroid that of a partition may be, by [`farness`];
    /// infinite where that is not known, and then each query searches `probes`.
    pub(super) gap: f32,
}

impl Reach {
    pub(super) fn new(knobs: &Knobs) -> Self {
        Self {
            probes: knobs.probes as usize,
            gap: knobs.gap,
        }
    }

    /// Partitions to search whatever their gap.
    pub(super) fn surely(&self) -> usize {
        self.probes.saturating_mul(SURELY.0).div_ceil(SURELY.1)
    }

    /// Partitions to search at most.
    pub(super) fn at_most(&self) -> usize {
        if self.gap == f32::INFINITY {
            self.probes
        } else {
            self.probes.saturating_mul(AT_MOST.0) / AT_MOST.1
        }
    }

    /// Whether it includes a partition to which `nearer` are nearer, with this gap.
    pub(super) fn includes(&self, nearer: usize, gap: f32) -> bool {
        nearer < self.surely() || nearer < self.at_most() && gap.total_cmp(&self.gap).is_le()
    }
}

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
    /// Through the nearest partitions.
    Nearest(NearestWalk<'a>),
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
            _ => Ok(Self::Nearest(NearestWalk {
                order: Order::new(index, query, effort.reach.at_most())?,
                index,
                effort: *effort,
                given: 0,
                passed_over: 0,
                nearest: None,
            })),
        }
    }

    /// The next partition, where `limit` is what a row's score must be below.
    pub(super) fn next(&mut self, limit: f32) -> Result<Option<Visit>> {
        match self {
            Self::Nearest(walk) => walk.next(limit),
            Self::Admitted(walk) => walk.next(limit),
        }
    }

    /// The partition that may come next, where it is known.
    pub(super) fn peek(&self) -> Option<u32> {
        match self {
            Self::Nearest(walk) => walk.order.peek(),
            Self::Admitted(walk) => walk.peek(),
        }
    }
}

/// The way of a query without a mask. It reaches as far as was calibrated for a few rows, and on
/// while there are not enough rows yet; where more rows are wanted, also while better ones are
/// likely, as under a mask: many rows lie in more partitions, and where they lie together is not known
/// before.
pub(super) struct NearestWalk<'a> {
    order: Order<'a>,
    index: &'a VectorIndex,
    effort: Effort,
    given: usize,
    passed_over: usize,
    /// How far the nearest partition is.
    nearest: Option<f32>,
}

impl NearestWalk<'_> {
    /// The next partition, or none once the next is out of reach, where `limit` is what a row's
    /// score must be below.
    fn next(&mut self, limit: f32) -> Result<Option<Visit>> {
        let most = if self.effort.wide.is_some() || limit == f32::INFINITY {
            usize::MAX
        } else {
            self.effort.reach.at_most()
        };
        while self.given < most
            && let Some((score, partition)) = self.order.next()?
        {
            let partition = partition as usize;
            let far = farness(score);
            let gap = far - *self.nearest.get_or_insert(far);
            let is_near = limit == f32::INFINITY || self.effort.reach.includes(self.given, gap);
            if is_near || self.is_likely(score, partition, limit) {
                self.given += 1;
                self.passed_over = 0;
                return Ok(Some(Visit {
                    partition,
                    score,
                    listed: false,
                }));
            }
            self.passed_over += 1;
            if self.effort.wide.is_none() || self.passed_over == PASSED_OVER_MAX {
                break;
            }
        }
        self.given = usize::MAX;
        Ok(None)
    }

    /// Whether many rows are wanted and a partition, whose centroid has `score`, is likely to have one that
    /// scores below `limit`.
    fn is_likely(&self, score: f32, partition: usize, limit: f32) -> bool {
        self.effort.wide.is_some_and(|times| {
            self.index.needed_cosine(score, partition, limit) <= self.effort.cosine_left(times)
        })
    }
}
