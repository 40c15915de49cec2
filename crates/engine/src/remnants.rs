//! Tells a data folder that has lost its catalogue from a new one.
//!
//! What must stay true: a new catalogue is made only where nothing of a database is there, since all
//! that it does not name would be swept away; nothing is changed by looking.

use crate::inspect::CATALOG_FILE;
use crate::storage::Storage;
use crate::{Error, ErrorKind, Result};

/// Folders that a database makes once it has a catalogue.
const FOLDERS: [&str; 5] = ["expiry", "recall", "backup", "blobs", "restoring"];

/// Fails where the catalogue is missing or empty, yet something of a database is there. A catalogue
/// whose write-ahead log is there is left to the catalogue, which says what is wrong with it.
pub(crate) fn check(storage: &dyn Storage) -> Result<()> {
    let entries = storage.list("")?;
    let bytes = |name: &str| {
        let mut found = entries.iter().filter(|entry| entry.name == name);
        found.next().map(|entry| entry.bytes)
    };
    let log = bytes(&format!("{CATALOG_FILE}-wal")).unwrap_or(0);
    let state = match bytes(CATALOG_FILE) {
        _ if log > 0 => return Ok(()),
        None => "missing",
        Some(0) => "empty",
        Some(_) => return Ok(()),
    };
    let Some(proof) = proof(storage)? else {
        return Ok(());
    };
    Err(Error::new(
        ErrorKind::Corrupted,
        format!(
            "the catalogue {CATALOG_FILE} is {state}, yet {proof} is there: the folder had a database. \
             Nothing in the folder was changed. Put {CATALOG_FILE} back, or keep the folder aside, \
             build a new one from a backup (`vermilion restore BACKUPS NEW_FOLDER`), and serve that. To \
             begin anew without these records, remove all that is in the folder."
        ),
    ))
}

/// Something that only a database leaves.
fn proof(storage: &dyn Storage) -> Result<Option<String>> {
    for (folder, is_dir) in [("log", false), ("segments", true)] {
        if !storage.exists(folder)? {
            continue;
        }
        let mut entries = storage.list(folder)?.into_iter();
        if let Some(entry) = entries.find(|entry| entry.is_dir == is_dir) {
            return Ok(Some(format!("{folder}/{}", entry.name)));
        }
    }
    for folder in FOLDERS {
        if storage.exists(folder)? {
            return Ok(Some(folder.to_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;

    fn refusal(files: &[&str]) -> Option<String> {
        let storage = MemoryStorage::default();
        for file in files {
            storage.insert(file, Vec::new()).expect("the name is free");
        }
        check(&storage)
            .err()
            .map(|error| error.message().to_owned())
    }

    #[test]
    fn catalogue_is_made_only_where_nothing_of_a_database_is() {
        assert_eq!(refusal(&[]), None);
        assert_eq!(refusal(&["lock"]), None);
        assert_eq!(refusal(&["lock", "catalog.sqlite"]), None);
        for proof in [
            "log/newest",
            "log/clean-end",
            "log/00000000000000000001.log",
            "segments/a/b/toc.bin",
            "expiry/marks",
        ] {
            let message = refusal(&["lock", proof]).expect(proof);
            assert!(message.contains("is missing"), "{message}");
            assert!(message.contains(&proof[..6]), "{message}");
            let message = refusal(&["lock", "catalog.sqlite", proof]).expect(proof);
            assert!(message.contains("is empty"), "{message}");
        }
    }
}
