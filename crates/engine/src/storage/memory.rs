//! A data folder in memory: behaves like one on a disk, and is gone when it is dropped.
//!
//! What must stay true: answers and errors are those of the disk (one conformance suite runs over
//! both); a file that is removed or replaced stays readable for those who have it open.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Entry, Storage, StorageFile, check_path};
use crate::{Error, ErrorKind, Result};

/// A data folder in memory. A clone is the same folder.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    tree: Arc<Mutex<Tree>>,
}

/// Every path with what it names; the data folder itself is not in it.
type Tree = BTreeMap<String, Node>;

#[derive(Clone, Debug)]
enum Node {
    Folder,
    File(Arc<Mutex<Content>>),
}

/// Bytes of a file: growing until they are asked for as a whole, shared from then on.
#[derive(Debug, Default)]
struct Content {
    growing: Vec<u8>,
    shared: Option<Bytes>,
}

impl Content {
    fn as_slice(&self) -> &[u8] {
        self.shared.as_deref().unwrap_or(&self.growing)
    }

    fn share(&mut self) -> Bytes {
        let growing = &mut self.growing;
        self.shared
            .get_or_insert_with(|| Bytes::from(std::mem::take(growing)))
            .clone()
    }

    fn grow(&mut self) -> &mut Vec<u8> {
        if let Some(shared) = self.shared.take() {
            self.growing = shared.to_vec();
        }
        &mut self.growing
    }
}

impl MemoryStorage {
    /// Puts the file `path` there with `bytes` in it, and the folders above it.
    pub fn insert(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        check_path(path)?;
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.create_dir(folder)?;
        }
        let content = Content {
            growing: bytes,
            shared: None,
        };
        let node = Node::File(Arc::new(Mutex::new(content)));
        self.tree.lock().insert(path.to_owned(), node);
        Ok(())
    }

    /// Every file with its bytes, by path.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let tree = self.tree.lock();
        tree.iter()
            .filter_map(|(path, node)| match node {
                Node::File(content) => Some((path.clone(), content.lock().as_slice().to_vec())),
                Node::Folder => None,
            })
            .collect()
    }

    fn file(&self, act: &str, path: &str) -> Result<Arc<Mutex<Content>>> {
        check_path(path)?;
        match self.tree.lock().get(path) {
            Some(Node::File(content)) => Ok(content.clone()),
            Some(Node::Folder) => Err(wrong_kind(act, path, "a folder")),
            None => Err(missing(act, path)),
        }
    }
}

impl Storage for MemoryStorage {
    fn create_dir(&self, path: &str) -> Result<()> {
        check_change(path)?;
        let mut tree = self.tree.lock();
        let ends = path.match_indices('/').map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            let folder = &path[..end];
            match tree.get(folder) {
                Some(Node::Folder) => {}
                Some(Node::File(_)) => return Err(taken("make the folder", folder)),
                None => {
                    tree.insert(folder.to_owned(), Node::Folder);
                }
            }
        }
        Ok(())
    }

    fn create(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        check_change(path)?;
        let mut tree = self.tree.lock();
        check_folder_above(&tree, "make", path)?;
        if tree.contains_key(path) {
            return Err(taken("make", path));
        }
        let content = Arc::new(Mutex::new(Content::default()));
        tree.insert(path.to_owned(), Node::File(content.clone()));
        Ok(Box::new(MemoryFile { content, end: 0 }))
    }

    fn append(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        let content = self.file("open", path)?;
        let end = content.lock().as_slice().len();
        Ok(Box::new(MemoryFile { content, end }))
    }

    fn reuse(&self, path: &str) -> Result<Box<dyn StorageFile>> {
        let content = self.file("open", path)?;
        Ok(Box::new(MemoryFile { content, end: 0 }))
    }

    fn map(&self, path: &str) -> Result<Bytes> {
        Ok(self.file("map", path)?.lock().share())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>> {
        Ok(self.file("read", path)?.lock().as_slice().to_vec())
    }

    fn read_at(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        let content = self.file("read", path)?;
        let content = content.lock();
        let bytes = content.as_slice();
        let from = usize::try_from(offset).map_or(bytes.len(), |from| from.min(bytes.len()));
        let to = from.saturating_add(length).min(bytes.len());
        Ok(bytes[from..to].to_vec())
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>> {
        check_path(path)?;
        let tree = self.tree.lock();
        let prefix = match tree.get(path) {
            _ if path.is_empty() => String::new(),
            Some(Node::Folder) => format!("{path}/"),
            Some(Node::File(_)) => return Err(wrong_kind("list", path, "a file")),
            None => return Err(missing("list", path)),
        };
        Ok(tree
            .range(prefix.clone()..)
            .take_while(|(path, _)| path.starts_with(&prefix))
            .filter(|(path, _)| !path[prefix.len()..].contains('/'))
            .map(|(path, node)| Entry {
                name: path[prefix.len()..].to_owned(),
                bytes: match node {
                    Node::Folder => 0,
                    Node::File(content) => content.lock().as_slice().len() as u64,
                },
                is_dir: matches!(node, Node::Folder),
            })
            .collect())
    }

    fn exists(&self, path: &str) -> Result<bool> {
        check_path(path)?;
        Ok(path.is_empty() || self.tree.lock().contains_key(path))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        check_change(from)?;
        check_change(to)?;
        let mut tree = self.tree.lock();
        check_folder_above(&tree, "rename to", to)?;
        let Some(node) = tree.get(from).cloned() else {
            return Err(missing("rename", from));
        };
        match (&node, tree.get(to)) {
            (Node::File(_), Some(Node::Folder)) | (Node::Folder, Some(_)) if from != to => {
                return Err(taken("rename to", to));
            }
            _ => {}
        }
        tree.remove(from);
        let below = take_below(&mut tree, from);
        tree.insert(to.to_owned(), node);
        for (path, node) in below {
            tree.insert(format!("{to}{}", &path[from.len()..]), node);
        }
        Ok(())
    }

    fn remove_file(&self, path: &str) -> Result<()> {
        check_change(path)?;
        let mut tree = self.tree.lock();
        if matches!(tree.get(path), Some(Node::Folder)) {
            return Err(wrong_kind("remove", path, "a folder"));
        }
        tree.remove(path);
        Ok(())
    }

    fn remove_dir(&self, path: &str) -> Result<()> {
        check_change(path)?;
        let mut tree = self.tree.lock();
        if matches!(tree.get(path), Some(Node::File(_))) {
            return Err(wrong_kind("remove the folder", path, "a file"));
        }
        tree.remove(path);
        take_below(&mut tree, path);
        Ok(())
    }

    fn sync_dir(&self, path: &str) -> Result<()> {
        self.list(path).map(|_| ())
    }

    fn free_bytes(&self) -> Result<u64> {
        Ok(u64::MAX)
    }
}

/// A file open for writing.
struct MemoryFile {
    content: Arc<Mutex<Content>>,
    /// Where the next write goes.
    end: usize,
}

impl StorageFile for MemoryFile {
    fn write(&mut self, parts: &[&[u8]]) -> Result<()> {
        let mut content = self.content.lock();
        let bytes = content.grow();
        for part in parts {
            let over = part.len().min(bytes.len() - self.end);
            bytes[self.end..][..over].copy_from_slice(&part[..over]);
            bytes.extend_from_slice(&part[over..]);
            self.end += part.len();
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.end as u64
    }

    fn truncate(&mut self, bytes: u64) -> Result<()> {
        let bytes = usize::try_from(bytes)
            .map_err(|_| Error::invalid(format!("A file cannot have {bytes} bytes.")))?;
        self.content.lock().grow().resize(bytes, 0);
        self.end = bytes;
        Ok(())
    }
}

fn check_change(path: &str) -> Result<()> {
    if path.is_empty() {
        return Err(Error::invalid(
            "The data folder itself cannot be made, renamed or removed through it.",
        ));
    }
    check_path(path)
}

fn check_folder_above(tree: &Tree, act: &str, path: &str) -> Result<()> {
    match path.rsplit_once('/').map(|(folder, _)| tree.get(folder)) {
        None | Some(Some(Node::Folder)) => Ok(()),
        Some(Some(Node::File(_)) | None) => Err(missing(act, path)),
    }
}

/// Takes out what is below the folder `path`.
fn take_below(tree: &mut Tree, path: &str) -> Vec<(String, Node)> {
    let prefix = format!("{path}/");
    let below: Vec<String> = tree
        .range(prefix.clone()..)
        .take_while(|(path, _)| path.starts_with(&prefix))
        .map(|(path, _)| path.clone())
        .collect();
    below
        .into_iter()
        .filter_map(|path| tree.remove(&path).map(|node| (path, node)))
        .collect()
}

fn missing(act: &str, path: &str) -> Error {
    Error::not_found(format!("Cannot {act} {path}: it is not there"))
}

fn taken(act: &str, path: &str) -> Error {
    Error::already_exists(format!("Cannot {act} {path}: it is there already"))
}

fn wrong_kind(act: &str, path: &str, what: &str) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!("Cannot {act} {path}: it is {what}"),
    )
}
