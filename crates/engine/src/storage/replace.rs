//! Small files that are replaced in one step, and such files with a checksum.
//!
//! What must stay true: whatever happens, the file has its old or its new content, whole; what is
//! read back is what was written, or is told to be damaged.

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use super::Storage;
use crate::{Error, ErrorKind, Result};

/// Bytes of the line before the body: the checksum as hexadecimal digits, and a line feed.
const HEAD_BYTES: usize = 17;

/// What a file with a checksum turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept<T> {
    /// There is none.
    Missing,
    /// It is not what was written.
    Damaged,
    /// It is.
    Sound(T),
}

impl<T: Default> Kept<T> {
    /// The content of `file`, for one that may be lost: nothing where there is none, and where it is
    /// damaged, which is logged with what that `costs`.
    pub(crate) fn or_default(self, file: &str, costs: &str) -> T {
        match self {
            Self::Sound(content) => content,
            Self::Missing => T::default(),
            Self::Damaged => {
                tracing::warn!(file, "it is damaged; {costs}");
                T::default()
            }
        }
    }
}

/// Where the new content of `path` is until it is whole.
pub(crate) fn new_path(path: &str) -> String {
    format!("{path}.new")
}

/// Gives the file `path` the content `parts` in one step, durably; its folder is made if it is not
/// there.
pub(crate) fn replace_file(storage: &dyn Storage, path: &str, parts: &[&[u8]]) -> Result<()> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    if !folder.is_empty() && !storage.exists(folder)? {
        storage.create_dir(folder)?;
        storage.sync_dir("")?;
    }
    let new_path = new_path(path);
    storage.remove_file(&new_path)?;
    let mut file = storage.create(&new_path)?;
    file.write(parts)?;
    file.sync()?;
    drop(file);
    storage.rename(&new_path, path)?;
    storage.sync_dir(folder)
}

/// Replaces the file `path` by `content` as JSON with its checksum.
pub(crate) fn write_checked(
    storage: &dyn Storage,
    path: &str,
    content: &impl Serialize,
) -> Result<()> {
    let body = serde_json::to_vec(content)
        .map_err(|error| Error::internal(format!("{path} has no JSON form: {error}")))?;
    let head = head(&body);
    replace_file(storage, path, &[head.as_bytes(), &body])
}

/// Reads what [`write_checked`] wrote.
pub(crate) fn read_checked<T: DeserializeOwned>(
    storage: &dyn Storage,
    path: &str,
) -> Result<Kept<T>> {
    let bytes = match storage.read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Kept::Missing),
        read => read?,
    };
    let content = bytes
        .split_at_checked(HEAD_BYTES)
        .and_then(|(found, body)| {
            let right = found == head(body).as_bytes();
            right.then(|| serde_json::from_slice(body).ok()).flatten()
        });
    Ok(content.map_or(Kept::Damaged, Kept::Sound))
}

fn head(body: &[u8]) -> String {
    format!("{:016x}\n", xxh3_64(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;

    const PATH: &str = "folder/file";

    #[test]
    fn what_was_written_last_is_read_back() {
        let storage = MemoryStorage::default();
        assert_eq!(
            read_checked::<Vec<u8>>(&storage, PATH).expect("readable"),
            Kept::Missing
        );
        for content in [vec![1_u8, 2], Vec::new()] {
            write_checked(&storage, PATH, &content).expect("writable");
            let found = read_checked(&storage, PATH).expect("readable");
            assert_eq!(found, Kept::Sound(content));
        }
        assert!(!storage.exists(&new_path(PATH)).expect("readable"));
    }

    #[test]
    fn any_changed_or_missing_byte_is_damage() {
        let storage = MemoryStorage::default();
        write_checked(&storage, PATH, &"content").expect("writable");
        let sound = storage.read(PATH).expect("readable");
        let mut wrong: Vec<Vec<u8>> = (0..sound.len()).map(|end| sound[..end].to_vec()).collect();
        wrong.extend((0..sound.len()).map(|at| {
            let mut changed = sound.clone();
            changed[at] ^= 4;
            changed
        }));
        for bytes in wrong {
            storage.remove_file(PATH).expect("removable");
            storage
                .insert(PATH, bytes.clone())
                .expect("the name is free");
            let found = read_checked::<String>(&storage, PATH).expect("readable");
            assert_eq!(found, Kept::Damaged, "{bytes:?}");
        }
    }
}
