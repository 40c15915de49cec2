//! Which backups a restore needs, and where in them it ends.
//!
//! What must stay true: a chain begins with a full backup and each later one carries on the one
//! before it; what was asked for lies in the chain, or the error says what does.

use super::manifest::{BackupKind, BackupManifest, list, read_json};
use super::write::{BackupCatalog, CATALOG, CHANGES};
use super::{BackupNumber, Destination};
use crate::catalog::{CatalogCopy, CollectionRow};
use crate::model::{CollectionId, Origin, SeqId};
use crate::{Error, Result};

use super::changes::TimedChange;

/// What a restore is to bring back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// The newest backup.
    #[default]
    Newest,
    /// Collections, by name or id, each up to and with a SeqId; the others as the first backup
    /// that has these SeqIds holds them.
    Seqs(Vec<(String, SeqId)>),
    /// A moment, in nanoseconds since the Unix epoch: whatever was acknowledged by then, up to the
    /// first batch that was written later.
    Time(u64),
}

/// What a restore does.
pub(super) struct Plan {
    /// The chain, the full backup first.
    pub(super) chain: Vec<BackupManifest>,
    /// The catalogue of the full backup, with its segments.
    pub(super) base: BackupCatalog,
    /// The catalogue as it is to be, apart from segments.
    pub(super) catalog: CatalogCopy,
    /// SeqIds that the chain must reach at least.
    pub(super) reach: Vec<(CollectionId, SeqId)>,
    /// SeqIds behind which nothing is taken.
    pub(super) ends: Vec<(CollectionId, SeqId)>,
    /// The time behind which nothing is taken.
    pub(super) end_time: Option<u64>,
}

/// The backups of a destination, each readable or not.
struct Shelf<'a> {
    from: &'a dyn Destination,
    backups: Vec<(BackupNumber, Result<BackupManifest>)>,
}

/// Chooses the backups for `target`.
pub(super) fn plan(from: &dyn Destination, target: &Target) -> Result<Plan> {
    let backups: Vec<_> = list(from)?
        .into_iter()
        .map(|backup| (backup.number, backup.manifest))
        .collect();
    if backups.is_empty() {
        return Err(Error::not_found("The source holds no finished backup."));
    }
    let shelf = Shelf { from, backups };
    match target {
        Target::Newest => shelf.newest(),
        Target::Seqs(wanted) => shelf.up_to_seqs(wanted),
        Target::Time(time) => shelf.as_of(*time),
    }
}

impl Shelf<'_> {
    fn manifest(&self, at: usize) -> Result<&BackupManifest> {
        self.backups[at].1.as_ref().map_err(Clone::clone)
    }

    /// The chain that ends with the backup at `last`: back to the newest full backup that `fits`.
    fn chain_to(
        &self,
        last: usize,
        fits: &dyn Fn(&BackupManifest) -> Result<bool>,
    ) -> Result<Option<Vec<BackupManifest>>> {
        let mut chain = Vec::new();
        let mut at = last;
        loop {
            let manifest = self.manifest(at)?;
            chain.push(manifest.clone());
            if manifest.kind == BackupKind::Full && fits(manifest)? {
                chain.reverse();
                return Ok(Some(chain));
            }
            let Some(before) = manifest.continues else {
                return Ok(None);
            };
            let found = at.checked_sub(1).filter(|at| self.backups[*at].0 == before);
            let Some(found) = found else {
                if manifest.kind == BackupKind::Full {
                    return Ok(None);
                }
                return Err(Error::not_found(format!(
                    "Backup {} carries on backup {before}, which is not in the source.",
                    manifest.number
                )));
            };
            at = found;
        }
    }

    fn catalog(&self, manifest: &BackupManifest) -> Result<BackupCatalog> {
        read_json(self.from, manifest, CATALOG)
    }

    fn newest(&self) -> Result<Plan> {
        let last = self.backups.len() - 1;
        let chain = self.chain_to(last, &|_| Ok(true))?;
        let chain = chain.ok_or_else(|| no_full_backup(self.backups[last].0))?;
        self.whole(chain)
    }

    /// Everything that a chain has.
    fn whole(&self, chain: Vec<BackupManifest>) -> Result<Plan> {
        let base = self.catalog(&chain[0])?;
        let end = self.catalog(&chain[chain.len() - 1])?;
        Ok(Plan {
            chain,
            base,
            reach: end.last.into_iter().collect(),
            catalog: end.catalog,
            ends: Vec::new(),
            end_time: None,
        })
    }

    fn up_to_seqs(&self, wanted: &[(String, SeqId)]) -> Result<Plan> {
        let mut ends: Vec<(CollectionId, SeqId)> = Vec::new();
        for (name, seq) in wanted {
            let id = self.resolve(name)?;
            if ends.iter().any(|(known, _)| *known == id) {
                let message = format!("Collection [{name}] is named twice; name it once.");
                return Err(Error::invalid(message));
            }
            ends.push((id, *seq));
        }
        let last = self.first_with(&ends, wanted)?;
        let newest = self.catalog(self.manifest(last)?)?.catalog;
        let fits = |manifest: &BackupManifest| -> Result<bool> {
            let catalog = self.catalog(manifest)?.catalog;
            let starts = |id: &CollectionId| begins_at(&catalog, &newest, *id);
            Ok(ends.iter().all(|(id, seq)| starts(id) <= *seq))
        };
        let Some(chain) = self.chain_to(last, &fits)? else {
            let limits: Vec<String> = ends
                .iter()
                .map(|(id, _)| {
                    let begins = begins_at(&newest, &newest, *id);
                    format!("{begins} of collection [{id}]")
                })
                .collect();
            return Err(Error::invalid(format!(
                "No full backup is old enough for these SeqIds; the first one that could be \
                 restored is {} where nothing older is kept.",
                limits.join(", ")
            )));
        };
        let mut plan = self.whole(chain)?;
        for (id, seq) in &mut plan.reach {
            if let Some((_, end)) = ends.iter().find(|(known, _)| known == id) {
                *seq = *end;
            }
        }
        plan.ends = ends;
        Ok(plan)
    }

    /// The collection called `name`, or with this id, in the newest backup that has it.
    fn resolve(&self, name: &str) -> Result<CollectionId> {
        for (_, manifest) in self.backups.iter().rev() {
            let manifest = manifest.as_ref().map_err(Clone::clone)?;
            let rows = self.catalog(manifest)?.catalog.collections;
            let same = |row: &&CollectionRow| {
                row.collection.name == name || row.collection.id.to_string() == name
            };
            let mut found = rows.iter().filter(same).map(|row| row.collection.id);
            if let Some(id) = found.next() {
                return match found.next() {
                    None => Ok(id),
                    Some(other) => Err(Error::invalid(format!(
                        "More than one collection is called [{name}], {id} and {other}; name it \
                         by its id."
                    ))),
                };
            }
        }
        Err(Error::not_found(format!(
            "No backup has a collection [{name}]; name it as it was, or by its id."
        )))
    }

    /// The first backup that has all of these SeqIds.
    fn first_with(
        &self,
        ends: &[(CollectionId, SeqId)],
        wanted: &[(String, SeqId)],
    ) -> Result<usize> {
        let mut highest = vec![SeqId(0); ends.len()];
        for at in 0..self.backups.len() {
            let last = self.catalog(self.manifest(at)?)?.last;
            let reached =
                |(id, seq): &(CollectionId, SeqId)| last.get(id).is_some_and(|last| last >= seq);
            if ends.iter().all(reached) {
                return Ok(at);
            }
            for (highest, (id, _)) in highest.iter_mut().zip(ends) {
                *highest = last.get(id).copied().unwrap_or_default().max(*highest);
            }
        }
        let limits: Vec<String> = wanted
            .iter()
            .zip(highest)
            .map(|((name, _), highest)| format!("[{name}] up to {highest}"))
            .collect();
        Err(Error::invalid(format!(
            "No backup has these SeqIds; the backups hold {}.",
            limits.join(", ")
        )))
    }

    fn as_of(&self, time: u64) -> Result<Plan> {
        let mut base = None;
        for at in (0..self.backups.len()).rev() {
            let manifest = self.manifest(at)?;
            if manifest.kind == BackupKind::Full && manifest.time <= time {
                base = Some(at);
                break;
            }
        }
        let Some(base) = base else {
            let first = date(self.manifest(0)?.time);
            let asked = date(time);
            return Err(Error::invalid(format!(
                "The backups begin at {first}; {asked} is before that."
            )));
        };
        let mut chain = vec![self.manifest(base)?.clone()];
        let mut at = base;
        while chain[chain.len() - 1].time < time {
            let last = chain[chain.len() - 1].clone();
            at += 1;
            let next = match self.backups.get(at) {
                Some((_, manifest)) => manifest.as_ref().map_err(Clone::clone)?,
                None => {
                    return Err(Error::invalid(format!(
                        "The backups end at {}; {} is after that.",
                        date(last.time),
                        date(time)
                    )));
                }
            };
            if next.continues != Some(last.number) {
                return Err(Error::invalid(format!(
                    "Nothing is known of the time between backup {} ({}) and backup {} ({}); choose \
                     one of these.",
                    last.number,
                    date(last.time),
                    next.number,
                    date(next.time)
                )));
            }
            chain.push(next.clone());
        }
        self.plan_for_time(chain, time)
    }

    fn plan_for_time(&self, chain: Vec<BackupManifest>, time: u64) -> Result<Plan> {
        let last = chain[chain.len() - 1].clone();
        if last.time == time {
            return self.whole(chain);
        }
        if !last.changes_known {
            return Err(Error::invalid(format!(
                "When collections changed before backup {} ({}) was not recorded; choose its time, \
                 or that of the backup before it.",
                last.number,
                date(last.time)
            )));
        }
        let before = self.catalog(&chain[chain.len() - 2])?;
        let mut catalog = before.catalog;
        let changes: Vec<TimedChange> = read_json(self.from, &last, CHANGES)?;
        for change in changes.iter().take_while(|change| change.time <= time) {
            change.change.apply(&mut catalog);
        }
        Ok(Plan {
            base: self.catalog(&chain[0])?,
            chain,
            reach: before.last.into_iter().collect(),
            catalog,
            ends: Vec::new(),
            end_time: Some(time),
        })
    }
}

/// Up to which SeqId the segments of a full backup with `catalog` hold collection `id`, of which
/// `known` tells where it comes from.
fn begins_at(catalog: &CatalogCopy, known: &CatalogCopy, id: CollectionId) -> SeqId {
    let find = |catalog: &'_ CatalogCopy| {
        let mut rows = catalog.collections.iter();
        rows.position(|row| row.collection.id == id)
    };
    let held = find(catalog).map(|at| &catalog.collections[at]);
    let lent = || {
        let fork = &known.collections[find(known)?];
        nearest_origin(catalog, &fork.collection.origins)
    };
    held.or_else(lent)
        .map_or(SeqId(0), |row| row.manifest.applied)
}

/// What `catalog` has of the latest of `origins` that it has: a fork that is not in it begins as
/// that was.
pub(super) fn nearest_origin<'a>(
    catalog: &'a CatalogCopy,
    origins: &[Origin],
) -> Option<&'a CollectionRow> {
    origins.iter().rev().find_map(|origin| {
        let mut rows = catalog.collections.iter();
        rows.find(|row| row.collection.id == origin.collection)
    })
}

/// A time as people write it, to the nanosecond, so that it can be asked for.
fn date(nanoseconds: u64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(nanoseconds));
    let time = time.expect("64 bits of nanoseconds end in the year 2554");
    format!("{time:.9}")
}

fn no_full_backup(number: BackupNumber) -> Error {
    Error::not_found(format!(
        "The source has no full backup that backup {number} carries on."
    ))
}
