//! Bodies about backups: what is asked for, and what was made.
//!
//! What must stay true: a destination is one plain name, never a path.

use serde::Deserialize;
use serde_json::json;
use vermilion_engine::backup::{BackupKind, BackupManifest, check_name};

use crate::ApiError;
use crate::json::decode;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MakeBackup {
    /// The name of the folder.
    pub destination: String,
    /// The kind.
    #[serde(default = "incremental")]
    pub kind: BackupKind,
}

fn incremental() -> BackupKind {
    BackupKind::Incremental
}

/// Reads the body that asks for a backup.
pub fn decode_make_backup(body: &[u8]) -> Result<MakeBackup, ApiError> {
    let asked: MakeBackup = decode(body)?;
    check_name(&asked.destination)?;
    Ok(asked)
}

/// Writes what was made.
pub fn write_backup(destination: &str, made: &BackupManifest) -> String {
    json!({
        "destination": destination,
        "number": made.number,
        "kind": made.kind.name(),
        "reason": made.reason,
        "time_nanoseconds": made.time,
        "continues": made.continues,
        "collections": made.collections,
        "files": made.files.len(),
        "bytes": made.bytes(),
        "log_batches": made.log_batches,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_one_plain_name() {
        let decode = |name: &str| {
            let body = json!({"destination": name, "kind": "full"}).to_string();
            decode_make_backup(body.as_bytes())
        };
        assert_eq!(decode("night-1_a.b").unwrap().kind, BackupKind::Full);
        let long = "a".repeat(129);
        for name in [
            "", ".", "..", ".x", "a/b", "/a", "a\\b", "\u{e9}", "a\0", " ", &long,
        ] {
            let error = decode(name).unwrap_err();
            assert_eq!(error.status, 400, "{name}");
            assert!(error.message.contains("is no name of a folder"), "{error}");
        }
    }

    #[test]
    fn an_incremental_backup_is_made_unless_something_else_is_said() {
        let decode = |body: &str| decode_make_backup(body.as_bytes());
        let plain = decode(r#"{"destination":"a"}"#).unwrap();
        assert_eq!(plain.kind, BackupKind::Incremental);
        for body in [
            r#"{"destination":"a","kind":"half"}"#,
            r#"{"destination":"a","path":"/x"}"#,
            "{}",
        ] {
            assert_eq!(decode(body).unwrap_err().status, 422, "{body}");
        }
    }
}
