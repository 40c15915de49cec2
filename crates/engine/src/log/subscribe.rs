//! Subscriptions: what a consumer has not seen yet is read from the files, whether it was there
//! before or has just been appended; so there is no hand-over at which a record could be lost or
//! repeated, and a slow consumer never holds up those who write.

use std::sync::Arc;
use std::thread::JoinHandle;

use uuid::Uuid;

use super::frame::{FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FrameHeader};
use super::scan::read_frame;
use super::{ConsumeBatches, Log, LogBatch, Shared, SubscriptionId, no_log};
use crate::model::{CollectionId, SeqId, SeqRange};
use crate::{Error, Result};

/// Bytes that a subscription reads at once, at least one frame.
const READ_BYTES: usize = 4 << 20;

/// A subscription as the log keeps it.
pub(super) struct Subscription {
    pub(super) collection: CollectionId,
    /// The next SeqId to be delivered.
    next: SeqId,
    end: Option<SeqId>,
    cancelled: bool,
    thread: Option<JoinHandle<()>>,
}

impl Subscription {
    /// Whether the subscription needs no record at or below `seq`.
    pub(super) fn has_passed(&self, seq: SeqId) -> bool {
        self.cancelled || self.next > seq || self.end.is_some_and(|end| self.next > end)
    }
}

/// Where a subscription reads on.
struct Cursor {
    file: u64,
    offset: u64,
}

/// What there is to be read next.
struct Readable {
    path: String,
    from: u64,
    durable: u64,
    number: u64,
}

impl Log {
    #[expect(
        clippy::disallowed_methods,
        reason = "the subscription owns and joins its thread"
    )]
    pub(super) fn start_subscription(
        &self,
        collection: CollectionId,
        start: Option<SeqId>,
        end: Option<SeqId>,
        consume: ConsumeBatches,
    ) -> Result<SubscriptionId> {
        let id = SubscriptionId(Uuid::new_v4());
        let mut state = self.shared.state.lock();
        let head = *state
            .heads
            .get(&collection)
            .ok_or_else(|| no_log(collection))?;
        let start = start.unwrap_or(head.purged);
        if start < head.purged {
            return Err(Error::invalid(format!(
                "A subscription cannot start behind SeqId {start}: records up to {} are purged.",
                head.purged
            )));
        }
        if let Some(end) = end
            && end < start
        {
            return Err(Error::invalid(format!(
                "A subscription cannot end at SeqId {end}, before its start {start}."
            )));
        }
        let next = start.plus(1);
        state.subscriptions.insert(
            id,
            Subscription {
                collection,
                next,
                end,
                cancelled: false,
                thread: None,
            },
        );
        let shared = self.shared.clone();
        let spawned = std::thread::Builder::new()
            .name("vermilion-subscription".to_owned())
            .spawn(move || deliver(&shared, id, consume));
        match spawned {
            Ok(thread) => {
                if let Some(subscription) = state.subscriptions.get_mut(&id) {
                    subscription.thread = Some(thread);
                }
                Ok(id)
            }
            Err(cause) => {
                state.subscriptions.remove(&id);
                Err(Error::internal(format!(
                    "cannot start a subscription's thread: {cause}"
                )))
            }
        }
    }

    pub(super) fn end_subscription(&self, id: SubscriptionId) {
        let thread = {
            let mut state = self.shared.state.lock();
            let Some(subscription) = state.subscriptions.get_mut(&id) else {
                return;
            };
            subscription.cancelled = true;
            subscription.thread.take()
        };
        self.shared.grown.notify_all();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic in the consumer was reported by its thread; the subscription ends either way.
            let _ = thread.join();
        }
        self.shared.state.lock().subscriptions.remove(&id);
        self.tidy();
    }
}

fn deliver(shared: &Arc<Shared>, id: SubscriptionId, mut consume: ConsumeBatches) {
    let mut cursor = Cursor { file: 0, offset: 0 };
    while let Some(readable) = wait_readable(shared, id, &cursor) {
        if let Err(error) = read_on(shared, id, &readable, &mut cursor, &mut consume) {
            tracing::error!(%error, "a subscription ends because the log cannot be read");
            return;
        }
    }
}

/// Waits until there is a record to be read; `None` once the subscription is at its end.
fn wait_readable(shared: &Shared, id: SubscriptionId, cursor: &Cursor) -> Option<Readable> {
    let mut state = shared.state.lock();
    loop {
        let subscription = state.subscriptions.get(&id)?;
        let (collection, next) = (subscription.collection, subscription.next);
        if subscription.cancelled || subscription.end.is_some_and(|end| next > end) {
            return None;
        }
        let highest = state.heads.get(&collection)?.highest;
        if highest >= next {
            let file = state.files.iter().find(|file| {
                file.highest
                    .get(&collection)
                    .is_some_and(|seq| *seq >= next)
            })?;
            let from = if cursor.file == file.number {
                cursor.offset
            } else {
                FILE_HEADER_BYTES as u64
            };
            return Some(Readable {
                path: file.path.clone(),
                from,
                durable: file.bytes,
                number: file.number,
            });
        }
        shared.grown.wait(&mut state);
    }
}

/// Delivers what one read of the file gives.
fn read_on(
    shared: &Shared,
    id: SubscriptionId,
    readable: &Readable,
    cursor: &mut Cursor,
    consume: &mut ConsumeBatches,
) -> Result<()> {
    let mut wanted = READ_BYTES.min((readable.durable - readable.from) as usize);
    let mut bytes = shared
        .storage
        .read_at(&readable.path, readable.from, wanted)?;
    let header = FrameHeader::decode(&bytes, readable.number, readable.from);
    let first = header.map_or(0, |header| {
        FRAME_HEADER_BYTES + header.payload_bytes as usize
    });
    if first > wanted {
        wanted = first;
        bytes = shared
            .storage
            .read_at(&readable.path, readable.from, wanted)?;
    }
    let mut at = 0;
    // A frame's checksum covers its own offset, so it is read as part of the whole file.
    while at < bytes.len() {
        let offset = readable.from + at as u64;
        let Some(header) = FrameHeader::decode(&bytes[at..], readable.number, offset) else {
            if at > 0 {
                break;
            }
            return Err(Error::corrupted(
                &readable.path,
                offset,
                "the frame is not what was written",
            ));
        };
        let end = at + FRAME_HEADER_BYTES + header.payload_bytes as usize;
        if end > bytes.len() {
            break;
        }
        if !deliver_frame(
            shared,
            id,
            &bytes[at..end],
            readable,
            offset,
            header,
            consume,
        )? {
            return Ok(());
        }
        at = end;
    }
    *cursor = Cursor {
        file: readable.number,
        offset: readable.from + at as u64,
    };
    Ok(())
}

/// Delivers one frame if it is the subscription's; `false` once the subscription is at its end.
fn deliver_frame(
    shared: &Shared,
    id: SubscriptionId,
    bytes: &[u8],
    readable: &Readable,
    offset: u64,
    header: FrameHeader,
    consume: &mut ConsumeBatches,
) -> Result<bool> {
    let (next, end) = {
        let state = shared.state.lock();
        let Some(subscription) = state.subscriptions.get(&id).filter(|one| !one.cancelled) else {
            return Ok(false);
        };
        if subscription.collection != header.collection || header.seqs.last < subscription.next {
            return Ok(true);
        }
        (
            subscription.next,
            subscription.end.unwrap_or(SeqId(u64::MAX)),
        )
    };
    let Some((frame, _)) = read_frame(bytes, readable.number, 0, offset) else {
        return Err(Error::corrupted(
            &readable.path,
            offset,
            "the frame is not what was written",
        ));
    };
    let (first, last) = (header.seqs.first.max(next), header.seqs.last.min(end));
    let from = (first.0 - header.seqs.first.0) as usize;
    let to = (last.0 + 1 - header.seqs.first.0) as usize;
    let batch = if from == 0 && to == frame.batch.len() {
        frame.batch
    } else {
        Arc::new(frame.batch.rows(from..to))
    };
    consume(LogBatch {
        collection: header.collection,
        seqs: SeqRange { first, last },
        batch,
    });
    let mut state = shared.state.lock();
    if let Some(subscription) = state.subscriptions.get_mut(&id) {
        subscription.next = last.plus(1);
    }
    Ok(last < end)
}
