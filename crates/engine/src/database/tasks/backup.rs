//! The task that makes a backup.
//!
//! What must stay true: a destination is one plain name, of those that the embedder's configuration
//! gives a place.

use serde_json::{Value, json};

use super::Inner;
use crate::backup::BackupKind;
use crate::schedule::Run;
use crate::{Error, Result};

/// The destination of backups that nobody gave another.
const DESTINATION: &str = "scheduled";

impl Inner {
    /// Backs up to the destination `destination`, in the kind `kind`: `incremental` unless the
    /// arguments say `full`. A dry run tells which backup it would be.
    pub(super) fn make_backup(&self, run: &Run<'_>) -> Result<Value> {
        let members = run.arguments.as_object().into_iter().flatten();
        for (name, value) in members {
            if !matches!(name.as_str(), "destination" | "kind") || !value.is_string() {
                return Err(Error::invalid(format!(
                    "The argument `{name}` of a backup is {value}; `destination` and `kind` are \
                     allowed, both texts."
                )));
            }
        }
        let name = run.argument("destination").unwrap_or(DESTINATION);
        let kind = match run.argument("kind") {
            None | Some("incremental") => BackupKind::Incremental,
            Some("full") => BackupKind::Full,
            Some(other) => {
                return Err(Error::invalid(format!(
                    "The kind of a backup is `{other}`; `full` and `incremental` are allowed."
                )));
            }
        };
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
