//! The bytes of a catalogue for a reader who may change nothing: neither the file, nor its
//! write-ahead log, nor a lock of the process that has it open.
//!
//! What must stay true: the image is one committed state. The file is read between two looks at
//! the log; where the log was started again meanwhile, the reading starts again too. Pages that a
//! running process moves from the log to the file are taken from the log, so that it does not
//! matter how far it got.

use std::path::Path;

use super::connection::{MODE, PAGE_BYTES, beside, check_mode, check_whole};
use super::fault::{self, Result};
use super::wal::{self, Scan};

const ATTEMPTS_MAX: usize = 5;

/// A catalogue as bytes.
pub(super) struct Image {
    /// The file as it would be if it were closed now.
    pub(super) bytes: Vec<u8>,
    /// Whether it had a write-ahead log.
    pub(super) had_log: bool,
}

/// Reads the catalogue at `path` with its log.
pub(super) fn read(path: &Path) -> Result<Image> {
    let mut attempt = 1;
    loop {
        match read_once(path) {
            Ok(Some(image)) => return Ok(image),
            Err(error) if attempt == ATTEMPTS_MAX => return Err(error),
            Ok(None) if attempt == ATTEMPTS_MAX => {
                return Err(crate::Error::new(
                    crate::ErrorKind::Busy,
                    format!(
                        "the catalogue {} is being written too fast to be read; try again",
                        path.display()
                    ),
                )
                .into());
            }
            Ok(None) | Err(_) => attempt += 1,
        }
    }
}

/// One attempt; `None` where the log was started again meanwhile.
fn read_once(path: &Path) -> Result<Option<Image>> {
    let log_path = beside(path, "-wal");
    let before = read_file(&log_path)?;
    let file = read_file(path)?.ok_or_else(|| {
        crate::Error::not_found(format!("there is no catalogue file {}", path.display()))
    })?;
    let log = read_file(&log_path)?;
    let round = |log: &Option<Vec<u8>>| {
        log.as_ref()
            .and_then(|bytes| bytes.get(..wal::HEADER_BYTES))
            .map(<[u8]>::to_vec)
    };
    if round(&before) != round(&log) {
        return Ok(None);
    }
    let log = log.unwrap_or_default();
    if log.is_empty() {
        if read_file(&beside(path, "-journal"))?.is_some_and(|undo| !undo.is_empty()) {
            return Err(crate::Error::new(
                crate::ErrorKind::Busy,
                format!(
                    "the catalogue {} is being made, or its making was cut short: open the \
                     database once, which ends that",
                    path.display()
                ),
            )
            .into());
        }
        check_whole(file.len() as u64)?;
    }
    let scan = wal::scan(&log_path.display().to_string(), &log)?;
    let bytes = joined(file, &log, &scan)?;
    let had_log = log.len() >= wal::HEADER_BYTES;
    Ok(Some(Image { bytes, had_log }))
}

/// The file with the committed pages of the log put in.
fn joined(mut file: Vec<u8>, log: &[u8], scan: &Scan) -> Result<Vec<u8>> {
    if let Some(pages) = scan.database_pages {
        file.resize(pages as usize * PAGE_BYTES, 0);
        for &(page, at) in &scan.pages {
            let to = (page as usize - 1) * PAGE_BYTES;
            // A page past the end was cut off by a later transaction.
            if let Some(to) = file.get_mut(to..to + PAGE_BYTES) {
                to.copy_from_slice(&log[at..at + PAGE_BYTES]);
            }
        }
    }
    check_mode(&file)?;
    if let Some(mode) = file.get_mut(MODE) {
        mode.copy_from_slice(&[1, 1]);
    }
    Ok(file)
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault::io(path, "read", &error).into()),
    }
}
