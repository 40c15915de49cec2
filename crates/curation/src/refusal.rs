//! The one error of curation: a code for programs, a sentence for people, and where the fault is.

use serde::Serialize;
use vermilion_engine::{Error, ErrorKind};
use vermilion_protocol::error::status_of;

use crate::RetrainingState;

/// The result of every call that can be refused.
pub type Result<T, E = Refusal> = std::result::Result<T, E>;

/// Why a request was refused. It has changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The HTTP status.
    #[serde(skip)]
    pub status: u16,
    /// A word for programs.
    #[serde(rename = "error")]
    pub code: &'static str,
    /// What was wrong.
    pub message: String,
    /// The field that is at fault.
    pub field: Option<String>,
    /// The record at fault, counted from 0.
    pub row: Option<usize>,
    /// What is allowed, or what to do.
    pub hint: Option<String>,
    /// The state that does not allow it; told only where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<RetrainingState>,
}

impl Refusal {
    /// A refusal that names nothing yet.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            field: None,
            row: None,
            hint: None,
            state: None,
        }
    }

    /// A wrong request: 400.
    pub fn wrong(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    /// The same, with the field at fault.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same, with the record at fault.
    #[must_use]
    pub fn row(mut self, row: usize) -> Self {
        self.row = Some(row);
        self
    }

    /// The same, with what is allowed.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with the state that does not allow it.
    #[must_use]
    pub fn state(mut self, state: RetrainingState) -> Self {
        self.state = Some(state);
        self
    }

    /// The body as JSON text.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers are always JSON")
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            ErrorKind::InvalidArgument => "invalid_argument",
            ErrorKind::NotFound => "not_found",
            ErrorKind::AlreadyExists => "already_exists",
            ErrorKind::Conflict => "conflict",
            ErrorKind::Busy => "busy",
            ErrorKind::OutOfSpace => "out_of_space",
            ErrorKind::Closed => "closed",
            ErrorKind::Corrupted => "corrupted",
            ErrorKind::Unsupported => "unsupported",
            _ => "internal",
        };
        Self::new(status_of(error.kind()), code, error.message())
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_has_every_member_whatever_is_known() {
        let bare = Refusal::wrong("not_finite", "no");
        let json: serde_json::Value = serde_json::from_slice(&bare.to_json()).unwrap();
        let expected = serde_json::json!({
            "error": "not_finite", "message": "no", "field": null, "row": null, "hint": null,
        });
        assert_eq!(json, expected);
        let full = bare.field("embeddings").row(3).hint("finite numbers");
        let json: serde_json::Value = serde_json::from_slice(&full.to_json()).unwrap();
        assert_eq!(json["row"], 3);
        assert_eq!(json["field"], "embeddings");
        assert_eq!(json["hint"], "finite numbers");
    }
}
