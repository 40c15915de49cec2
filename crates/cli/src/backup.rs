//! `vermilion backup`, `restore` and `backups`: a data folder, or what a server has, kept and brought
//! back.
//!
//! What must stay true: standard output has the report and nothing else, so that `--json` can be
//! read by a program; times are told and understood in UTC.

use serde_json::{Value, json};
use vermilion_engine::backup::{
    self, BackupKind, BackupManifest, BackupProgress, ListedBackup, Target,
};
use vermilion_engine::model::SeqId;

use crate::arguments::{Backup, Backups, Restore};
use crate::console::{grouped, say, size, write};
use crate::control;
use crate::destinations;
use crate::failure::Failure;
use crate::folders::open_quietly;
use crate::inspect::tree;
use crate::transfer::Progress;
use crate::utc;

/// Runs `vermilion backup`.
pub(crate) fn backup(arguments: &Backup) -> Result<(), Failure> {
    if let Some(url) = &arguments.url {
        return backup_at(url, arguments);
    }
    let database = open_quietly(&arguments.path)?;
    let destination = destinations::open(&arguments.destination)?;
    let kind = if arguments.full {
        BackupKind::Full
    } else {
        BackupKind::Incremental
    };
    let mut shown = Shown::new("backing up");
    let made = database.backup(destination.as_ref(), kind, &mut |step| shown.at(step))?;
    database.close()?;
    shown.finish();
    if arguments.json {
        return say(&describe(&made).to_string());
    }
    let reason = made.reason.as_ref().map_or_else(String::new, |reason| {
        format!("; it is a full one because {reason}")
    });
    say(&format!(
        "backup {} ({}) in {}: {} in {} files, {} collections, as of {}{reason}",
        made.number,
        made.kind.name(),
        arguments.destination.display(),
        size(made.bytes()),
        grouped(made.files.len() as u64),
        grouped(made.collections),
        utc::text(made.time),
    ))
}

/// Has the server at `url` make the backup.
fn backup_at(url: &str, arguments: &Backup) -> Result<(), Failure> {
    let name = arguments.destination.to_str().ok_or_else(|| {
        Failure::usage("DEST is no name").hint("with --url it is the name of a destination")
    })?;
    let made = control::backup(url, name, arguments.full)?;
    if arguments.json {
        return say(&made.to_string());
    }
    let mut shown = format!("backup in {name}:\n");
    tree(&made, 1, &mut shown);
    write(shown.as_bytes())
}

/// Runs `vermilion restore`.
pub(crate) fn restore(arguments: &Restore) -> Result<(), Failure> {
    let target = target(arguments)?;
    let destination = match (&arguments.url, &arguments.destination) {
        (Some(url), _) => return restore_at(url, arguments, &target),
        (None, Some(destination)) => destination,
        (None, None) => return Err(Failure::usage("DEST, the folder to build, is not named")),
    };
    let source = destinations::look(&arguments.source)?;
    let mut shown = Shown::new("restoring");
    let made = backup::restore(source.as_ref(), destination, &target, &mut |step| {
        shown.at(step);
    });
    let made = made.map_err(|error| {
        let corrupted = error.kind() == vermilion_engine::ErrorKind::Corrupted;
        let failure = Failure::new(error.message());
        if corrupted {
            failure.hint("`vermilion backups DEST --check` lists every damaged file")
        } else {
            failure
        }
    })?;
    shown.finish();
    if arguments.json {
        let value = serde_json::to_value(&made).expect("a report has string keys only");
        return say(&value.to_string());
    }
    say(&format!(
        "{} is restored from {} backup{}: {} collections, {}",
        destination.display(),
        made.backups.len(),
        if made.backups.len() == 1 { "" } else { "s" },
        grouped(made.collections.len() as u64),
        size(made.bytes)
    ))?;
    for collection in &made.collections {
        say(&format!(
            "  {} ({}): up to SeqId {}",
            collection.name,
            collection.id,
            grouped(collection.last_seq_id)
        ))?;
    }
    Ok(())
}

/// Has the server at `url` bring a collection back.
fn restore_at(url: &str, arguments: &Restore, target: &Target) -> Result<(), Failure> {
    let Some(collection) = &arguments.collection else {
        return Err(Failure::usage(
            "a running server does not replace its own data; it brings one collection back",
        )
        .hint(
            "name it with --collection; to go back as a whole, restore into a new folder without \
             --url, stop the server, and serve the new folder",
        ));
    };
    let name = arguments.source.to_str().ok_or_else(|| {
        Failure::usage("SRC is no name").hint("with --url it is the name of a destination")
    })?;
    let mut body = json!({
        "destination": name,
        "collection": collection,
        "name": arguments.name.as_ref().unwrap_or(collection),
        "tenant": arguments.tenant,
        "database": arguments.database,
    });
    match target {
        Target::Newest => {}
        Target::Time(time) => body["to_time_nanoseconds"] = json!(time),
        Target::Seqs(seqs) => match &seqs[..] {
            [(of, seq)] if of == collection => body["to_seq_id"] = json!(seq.0),
            _ => {
                return Err(Failure::usage(format!(
                    "--to-seq names another collection than --collection {collection}"
                )));
            }
        },
    }
    let made = control::restore(url, &body)?;
    if arguments.json {
        return say(&made.to_string());
    }
    let mut shown = format!("restored from {name}:\n");
    tree(&made, 1, &mut shown);
    write(shown.as_bytes())
}

/// Runs `vermilion backups`.
pub(crate) fn list(arguments: &Backups) -> Result<(), Failure> {
    let source = destinations::look(&arguments.destination)?;
    let mut damaged = 0;
    let mut values = Vec::new();
    let backups = backup::list(source.as_ref())?;
    for backup in &backups {
        let mut damage: Vec<String> = Vec::new();
        match &backup.manifest {
            Err(error) => damage.push(error.message().to_owned()),
            Ok(manifest) if arguments.check => {
                damage.extend(backup::lost_link(&backups, manifest));
                let found = backup::check(source.as_ref(), backup.number, &mut |_| {})?;
                damage.extend(found.iter().map(|error| error.message().to_owned()));
            }
            Ok(_) => {}
        }
        damaged += damage.len();
        if arguments.json {
            let mut value = backup
                .manifest
                .as_ref()
                .map_or_else(|_| json!({"number": backup.number}), describe);
            value["damage"] = json!(damage);
            values.push(value);
        } else {
            say(&line(backup))?;
            damage
                .iter()
                .try_for_each(|damage| say(&format!("  {damage}")))?;
        }
    }
    if arguments.json {
        say(&Value::Array(values).to_string())?;
    }
    if damaged == 0 {
        return Ok(());
    }
    let message = format!(
        "{damaged} damaged place{} in {}",
        if damaged == 1 { "" } else { "s" },
        arguments.destination.display()
    );
    Err(Failure::new(message).hint("make a full backup to another destination"))
}

fn line(backup: &ListedBackup) -> String {
    match &backup.manifest {
        Ok(manifest) => format!(
            "{:>6}  {:<11}  {}  {:>10}  {} collections",
            manifest.number,
            manifest.kind.name(),
            utc::text(manifest.time),
            size(manifest.bytes()),
            grouped(manifest.collections)
        ),
        Err(_) => format!("{:>6}  damaged", backup.number),
    }
}

fn describe(manifest: &BackupManifest) -> Value {
    json!({
        "number": manifest.number,
        "kind": manifest.kind.name(),
        "reason": manifest.reason,
        "time": utc::text(manifest.time),
        "time_nanoseconds": manifest.time,
        "continues": manifest.continues,
        "collections": manifest.collections,
        "log_batches": manifest.log_batches,
        "files": manifest.files.len(),
        "bytes": manifest.bytes(),
    })
}

fn target(arguments: &Restore) -> Result<Target, Failure> {
    if let Some(text) = &arguments.to_time {
        let time = utc::parse(text).ok_or_else(|| {
            Failure::usage(format!("--to-time is `{text}`, which is no time in UTC"))
                .hint("write 2026-11-21T03:55:00Z, or nanoseconds since 1970")
        })?;
        return Ok(Target::Time(time));
    }
    if arguments.to_seq.is_empty() {
        return Ok(Target::Newest);
    }
    let parse = |text: &String| {
        let (name, seq) = text.rsplit_once('=')?;
        let seq = seq.parse().ok()?;
        (!name.is_empty()).then(|| (name.to_owned(), SeqId(seq)))
    };
    let seqs = arguments.to_seq.iter().map(|text| {
        parse(text).ok_or_else(|| {
            Failure::usage(format!(
                "--to-seq is `{text}`, which is not COLLECTION=SEQID"
            ))
            .hint("write --to-seq notes=1200; more than one may be given")
        })
    });
    Ok(Target::Seqs(seqs.collect::<Result<_, _>>()?))
}

/// Progress of a backup or a restore.
struct Shown {
    what: &'static str,
    progress: Option<Progress>,
}

impl Shown {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            progress: None,
        }
    }

    fn at(&mut self, step: BackupProgress<'_>) {
        let progress = self
            .progress
            .get_or_insert_with(|| Progress::start_of_bytes(self.what));
        progress.at_bytes(step.bytes, step.bytes_total);
    }

    fn finish(self) {
        if let Some(progress) = self.progress {
            progress.finish();
        }
    }
}
