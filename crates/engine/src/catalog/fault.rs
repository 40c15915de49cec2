//! Errors inside the catalogue, and how the engine's callers hear of them.
//!
//! What must stay true: damage is told apart from a full disk, a full disk from a failing one,
//! and each message names the file. A failed fsync ends all writing: nobody knows what the disk
//! holds after it, and asking again proves nothing.

use rusqlite::ffi;

use crate::{Error, ErrorKind};

/// The result of a step inside the catalogue.
pub(super) type Result<T> = std::result::Result<T, Fault>;

/// What can go wrong inside the catalogue.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The SQL library says no.
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    /// The caller asked for what cannot be, or the answer is ready for them.
    #[error(transparent)]
    Told(#[from] Error),
    /// The stored bytes are not what was written.
    #[error("{0}")]
    Damaged(String),
}

impl Fault {
    /// Whether nothing may be written any more: a sync of the file or its folder failed.
    pub(super) fn ends_writing(&self) -> bool {
        let Self::Sql(rusqlite::Error::SqliteFailure(failure, _)) = self else {
            return false;
        };
        matches!(
            failure.extended_code,
            ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC
        )
    }

    /// Whether the disk has no room.
    pub(super) fn is_full(&self) -> bool {
        let Self::Sql(rusqlite::Error::SqliteFailure(failure, _)) = self else {
            return false;
        };
        failure.code == rusqlite::ErrorCode::DiskFull
    }

    /// The error to hand out for the catalogue called `name`.
    pub(super) fn told(self, name: &str) -> Error {
        match self {
            Self::Told(error) => error,
            Self::Damaged(detail) => damaged(name, detail),
            Self::Sql(error) => sql(name, &error),
        }
    }
}

/// The catalogue called `name` does not hold what was written to it.
pub(super) fn damaged(name: &str, detail: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Corrupted,
        format!("the catalogue {name} is damaged: {detail}"),
    )
}

/// A call of the system on `path` failed.
pub(super) fn io(path: &std::path::Path, doing: &str, error: &std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            ErrorKind::OutOfSpace
        }
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Internal,
    };
    Error::new(
        kind,
        format!(
            "cannot {doing} the catalogue file {}: {error}",
            path.display()
        ),
    )
}

fn sql(name: &str, error: &rusqlite::Error) -> Error {
    let code = match error {
        // The statements are fixed and right: what fails in them is the file's definitions.
        rusqlite::Error::SqliteFailure(failure, _)
            if failure.extended_code == ffi::SQLITE_ERROR =>
        {
            return damaged(name, error);
        }
        rusqlite::Error::SqliteFailure(failure, _) => failure.code,
        // So it is with texts that do not parse, and values of another type than their column.
        rusqlite::Error::SqlInputError { .. }
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::InvalidColumnType(..) => return damaged(name, error),
        _ => return Error::internal(format!("the catalogue {name} failed: {error}")),
    };
    match code {
        rusqlite::ErrorCode::DiskFull => Error::new(
            ErrorKind::OutOfSpace,
            format!("no space is left for the catalogue {name}; nothing was changed"),
        ),
        rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase => {
            damaged(name, error)
        }
        rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked => Error::new(
            ErrorKind::Busy,
            format!("another process has the catalogue {name} open"),
        ),
        rusqlite::ErrorCode::ReadOnly => Error::internal(format!(
            "the catalogue {name} cannot be written: the file or its folder is read-only"
        )),
        rusqlite::ErrorCode::CannotOpen => Error::internal(format!(
            "the catalogue {name} cannot be opened; does its folder exist, and may this user write there? ({error})"
        )),
        _ => Error::internal(format!("the catalogue {name} failed: {error}")),
    }
}
