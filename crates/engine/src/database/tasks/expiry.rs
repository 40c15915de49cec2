//! The task that deletes records past their time.

use serde_json::Value;

use super::{Inner, told};
use crate::Result;
use crate::expiry::ExpiryReport;
use crate::schedule::Run;

/// Records that one round deletes at most, so that marks are made in between.
const ROUND_RECORDS: usize = 10_000;

impl Inner {
    /// Deletes what is past its time. A dry run counts it.
    pub(super) fn expire_records(&self, run: &Run<'_>) -> Result<Value> {
        if run.dry_run {
            return told(&self.count_expired()?);
        }
        let mut all = ExpiryReport::default();
        loop {
            let now = self.config.clock.wall_nanoseconds();
            let round = self.expire(now, ROUND_RECORDS, &|| run.go_on())?;
            all = ExpiryReport {
                expired: all.expired + round.expired,
                ..round
            };
            if !round.more || round.expired == 0 || !run.go_on() {
                return told(&all);
            }
        }
    }
}
