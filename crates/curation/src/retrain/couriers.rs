//! Couriers: threads that each take one message to its receiver.
//!
//! What must stay true: few go at once, and fewer to one host, so that receivers that say nothing keep
//! waiting nobody but each other; of a retraining one goes at a time. They touch nothing but the bell,
//! which they tell what came.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use ureq::http::Uri;
use vermilion_engine::model::CollectionId;

use super::watch::Bell;
use super::webhook::{Message, Sender};

/// Couriers that are under way at once.
const AT_ONCE: usize = 8;
/// Couriers that are under way to one host at once.
const AT_ONCE_TO_HOST: usize = 2;

/// A retraining: its space and its number there.
pub(super) type Key = (CollectionId, u64);

/// What came of an attempt that began at so many seconds since 1970: a status, or why there is none.
#[derive(Debug)]
pub(super) struct Attempted {
    pub(super) key: Key,
    pub(super) at: f64,
    pub(super) came: Result<u16, String>,
}

/// One that is under way.
#[derive(Debug)]
struct Courier {
    host: String,
    thread: JoinHandle<()>,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Couriers {
    sender: Arc<Sender>,
    under_way: BTreeMap<Key, Courier>,
}

impl Couriers {
    pub(super) fn new(sender: Sender) -> Self {
        Self {
            sender: Arc::new(sender),
            under_way: BTreeMap::new(),
        }
    }

    /// Whether one may set out now for a retraining.
    pub(super) fn has_room(&self, key: &Key, url: &str) -> bool {
        let host = host_of(url);
        let to_host = self.under_way.values().filter(|one| one.host == host);
        self.under_way.len() < AT_ONCE
            && to_host.count() < AT_ONCE_TO_HOST
            && !self.under_way.contains_key(key)
    }

    /// Has one set out. The bell rings when it is back.
    pub(super) fn send(&mut self, bell: &Arc<Bell>, key: Key, message: Message) {
        let host = host_of(&message.webhook.url);
        let (sender, told, at) = (self.sender.clone(), bell.clone(), message.at);
        let go = move || {
            // One that broke off would hold its place forever.
            let came = catch_unwind(AssertUnwindSafe(|| sender.send(&message)));
            let came = came.unwrap_or_else(|_| Err("the attempt panicked".to_owned()));
            told.attempted(Attempted { key, at, came });
        };
        let name = "vermilion-webhook".to_owned();
        match std::thread::Builder::new().name(name).spawn(go) {
            Ok(thread) => {
                self.under_way.insert(key, Courier { host, thread });
            }
            Err(cause) => {
                let came = Err(format!("cannot start a thread: {cause}"));
                bell.attempted(Attempted { key, at, came });
            }
        }
    }

    /// Notes that one is back: its place is free.
    pub(super) fn is_back(&mut self, key: &Key) {
        if let Some(courier) = self.under_way.remove(key) {
            // It has done all but end.
            let _ = courier.thread.join();
        }
    }

    /// Waits for all that are under way.
    pub(super) fn join(self) {
        for courier in self.under_way.into_values() {
            // A panic was told as an attempt.
            let _ = courier.thread.join();
        }
    }
}

/// The host that a URL leads to, with its port: a receiver of its own.
fn host_of(url: &str) -> String {
    let uri = url.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(Uri::authority);
    host.map_or("", |host| host.as_str()).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::webhook::Webhook;
    use super::*;

    #[test]
    fn few_are_under_way_at_once_and_fewer_to_one_host() {
        let bell = Arc::<Bell>::default();
        let mut couriers = Couriers::new(Sender::new(false));
        let space = CollectionId(uuid::Uuid::nil());
        // They take connections and say nothing.
        let silent: Vec<TcpListener> = (0..5)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let mut send = |number: u64, at: usize| {
            let url = format!("http://{}/{number}", silent[at].local_addr().unwrap());
            let has_room = couriers.has_room(&(space, number), &url);
            if has_room {
                let webhook = Webhook {
                    url,
                    secret: "0123456789abcdef".to_owned(),
                };
                let message = Message {
                    webhook,
                    event_id: "evt".to_owned(),
                    body: "{}".to_owned(),
                    at: 0.0,
                };
                couriers.send(&bell, (space, number), message);
            }
            has_room
        };
        assert!(send(1, 0));
        assert!(!send(1, 1), "it is told already");
        assert!(send(2, 0));
        assert!(!send(3, 0), "two go there");
        for (number, at) in [(3, 1), (4, 1), (5, 2), (6, 2), (7, 3), (8, 3)] {
            assert!(send(number, at), "{number}");
        }
        assert!(!send(9, 4), "eight are under way");
        let (gone, _) = silent[0].accept().unwrap();
        drop(gone);
        let back = loop {
            if let Some(back) = bell.take_attempted().pop() {
                break back;
            }
            bell.nap(std::time::Duration::from_millis(50));
        };
        assert!(back.came.is_err(), "{back:?}");
        couriers.is_back(&back.key);
        assert!(couriers.has_room(&(space, 9), "http://localhost:1/"));
    }

    #[test]
    fn hosts_are_told_apart_by_name_and_port() {
        assert_eq!(host_of("http://A.example:80/x?y"), "a.example:80");
        assert_ne!(host_of("http://a:1/"), host_of("http://a:2/"));
    }
}
