//! The way of a batch into its space.
//!
//! What must stay true: everything is judged before anything is written; the answer comes when the
//! batch is durable. A batch under an idempotency key is noted before it is written, with a digest of
//! its content: so a repeat is known even where the process died between the two, and writing it
//! again changes nothing, since records are written by their ids.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use vermilion_engine::catalog::Document;
use vermilion_engine::model::{
    Fetched, MetadataColumn, RecordBatch, SeqRange, Space as Metric, Value,
};

use crate::assess::Assessment;
use crate::body::{Head, Told};
use crate::check::{Checked, Expected, check};
use crate::expiry::check_end;
use crate::fields::{self, Context};
use crate::key::hexadecimal;
use crate::spaces::{BATCHES, Place, Space, metric_name, metric_named};
use crate::{Curation, Refusal, Result};

/// How long a key is known: a day.
const KEY_LIFE_SECONDS: f64 = 86_400.0;
/// How often a batch is written anew over records that others write at the same time.
const TRIES: usize = 10;
/// Bytes of a key at most.
const KEY_BYTES_MAX: usize = 256;

/// What is answered to a batch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Logged {
    /// The space that has it.
    pub space: String,
    /// Its key.
    pub embedding_set_key: String,
    /// The ids of the records, in the order of the batch.
    pub ids: Vec<String>,
    /// The first and the last position in the log of the space.
    pub seq: [u64; 2],
    /// What is to be thought of each record, where that was asked and there is a reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assessments: Option<Vec<Assessment>>,
    /// Whether that was asked and cannot be said yet.
    #[serde(skip)]
    pub scores_missing: bool,
}

/// Keys of batches that are being logged.
#[derive(Default)]
pub(crate) struct UnderWay {
    keys: HashSet<String>,
    /// When keys past their life were last forgotten.
    swept_at: f64,
}

impl Checked {
    /// Whether a model met the record of a row, in production or beside it.
    fn is_met(&self, row: usize) -> bool {
        let context = text_of(self.batch.metadata.row(row), fields::CONTEXT);
        [Context::Production, Context::Triage]
            .iter()
            .any(|one| context == Some(one.name()))
    }

    /// The ids of those records that would keep something if they were there already.
    fn keeping(&self) -> Vec<String> {
        let rows = (0..self.batch.len()).filter(|&row| self.is_met(row) || !self.timed[row]);
        rows.map(|row| self.batch.ids.get(row).to_owned()).collect()
    }

    /// The batch without what the records that are `there` already keep: when they were observed, where it is
    /// not told again; and the training data that they were promoted to, which a model that meets them again
    /// takes nothing from.
    fn beside(&self, there: &Fetched) -> RecordBatch {
        let none = MetadataColumn::default();
        let metadatas = there.metadatas.as_ref().unwrap_or(&none);
        let known: HashMap<&str, usize> = (0..there.ids.len())
            .map(|at| (there.ids.get(at), at))
            .collect();
        let mut metadata = MetadataColumn::default();
        for row in 0..self.batch.len() {
            let known = known.get(self.batch.ids.get(row));
            let has = |key| known.is_some_and(|&at| metadatas.row(at).any(|cell| cell.0 == key));
            let is_promoted = self.is_met(row) && has(fields::PROMOTED_FROM);
            let is_observed = !self.timed[row] && has(fields::OBSERVED_AT);
            let stands = |key: &str| match key {
                fields::CONTEXT | fields::DATASET => is_promoted,
                fields::OBSERVED_AT => is_observed,
                _ => false,
            };
            let cells = self.batch.metadata.row(row);
            let cells = cells.filter(|cell| !stands(cell.0));
            metadata.push_row(cells.map(|(key, value)| (key, value.clone())));
        }
        RecordBatch {
            metadata,
            ..self.batch.clone()
        }
    }
}

impl Curation {
    /// Takes a batch into its space, which is made if it is not there. `asked` is what the request
    /// says besides its body, which comes before it.
    pub fn log(&self, place: &Place, mut told: Told, asked: Head) -> Result<Logged> {
        let head = std::mem::take(&mut told.head).or(asked);
        check_end(head.dataset_metadata.as_ref())?;
        let known = self.known_space(place, &head)?;
        let metric = metric_named(head.metric.as_deref())?;
        let expected = expected(known.as_ref(), metric)?;
        let now = self.now();
        let checked = check(told, &head, expected, self.database.limits(), now)?;
        let key = check_key(&head)?;
        let space = match known {
            Some(space) => space,
            None => self.make_space(place, &head, expected.metric)?,
        };
        self.note_datasets(&space, &checked.datasets, &head, now)?;
        let mut logged = match key {
            None => self.write(&space, checked),
            Some(key) => self.write_once(&space, checked, key, now),
        }?;
        self.note_end(head.dataset_metadata.as_ref(), now);
        if head.assess == Some(true) {
            let desk = self.desk(&space);
            logged.scores_missing =
                !self.follow_at_once(&space, &desk)? || desk.state.lock().reference.is_none();
            if !logged.scores_missing {
                self.score_held_out(&space, &desk, &|| true)?;
                let mut assessed = self.assess_logged(&space, &desk, &logged.ids)?;
                self.prioritise(&space, &desk, &mut assessed)?;
                logged.assessments = Some(assessed);
            }
        }
        self.wake(&space);
        Ok(logged)
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> f64 {
        self.database.now_nanoseconds() as f64 / 1e9
    }

    fn write(&self, space: &Space, checked: Checked) -> Result<Logged> {
        let ids = checked.batch.ids.iter().map(str::to_owned).collect();
        let seqs = self.write_beside(space, checked)?;
        Ok(Logged {
            space: space.collection.name.clone(),
            embedding_set_key: space.embedding_set_key.clone(),
            ids,
            seq: [seqs.first.0, seqs.last.0],
            assessments: None,
            scores_missing: false,
        })
    }

    /// Writes a batch unless it was written under its key before.
    fn write_once(&self, space: &Space, checked: Checked, key: &str, now: f64) -> Result<Logged> {
        let batch = &checked.batch;
        let document_key = space.document_key(key);
        let _turn = self.take_turn(&document_key)?;
        self.forget_old_keys(now)?;
        let digest = digest(batch);
        let known = self.database.document(BATCHES, &document_key)?;
        let known = known.filter(|known| lives(&known.body, now));
        if let Some(known) = known {
            if known.body["digest"] != digest {
                let message = format!("Another batch was logged under the key `{key}`.");
                return Err(Refusal::new(409, "idempotency_conflict", message)
                    .field("idempotency_key")
                    .hint("a key stands for one content for a day"));
            }
            if let (Some(first), Some(last)) =
                (known.body["seq"][0].as_u64(), known.body["seq"][1].as_u64())
            {
                return Ok(Logged {
                    space: space.collection.name.clone(),
                    embedding_set_key: space.embedding_set_key.clone(),
                    ids: batch.ids.iter().map(str::to_owned).collect(),
                    seq: [first, last],
                    assessments: None,
                    scores_missing: false,
                });
            }
        }
        let note = |seq: Option<[u64; 2]>| Document {
            kind: BATCHES.to_owned(),
            key: document_key.clone(),
            body: json!({ "digest": digest, "at": now, "seq": seq }),
        };
        self.database.put_document(note(None))?;
        let logged = self.write(space, checked)?;
        self.database.put_document(note(Some(logged.seq)))?;
        Ok(logged)
    }

    /// Writes a batch without what records that are there already keep, as they are when it is written: see
    /// [`Checked::beside`].
    fn write_beside(&self, space: &Space, checked: Checked) -> Result<SeqRange> {
        let asked = checked.keeping();
        if asked.is_empty() {
            return Ok(self.database.write(space.scope(), checked.batch)?);
        }
        for _ in 0..TRIES {
            let (there, token) = self.read_to_write(space, &asked)?;
            if there.ids.is_empty() {
                return Ok(self.database.write(space.scope(), checked.batch)?);
            }
            let ids = there.ids.iter().map(str::to_owned).collect();
            let batch = checked.beside(&there);
            if let Some(seqs) = self.write_unchanged(space, token, ids, batch)? {
                return Ok(seqs);
            }
        }
        let message = "Others write the same records all the time.";
        Err(Refusal::new(409, "conflict", message)
            .hint("send the batch again; nothing of it was written"))
    }

    fn take_turn<'a>(&'a self, key: &str) -> Result<Turn<'a>> {
        if !self.under_way.lock().keys.insert(key.to_owned()) {
            let message = "A batch is being logged under this key.";
            return Err(Refusal::new(429, "idempotency_key_in_use", message)
                .field("idempotency_key")
                .hint("retry in a second"));
        }
        Ok(Turn {
            curation: self,
            key: key.to_owned(),
        })
    }

    /// Forgets keys past their life, once an hour.
    fn forget_old_keys(&self, now: f64) -> Result<()> {
        {
            let mut under_way = self.under_way.lock();
            if now - under_way.swept_at < KEY_LIFE_SECONDS / 24.0 {
                return Ok(());
            }
            under_way.swept_at = now;
        }
        for document in self.database.documents(BATCHES, "")? {
            if !lives(&document.body, now) {
                self.database.delete_document(BATCHES, &document.key)?;
            }
        }
        Ok(())
    }
}

/// A key that nobody else uses until this is dropped.
struct Turn<'a> {
    curation: &'a Curation,
    key: String,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.curation.under_way.lock().keys.remove(&self.key);
    }
}

fn lives(body: &serde_json::Value, now: f64) -> bool {
    body["at"]
        .as_f64()
        .is_some_and(|at| now - at < KEY_LIFE_SECONDS)
}

fn check_key(head: &Head) -> Result<Option<&str>> {
    let key = head.idempotency_key.as_deref();
    if key.is_some_and(|key| key.is_empty() || key.len() > KEY_BYTES_MAX) {
        let message = "The idempotency key is empty or too long.";
        return Err(Refusal::wrong("bad_idempotency_key", message)
            .field("idempotency_key")
            .hint(format!("1 to {KEY_BYTES_MAX} bytes")));
    }
    Ok(key)
}

/// What a batch for `space` must be.
fn expected(space: Option<&Space>, asked: Option<Metric>) -> Result<Expected> {
    let Some(space) = space else {
        return Ok(Expected {
            dimension: None,
            metric: asked.unwrap_or(Metric::Cosine),
        });
    };
    let metric = space.collection.schema.space();
    if asked.is_some_and(|asked| asked != metric) {
        let asked = asked.map_or("", metric_name);
        let message = format!(
            "The space compares vectors by `{}`, the batch says `{asked}`.",
            metric_name(metric)
        );
        return Err(Refusal::new(409, "metric_changed", message)
            .field("metric")
            .hint("leave it out, or name another space"));
    }
    Ok(Expected {
        dimension: space.collection.dimension,
        metric,
    })
}

/// A digest of what a batch says; not of when it came, where it does not say so itself.
fn digest(batch: &RecordBatch) -> String {
    let mut digest = Sha256::new();
    let mut part = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    };
    for row in 0..batch.len() {
        part(batch.ids.get(row).as_bytes());
        part(batch.uris.get(row).unwrap_or_default().as_bytes());
        if let Some(document) = batch.documents.get(row) {
            part(document.as_bytes());
        }
        for number in batch.embeddings.get(row).unwrap_or_default() {
            part(&number.to_le_bytes());
        }
        let mut cells: Vec<_> = batch.metadata.row(row).collect();
        cells.sort_by_key(|cell| cell.0);
        for (key, value) in cells {
            if key != fields::OBSERVED_AT {
                part(key.as_bytes());
                part(said(value).as_bytes());
            }
        }
    }
    hexadecimal(&digest.finalize())
}

/// The text of a cell.
fn text_of<'a>(
    mut cells: impl Iterator<Item = (&'a str, &'a Value)>,
    key: &str,
) -> Option<&'a str> {
    match cells.find(|cell| cell.0 == key)?.1 {
        Value::Str(text) => Some(text),
        _ => None,
    }
}

/// A cell as text, each kind its own.
fn said(value: &Value) -> String {
    match value {
        Value::Str(text) => format!("s{text}"),
        Value::Bool(value) => format!("b{value}"),
        Value::Int(value) => format!("i{value}"),
        Value::Float(value) => format!("f{:016x}", value.to_bits()),
        Value::Sparse(vector) => {
            let scores = vector.values.iter().map(|value| value.to_bits());
            format!("p{:?}{:?}", vector.tokens, scores.collect::<Vec<_>>())
        }
        _ => "null".to_owned(),
    }
}
