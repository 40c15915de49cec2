//! A data folder on a disk.
//!
//! What must stay true: at most one writer has the folder open (its lock file names the owner's
//! pid); every error names the path it is about; a full disk or quota is `OutOfSpace`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the one home of the file system"
)]

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use self::file::{DiskFile, OpenFile};
use super::mapped::{map_file, map_part};
use super::traffic;
use super::{Entry, Storage, StorageFile, StorageReader};
use crate::{Error, ErrorKind, Result};

mod file;

/// The name of the lock file in the data folder.
const LOCK_FILE: &str = "lock";

/// A data folder on a disk, locked while it is open.
#[derive(Debug)]
pub struct DiskStorage {
    root: PathBuf,
    /// Held, not read: closing the file gives the lock back. `None` means read-only.
    lock: Option<File>,
}

impl DiskStorage {
    /// Opens the folder `path`, made if it is not there, and locks it. `Conflict` where another
    /// server has it.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_called(path, "data folder")
    }

    /// The same for a folder that errors call `what`.
    pub(crate) fn open_called(path: &Path, what: &str) -> Result<Self> {
        make_folder(path, what)?;
        let lock = take_lock(path, what)?;
        Ok(Self {
            root: path.to_owned(),
            lock: Some(lock),
        })
    }

    /// Opens the folder `path` for looking only: takes no lock, makes nothing, and refuses every
    /// change. `NotFound` where there is no such folder.
    pub fn open_read_only(path: &Path) -> Result<Self> {
        let what = fs::metadata(path).map_err(|cause| explain("open", path, &cause))?;
        if !what.is_dir() {
            return Err(Error::invalid(format!(
                "{} is a file; a data folder is needed.",
                path.display()
            )));
        }
        Ok(Self {
            root: path.to_owned(),
            lock: None,
        })
    }

    /// Gives the folder the name `path`, where nothing or an empty folder may be, and lets go of it.
    pub fn move_to(self, path: &Path) -> Result<()> {
        let sync_above = |place: &Path| {
            let above = match place.parent() {
                Some(above) if !above.as_os_str().is_empty() => above,
                _ => Path::new("."),
            };
            sync_folder(above).map_err(|cause| explain("sync the folder", above, &cause))
        };
        sync_folder(&self.root).map_err(|cause| explain("sync the folder", &self.root, &cause))?;
        fs::rename(&self.root, path).map_err(|cause| {
            explain(
                &format!("rename to {}:", path.display()),
                &self.root,
                &cause,
            )
        })?;
        sync_above(path)
    }

    /// Makes the folder `path`, which errors call `what`, if it is not there, and makes sure that files
    /// can be made in it.
    pub(crate) fn probe(path: &Path, what: &str) -> Result<()> {
        make_folder(path, what)?;
        let place = path.join(format!("probe-{}", std::process::id()));
        File::create(&place)
            .and_then(|_| fs::remove_file(&place))
            .map_err(|cause| explain(&format!("write into the {what}"), path, &cause))
    }

    /// The folder that has a file called `name` and is `path`, or has it in it, at whatever depth.
    /// `path` need not be there.
    pub(crate) fn folder_with(name: &str, path: &Path) -> Option<PathBuf> {
        let path = std::path::absolute(path).ok()?;
        // Links are followed as far as there is something.
        let real = path.ancestors().find_map(|one| one.canonicalize().ok())?;
        let mut above = real.ancestors();
        above
            .find(|one| one.join(name).is_file())
            .map(Path::to_owned)
    }

    /// Whether nothing or an empty folder is at `path`.
    pub fn is_free(path: &Path) -> Result<bool> {
        match fs::read_dir(path) {
            Ok(mut entries) => Ok(entries.next().is_none()),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(cause) if cause.kind() == io::ErrorKind::NotADirectory => Ok(false),
            Err(cause) => Err(explain("look into", path, &cause)),
        }
    }

    /// Removes the folder and all in it.
    pub fn remove(self) -> Result<()> {
        passing_over_missing(fs::remove_dir_all(&self.root))
            .map_err(|cause| explain("remove the folder", &self.root, &cause))
    }

    /// The place of `path`, which must stay inside the data folder.
    fn place(&self, path: &str) -> Result<PathBuf> {
        super::check_path(path)?;
        Ok(if path.is_empty() {
            self.root.clone()
        } else {
            self.root.join(path)
        })
    }

    /// The place of `path` for a change.
    fn place_for_change(&self, path: &str) -> Result<PathBuf> {
        if self.lock.is_none() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{} is opened for looking only; {path:?} cannot be changed.",
                    self.root.display()
                ),
            ));
        }
        if path.is_empty() {
            return Err(Error::invalid(
                "The data folder itself cannot be made, renamed or removed through it.",
            ));
        }
        self.place(path)
    }

    /// Opens the file `path` for writing, as `how` says; errors say that it could not `act`.
    fn open_for_change(&self, path: &str, how: &OpenOptions, act: &str) -> Result<(File, PathBuf)> {
        let place = self.place_for_change(path)?;
        let opened = how.open(&place);
        let file = opened.map_err(|cause| explain(act, &place, &cause))?;
        Ok((file, place))
    }
}

impl Storage for DiskStorage {
    fn create_dir(&self, path: &str) -> Result<()> {
        let place = self.place_for_change(path)?;
        fs::create_dir_all(&place).map_err(|cause| explain("make the folder", &place, &cause))
    }

    fn create(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        let (file, place) = self.open_for_change(
            path,
            OpenOptions::new().append(true).create_new(true),
            "make",
        )?;
        Ok(Box::new(DiskFile::new(file, place)?))
    }

    fn append(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        let (file, place) = self.open_for_change(path, OpenOptions::new().append(true), "open")?;
        Ok(Box::new(DiskFile::new(file, place)?))
    }

    fn reuse(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        let (file, place) = self.open_for_change(path, OpenOptions::new().write(true), "open")?;
        Ok(Box::new(DiskFile::at_its_beginning(file, place)))
    }

    fn gains_by_reuse(&self) -> bool {
        true
    }

    fn map(&self, path: &str) -> Result<Bytes> {
        let place = self.place(path)?;
        File::open(&place)
            .and_then(|file| map_file(&file))
            .map_err(|cause| explain("map", &place, &cause))
    }

    fn map_part(&self, path: &str, offset: u64, length: usize) -> Result<Option<Bytes>> {
        let place = self.place(path)?;
        File::open(&place)
            .and_then(|file| map_part(&file, offset, length))
            .map_err(|cause| explain("map", &place, &cause))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        let place = self.place(path)?;
        let bytes = fs::read(&place).map_err(|cause| explain("read", &place, &cause))?;
        traffic::add(bytes.len() as u64);
        Ok(bytes)
    }

    fn read_at(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        let place = self.place(path)?;
        let read = || -> io::Result<Vec<u8>> {
            let file = File::open(&place)?;
            let rest = file.metadata()?.len().saturating_sub(offset);
            let mut bytes = vec![0; length.min(usize::try_from(rest).unwrap_or(usize::MAX))];
            let mut filled = 0;
            while filled < bytes.len() {
                match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                    Err(cause) => return Err(cause),
                }
            }
            bytes.truncate(filled);
            traffic::add(filled as u64);
            Ok(bytes)
        };
        read().map_err(|cause| explain("read", &place, &cause))
    }

    fn open(&self, path: &str) -> Result<Box<dyn StorageReader>> {
        let place = self.place(path)?;
        let file = File::open(&place).map_err(|cause| explain("open", &place, &cause))?;
        Ok(Box::new(OpenFile { file, place }))
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>> {
        let place = self.place(path)?;
        let read = || -> io::Result<Vec<Entry>> {
            let mut entries = Vec::new();
            for entry in fs::read_dir(&place)? {
                let entry = entry?;
                let what = match entry.metadata() {
                    Ok(what) => what,
                    // Removed since the folder was read.
                    Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
                    Err(cause) => return Err(cause),
                };
                entries.push(Entry {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    bytes: if what.is_dir() { 0 } else { what.len() },
                    is_dir: what.is_dir(),
                });
            }
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(entries)
        };
        read().map_err(|cause| explain("list", &place, &cause))
    }

    fn exists(&self, path: &str) -> Result<bool> {
        let place = self.place(path)?;
        place
            .try_exists()
            .map_err(|cause| explain("look for", &place, &cause))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (self.place_for_change(from)?, self.place_for_change(to)?);
        fs::rename(&from, &to)
            .map_err(|cause| explain(&format!("rename to {}:", to.display()), &from, &cause))
    }

    fn remove_file(&self, path: &str) -> Result<()> {
        let place = self.place_for_change(path)?;
        passing_over_missing(fs::remove_file(&place))
            .map_err(|cause| explain("remove", &place, &cause))
    }

    fn remove_dir(&self, path: &str) -> Result<()> {
        let place = self.place_for_change(path)?;
        passing_over_missing(fs::remove_dir_all(&place))
            .map_err(|cause| explain("remove the folder", &place, &cause))
    }

    fn sync_dir(&self, path: &str) -> Result<()> {
        let place = self.place(path)?;
        sync_folder(&place).map_err(|cause| explain("sync the folder", &place, &cause))
    }

    fn free_bytes(&self) -> Result<u64> {
        let space = rustix::fs::statvfs(&self.root)
            .map_err(|cause| explain("ask for the free space of", &self.root, &cause.into()))?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }
}

/// Makes the folder `path` and those above it, each durable in the one above.
fn make_folder(path: &Path, what: &str) -> Result<()> {
    let missing: Vec<&Path> = path
        .ancestors()
        .take_while(|one| !one.as_os_str().is_empty() && !one.exists())
        .collect();
    fs::create_dir_all(path).map_err(|cause| explain(&format!("make the {what}"), path, &cause))?;
    for folder in missing {
        let above = match folder.parent() {
            Some(above) if !above.as_os_str().is_empty() => above,
            _ => Path::new("."),
        };
        sync_folder(above).map_err(|cause| explain("sync the folder", above, &cause))?;
    }
    Ok(())
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Takes the lock of the folder `path` and writes the pid of this process into it.
fn take_lock(path: &Path, what: &str) -> Result<File> {
    let place = path.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&place)
        .map_err(|cause| explain("open the lock", &place, &cause))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(locked_by(path, what, &place)),
        Err(TryLockError::Error(cause)) => return Err(explain("lock", &place, &cause)),
    }
    // The lock counts, the pid only helps a person: a full disk must not keep the server from
    // starting.
    let written = file
        .set_len(0)
        .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
    if let Err(cause) = written {
        tracing::warn!(%cause, "the pid could not be written into the lock file");
    }
    Ok(file)
}

fn locked_by(path: &Path, what: &str, place: &Path) -> Error {
    let pid = fs::read_to_string(place).unwrap_or_default();
    let pid = pid.trim();
    let folder = path.display();
    let message = if pid == std::process::id().to_string() {
        format!(
            "The {what} {folder} is in use by this process, pid {pid}, already. Give it another \
             folder, or wait until it has done with this one."
        )
    } else {
        let owner = match pid {
            "" => "another process".to_owned(),
            pid => format!("the process with pid {pid}"),
        };
        format!(
            "The {what} {folder} is in use by {owner}. Stop that process, or give this one another \
             folder."
        )
    };
    Error::new(ErrorKind::Conflict, message)
}

fn passing_over_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// The engine's error for `cause`, met while trying to `act` on `place`.
fn explain(act: &str, place: &Path, cause: &io::Error) -> Error {
    let kind = match cause.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::OutOfSpace,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, format!("Cannot {act} {}: {cause}", place.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    #[test]
    fn a_second_opener_is_told_the_pid_of_the_first_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/data");
        let first = DiskStorage::open(&path).unwrap();
        let error = DiskStorage::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let pid = std::process::id().to_string();
        assert!(error.message().contains(&pid), "{error}");
        assert!(error.message().contains("nother folder"), "{error}");
        assert!(error.message().contains("by this process"), "{error}");
        fs::write(path.join(LOCK_FILE), "1\n").unwrap();
        let error = DiskStorage::open(&path).unwrap_err();
        assert!(error.message().contains("pid 1. Stop that"), "{error}");
        drop(first);
        DiskStorage::open(&path).unwrap();
    }

    #[test]
    fn a_folder_that_has_a_file_is_found_from_anywhere_below_it() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().canonicalize().unwrap().join("data");
        fs::create_dir_all(data.join("in/side")).unwrap();
        fs::write(data.join("mark"), "").unwrap();
        std::os::unix::fs::symlink(data.join("in"), folder.path().join("link")).unwrap();
        let found = |path: &Path| DiskStorage::folder_with("mark", path);
        for below in ["", "in", "in/side", "not/there/yet"] {
            assert_eq!(found(&data.join(below)), Some(data.clone()), "{below}");
        }
        assert_eq!(found(&folder.path().join("link/new")), Some(data.clone()));
        assert_eq!(found(folder.path()), None);
        assert_eq!(found(&folder.path().join("data2")), None);
    }

    #[test]
    fn a_read_only_folder_refuses_every_change_and_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        {
            let storage = DiskStorage::open(folder.path()).unwrap();
            storage.create("a").unwrap().write(&[b"abc"]).unwrap();
        }
        fs::remove_file(folder.path().join(LOCK_FILE)).unwrap();
        let storage = DiskStorage::open_read_only(folder.path()).unwrap();
        assert_eq!(storage.read("a").unwrap(), b"abc");
        let refusals = [
            storage.create_dir("d").unwrap_err(),
            storage.create("b").err().unwrap(),
            storage.append("a").err().unwrap(),
            storage.rename("a", "b").unwrap_err(),
            storage.remove_file("a").unwrap_err(),
            storage.remove_dir("d").unwrap_err(),
        ];
        for error in refusals {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        }
        assert_eq!(storage.list("").unwrap().len(), 1);
        DiskStorage::open(folder.path()).unwrap();
    }

    #[test]
    fn reading_a_folder_that_is_not_there_names_it() {
        let error = DiskStorage::open_read_only(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("/nowhere/at/all"), "{error}");
    }

    #[test]
    fn more_parts_than_one_system_call_takes_are_all_written() {
        let folder = tempfile::tempdir().unwrap();
        let storage = DiskStorage::open(folder.path()).unwrap();
        let parts: Vec<Vec<u8>> = (0..5000_u32).map(|n| n.to_le_bytes().to_vec()).collect();
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let mut file = storage.create("many").unwrap();
        file.write(&slices).unwrap();
        assert_eq!(file.bytes(), 20_000);
        assert_eq!(storage.read("many").unwrap(), parts.concat());
    }

    #[test]
    fn full_disks_and_quotas_are_out_of_space_and_name_the_path() {
        for number in [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT] {
            let error = explain("write to", Path::new("/data/log/1"), &number.into());
            assert_eq!(error.kind(), ErrorKind::OutOfSpace);
            assert!(error.message().contains("/data/log/1"), "{error}");
        }
    }

    #[test]
    fn a_mapping_outlives_the_name_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let storage = DiskStorage::open(folder.path()).unwrap();
        storage.create("a").unwrap().write(&[b"abc"]).unwrap();
        let mapped = storage.map("a").unwrap();
        storage.remove_file("a").unwrap();
        assert_eq!(&mapped[..], b"abc");
        storage.create("empty").unwrap();
        assert!(storage.map("empty").unwrap().is_empty());
    }

    #[test]
    fn free_space_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let storage = DiskStorage::open(folder.path()).unwrap();
        let free = storage.free_bytes().unwrap();
        assert!(free > 0 && free < u64::MAX);
    }
}
