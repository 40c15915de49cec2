//! What each tenant may have: collections, records, bytes.
//!
//! What must stay true: what would go beyond a quota is refused as a whole and changes nothing;
//! deletions are never refused; where no quota is set, nothing is counted. Usage is counted at most
//! once a second, and what was let in since is added to it: so writers cannot go beyond a quota
//! together, and room that a deletion makes shows within a second.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use super::Inner;
use crate::indexing::LiveCollection;
use crate::model::{Operation, RecordBatch, Schema};
use crate::{Error, ErrorKind, Result, query};

/// How long a count of usage is believed.
const COUNT_AGAIN: Duration = Duration::from_secs(1);

/// What tenants have, by name, with the monotonic time of the count.
pub(super) type Usages = HashMap<String, (Duration, Usage)>;

/// What a tenant has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    records: u64,
    bytes: u64,
}

impl Inner {
    /// Fails where the tenant may have no further collection with `schema`. The caller holds `changes`.
    pub(super) fn expect_room_for_collection(&self, tenant: &str, schema: &Schema) -> Result<()> {
        let quotas = self.config.limits.quotas;
        if let Some(most) = quotas.collections {
            let has = self.of_tenant(tenant).len() as u64;
            if has >= most {
                return Err(exceeded(tenant, "collections", has, 1, most));
            }
        }
        if quotas.bytes.is_none() {
            return Ok(());
        }
        self.let_in(tenant, 0, schema.stored_bytes(), &|count| Ok(count))
    }

    /// Fails where the records of `source` once more are more than the tenant may have.
    pub(super) fn expect_room_for_fork(&self, source: &LiveCollection) -> Result<()> {
        if self.config.limits.quotas.records.is_none() {
            return Ok(());
        }
        self.let_in(&source.info().tenant, source.count()?, 0, &|count| {
            Ok(count)
        })
    }

    /// Fails where `batch` would take the tenant of its collection beyond a quota.
    pub(super) fn expect_room_for(
        &self,
        collection: &Arc<LiveCollection>,
        batch: &RecordBatch,
    ) -> Result<()> {
        let quotas = self.config.limits.quotas;
        if quotas.records.is_none() && quotas.bytes.is_none() {
            return Ok(());
        }
        let operations = &batch.operations;
        if operations.iter().all(|one| *one == Operation::Delete) {
            return Ok(());
        }
        let inserts = |one: &&Operation| matches!(one, Operation::Add | Operation::Upsert);
        let most = operations.iter().filter(inserts).count() as u64;
        let bytes = batch.heap_bytes() as u64;
        let exact = |_| self.new_records(collection, batch);
        self.let_in(&collection.info().tenant, most, bytes, &exact)
    }

    /// Lets so many records and bytes in. `exact` is asked how many records they truly are, where
    /// that matters.
    fn let_in(
        &self,
        tenant: &str,
        records: u64,
        bytes: u64,
        exact: &dyn Fn(u64) -> Result<u64>,
    ) -> Result<()> {
        let quotas = self.config.limits.quotas;
        let mut usage = self.usage_of(tenant)?;
        let beyond = |has: u64, more: u64, most: Option<u64>| {
            more > 0 && most.is_some_and(|most| has.saturating_add(more) > most)
        };
        let mut records = records;
        if beyond(usage.records, records, quotas.records) {
            records = exact(records)?;
            usage = self.usage_of(tenant)?;
        }
        if let Some(most) = quotas.records
            && beyond(usage.records, records, quotas.records)
        {
            return Err(exceeded(tenant, "records", usage.records, records, most));
        }
        if let Some(most) = quotas.bytes
            && beyond(usage.bytes, bytes, quotas.bytes)
        {
            return Err(exceeded(tenant, "bytes", usage.bytes, bytes, most));
        }
        if let Some((_, usage)) = self.usage.lock().get_mut(tenant) {
            usage.records += records;
            usage.bytes += bytes;
        }
        Ok(())
    }

    /// How many records of `batch` are not there yet.
    fn new_records(&self, collection: &LiveCollection, batch: &RecordBatch) -> Result<u64> {
        let snapshot = self.seen(collection)?;
        let mut ids = hashbrown::HashSet::new();
        let mut new = 0;
        for (id, operation) in batch.ids.iter().zip(&batch.operations) {
            let inserts = matches!(operation, Operation::Add | Operation::Upsert);
            if inserts && ids.insert(id) && query::find(&snapshot, id)?.is_none() {
                new += 1;
            }
        }
        Ok(new)
    }

    fn of_tenant(&self, tenant: &str) -> Vec<Arc<LiveCollection>> {
        let mut all = self.all_collections();
        all.retain(|collection| collection.info().tenant == tenant);
        all
    }

    /// What the tenant has, counted lately.
    fn usage_of(&self, tenant: &str) -> Result<Usage> {
        let now = self.config.clock.monotonic();
        if let Some((counted, usage)) = self.usage.lock().get(tenant)
            && now.saturating_sub(*counted) < COUNT_AGAIN
        {
            return Ok(*usage);
        }
        let mut usage = Usage::default();
        for collection in self.of_tenant(tenant) {
            // One that is damaged must not keep its tenant from writing to the others.
            usage.records += collection.count().unwrap_or(0);
            if self.config.limits.quotas.bytes.is_some() {
                let held = collection.disk_bytes_held(self.config.storage.as_ref())?;
                let waiting = collection.backlog().bytes;
                let schema = collection.schema_bytes();
                let blobs = self.blob_bytes(collection.id)?;
                usage.bytes += held + schema + collection.memory().0 + waiting + blobs;
            }
        }
        self.usage.lock().insert(tenant.to_owned(), (now, usage));
        Ok(usage)
    }
}

fn exceeded(tenant: &str, what: &str, has: u64, more: u64, most: u64) -> Error {
    let message = format!(
        "Quota exceeded: tenant [{tenant}] has {has} {what}, and {more} more are asked for; at most \
         {most} are allowed (tenant_{what}_max). Delete some first."
    );
    Error::new(ErrorKind::Busy, message)
}
