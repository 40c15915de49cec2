//! Bodies about backups: what is asked for, what was made, and what is brought back.
//!
//! What must stay true: a destination is one plain name, never a path.

use serde::Deserialize;
use serde_json::json;
use vermilion_engine::CollectionRestore;
use vermilion_engine::backup::{BackupKind, BackupManifest, OneCollection, Target, check_name};
use vermilion_engine::model::{DEFAULT_DATABASE, DEFAULT_TENANT, SeqId};

use crate::ApiError;
use crate::json::decode;
use crate::names::check_collection_name;

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

/// Reads the body that asks for a collection of a backup.
pub fn decode_restore(body: &[u8]) -> Result<CollectionRestore, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        destination: String,
        collection: String,
        #[serde(default)]
        name: Option<String>,
        #[serde(default)]
        tenant: Option<String>,
        #[serde(default)]
        database: Option<String>,
        #[serde(default)]
        to_seq_id: Option<u64>,
        #[serde(default)]
        to_time_nanoseconds: Option<u64>,
    }
    let asked: Body = decode(body)?;
    check_name(&asked.destination)?;
    let name = asked.name.unwrap_or_else(|| asked.collection.clone());
    check_collection_name("name", &name)?;
    let target = match (asked.to_seq_id, asked.to_time_nanoseconds) {
        (None, None) => Target::Newest,
        (Some(seq), None) => Target::Seqs(vec![(asked.collection.clone(), SeqId(seq))]),
        (None, Some(time)) => Target::Time(time),
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid(
                "A collection is restored up to a SeqId or a time; both were given.",
            ));
        }
    };
    Ok(CollectionRestore {
        destination: asked.destination,
        from: OneCollection {
            tenant: asked.tenant.unwrap_or_else(|| DEFAULT_TENANT.to_owned()),
            database: asked
                .database
                .unwrap_or_else(|| DEFAULT_DATABASE.to_owned()),
            name: asked.collection,
        },
        name,
        target,
    })
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

    #[test]
    fn a_restore_names_one_collection_and_one_end() {
        let decode = |body: &str| decode_restore(body.as_bytes());
        let plain = decode(r#"{"destination":"a","collection":"notes"}"#).unwrap();
        assert_eq!((&*plain.name, &plain.target), ("notes", &Target::Newest));
        assert_eq!(plain.from.tenant, "default_tenant");
        let full = r#"{"destination":"a","collection":"notes","name":"old","to_seq_id":7}"#;
        let full = decode(full).unwrap();
        let target = Target::Seqs(vec![("notes".to_owned(), SeqId(7))]);
        assert_eq!((&*full.name, &full.target), ("old", &target));
        for (body, status, words) in [
            (r#"{"destination":"a"}"#, 422, "missing field `collection`"),
            (
                r#"{"destination":"../a","collection":"notes"}"#,
                400,
                "is no name of a folder",
            ),
            (
                r#"{"destination":"a","collection":"notes","name":"x"}"#,
                400,
                "3-512 characters",
            ),
            (
                r#"{"destination":"a","collection":"notes","to_seq_id":1,"to_time_nanoseconds":1}"#,
                400,
                "both were given",
            ),
        ] {
            let error = decode(body).unwrap_err();
            assert_eq!(error.status, status, "{body}: {error}");
            assert!(error.message.contains(words), "{error}");
        }
    }
}
