//! Tasks about the catalogue: made small, and checked.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Inner, told};
use crate::Result;
use crate::schedule::Run;

#[derive(Serialize)]
struct VacuumReport {
    bytes_before: u64,
    bytes_after: u64,
    /// Bytes that hold nothing, before.
    free_bytes: u64,
}

impl Inner {
    /// Gives the space of deleted rows back to the disk.
    pub(super) fn vacuum_catalog(&self, run: &Run<'_>) -> Result<Value> {
        let before = self.catalog.size()?;
        if !run.dry_run && before.free_bytes > 0 && run.go_on() {
            self.catalog.vacuum()?;
        }
        told(&VacuumReport {
            bytes_before: before.bytes,
            bytes_after: self.catalog.size()?.bytes,
            free_bytes: before.free_bytes,
        })
    }

    /// Checks every row, page and index of the catalogue; damage is the error.
    pub(super) fn check_catalog(&self, _run: &Run<'_>) -> Result<Value> {
        self.catalog.verify()?;
        Ok(json!({"sound": true, "bytes": self.catalog.size()?.bytes}))
    }
}
