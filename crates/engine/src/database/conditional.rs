//! Reads and writes that belong together: what is read is written about only if nobody else has
//! written it meanwhile.
//!
//! What must stay true: the token of a read is the SeqId up to which it saw everything; a write
//! under that token that succeeds is as if nobody had written any of the records between the two.

use super::validate::validate_batch;
use super::{Database, Inner};
use crate::control::Component;
use crate::indexing::{Condition, LiveCollection};
use crate::model::{CollectionScope, ConditionalWrite, Fetched, GetRequest, SeqId, SeqRange};
use crate::{Error, Result, query};

impl Database {
    /// Records in `get` order, with the token under which a conditional write may follow: that of
    /// an earlier read, where `token` has one, since a write must be as if all reads were one.
    pub fn conditional_get(
        &self,
        scope: CollectionScope<'_>,
        request: &GetRequest,
        token: Option<SeqId>,
    ) -> Result<(Fetched, SeqId)> {
        let inner = &self.inner;
        let _reading = inner.controls.enter(Component::Query)?;
        let collection = inner.scoped(scope)?;
        inner.expect_token(&collection, token)?;
        collection.remember_writes(inner.config.storage.as_ref())?;
        inner.answer(&collection, request.consistency, |seen| {
            let fetched = query::get(seen, request)?;
            Ok((fetched, token.unwrap_or(seen.visible)))
        })
    }

    /// Logs a batch if no record that was read has been written behind the token; `Conflict` where
    /// one was, or where that is not known any more. Answers what was written; `None` for an empty
    /// batch.
    pub fn conditional_commit(
        &self,
        scope: CollectionScope<'_>,
        write: ConditionalWrite,
    ) -> Result<Option<SeqRange>> {
        let inner = &self.inner;
        let ConditionalWrite {
            read_token,
            read_ids,
            mut batch,
        } = write;
        let _writing = inner.controls.enter(Component::Producer)?;
        let collection = inner.scoped(scope)?;
        inner.expect_no_output(&collection)?;
        validate_batch(&batch, &inner.config.limits)?;
        inner.expect_token(&collection, read_token)?;
        let seen = match read_token {
            Some(token) => token,
            None if read_ids.is_empty() => SeqId(0),
            None => {
                return Err(Error::invalid(
                    "read_ids need the read_token that conditional/get has answered.",
                ));
            }
        };
        inner.check_open()?;
        inner.expect_room_for(&collection, &batch)?;
        batch.shrink_to_fit();
        let condition = Condition {
            ids: &read_ids,
            seen,
        };
        inner.log_batch(&collection, batch, |applier, batch, answered| {
            collection.write_if_unchanged(applier, batch, condition, answered)
        })
    }
}

impl Inner {
    /// Fails for a token that no read of the collection can have answered.
    fn expect_token(&self, collection: &LiveCollection, token: Option<SeqId>) -> Result<()> {
        let head = self.log.head(collection.id);
        let last = head.map_or(SeqId(0), |head| head.highest);
        let last = last.max(collection.visible());
        match token {
            Some(token) if token > last => Err(Error::invalid(format!(
                "read_token is {token}; the last SeqId of the collection is {last}."
            ))),
            _ => Ok(()),
        }
    }
}
