//! The error of the API, and the one table from the engine's kinds to statuses and names.
//!
//! What must stay true: clients of some languages look at the status only, others at the name,
//! and some match the wording of messages; so names stay as coarse as clients know them.

use serde::Serialize;
use vermilion_engine::{Error, ErrorKind};

/// An error as the API answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The member `error` of the body.
    pub name: &'static str,
    /// The member `message` of the body.
    pub message: String,
}

/// The name of an error without one of its own.
const COARSE: &str = "ChromaError";

impl ApiError {
    /// An error with `status`, under the name that goes with it.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        let name = match status {
            400 => "InvalidArgumentError",
            404 => "NotFoundError",
            410 => "Unimplemented",
            500 => "InternalError",
            _ => COARSE,
        };
        Self {
            status,
            name,
            message: message.into(),
        }
    }

    /// The request is wrong: 400.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// A member of the request breaks a rule: 400, in the words clients know.
    pub fn validation(member: &str, message: impl std::fmt::Display) -> Self {
        Self::invalid(format!("Validation error: {member}: {message}"))
    }

    /// The JSON has the wrong shape: 422.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(422, message)
    }

    /// The body as JSON text.
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a str,
            message: &'a str,
        }
        let body = Body {
            error: self.name,
            message: &self.message,
        };
        serde_json::to_vec(&body).expect("strings are always JSON")
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

/// The status of an error of the engine.
pub fn status_of(kind: ErrorKind) -> u16 {
    match kind {
        ErrorKind::InvalidArgument => 400,
        ErrorKind::NotFound => 404,
        ErrorKind::AlreadyExists | ErrorKind::Conflict => 409,
        ErrorKind::Busy => 429,
        ErrorKind::OutOfSpace => 507,
        ErrorKind::Closed => 503,
        ErrorKind::Unsupported => 501,
        // `ErrorKind` can grow; a kind this table does not know is a fault of ours.
        _ => 500,
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self::new(status_of(error.kind()), error.message())
    }
}

/// Checks that a body is refused: with which status, and a part of why.
#[cfg(test)]
#[track_caller]
pub(crate) fn fails<T: std::fmt::Debug>(decoded: Result<T, ApiError>, status: u16, message: &str) {
    let error = decoded.expect_err(message);
    assert_eq!(error.status, status, "{error}");
    assert!(error.message.contains(message), "{error}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_the_engine_has_its_status_and_name() {
        let table = [
            (ErrorKind::InvalidArgument, 400, "InvalidArgumentError"),
            (ErrorKind::NotFound, 404, "NotFoundError"),
            (ErrorKind::AlreadyExists, 409, "ChromaError"),
            (ErrorKind::Conflict, 409, "ChromaError"),
            (ErrorKind::Busy, 429, "ChromaError"),
            (ErrorKind::OutOfSpace, 507, "ChromaError"),
            (ErrorKind::Closed, 503, "ChromaError"),
            (ErrorKind::Corrupted, 500, "InternalError"),
            (ErrorKind::Unsupported, 501, "ChromaError"),
            (ErrorKind::Internal, 500, "InternalError"),
        ];
        for (kind, status, name) in table {
            let error = ApiError::from(Error::new(kind, "m"));
            assert_eq!((error.status, error.name), (status, name), "{kind:?}");
        }
    }

    #[test]
    fn body_is_compact_json_with_escaped_text() {
        let body = ApiError::invalid("a \"b\"\n").to_json();
        assert_eq!(
            body,
            br#"{"error":"InvalidArgumentError","message":"a \"b\"\n"}"#
        );
    }
}
