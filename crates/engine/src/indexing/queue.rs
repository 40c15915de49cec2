//! What a collection has yet to index: its part of the hand-off queue.
//!
//! Batches stand in the order in which they were submitted to the log, which is that of their
//! SeqIds. First come durable ones, as spans of SeqIds; then those on their way through the log.
//! A span has its batch in memory where there was room when it was written; all others are no
//! more than two numbers, are joined with their neighbours, and are read from the log again.
//!
//! What must stay true: nothing of a span is forgotten before it is applied; memory is bounded by
//! what may be kept ([`Gauges`]) and by the batches on their way, for each of which a writer waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::log::{Log, Ticket, VectorPlace};
use crate::model::{RecordBatch, SeqId, SeqRange};

/// Bytes that all collections have together.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// Applied records in memory.
    pub(crate) memory: AtomicU64,
    /// Logged batches that are yet to be indexed.
    pub(crate) backlog: AtomicU64,
    /// Of these, batches kept in memory after their writer was answered.
    pub(crate) kept: AtomicU64,
    /// How much may be kept.
    pub(crate) kept_max: u64,
    /// Batches that had to be read from the log again.
    pub(crate) read_again: AtomicU64,
    /// Seals done, and rows that they wrote.
    pub(crate) seals: AtomicU64,
    /// See `seals`.
    pub(crate) sealed_rows: AtomicU64,
    /// Merges and rebuilds done, and rows that they wrote.
    pub(crate) merges: AtomicU64,
    /// See `merges`.
    pub(crate) merged_rows: AtomicU64,
    /// Collections whose memory was given back.
    pub(crate) unloaded: AtomicU64,
}

impl Gauges {
    /// Gauges at nothing.
    pub(crate) fn new(kept_max: u64) -> Arc<Self> {
        Arc::new(Self {
            kept_max,
            ..Self::default()
        })
    }

    /// Counts a seal, and the rows of the segment that it wrote.
    pub(super) fn note_seal(&self, rows: Option<u32>) {
        self.seals.fetch_add(1, Ordering::Relaxed);
        self.sealed_rows
            .fetch_add(rows.unwrap_or(0).into(), Ordering::Relaxed);
    }

    /// Counts a merge, and the rows of the segment that it wrote.
    pub(super) fn note_merge(&self, rows: Option<u32>) {
        self.merges.fetch_add(1, Ordering::Relaxed);
        self.merged_rows
            .fetch_add(rows.unwrap_or(0).into(), Ordering::Relaxed);
    }

    /// Room for a batch of so many bytes, if there is some.
    pub(super) fn lease(self: &Arc<Self>, bytes: u64) -> Option<Lease> {
        let take = |kept: u64| Some(kept + bytes).filter(|kept| *kept <= self.kept_max);
        let taken = self
            .kept
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.ok().map(|_| Lease {
            gauges: self.clone(),
            bytes,
        })
    }
}

/// Room for a batch in memory, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    gauges: Arc<Gauges>,
    bytes: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.gauges.kept.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A batch in memory. Without a lease its writer waits for it.
pub(super) struct Kept {
    pub(super) batch: Arc<RecordBatch>,
    pub(super) lease: Option<Lease>,
}

/// A batch on its way through the log.
pub(super) struct Submitted {
    pub(super) ticket: Ticket,
    pub(super) batch: Option<Kept>,
    pub(super) bytes: u64,
    /// When it was written, by the monotonic clock.
    pub(super) since: Duration,
}

/// Durable records that are not applied.
struct Span {
    seqs: SeqRange,
    /// How many batches they are.
    batches: usize,
    bytes: u64,
    since: Duration,
    batch: Held,
}

/// Where the batch of a span is.
enum Held {
    /// In memory.
    Memory(Kept, Option<VectorPlace>),
    /// With those who apply it; if they fail, it is read from the log.
    Taken { _lease: Option<Lease> },
    /// In the log alone.
    Log,
}

impl Held {
    /// The batch that is in memory, for those who apply it.
    fn take(&mut self) -> Option<(Arc<RecordBatch>, Option<VectorPlace>)> {
        match std::mem::replace(self, Self::Log) {
            Self::Memory(kept, vectors) => {
                *self = Self::Taken { _lease: kept.lease };
                Some((kept.batch, vectors))
            }
            other => {
                *self = other;
                None
            }
        }
    }
}

/// A batch that is to be applied.
pub(super) struct Due {
    pub(super) seqs: SeqRange,
    pub(super) batch: Arc<RecordBatch>,
    vectors: Option<VectorPlace>,
}

impl Due {
    /// A batch that stays as it is.
    pub(super) fn new(seqs: SeqRange, batch: Arc<RecordBatch>) -> Self {
        Self {
            seqs,
            batch,
            vectors: None,
        }
    }

    /// Lets the batch look at its vectors where they stand in the log, if nobody else has it: what is in memory then is
    /// half as much, and what the next batch needs is there. What they were received in goes in any case.
    pub(super) fn lend_vectors(&mut self, log: &Log) {
        let Some(batch) = Arc::get_mut(&mut self.batch) else {
            return;
        };
        match self.vectors.take().and_then(|place| log.lend(place)) {
            Some(vectors) => batch.embeddings.lend(vectors),
            None => batch.embeddings.own(),
        }
    }
}

/// What is to be applied next.
pub(super) enum Next {
    /// These batches, which were in memory.
    Batches(Vec<Due>),
    /// The records of this span, which are to be read from the log.
    InLog(SeqRange),
}

/// Where the newest batch stands.
pub(super) enum Newest {
    /// On its way through the log.
    Submitted(Ticket),
    /// Durable up to here.
    Durable(SeqId),
}

/// See the file's comment.
pub(super) struct Queue {
    durable: VecDeque<Span>,
    submitted: VecDeque<Submitted>,
    /// Bytes of the durable spans.
    bytes: u64,
    gauges: Arc<Gauges>,
}

/// What a queue holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// Bytes of durable batches.
    pub(crate) bytes: u64,
    /// Spans of durable batches.
    pub(crate) spans: usize,
    /// When the oldest was written, by the monotonic clock.
    pub(crate) since: Option<Duration>,
}

impl Queue {
    /// A queue with nothing in it.
    pub(super) fn new(gauges: Arc<Gauges>) -> Self {
        Self {
            durable: VecDeque::new(),
            submitted: VecDeque::new(),
            bytes: 0,
            gauges,
        }
    }

    /// Notes a batch that was submitted to the log after all others.
    pub(super) fn submitted(&mut self, batch: Submitted) {
        self.submitted.push_back(batch);
    }

    /// Notes records that are in the log from before the database was opened.
    pub(super) fn logged(&mut self, seqs: SeqRange, bytes: u64, since: Duration) {
        self.push(Span {
            seqs,
            batches: 1,
            bytes,
            since,
            batch: Held::Log,
        });
    }

    /// Takes over the batches that are durable now; answers how many have failed. The log
    /// finishes the batches of a collection in order.
    pub(super) fn collect(&mut self) -> usize {
        let mut failed = 0;
        while let Some(outcome) = self.submitted.front().and_then(|one| one.ticket.outcome()) {
            let Some(one) = self.submitted.pop_front() else {
                break;
            };
            match outcome {
                Ok(seqs) => self.push(Span {
                    seqs,
                    batches: 1,
                    bytes: one.bytes,
                    since: one.since,
                    batch: match one.batch {
                        Some(kept) => Held::Memory(kept, one.ticket.vectors()),
                        None => Held::Log,
                    },
                }),
                Err(_) => failed += 1,
            }
        }
        failed
    }

    fn push(&mut self, span: Span) {
        self.bytes += span.bytes;
        self.gauges.backlog.fetch_add(span.bytes, Ordering::Relaxed);
        if let Some(last) = self.durable.back_mut()
            && matches!((&last.batch, &span.batch), (Held::Log, Held::Log))
            && last.seqs.last.plus(1) == span.seqs.first
        {
            last.seqs.last = span.seqs.last;
            last.batches += span.batches;
            last.bytes += span.bytes;
            return;
        }
        self.durable.push_back(span);
    }

    /// What comes next, up to the batch that holds `upto`, and up to about `bytes_max`.
    pub(super) fn next(&mut self, upto: SeqId, bytes_max: u64) -> Option<Next> {
        let mut bytes = 0;
        let mut batches = Vec::new();
        for span in &mut self.durable {
            if span.seqs.first > upto || bytes >= bytes_max {
                break;
            }
            let Some((kept, vectors)) = span.batch.take() else {
                break;
            };
            bytes += span.bytes;
            batches.push(Due {
                seqs: span.seqs,
                batch: kept,
                vectors,
            });
        }
        if !batches.is_empty() {
            return Some(Next::Batches(batches));
        }
        let first = self.durable.front()?;
        (first.seqs.first <= upto).then_some(Next::InLog(first.seqs))
    }

    /// Forgets what is applied now; answers how many batches that were.
    pub(super) fn applied(&mut self, upto: SeqId) -> usize {
        let mut done = 0;
        let before = self.bytes;
        while let Some(span) = self.durable.front_mut() {
            if span.seqs.last <= upto {
                done += span.batches;
                self.bytes -= span.bytes;
                self.durable.pop_front();
                continue;
            }
            if span.seqs.first <= upto {
                // A span of many batches, of which the first are applied: its bytes go with them.
                let part = upto.0 + 1 - span.seqs.first.0;
                let bytes = u128::from(span.bytes) * u128::from(part);
                let bytes = (bytes / u128::from(span.seqs.count())) as u64;
                span.seqs.first = upto.plus(1);
                span.bytes -= bytes;
                self.bytes -= bytes;
            }
            break;
        }
        let freed = before - self.bytes;
        self.gauges.backlog.fetch_sub(freed, Ordering::Relaxed);
        done
    }

    /// The batch that was admitted last, where it is not applied.
    pub(super) fn newest(&self) -> Option<Newest> {
        match self.submitted.back() {
            Some(one) => Some(Newest::Submitted(one.ticket.clone())),
            None => self
                .durable
                .back()
                .map(|span| Newest::Durable(span.seqs.last)),
        }
    }

    /// Whether there is something to apply.
    pub(super) fn is_due(&self) -> bool {
        !self.durable.is_empty()
    }

    /// What it holds.
    pub(super) fn backlog(&self) -> Backlog {
        Backlog {
            bytes: self.bytes,
            spans: self.durable.len(),
            since: self.durable.front().map(|span| span.since),
        }
    }

    /// Forgets everything: nobody will apply it any more.
    pub(super) fn clear(&mut self) {
        self.gauges.backlog.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = 0;
        self.durable.clear();
        self.submitted.clear();
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.clear();
    }
}
