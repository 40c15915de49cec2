//! The thread that looks at the clock: it ends leases and waits that ran out, has couriers tell receivers,
//! and has triggers judged and datasets leave when it is time.
//!
//! What must stay true: nothing is held while a receiver is told, so that no request waits for one; what
//! came of an attempt is noted before the next; the thread ends soon after it is told to, and what was
//! being told then is told again at the next start, as the same event.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use vermilion_engine::model::CollectionId;
use vermilion_engine::{Error, ErrorKind, Result};

use super::book::Book;
use super::couriers::{Attempted, Couriers, Key};
use super::event::event;
use super::policy::Policy;
use super::run::{Run, State};
use super::webhook::{Message, Sender};
use crate::retries::Retries;
use crate::{Curation, Refusal};

/// The clock is looked at so often, since it can be set while nobody waits for a moment near.
const LOOK_AFTER_MAX: f64 = 30.0;
/// What cannot be done when it is due is tried again so soon.
const LOOK_AFTER_MIN: f64 = 0.1;
/// How soon the job is asked for again that could not begin.
const AGAIN_AFTER: f64 = 0.5;
/// How long whoever ends the thread waits for receivers that are being told.
const END_WITHIN: Duration = Duration::from_secs(2);

/// What wakes the thread.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: Mutex<Rung>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Rung {
    /// Whether everything is to be looked at.
    looks: bool,
    stops: bool,
    ended: bool,
    /// Spaces with triggers.
    watched: BTreeSet<CollectionId>,
    /// Spaces whose triggers are to be judged.
    spaces: BTreeSet<CollectionId>,
    /// Spaces whose triggers could not be judged.
    retries: Retries,
    /// What came of attempts to tell receivers, not noted yet.
    attempted: Vec<Attempted>,
}

impl Bell {
    /// Has the thread look at everything.
    pub(crate) fn ring(&self) {
        self.state.lock().looks = true;
        self.changed.notify_all();
    }

    /// Says that a space has a trigger, which is to be judged.
    pub(crate) fn look_at(&self, space: CollectionId) {
        self.state.lock().watched.insert(space);
        self.wrote(space);
    }

    /// Says that a space has no trigger any more.
    pub(super) fn overlook(&self, space: CollectionId) {
        self.state.lock().watched.remove(&space);
    }

    /// Has the triggers of a space judged, if it has any. Taken by whoever writes, it waits for nobody.
    pub(crate) fn wrote(&self, space: CollectionId) {
        let mut state = self.state.lock();
        if !state.watched.contains(&space) {
            return;
        }
        state.spaces.insert(space);
        state.looks = true;
        self.changed.notify_all();
    }

    /// The spaces whose triggers are to be judged; from now on there are none.
    pub(super) fn take_spaces(&self) -> BTreeSet<CollectionId> {
        std::mem::take(&mut self.state.lock().spaces)
    }

    /// Says that the triggers of a space were judged.
    pub(super) fn note_judged(&self, space: CollectionId) {
        self.state.lock().retries.forget(space);
    }

    /// Says that the triggers of a space could not be judged: that is tried again later.
    pub(super) fn note_failure(&self, space: CollectionId, now: f64) {
        let mut state = self.state.lock();
        state.retries.note_failure(space, now);
        state.looks = true;
        self.changed.notify_all();
    }

    /// Has triggers judged again that could not be; when to look again.
    fn judge_again(&self, now: f64) -> Option<f64> {
        let mut state = self.state.lock();
        let (due, next) = state.retries.take_due(now);
        state.spaces.extend(due);
        next
    }

    /// Says what came of an attempt to tell a receiver.
    pub(super) fn attempted(&self, attempted: Attempted) {
        let mut state = self.state.lock();
        state.attempted.push(attempted);
        state.looks = true;
        self.changed.notify_all();
    }

    /// What came of attempts since this was asked last.
    pub(super) fn take_attempted(&self) -> Vec<Attempted> {
        std::mem::take(&mut self.state.lock().attempted)
    }

    pub(super) fn has_spaces(&self) -> bool {
        !self.state.lock().spaces.is_empty()
    }

    /// Waits for a ring; whether the thread is to go on.
    fn wait(&self, seconds: f64) -> bool {
        let mut state = self.state.lock();
        if !state.looks && !state.stops {
            let pause = Duration::from_secs_f64(seconds.clamp(0.0, LOOK_AFTER_MAX));
            self.changed.wait_for(&mut state, pause);
        }
        state.looks = false;
        !state.stops
    }

    /// Waits a little, or until something comes.
    pub(super) fn nap(&self, pause: Duration) {
        self.changed.wait_for(&mut self.state.lock(), pause);
    }
}

/// The thread, from outside.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Watch {
    /// Begins the thread, which lasts as long as `curation` does, or until it is told to end.
    pub(crate) fn begin(&self, curation: &Arc<Curation>) -> Result<()> {
        let weak = Arc::downgrade(curation);
        let bell = curation.bell.clone();
        let sender = Sender::new(curation.options.webhooks_public_only);
        let thread = std::thread::Builder::new()
            .name("vermilion-retrain".to_owned())
            .spawn(move || {
                watch(&weak, &bell, Couriers::new(sender));
                bell.state.lock().ended = true;
                bell.changed.notify_all();
            })
            .map_err(|cause| Error::internal(format!("cannot start a thread: {cause}")))?;
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    /// Tells the thread to end, and waits for it. Where a receiver keeps it waiting, it ends by itself
    /// afterwards and touches nothing more. Idempotent.
    pub(crate) fn end(&self, bell: &Bell) {
        let thread = self.thread.lock().take();
        let Some(thread) = thread else { return };
        let mut state = bell.state.lock();
        state.stops = true;
        bell.changed.notify_all();
        // The thread itself may be the last that holds curation.
        if thread.thread().id() == std::thread::current().id() {
            return;
        }
        let until = std::time::Instant::now() + END_WITHIN;
        while !state.ended && !bell.changed.wait_until(&mut state, until).timed_out() {}
        let ended = state.ended;
        drop(state);
        if ended {
            // A panic was reported by the thread itself.
            let _ = thread.join();
        }
    }
}

/// What the thread does.
fn watch(weak: &Weak<Curation>, bell: &Arc<Bell>, mut couriers: Couriers) {
    while let Some(curation) = weak.upgrade() {
        for attempted in bell.take_attempted() {
            curation.note_attempt(&attempted);
            couriers.is_back(&attempted.key);
        }
        let (due, pause) = curation.look_at_clock();
        // What is due and has no place waits for the ring of a courier that is back.
        for one in due {
            if couriers.has_room(&one.key, &one.url)
                && let Some(message) = curation.message(one.key)
            {
                couriers.send(bell, one.key, message);
            }
        }
        drop(curation);
        if !bell.wait(pause) {
            break;
        }
    }
    couriers.join();
}

/// What is to be known of the telling of receivers.
#[derive(Debug)]
pub(crate) struct Notifier {
    pub(crate) is_paused: bool,
    /// Retrainings whose receiver waits.
    pub(crate) waiting: usize,
    /// What went wrong last with one that waits.
    pub(crate) trouble: Option<String>,
}

/// A receiver that is to be told now.
#[derive(Debug)]
struct Due {
    /// Since when.
    at: f64,
    key: Key,
    url: String,
}

impl Curation {
    /// Does what is due. Answers the receivers that are to be told, the one first that has waited longest,
    /// and how many seconds to wait until something else is due.
    fn look_at_clock(&self) -> (Vec<Due>, f64) {
        let now = self.now();
        let mut book = self.book.lock();
        self.settle_all(&mut book, now);
        let mut next = now + LOOK_AFTER_MAX;
        let mut due = Vec::new();
        for (space, run) in book.open() {
            next = run.changes_at().map_or(next, |at| next.min(at));
            let key = (space, run.number);
            let (Some(at), Some(url)) = (run.told_at(), run.url()) else {
                continue;
            };
            if !book.may_tell(&key) {
                continue;
            }
            if at > now {
                next = next.min(at);
                continue;
            }
            let url = url.to_owned();
            due.push(Due { at, key, url });
        }
        due.sort_by(|a, b| a.at.total_cmp(&b.at));
        for space in book.spaces() {
            for trigger in book.triggers(space) {
                let Some(at) = trigger
                    .policy()
                    .ok()
                    .and_then(|policy| due_at(&book, space, trigger, &policy))
                else {
                    continue;
                };
                if at <= now {
                    self.bell.state.lock().spaces.insert(space);
                } else {
                    next = next.min(at);
                }
            }
        }
        drop(book);
        let again = [
            self.bell.judge_again(now),
            self.begin_again(now),
            self.begin_expiry(now),
        ];
        next = again.into_iter().flatten().fold(next, f64::min);
        if self.bell.has_spaces() && !self.begin_judging() {
            next = next.min(now + AGAIN_AFTER);
        }
        (due, (next - now).max(LOOK_AFTER_MIN))
    }

    /// What is to be known of the telling of receivers.
    pub(crate) fn notifier(&self) -> Notifier {
        let book = self.book.lock();
        let waiting = || book.open().filter(|(_, run)| run.told_at().is_some());
        Notifier {
            is_paused: book.is_silent(),
            waiting: waiting().count(),
            trouble: waiting().find_map(|(_, run)| run.delivery.as_ref()?.trouble()),
        }
    }

    /// Has receivers told nothing, or told again, also after a restart.
    pub(crate) fn pause_notifier(&self, paused: bool) -> Result<(), Refusal> {
        self.book.lock().silence(&self.database, paused)?;
        self.bell.ring();
        Ok(())
    }

    /// Has every receiver that waits told at once; while others are told nothing, once.
    pub(crate) fn hurry_notifier(&self) {
        let now = self.now();
        let mut book = self.book.lock();
        let open = book.open().map(|(space, run)| (space, run.clone()));
        for (space, mut run) in open.collect::<Vec<_>>() {
            if let Some(delivery) = &mut run.delivery {
                delivery.hurry(now);
                book.hurry((space, run.number));
                book.put_or_keep(&self.database, space, run);
            }
        }
        drop(book);
        self.bell.ring();
    }

    /// Does what time alone does to retrainings, and forgets those whose space is gone.
    fn settle_all(&self, book: &mut Book, now: f64) {
        for space in book.spaces() {
            let gone = self.database.collection_anywhere(space);
            if gone.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
                if let Err(refusal) = book.forget_space(&self.database, space) {
                    tracing::warn!(
                        why = refusal.message,
                        "retrainings of a space that is gone stay"
                    );
                }
                continue;
            }
            let open: Vec<Run> = book
                .runs(space)
                .filter(|run| run.state.is_open())
                .cloned()
                .collect();
            for mut run in open {
                if run.settle(now) {
                    self.bell.wrote(space);
                    book.put_or_keep(&self.database, space, run);
                }
            }
        }
    }

    /// What a receiver is to be told now; one whose trigger is gone is told nothing.
    fn message(&self, key: Key) -> Option<Message> {
        let (space, number) = key;
        let mut book = self.book.lock();
        let run = book
            .run(space, number)
            .filter(|run| run.told_at().is_some())?;
        let trigger = run
            .trigger
            .as_deref()
            .and_then(|id| book.trigger(space, id));
        let Some(webhook) = trigger.and_then(|trigger| trigger.webhook.clone()) else {
            let mut run = run.clone();
            run.delivery.as_mut()?.give_up();
            book.put_or_keep(&self.database, space, run);
            return None;
        };
        let found = self.space_anywhere(space).ok()??;
        let message = Message {
            webhook,
            event_id: run.event_id.clone(),
            body: event(run, &found.collection, &found.embedding_set).to_string(),
            at: self.now(),
        };
        book.note_told(&key);
        Some(message)
    }

    /// Notes what came of an attempt.
    fn note_attempt(&self, attempted: &Attempted) {
        let mut chance = [0];
        // Without randomness attempts are spread less, which harms nobody.
        let _ = getrandom::fill(&mut chance);
        let (space, number) = attempted.key;
        let mut book = self.book.lock();
        let Some(mut run) = book.run(space, number).cloned() else {
            return;
        };
        let now = self.now();
        let Some(delivery) = &mut run.delivery else {
            return;
        };
        let chance = f64::from(chance[0]) / 256.0;
        let is_told = delivery.note(attempted.at, attempted.came.clone(), now, chance);
        if is_told && run.state == State::Pending {
            run.state = State::Delivered;
        }
        book.put_or_keep(&self.database, space, run);
    }
}

/// When time alone makes it worth while to judge a trigger.
fn due_at(
    book: &Book,
    space: CollectionId,
    trigger: &super::trigger::Trigger,
    policy: &Policy,
) -> Option<f64> {
    let fired = super::judge::fired(book, space, trigger).map(|fired| fired.0);
    let judged = trigger
        .judged
        .as_ref()
        .map_or(trigger.created_at, |judged| judged.0);
    let allowed = fired.map_or(0.0, |fired| fired + trigger.min_interval_seconds);
    let held = (allowed > judged).then_some(allowed);
    let due = policy.due_after(judged.max(fired.unwrap_or(0.0)));
    held.into_iter()
        .chain(due.map(|due| due.max(allowed)))
        .min_by(f64::total_cmp)
}
