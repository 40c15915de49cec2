//! The scrub: every block of every segment, every blob and every frame of the log is read and checked, so that
//! damage is known before somebody needs what it hit.

use serde::Serialize;
use serde_json::Value;

use super::{Inner, asked_collection, told};
use crate::catalog::CollectionRow;
use crate::model::SegmentId;
use crate::schedule::Run;
use crate::segments::Segment;
use crate::{Error, ErrorKind, Result};

/// Damaged places that a failure names.
const TOLD_MAX: usize = 5;

#[derive(Default, Serialize)]
struct ScrubReport {
    segments: u64,
    bytes: u64,
    log_files: usize,
    /// Whether it came to the end.
    complete: bool,
}

impl Inner {
    /// Checks the checksums of all that is on disk. A dry run tells how much that is.
    pub(super) fn scrub(&self, run: &Run<'_>) -> Result<Value> {
        let asked = asked_collection(run)?;
        let mut report = ScrubReport::default();
        let mut damaged = Vec::new();
        let rows = self.catalog.load()?;
        let wanted = rows
            .iter()
            .filter(|row| asked.is_none_or(|id| row.collection.id == id));
        for row in wanted {
            for segment in &row.manifest.segments {
                if !run.go_on() {
                    return told(&report);
                }
                let folder = segment.folder(row.collection.id);
                let storage = self.config.storage.as_ref();
                match Segment::open(storage, &folder, segment.toc_checksum) {
                    Ok(opened) => {
                        report.segments += 1;
                        report.bytes += opened.disk_bytes();
                        if !run.dry_run {
                            damaged.extend(opened.verify_while(&|| run.go_on()));
                        }
                    }
                    Err(_) if !self.is_named(row, segment.id)? => {}
                    Err(error) => damaged.push(error),
                }
            }
        }
        if asked.is_none() && run.go_on() {
            report.log_files = self.log.files();
            if !run.dry_run {
                damaged.extend(self.verify_blobs(&|| run.go_on())?);
                damaged.extend(crate::log::scan(self.config.storage.as_ref())?.damaged);
            }
        }
        report.complete = !run.is_cancelled();
        if damaged.is_empty() {
            return told(&report);
        }
        Err(summary(&damaged))
    }

    /// Whether the catalogue still names a segment: one that was merged meanwhile is gone.
    fn is_named(&self, row: &CollectionRow, segment: SegmentId) -> Result<bool> {
        let rows = self.catalog.load()?;
        let now = rows
            .iter()
            .find(|other| other.collection.id == row.collection.id);
        Ok(now.is_some_and(|now| now.manifest.segments.iter().any(|one| one.id == segment)))
    }
}

fn summary(damaged: &[Error]) -> Error {
    let places: Vec<&str> = damaged.iter().take(TOLD_MAX).map(Error::message).collect();
    let more = damaged.len() - places.len();
    let rest = if more > 0 {
        format!("; and {more} more, which `vermilion verify` lists")
    } else {
        String::new()
    };
    Error::new(
        ErrorKind::Corrupted,
        format!(
            "{} damaged places: {}{rest}",
            damaged.len(),
            places.join("; ")
        ),
    )
}
