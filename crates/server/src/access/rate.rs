//! How many requests a tenant may send a second.
//!
//! What must stay true: memory is bounded whatever names requests bring; a tenant that is idle may
//! send a second's worth at once, never more.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Tenants that are kept; with more, those that sent nothing for a second are forgotten.
const KEPT_MAX: usize = 10_000;

/// What is left of a tenant's second, and when that was.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// The rates of all tenants.
#[derive(Debug)]
pub(crate) struct Rates {
    per_second: f64,
    buckets: Mutex<HashMap<String, Bucket>>,
}

impl Rates {
    /// Lets each tenant send `per_second` requests.
    pub(crate) fn new(per_second: NonZeroUsize) -> Self {
        Self {
            per_second: per_second.get() as f64,
            buckets: Mutex::default(),
        }
    }

    /// Counts a request of `tenant`; `false` where it has sent too many.
    pub(crate) fn admit(&self, tenant: &str) -> bool {
        let now = Instant::now();
        let mut buckets = self.buckets.lock();
        if !buckets.contains_key(tenant) {
            if buckets.len() >= KEPT_MAX {
                buckets.retain(|_, bucket| (now - bucket.at).as_secs_f64() < 1.0);
            }
            if buckets.len() >= KEPT_MAX {
                return false;
            }
            let full = Bucket {
                left: self.per_second,
                at: now,
            };
            buckets.insert(tenant.to_owned(), full);
        }
        let bucket = buckets.get_mut(tenant).expect("it was put in above");
        let gained = (now - bucket.at).as_secs_f64() * self.per_second;
        bucket.left = (bucket.left + gained).min(self.per_second);
        bucket.at = now;
        if bucket.left < 1.0 {
            return false;
        }
        bucket.left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_tenant_gets_its_requests_a_second_and_no_more_after_a_rest() {
        let rates = Rates::new(NonZeroUsize::new(5).unwrap());
        let burst = |tenant: &str| (0..20).filter(|_| rates.admit(tenant)).count();
        assert_eq!(burst("a"), 5);
        assert_eq!(burst("b"), 5, "tenants do not share");
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(burst("a"), 2);
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(burst("a"), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn names_without_end_take_no_memory_without_end() {
        let rates = Rates::new(NonZeroUsize::new(5).unwrap());
        for number in 0..KEPT_MAX * 2 {
            rates.admit(&number.to_string());
        }
        assert!(rates.buckets.lock().len() <= KEPT_MAX);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(rates.admit("later"));
    }
}
