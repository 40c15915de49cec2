//! `vermilion import-chroma`: every collection of a Chroma folder or server, with its settings.
//!
//! What must stay true: the source is only read; a record that is there already is not sent again,
//! so a run that was cut off goes on where it stopped; nothing is written to a collection that compares
//! vectors otherwise than the source's; nothing is called done before counts and samples were compared.

mod folder;
mod server;
mod vectors;

use std::collections::HashSet;
use std::path::Path;

use serde_json::{Map, Value, json};
use vermilion_protocol::collections::decode_new_collection;

use crate::arguments::{ImportChroma, Place};
use crate::console::{grouped, note, say};
use crate::failure::Failure;
use crate::transfer::{Collection, Progress, Record};

use folder::Folder;
use server::Server;

/// Bytes of records at which a batch ends even if it is not full, so that a request stays small.
const BATCH_BYTES: usize = 16 << 20;

/// A collection of the source.
#[derive(Clone, Debug, PartialEq)]
struct Described {
    tenant: String,
    database: String,
    name: String,
    metadata: Option<Map<String, Value>>,
    /// How it is configured: the member `schema` or `configuration` of a request that makes it.
    settings: Option<(&'static str, Value)>,
}

impl Described {
    /// Whether vectors are compared by their angles.
    fn is_cosine(&self) -> bool {
        let told = |pointer: &str| self.settings.as_ref()?.1.pointer(pointer)?.as_str();
        let of_metadata = || self.metadata.as_ref()?.get("hnsw:space")?.as_str();
        let space = told("/keys/#embedding/float_list/vector_index/config/space")
            .or_else(|| told("/hnsw/space"))
            .or_else(|| told("/spann/space"))
            .or_else(of_metadata);
        space == Some("cosine")
    }

    /// The request that makes it.
    fn request(&self) -> Value {
        let mut body = json!({"name": self.name, "get_or_create": true});
        if let Some(metadata) = &self.metadata {
            body["metadata"] = json!(metadata);
        }
        // Settings of the old kind are in the metadata, and a request may not say them twice.
        let cells = self.metadata.iter().flatten();
        let old_kind = cells.into_iter().any(|(key, _)| key.starts_with("hnsw:"));
        if let Some((member, value)) = self.settings.as_ref().filter(|_| !old_kind) {
            body[*member] = value.clone();
        }
        body
    }
}

/// Where collections come from.
enum Source {
    Folder(Box<Folder>),
    Server(Server),
}

/// The records of one collection.
enum Records<'a> {
    Folder(folder::Records<'a>),
    Server(Collection),
}

impl Source {
    fn open(arguments: &ImportChroma) -> Result<Self, Failure> {
        let from = &arguments.from;
        if from.starts_with("http://") || from.starts_with("https://") {
            return Ok(Self::Server(Server::open(
                from,
                arguments.tenant.as_deref(),
            )?));
        }
        Ok(Self::Folder(Box::new(Folder::open(Path::new(from))?)))
    }

    fn collections(&self) -> Result<Vec<Described>, Failure> {
        match self {
            Self::Folder(folder) => folder.collections(),
            Self::Server(server) => server.collections(),
        }
    }

    fn records(&self, of: &Described) -> Result<Records<'_>, Failure> {
        match self {
            Self::Folder(folder) => folder.records(of).map(Records::Folder),
            Self::Server(server) => server.records(of).map(Records::Server),
        }
    }
}

impl Records<'_> {
    /// All ids in the order in which the records were first written.
    fn ids(&self) -> Result<Vec<String>, Failure> {
        match self {
            Self::Folder(records) => Ok(records.ids()),
            Self::Server(collection) => collection.ids(),
        }
    }

    /// The records with `ids`, in any order.
    fn get(&self, ids: &[String]) -> Result<Vec<Record>, Failure> {
        match self {
            Self::Folder(records) => records.get(ids),
            Self::Server(collection) => collection.records(ids),
        }
    }
}

/// What became of a collection.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    imported: usize,
    there_before: usize,
    incomplete: usize,
}

/// Runs the command.
pub(crate) fn import_chroma(arguments: &ImportChroma) -> Result<(), Failure> {
    let source = Source::open(arguments)?;
    let wanted = |one: &Described| {
        let is =
            |asked: &Option<String>, own: &str| asked.as_deref().is_none_or(|name| name == own);
        is(&arguments.tenant, &one.tenant)
            && is(&arguments.database, &one.database)
            && is(&arguments.collection, &one.name)
    };
    let mut collections = source.collections()?;
    collections.retain(wanted);
    if collections.is_empty() {
        return Err(
            Failure::new(format!("there is no such collection in {}", arguments.from))
                .hint("leave out --tenant, --database and --collection to import all there are"),
        );
    }
    let (mut all, mut records) = (Outcome::default(), 0);
    for one in &collections {
        let doing = format!("collection {} of {}/{}", one.name, one.tenant, one.database);
        let outcome = import_one(arguments, &source, one).map_err(|why| why.context(&doing))?;
        records += outcome.imported + outcome.there_before;
        all.incomplete += outcome.incomplete;
        say(&format!(
            "{doing}: {} records imported, {} there before; counts and samples agree",
            grouped(outcome.imported as u64),
            grouped(outcome.there_before as u64),
        ))?;
    }
    let (count, records) = (collections.len(), grouped(records as u64));
    say(&format!(
        "{count} collections with {records} records are whole"
    ))?;
    if all.incomplete > 0 {
        note(&format!(
            "{} records without a vector were left out",
            grouped(all.incomplete as u64)
        ));
    }
    Ok(())
}

fn import_one(
    arguments: &ImportChroma,
    source: &Source,
    one: &Described,
) -> Result<Outcome, Failure> {
    let place = Place {
        path: arguments.path.clone(),
        url: arguments.url.clone(),
        collection: one.name.clone(),
        tenant: one.tenant.clone(),
        database: one.database.clone(),
    };
    let target = Collection::create(&place, &one.request())?;
    let went = check_settings(one, &target)
        .and_then(|()| source.records(one))
        .and_then(|records| import_records(arguments, one, &records, &target));
    let closed = target.close();
    let outcome = went?;
    closed.map(|()| outcome)
}

/// Fails where `target`, which may have been there before, compares or makes vectors otherwise than `one`.
fn check_settings(one: &Described, target: &Collection) -> Result<(), Failure> {
    let request = one.request().to_string();
    let wanted = decode_new_collection(&one.tenant, &one.database, request.as_bytes())
        .map_err(|error| Failure::new(error.message))?;
    let space = json!(wanted.schema.space());
    let vectors = wanted.schema.vectors();
    let function = vectors.and_then(|vectors| vectors.embedding_function.as_ref());
    let settings = [
        ("distance function", space.as_str(), target.space()),
        (
            "embedding function",
            function.and_then(|function| function.get("name")?.as_str()),
            target.function(),
        ),
    ];
    for (what, theirs, ours) in settings {
        if let (Some(theirs), Some(ours)) = (theirs, ours)
            && theirs != ours
        {
            return Err(Failure::new(format!(
                "there is a collection of this name here, and its {what} is {ours}; the source's is {theirs}"
            ))
            .hint("rename or delete the one here, or import into an empty place"));
        }
    }
    Ok(())
}

fn import_records(
    arguments: &ImportChroma,
    one: &Described,
    records: &Records<'_>,
    target: &Collection,
) -> Result<Outcome, Failure> {
    let ids = records.ids()?;
    let before: HashSet<String> = target.ids()?.into_iter().collect();
    let mut outcome = Outcome::default();
    let (there, missing): (Vec<String>, Vec<String>) =
        ids.iter().cloned().partition(|id| before.contains(id));
    outcome.there_before = there.len();
    let mut progress = Progress::start(&format!("importing {}", one.name), missing.len() as u64);
    let count = (arguments.batch as usize).min(target.batch_records_max());
    let mut done = 0;
    for chunk in missing.chunks(count) {
        let complete = complete(arguments, records.get(chunk)?, &mut outcome)?;
        let mut rest = complete.as_slice();
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(fitting(rest));
            target.upsert(batch)?;
            outcome.imported += batch.len();
            rest = later;
        }
        done += chunk.len() as u64;
        progress.at(done, done);
    }
    progress.finish();
    verify(arguments, &ids, records, target, outcome.incomplete)?;
    Ok(outcome)
}

/// The records that have everything; others are refused, or left out where that is allowed.
fn complete(
    arguments: &ImportChroma,
    mut records: Vec<Record>,
    outcome: &mut Outcome,
) -> Result<Vec<Record>, Failure> {
    if arguments.skip_incomplete {
        let before = records.len();
        records.retain(|record| !record.embedding.is_empty());
        outcome.incomplete += before - records.len();
    }
    for record in &records {
        record.validate(false).map_err(|why| {
            let hint = "with --skip-incomplete records without a vector are left out";
            Failure::new(why).hint(hint)
        })?;
    }
    Ok(records)
}

/// How many of the first records go into one batch.
fn fitting(records: &[Record]) -> usize {
    let mut bytes = 0;
    let over = records.iter().position(|record| {
        bytes += record.bytes();
        bytes > BATCH_BYTES
    });
    over.map_or(records.len(), |at| at.max(1))
}

/// Compares ids, and samples in full.
fn verify(
    arguments: &ImportChroma,
    ids: &[String],
    records: &Records<'_>,
    target: &Collection,
    incomplete: usize,
) -> Result<(), Failure> {
    let now: HashSet<String> = target.ids()?.into_iter().collect();
    let missing = ids.iter().filter(|id| !now.contains(*id)).count();
    let more = now.len() + missing - ids.len();
    if missing != incomplete || more > 0 {
        return Err(Failure::new(format!(
            "the source has {} records; here {missing} of them are missing and {more} are more",
            ids.len()
        ))
        .hint("was it written to in the meantime? run the command again, or import into an empty place"));
    }
    let step = ids.len().div_ceil(arguments.samples.max(1) as usize).max(1);
    let sample: Vec<String> = ids.iter().step_by(step).cloned().collect();
    for chunk in sample.chunks(100) {
        let ours = by_id(target.records(chunk)?);
        for record in records.get(chunk)? {
            let same = ours
                .get(&record.id)
                .is_some_and(|other| is_same(other, &record));
            if !same && !record.embedding.is_empty() {
                let message = format!("record `{}` differs from the source's", record.id);
                return Err(Failure::new(message)
                    .hint("delete the collection here and run the command again"));
            }
        }
    }
    Ok(())
}

fn by_id(records: Vec<Record>) -> std::collections::HashMap<String, Record> {
    let pairs = records
        .into_iter()
        .map(|record| (record.id.clone(), record));
    pairs.collect()
}

/// Whether two records say the same: empty lists and absent cells are one.
fn is_same(a: &Record, b: &Record) -> bool {
    let cells = |record: &Record| {
        let cells = record.metadata.clone().unwrap_or_default().into_iter();
        let filled = |value: &Value| {
            !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
        };
        cells
            .filter(|(_, value)| filled(value))
            .collect::<Map<String, Value>>()
    };
    let bits = |record: &Record| {
        record
            .embedding
            .iter()
            .map(|x| x.to_bits())
            .collect::<Vec<_>>()
    };
    bits(a) == bits(b) && a.document == b.document && a.uri == b.uri && cells(a) == cells(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(configuration: Value) -> Described {
        Described {
            tenant: "default_tenant".to_owned(),
            database: "default_database".to_owned(),
            name: "things".to_owned(),
            metadata: None,
            settings: Some(("configuration", configuration)),
        }
    }

    #[test]
    fn a_collection_that_compares_vectors_otherwise_is_not_imported_into() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place {
            path: folder.path().to_owned(),
            url: None,
            collection: "things".to_owned(),
            tenant: "default_tenant".to_owned(),
            database: "default_database".to_owned(),
        };
        let named = |name: &str| json!({"type": "known", "name": name, "config": {}});
        let there = described(json!({
            "hnsw": {"space": "l2"}, "embedding_function": named("default")
        }));
        let target = Collection::create(&place, &there.request()).unwrap();
        check_settings(&there, &target).unwrap();
        check_settings(&described(json!({"hnsw": {"ef_search": 10}})), &target).unwrap();
        let refused = |configuration: Value, said: &str| {
            let error = check_settings(&described(configuration), &target).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        };
        let cosine = json!({"hnsw": {"space": "cosine"}});
        refused(
            cosine,
            "its distance function is l2; the source's is cosine",
        );
        let other = json!({"embedding_function": named("ollama")});
        refused(
            other,
            "its embedding function is default; the source's is ollama",
        );
        target.close().unwrap();
    }
}
