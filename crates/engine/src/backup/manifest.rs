//! What a backup says of itself, and which backups a destination holds.
//!
//! What must stay true: the manifest is written last and names every other object of its backup
//! with length and checksum; a backup without one was never finished and is passed over; a manifest
//! that is damaged, or names a path outside of its backup, is an error and never believed.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::{Destination, ObjectWriter};
use crate::log::archive::LogPlace;
use crate::{Error, ErrorKind, Result};

/// The folder of all backups.
const FOLDER: &str = "backups";
/// The name of a manifest in the folder of its backup.
const MANIFEST: &str = "manifest";
/// What a manifest begins with.
const MAGIC: &str = "vermilion-backup 1 ";
/// Bytes that a manifest may have; one of a million files is smaller.
const MANIFEST_BYTES_MAX: u64 = 512 << 20;
/// Bytes read at once.
pub(super) const CHUNK_BYTES: usize = 4 << 20;

/// The number of a backup in its destination, from 1.
pub type BackupNumber = u64;

/// What is in a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupKind {
    /// Everything: segments, catalogue, and the log behind the segments.
    Full,
    /// The log since the backup before, and the catalogue.
    Incremental,
}

impl BackupKind {
    /// The name as commands and requests write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
        }
    }
}

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackupManifest {
    /// Its number.
    pub number: BackupNumber,
    /// Its kind.
    pub kind: BackupKind,
    /// Why it is a full one where an incremental one was asked for.
    pub reason: Option<String>,
    /// The database that it is of.
    pub database: Uuid,
    /// The moment that it holds, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// The backup whose log it carries on without a gap.
    pub continues: Option<BackupNumber>,
    /// Whether the times of all changes of the catalogue since that backup are known.
    pub changes_known: bool,
    /// How many collections it knows.
    pub collections: u64,
    /// Where the log ended; `None` before the first record ever.
    pub log_end: Option<LogPlace>,
    /// The index of the first change of the catalogue that it does not have.
    pub changes_end: u64,
    /// Batches of the log in it.
    pub log_batches: u64,
    /// Its files but for this manifest.
    pub files: Vec<BackupFile>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupFile {
    /// Its path in the folder of the backup.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its checksum, xxh3 with 128 bits, as 32 hexadecimal digits.
    pub checksum: String,
}

impl BackupManifest {
    /// Bytes of all its files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Its files whose paths begin with `start`.
    pub(super) fn files_in(&self, start: &str) -> impl Iterator<Item = &BackupFile> {
        let inside = move |file: &&BackupFile| file.path.starts_with(start);
        self.files.iter().filter(inside)
    }

    /// The bytes of the manifest's file.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let body = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::internal(format!("a manifest has no JSON form: {error}")))?;
        let mut bytes = format!("{MAGIC}{:032x}\n", xxh3_128(&body)).into_bytes();
        bytes.extend(body);
        Ok(bytes)
    }

    /// Reads the manifest of backup `number`; `NotFound` where the backup has none.
    pub(super) fn read(from: &dyn Destination, number: BackupNumber) -> Result<Self> {
        let path = object_path(number, MANIFEST);
        let bytes = read_whole(from, &path, MANIFEST_BYTES_MAX)?;
        let damaged = |at: usize, detail: &str| Error::corrupted(&path, at as u64, detail);
        let head = MAGIC.len() + 33;
        if bytes.len() < head || !bytes.starts_with(MAGIC.as_bytes()) || bytes[head - 1] != b'\n' {
            return Err(damaged(0, "it does not begin as the manifest of a backup"));
        }
        let body = &bytes[head..];
        if bytes[MAGIC.len()..head - 1] != *format!("{:032x}", xxh3_128(body)).as_bytes() {
            return Err(damaged(
                head,
                "its checksum is not the one that was written",
            ));
        }
        let manifest: Self = serde_json::from_slice(body).map_err(|error| {
            Error::new(
                ErrorKind::Unsupported,
                format!("{path} cannot be understood by this release: {error}"),
            )
        })?;
        if manifest.number != number {
            return Err(damaged(head, "it is the manifest of another backup"));
        }
        match manifest.files.iter().find(|file| !is_plain(&file.path)) {
            Some(file) => Err(damaged(
                head,
                &format!(
                    "it names {:?}, which is no path inside of a backup",
                    file.path
                ),
            )),
            None => Ok(manifest),
        }
    }

    /// Writes the manifest, which makes the backup whole, and reads it back.
    pub(super) fn write(&self, to: &dyn Destination) -> Result<()> {
        let mut object = to.create(&object_path(self.number, MANIFEST))?;
        object.write(&[&self.encode()?])?;
        object.finish()?;
        if Self::read(to, self.number)? == *self {
            return Ok(());
        }
        let path = object_path(self.number, MANIFEST);
        Err(Error::corrupted(
            &path,
            0,
            "it does not hold what was just written",
        ))
    }
}

/// Whether `path` stays in its folder.
fn is_plain(path: &str) -> bool {
    path.split('/')
        .all(|part| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']))
}

/// A backup of a destination.
#[derive(Clone, Debug)]
pub struct ListedBackup {
    /// Its number.
    pub number: BackupNumber,
    /// What it says of itself, or why that cannot be read.
    pub manifest: Result<BackupManifest>,
}

/// The backups of a destination, oldest first. Those that were never finished are passed over.
pub fn list(from: &dyn Destination) -> Result<Vec<ListedBackup>> {
    let mut backups = Vec::new();
    for number in numbers(from)? {
        match BackupManifest::read(from, number) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            manifest => backups.push(ListedBackup { number, manifest }),
        }
    }
    Ok(backups)
}

/// Which backup is missing or cannot be read, of those that `manifest` needs to be restored: the
/// chain back to its full backup. `backups` are those of its destination, as [`list`] has them.
pub fn lost_link(backups: &[ListedBackup], manifest: &BackupManifest) -> Option<String> {
    let mut link = manifest;
    while link.kind == BackupKind::Incremental {
        let Some(before) = link.continues else {
            return Some(format!("backup {} carries on no other", link.number));
        };
        let found = backups
            .iter()
            .find(|backup| backup.number == before && before < link.number);
        link = match found.map(|backup| &backup.manifest) {
            Some(Ok(before)) => before,
            Some(Err(error)) => {
                return Some(format!(
                    "backup {} carries on backup {before}, which cannot be read: {}",
                    link.number,
                    error.message()
                ));
            }
            None => {
                return Some(format!(
                    "backup {} carries on backup {before}, which is missing or has no manifest",
                    link.number
                ));
            }
        };
    }
    None
}

/// The numbers of all backups, finished or not, rising.
pub(super) fn numbers(from: &dyn Destination) -> Result<Vec<BackupNumber>> {
    let number = |name: &str| {
        let plain = name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| name.parse().ok()).flatten()
    };
    let mut numbers: Vec<BackupNumber> = from
        .list(FOLDER)?
        .iter()
        .filter(|entry| entry.is_dir)
        .filter_map(|entry| number(&entry.name))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The folder of a backup.
pub(super) fn folder(number: BackupNumber) -> String {
    format!("{FOLDER}/{number:020}")
}

/// The path of an object of a backup.
pub(super) fn object_path(number: BackupNumber, path: &str) -> String {
    format!("{}/{path}", folder(number))
}

/// A file that is written and hashed.
pub(super) struct HashedWriter {
    object: Box<dyn ObjectWriter>,
    path: String,
    bytes: u64,
    hash: Xxh3,
}

impl HashedWriter {
    /// Begins the file `path` of backup `number`.
    pub(super) fn begin(to: &dyn Destination, number: BackupNumber, path: &str) -> Result<Self> {
        Ok(Self {
            object: to.create(&object_path(number, path))?,
            path: path.to_owned(),
            bytes: 0,
            hash: Xxh3::new(),
        })
    }

    /// Appends `bytes`.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.object.write(&[bytes])?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Makes the file durable; answers what the manifest says of it.
    pub(super) fn finish(self) -> Result<BackupFile> {
        self.object.finish()?;
        Ok(BackupFile {
            path: self.path,
            bytes: self.bytes,
            checksum: format!("{:032x}", self.hash.digest128()),
        })
    }
}

/// Hands all bytes of a file of a backup to `each`, then checks that they were the ones written.
pub(super) fn read_checked(
    from: &dyn Destination,
    number: BackupNumber,
    file: &BackupFile,
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let path = object_path(number, &file.path);
    let (mut hash, mut offset) = (Xxh3::new(), 0);
    // One byte more than the file should have is asked for, so that a longer file is noticed.
    while offset <= file.bytes {
        let length = CHUNK_BYTES.min((file.bytes - offset + 1) as usize);
        let chunk = from
            .read_at(&path, offset, length)
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound => Error::corrupted(&path, 0, "the file is missing"),
                _ => error,
            })?;
        if chunk.is_empty() {
            break;
        }
        offset += chunk.len() as u64;
        hash.update(&chunk);
        if offset <= file.bytes {
            each(&chunk)?;
        }
    }
    if offset != file.bytes {
        let found = if offset > file.bytes {
            "more".to_owned()
        } else {
            offset.to_string()
        };
        let detail = format!("{} bytes were written, {found} are found", file.bytes);
        return Err(Error::corrupted(&path, offset.min(file.bytes), detail));
    }
    let found = format!("{:032x}", hash.digest128());
    if found != file.checksum {
        let detail = format!(
            "its {} bytes have the checksum {found}, {} was written",
            file.bytes, file.checksum
        );
        return Err(Error::corrupted(&path, 0, detail));
    }
    Ok(())
}

/// A file of a backup as a JSON value.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(
    from: &dyn Destination,
    manifest: &BackupManifest,
    name: &str,
) -> Result<T> {
    let path = object_path(manifest.number, name);
    let file = manifest.files.iter().find(|file| file.path == name);
    let file = file.ok_or_else(|| Error::corrupted(&path, 0, "the manifest does not name it"))?;
    let mut bytes = Vec::new();
    read_checked(from, manifest.number, file, &mut |chunk| {
        bytes.extend_from_slice(chunk);
        Ok(())
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let message = format!("{path} cannot be understood by this release: {error}");
        Error::new(ErrorKind::Unsupported, message)
    })
}

fn read_whole(from: &dyn Destination, path: &str, bytes_max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let chunk = from.read_at(path, bytes.len() as u64, CHUNK_BYTES)?;
        if chunk.is_empty() {
            return Ok(bytes);
        }
        bytes.extend(chunk);
        if bytes.len() as u64 > bytes_max {
            let detail = format!("it has more than the {bytes_max} bytes that are allowed");
            return Err(Error::corrupted(path, bytes_max, detail));
        }
    }
}
