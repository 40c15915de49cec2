//! From the collection to the desk: the records that the log says were written, read again.
//!
//! What must stay true: who wrote them does not matter; where the log no longer says which they were,
//! all records are read and those that are gone are taken away. The log has a write before reads see
//! it, so that what is read must be at least as new as what the log was asked for.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use serde_json::{Value as Json, json};
use vermilion_engine::ErrorKind;
use vermilion_engine::catalog::Document;
use vermilion_engine::model::{
    ConditionalWrite, Consistency, Fetched, GetRequest, Include, RecordBatch, RecordSelection,
    SeqId, SeqRange, Space as Metric, Strings,
};

use super::{Desk, Mark, Row, State};
use crate::fields::Context;
use crate::spaces::Space;
use crate::{Curation, Result};

/// Documents that tell the epochs of references, so that a restart does not move them.
pub(crate) const EPOCHS: &str = "curation_epoch";
/// Records that are read at once.
const PAGE: usize = 1000;
/// Operations after which a desk that is far behind is as of a later position.
const SPAN: u64 = 50_000;
/// What is read of a record.
const EVERYTHING: Include = Include {
    embeddings: true,
    metadatas: true,
    uris: true,
    documents: false,
    distances: false,
};
/// Operations that a request which only reads follows itself; more are left to the job.
const FOLLOWED_AT_ONCE: u64 = 20_000;
/// Operations that a request follows which can do without the desk.
const FOLLOWED_AT_A_GLANCE: u64 = 1000;
/// How long such a request waits for whoever follows already.
const PATIENCE: Duration = Duration::from_millis(50);

impl Curation {
    /// Brings the desk of a space in step with everything that is acknowledged.
    pub(crate) fn follow(&self, space: &Space, desk: &Desk) -> Result<()> {
        let head = self.head(space)?;
        self.follow_to(space, desk, head)
    }

    /// The same as of `head`, a position of the log.
    fn follow_to(&self, space: &Space, desk: &Desk, head: u64) -> Result<()> {
        loop {
            let _turn = desk.turn.lock();
            let seen = desk.state.lock().as_of;
            if seen >= head {
                return Ok(());
            }
            self.step(space, desk, seen, head)?;
        }
    }

    /// What `look` sees on a desk that is in step with `head` or a later position, and between two batches; `None`
    /// where it is not soon brought there, and of one that has not read its space.
    pub(crate) fn glance<T>(
        &self,
        space: &Space,
        desk: &Desk,
        head: u64,
        look: impl FnOnce(&mut State) -> T,
    ) -> Result<Option<T>> {
        let Some(_turn) = desk.turn.try_lock_for(PATIENCE) else {
            return Ok(None);
        };
        let seen = desk.state.lock().as_of;
        if seen == 0 || head.saturating_sub(seen) > FOLLOWED_AT_A_GLANCE {
            return Ok(None);
        }
        if seen < head {
            self.step(space, desk, seen, head)?;
        }
        Ok(Some(look(&mut desk.state.lock())))
    }

    /// Brings a desk that is as of `seen` nearer to `head`. The caller has the turn.
    fn step(&self, space: &Space, desk: &Desk, seen: u64, head: u64) -> Result<()> {
        let written = if seen == 0 {
            let known = self.known_epoch(space)?;
            desk.state.lock().remember(known);
            None
        } else {
            let until = head.min(seen + SPAN);
            let ids = self
                .database
                .ids_written(space.scope(), SeqId(seen), SeqId(until))?;
            ids.map(|ids| (until, ids))
        };
        let until = if let Some((until, ids)) = written {
            let ids: BTreeSet<String> = ids.into_iter().collect();
            let ids: Vec<String> = ids.into_iter().collect();
            for page in ids.chunks(PAGE) {
                self.read_again(space, desk, page, as_new_as(until))?;
            }
            until
        } else {
            self.read_all(space, desk, as_new_as(head))?;
            head
        };
        let (before, now) = {
            let mut state = desk.state.lock();
            let before = state.epoch;
            state.settle(until);
            (before, state.mark())
        };
        if now.epoch != before {
            self.note_epoch(space, now);
        }
        Ok(())
    }

    /// What is known of the reference of a space since before a restart.
    fn known_epoch(&self, space: &Space) -> Result<Option<Mark>> {
        let known = self.database.document(EPOCHS, &space.document_key(""))?;
        let known = known.and_then(|known| {
            let print = known.body["print"].as_str()?;
            Some(Mark {
                epoch: known.body["epoch"].as_u64()?,
                print: u64::from_str_radix(print, 16).ok()?,
            })
        });
        Ok(known)
    }

    /// Notes the epoch of the reference. Where it cannot be stored, as on a full disk, a restart moves it.
    fn note_epoch(&self, space: &Space, mark: Mark) {
        let body: Json = json!({ "epoch": mark.epoch, "print": format!("{:016x}", mark.print) });
        let noted = self.database.put_document(Document {
            kind: EPOCHS.to_owned(),
            key: space.document_key(""),
            body,
        });
        if let Err(error) = noted {
            tracing::warn!(space = space.collection.name, %error, "an epoch cannot be stored");
        }
    }

    /// The same where that takes no longer than one request may; whether it was done. Else the job does it.
    pub(crate) fn follow_at_once(&self, space: &Space, desk: &Desk) -> Result<bool> {
        let seen = desk.state.lock().as_of;
        let head = self.head(space)?;
        if head.saturating_sub(seen) > FOLLOWED_AT_ONCE {
            self.wake(space);
            return Ok(false);
        }
        self.follow_to(space, desk, head)?;
        Ok(true)
    }

    /// The last position of the log.
    fn head(&self, space: &Space) -> Result<u64> {
        let status = self.database.indexing_status(space.scope())?;
        Ok(status.total_operations)
    }

    /// Reads these records again; those that are not there are taken away.
    fn read_again(
        &self,
        space: &Space,
        desk: &Desk,
        ids: &[String],
        as_new: Consistency,
    ) -> Result<()> {
        let found = self.fetch_as_new(space, ids, EVERYTHING, as_new)?;
        let there: HashSet<&str> = found.ids.iter().collect();
        let gone = ids.iter().filter(|id| !there.contains(id.as_str()));
        {
            let mut state = desk.state.lock();
            gone.clone().for_each(|id| state.remove(id));
            put_all(&mut state, &found);
        }
        // The index of a space that compares directions says where they are.
        if space.collection.schema.space() != Metric::Cosine {
            let placed = placed(desk, &found);
            let mut directions = desk.directions.write();
            gone.for_each(|id| directions.remove(id));
            let vectors = found.embeddings.unwrap_or_default();
            for (at, (context, dataset)) in placed {
                let vector = vectors.get(at).unwrap_or_default();
                directions.put(found.ids.get(at), (context, &dataset), vector);
            }
            directions.settle();
        }
        Ok(())
    }

    fn read_all(&self, space: &Space, desk: &Desk, as_new: Consistency) -> Result<()> {
        let everything = self.database.get(
            space.scope(),
            &GetRequest {
                consistency: as_new,
                ..GetRequest::default()
            },
        )?;
        let ids: Vec<String> = everything.ids.iter().map(str::to_owned).collect();
        for page in ids.chunks(PAGE) {
            self.read_again(space, desk, page, as_new)?;
        }
        let there: HashSet<&str> = ids.iter().map(String::as_str).collect();
        let mut state = desk.state.lock();
        let gone: Vec<String> = state
            .rows
            .keys()
            .filter(|id| !there.contains(id.as_str()))
            .cloned()
            .collect();
        gone.iter().for_each(|id| state.remove(id));
        drop(state);
        let mut directions = desk.directions.write();
        gone.iter().for_each(|id| directions.remove(id));
        directions.settle();
        Ok(())
    }

    /// Those of these records that are there, with their metadata, vectors and uris.
    pub(crate) fn fetch(&self, space: &Space, ids: &[String]) -> Result<Fetched> {
        self.fetch_as_new(space, ids, EVERYTHING, Consistency::everything())
    }

    /// The same with nothing but their vectors, which is much faster.
    pub(crate) fn fetch_vectors(&self, space: &Space, ids: &[String]) -> Result<Fetched> {
        let include = Include {
            embeddings: true,
            ..Include::default()
        };
        self.fetch_as_new(space, ids, include, Consistency::everything())
    }

    /// The same with nothing but their uris.
    pub(crate) fn fetch_uris(&self, space: &Space, ids: &[String]) -> Result<Fetched> {
        let include = Include {
            uris: true,
            ..Include::default()
        };
        self.fetch_as_new(space, ids, include, Consistency::everything())
    }

    /// The same with nothing but their documents.
    pub(crate) fn fetch_documents(&self, space: &Space, ids: &[String]) -> Result<Fetched> {
        let include = Include {
            documents: true,
            ..Include::default()
        };
        self.fetch_as_new(space, ids, include, Consistency::everything())
    }

    fn fetch_as_new(
        &self,
        space: &Space,
        ids: &[String],
        include: Include,
        consistency: Consistency,
    ) -> Result<Fetched> {
        let request = of_records(ids, include, consistency);
        Ok(self.database.get(space.scope(), &request)?)
    }

    /// Those of these records that are there, with their metadata, and the token under which
    /// [`Self::write_unchanged`] writes what follows from them.
    pub(crate) fn read_to_write(&self, space: &Space, ids: &[String]) -> Result<(Fetched, SeqId)> {
        let include = Include {
            metadatas: true,
            ..Include::default()
        };
        let request = of_records(ids, include, Consistency::everything());
        Ok(self
            .database
            .conditional_get(space.scope(), &request, None)?)
    }

    /// The same with all that there is of the records.
    pub(crate) fn read_all_to_write(
        &self,
        space: &Space,
        ids: &[String],
    ) -> Result<(Fetched, SeqId)> {
        let include = Include {
            documents: true,
            ..EVERYTHING
        };
        let request = of_records(ids, include, Consistency::everything());
        Ok(self
            .database
            .conditional_get(space.scope(), &request, None)?)
    }

    /// Writes a batch; `None` where somebody has written one of `ids` since they were read.
    pub(crate) fn write_unchanged(
        &self,
        space: &Space,
        token: SeqId,
        ids: Vec<String>,
        batch: RecordBatch,
    ) -> Result<Option<SeqRange>> {
        let write = ConditionalWrite {
            read_token: Some(token),
            read_ids: ids,
            batch,
        };
        match self.database.conditional_commit(space.scope(), write) {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
            written => Ok(written?),
        }
    }
}

fn of_records(ids: &[String], include: Include, consistency: Consistency) -> GetRequest {
    GetRequest {
        selection: RecordSelection {
            ids: Some(ids.to_vec()),
            filter: None,
        },
        include,
        consistency,
        ..GetRequest::default()
    }
}

/// Reads what is at least of this position of the log.
fn as_new_as(seq: u64) -> Consistency {
    Consistency {
        min_seq: Some(SeqId(seq)),
        ..Consistency::everything()
    }
}

/// Where the record of each of these ids is among those that were read, whose order is another; `None`
/// where it is gone.
pub(crate) fn places(read: &Strings, ids: &[String]) -> Vec<Option<usize>> {
    let known = (0..read.len()).map(|at| (read.get(at), at));
    let known: HashMap<&str, usize> = known.collect();
    ids.iter().map(|id| known.get(&**id).copied()).collect()
}

fn put_all(state: &mut State, found: &Fetched) {
    let (Some(vectors), Some(metadata)) = (&found.embeddings, &found.metadatas) else {
        return;
    };
    for at in 0..found.ids.len() {
        let vector = vectors.get(at).unwrap_or_default();
        let row = Row::read(
            metadata.row(at),
            vector,
            &mut state.classes,
            &mut state.groups,
        );
        state.put(found.ids.get(at), row);
    }
}

/// The context and the dataset of each of these records, by its place among them.
fn placed(desk: &Desk, found: &Fetched) -> Vec<(usize, (Option<Context>, String))> {
    let state = desk.state.lock();
    let ids = (0..found.ids.len()).map(|at| (at, found.ids.get(at)));
    let rows = ids.filter_map(|(at, id)| Some((at, state.rows.get(id)?)));
    rows.map(|(at, row)| (at, (row.context, row.dataset.clone())))
        .collect()
}
