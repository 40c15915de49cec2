//! Blobs: files that whoever builds on the database keeps with a collection, such as records that
//! curation has put away.
//!
//! What must stay true: a blob never changes, and its bytes are durable before a document of the
//! catalogue names it; it is removed only after that document; nothing is read of it before its
//! checksum; it goes with its collection.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use uuid::Uuid;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::catalog::Document;
use crate::model::CollectionId;
use crate::storage::{Storage, StorageFile, new_path};
use crate::{Error, Result};

/// The folder of all blobs.
pub(crate) const FOLDER: &str = "blobs";
/// The kind of the documents that name them.
pub(crate) const KIND: &str = "blob";

/// A file that is kept with a collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blob {
    /// Its id.
    pub id: Uuid,
    /// The collection that it goes with.
    pub collection: CollectionId,
    /// Its length.
    pub bytes: u64,
    /// Its checksum, xxh3 with 128 bits, as 32 hexadecimal digits.
    pub checksum: String,
    /// What it is, in the words of whoever wrote it.
    pub about: Json,
}

impl Blob {
    /// Its path in the data folder, and in a backup.
    pub(crate) fn path(&self) -> String {
        path(self.id)
    }

    /// The document that names it.
    pub(crate) fn document(&self) -> Document {
        Document {
            kind: KIND.to_owned(),
            key: key(self.collection, Some(self.id)),
            body: json!(self),
        }
    }

    /// The blob that a document names.
    pub(crate) fn of_document(document: &Document) -> Result<Self> {
        Self::deserialize(&document.body).map_err(|cause| {
            let key = &document.key;
            Error::internal(format!(
                "What is kept of the blob {key} is no blob: {cause}"
            ))
        })
    }

    /// All its bytes, which are those that were written.
    pub(crate) fn read(&self, storage: &dyn Storage) -> Result<Bytes> {
        let path = self.path();
        let bytes = storage.map(&path)?;
        if bytes.len() as u64 != self.bytes {
            let (found, written) = (bytes.len(), self.bytes);
            let detail = format!("{written} bytes were written, {found} are found");
            return Err(Error::corrupted(
                &path,
                self.bytes.min(found as u64),
                detail,
            ));
        }
        let found = format!("{:032x}", xxh3_128(&bytes));
        if found != self.checksum {
            let written = &self.checksum;
            let detail = format!("it has the checksum {found}, {written} was written");
            return Err(Error::corrupted(&path, 0, detail));
        }
        Ok(bytes)
    }
}

/// The key of the document of a blob; without an id, what those of its collection begin with.
pub(crate) fn key(collection: CollectionId, id: Option<Uuid>) -> String {
    let id = id.map(|id| id.to_string()).unwrap_or_default();
    format!("{collection}/{id}")
}

fn path(id: Uuid) -> String {
    format!("{FOLDER}/{id}")
}

/// A blob that is being written, under another name.
pub(crate) struct Unfinished {
    id: Uuid,
    file: Box<dyn StorageFile>,
    hash: Xxh3,
}

impl Unfinished {
    /// Begins a blob.
    pub(crate) fn begin(storage: &dyn Storage) -> Result<Self> {
        if !storage.exists(FOLDER)? {
            storage.create_dir(FOLDER)?;
            storage.sync_dir("")?;
        }
        let id = Uuid::new_v4();
        Ok(Self {
            id,
            file: storage.create(&new_path(&path(id)))?,
            hash: Xxh3::new(),
        })
    }

    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write(&[bytes])?;
        self.hash.update(bytes);
        Ok(())
    }

    /// Makes the bytes durable under the name of the blob, which nothing names yet.
    pub(crate) fn finish(
        mut self,
        storage: &dyn Storage,
        collection: CollectionId,
        about: Json,
    ) -> Result<Blob> {
        self.file.sync()?;
        let blob = Blob {
            id: self.id,
            collection,
            bytes: self.file.bytes(),
            checksum: format!("{:032x}", self.hash.digest128()),
            about,
        };
        drop(self.file);
        storage.rename(&new_path(&blob.path()), &blob.path())?;
        storage.sync_dir(FOLDER)?;
        Ok(blob)
    }

    /// Where its bytes are until it is finished.
    pub(crate) fn new_path(&self) -> String {
        new_path(&path(self.id))
    }
}

/// Removes what a crash left of blobs that were being written. Nothing is being written now.
pub(crate) fn remove_unfinished(storage: &dyn Storage) -> Result<()> {
    for name in files(storage)? {
        if name.strip_suffix(".new").is_some_and(is_id) {
            storage.remove_file(&format!("{FOLDER}/{name}"))?;
        }
    }
    Ok(())
}

/// The files of blobs that none of `documents` names. Other files in the folder are none of ours.
pub(crate) fn find_unnamed(storage: &dyn Storage, documents: &[Document]) -> Result<Vec<String>> {
    let named: BTreeSet<&str> = documents
        .iter()
        .filter_map(|one| Some(one.key.split_once('/')?.1))
        .collect();
    let mut files = files(storage)?;
    files.retain(|name| is_id(name) && !named.contains(&**name));
    let paths = files.into_iter().map(|name| format!("{FOLDER}/{name}"));
    Ok(paths.collect())
}

fn files(storage: &dyn Storage) -> Result<Vec<String>> {
    if !storage.exists(FOLDER)? {
        return Ok(Vec::new());
    }
    let entries = storage.list(FOLDER)?.into_iter();
    let files = entries.filter(|entry| !entry.is_dir);
    Ok(files.map(|entry| entry.name).collect())
}

/// Whether `path` is that of a finished blob.
pub(crate) fn is_one(path: &str) -> bool {
    let name = path
        .strip_prefix(FOLDER)
        .and_then(|rest| rest.strip_prefix('/'));
    name.is_some_and(is_id)
}

fn is_id(name: &str) -> bool {
    Uuid::try_parse(name).is_ok_and(|id| id.to_string() == name)
}
