//! The one public error of the engine.
//!
//! What must stay true: at most ten kinds, each telling the caller what to do; the message is a
//! sentence for a person and is not part of the API.

use std::fmt;

use crate::model::CollectionId;

/// The result of every fallible call of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request is wrong; change it.
    InvalidArgument,
    /// The thing named does not exist.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// Another change came first; read again and retry.
    Conflict,
    /// A limit is reached for now; retry later.
    Busy,
    /// No space is left on the disk; free some, then retry.
    OutOfSpace,
    /// The database is closed, or refuses writes after a failed fsync; see its health.
    Closed,
    /// A file does not hold what was written to it.
    Corrupted,
    /// The operation or value is not supported.
    Unsupported,
    /// A fault of the database or of the system below it.
    Internal,
}

/// An error with its [`ErrorKind`] and a sentence that says what was wrong and what is allowed.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// Makes an error of `kind` that reads `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// The thing named does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// The collection with this id is not there, or not any more.
    pub(crate) fn missing_collection(id: CollectionId) -> Self {
        Self::not_found(format!("Collection [{id}] does not exist."))
    }

    /// A vector has `found` numbers where those of the collection have `expected`.
    pub(crate) fn wrong_dimension(expected: u32, found: usize) -> Self {
        Self::invalid(format!(
            "Collection expecting embedding with dimension of {expected}, got {found}"
        ))
    }

    /// The name is taken.
    pub fn already_exists(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::AlreadyExists, message)
    }

    /// A fault of the database or of the system below it.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// The file at `path` is damaged at byte `offset`; `detail` says what was expected and found.
    pub fn corrupted(path: &str, offset: u64, detail: impl fmt::Display) -> Self {
        Self::new(
            ErrorKind::Corrupted,
            format!("{path} is damaged at byte {offset}: {detail}"),
        )
    }

    /// The kind of this error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The sentence of this error.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
