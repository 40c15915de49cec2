//! Where backups are put: a folder today.
//!
//! What must stay true: an object has its name only once it is whole and durable, so that what a
//! crash leaves can never be taken for an object.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::inspect::CATALOG_FILE;
use crate::storage::{DiskStorage, Entry, Storage, StorageFile};
use crate::{Error, ErrorKind, Result};

/// What errors call a folder of backups.
const WHAT: &str = "backup folder";
/// What the name of an object ends with while it is being written.
const UNFINISHED: &str = ".partial";

/// A place that keeps objects by name, with `/` between the parts of a name.
pub trait Destination: Send + Sync {
    /// Begins the object `path`, in place of one that has the name.
    fn create(&self, path: &str) -> Result<Box<dyn ObjectWriter>>;
    /// `length` bytes of the object from `offset`; fewer where it ends before. `NotFound` where
    /// there is no such object.
    fn read_at(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>>;
    /// What is directly in the folder `path`, by name, unfinished objects too; nothing where there
    /// is no such folder.
    fn list(&self, path: &str) -> Result<Vec<Entry>>;
    /// Removes all objects whose names begin with the folder `path`; none is fine.
    fn remove(&self, path: &str) -> Result<()>;
}

/// An object that is being written.
pub trait ObjectWriter: Send {
    /// Appends `parts`, one after the other.
    fn write(&mut self, parts: &[&[u8]]) -> Result<()>;
    /// Makes the object durable and gives it its name.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Destinations by name, as an embedder allows them.
pub trait Destinations: Send + Sync {
    /// The destination `name`, which [`check_name`] has passed; made if it is not there.
    fn open(&self, name: &str) -> Result<Box<dyn Destination>>;
    /// The same to look at: nothing is made or changed. `None` where it is not there.
    fn look(&self, name: &str) -> Result<Option<Box<dyn Destination>>>;
    /// Fails where it can be told without one of them that none could be opened: `InvalidArgument`
    /// where that stays so.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// Characters of a destination's name at most.
const NAME_MAX: usize = 128;

/// Checks that `name` is one plain name and no path.
pub fn check_name(name: &str) -> Result<()> {
    let bytes = name.as_bytes();
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let plain =
        (1..=NAME_MAX).contains(&bytes.len()) && bytes[0] != b'.' && bytes.iter().all(allowed);
    if plain {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "The destination {name:?} is no name of a folder: 1 to {NAME_MAX} characters of \
         [a-zA-Z0-9._-] are allowed, the first no period"
    )))
}

/// Destinations that are folders of one folder.
#[derive(Clone, Debug)]
pub struct Folders {
    root: PathBuf,
}

impl Folders {
    /// The folders of `root`, which is made when the first of them is.
    pub fn of(root: PathBuf) -> Self {
        Self { root }
    }
}

impl Destinations for Folders {
    fn open(&self, name: &str) -> Result<Box<dyn Destination>> {
        Ok(Box::new(Folder::open(&self.root.join(name))?))
    }

    fn look(&self, name: &str) -> Result<Option<Box<dyn Destination>>> {
        let path = self.root.join(name);
        if DiskStorage::is_free(&path)? {
            return Ok(None);
        }
        Ok(Some(Box::new(Folder::open_read_only(&path)?)))
    }

    fn check(&self) -> Result<()> {
        check_apart(&self.root)?;
        DiskStorage::probe(&self.root, WHAT)
    }
}

/// Fails where `path` is a data folder or in one: what is in there and is no part of the database is
/// swept away, and who loses the folder loses its backups too.
fn check_apart(path: &Path) -> Result<()> {
    let Some(data) = DiskStorage::folder_with(CATALOG_FILE, path) else {
        return Ok(());
    };
    Err(Error::invalid(format!(
        "The backup folder {} is in the data folder {} of a database: backups need a folder outside of \
         it, best on another disk.",
        path.display(),
        data.display()
    )))
}

/// A folder of backups.
#[derive(Clone)]
pub struct Folder {
    storage: Arc<dyn Storage>,
}

impl Folder {
    /// The folder `path`, made if it is not there and locked, so that one backup runs at a time.
    /// `InvalidArgument` where it is in a data folder.
    pub fn open(path: &Path) -> Result<Self> {
        check_apart(path)?;
        Ok(Self::on(Arc::new(DiskStorage::open_called(path, WHAT)?)))
    }

    /// The folder `path`, to restore from: nothing in it changes.
    pub fn open_read_only(path: &Path) -> Result<Self> {
        Ok(Self::on(Arc::new(DiskStorage::open_read_only(path)?)))
    }

    /// A folder on any storage.
    pub fn on(storage: Arc<dyn Storage>) -> Self {
        Self { storage }
    }
}

impl Destination for Folder {
    fn create(&self, path: &str) -> Result<Box<dyn ObjectWriter>> {
        let folder = folder_of(path);
        if !folder.is_empty() && !self.storage.exists(folder)? {
            self.make_folder(folder)?;
        }
        let unfinished = format!("{path}{UNFINISHED}");
        self.storage.remove_file(&unfinished)?;
        Ok(Box::new(FolderObject {
            file: self.storage.create(&unfinished)?,
            storage: self.storage.clone(),
            path: path.to_owned(),
        }))
    }

    fn read_at(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.storage.read_at(path, offset, length)
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>> {
        match self.storage.list(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed,
        }
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.storage.remove_dir(path)?;
        self.storage.sync_dir(folder_of(path))
    }
}

impl Folder {
    /// Makes the folder `path` and those above it, durably.
    fn make_folder(&self, path: &str) -> Result<()> {
        self.storage.create_dir(path)?;
        let mut folder = path;
        while !folder.is_empty() {
            folder = folder_of(folder);
            self.storage.sync_dir(folder)?;
        }
        Ok(())
    }
}

struct FolderObject {
    file: Box<dyn StorageFile>,
    storage: Arc<dyn Storage>,
    path: String,
}

impl ObjectWriter for FolderObject {
    fn write(&mut self, parts: &[&[u8]]) -> Result<()> {
        self.file.write(parts)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let Self {
            mut file,
            storage,
            path,
        } = *self;
        file.sync()?;
        drop(file);
        storage.rename(&format!("{path}{UNFINISHED}"), &path)?;
        storage.sync_dir(folder_of(&path))
    }
}

/// The folder that `path` is in; the empty name is the outermost.
fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
