//! The task that makes a backup.
//!
//! What must stay true: a destination is one plain name, of those that the embedder's configuration
//! gives a place.

use serde_json::{Value, json};

use super::{Inner, check_names};
use crate::backup::{BackupKind, check_name};
use crate::schedule::Run;
use crate::{Error, Result};

/// The destination of backups that nobody gave another.
const DESTINATION: &str = "scheduled";

impl Inner {
    /// Backs up to the destination `destination`, in the kind `kind`: `incremental` unless the
    /// arguments say `full`. A dry run tells which backup it would be.
    pub(super) fn make_backup(&self, run: &Run<'_>) -> Result<Value> {
        let (name, kind) = asked(run.arguments)?;
        if run.dry_run {
            let foreseen = self.foresee_backup(name, kind)?;
            return Ok(json!({
                "destination": name,
                "number": foreseen.number,
                "kind": foreseen.kind.name(),
                "reason": foreseen.reason,
                "continues": foreseen.continues,
            }));
        }
        let made = self.backup_to(name, kind, &|| run.go_on())?;
        Ok(json!({
            "destination": name,
            "number": made.number,
            "kind": made.kind.name(),
            "reason": made.reason,
            "continues": made.continues,
            "collections": made.collections,
            "log_batches": made.log_batches,
            "files": made.files.len(),
            "bytes": made.bytes(),
        }))
    }
}

/// Whether a job may tell its backups this.
pub(super) fn check(arguments: &Value) -> Result<()> {
    asked(arguments).map(|_| ())
}

/// Destination and kind of the backup that is asked for.
fn asked(arguments: &Value) -> Result<(&str, BackupKind)> {
    check_names(arguments, &["destination", "kind"])?;
    let text = |name: &str| match arguments.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(other) => Err(Error::invalid(format!(
            "The argument `{name}` of a backup is {other}; it is a text."
        ))),
    };
    let name = text("destination")?.unwrap_or(DESTINATION);
    check_name(name)?;
    let kind = match text("kind")? {
        None | Some("incremental") => BackupKind::Incremental,
        Some("full") => BackupKind::Full,
        Some(other) => {
            return Err(Error::invalid(format!(
                "The kind of a backup is `{other}`; `full` and `incremental` are allowed."
            )));
        }
    };
    Ok((name, kind))
}
