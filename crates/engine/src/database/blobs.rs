//! Files that whoever builds on the database keeps with a collection: see [`crate::blobs`].
//!
//! What must stay true: a blob is durable and named when [`BlobWriter::finish`] answers, and in every
//! later backup; one that was not finished leaves nothing.

use bytes::Bytes;
use hashbrown::HashSet;
use serde_json::Value as Json;
use uuid::Uuid;

use super::{Database, Inner};
use crate::backup::Change;
use crate::blobs::{Blob, KIND, Unfinished, find_unnamed, key, remove_unfinished};
use crate::catalog::{Catalog, Document};
use crate::config::Config;
use crate::maintenance::Strangers;
use crate::model::{CollectionId, CollectionScope};
use crate::{Error, ErrorKind, Result};

/// A blob that is being written.
pub struct BlobWriter<'a> {
    inner: &'a Inner,
    collection: CollectionId,
    /// `None` once it is finished.
    unfinished: Option<Unfinished>,
}

impl Database {
    /// Begins a blob that goes with a collection.
    pub fn begin_blob(&self, scope: CollectionScope<'_>) -> Result<BlobWriter<'_>> {
        let inner = &*self.inner;
        inner.check_open()?;
        let collection = inner.scoped(scope)?.id;
        inner.expect_disk()?;
        Ok(BlobWriter {
            inner,
            collection,
            unfinished: Some(Unfinished::begin(inner.config.storage.as_ref())?),
        })
    }

    /// The blobs of a collection, by id.
    pub fn blobs(&self, scope: CollectionScope<'_>) -> Result<Vec<Blob>> {
        let collection = self.inner.scoped(scope)?.id;
        self.inner.blobs_of(collection)
    }

    /// The blobs of all collections, by collection and id.
    pub fn all_blobs(&self) -> Result<Vec<Blob>> {
        let named = self.inner.catalog.documents(KIND, "")?;
        named.iter().map(Blob::of_document).collect()
    }

    /// The bytes of a blob, which are those that were written; they stay readable where it is removed
    /// meanwhile.
    pub fn read_blob(&self, blob: &Blob) -> Result<Bytes> {
        blob.read(self.inner.config.storage.as_ref())
    }

    /// Removes a blob; whether there was one.
    pub fn remove_blob(&self, scope: CollectionScope<'_>, id: Uuid) -> Result<bool> {
        let collection = self.inner.scoped(scope)?.id;
        let found = self.document(KIND, &key(collection, Some(id)))?;
        let Some(blob) = found.as_ref().map(Blob::of_document).transpose()? else {
            return Ok(false);
        };
        let was_there = self.delete_document(KIND, &key(collection, Some(id)))?;
        self.inner.config.storage.remove_file(&blob.path())?;
        Ok(was_there)
    }
}

impl BlobWriter<'_> {
    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.expect_disk()?;
        let unfinished = self.unfinished.as_mut();
        unfinished.expect("it is finished once").write(bytes)
    }

    /// Makes the blob durable, and names it with what it is `about`. `NotFound` where its collection was deleted
    /// meanwhile.
    pub fn finish(mut self, about: Json) -> Result<Blob> {
        let inner = self.inner;
        let storage = inner.config.storage.as_ref();
        let _publishing = inner.publishing.read();
        let unfinished = self.unfinished.take().expect("it is finished once");
        let blob = unfinished.finish(storage, self.collection, about)?;
        let _changes = inner.changes.lock();
        if inner.live(self.collection).is_none() {
            storage.remove_file(&blob.path())?;
            return Err(Error::missing_collection(self.collection));
        }
        // Where this fails the file stays until the sweep: the transaction may come true yet.
        inner.catalog.put_document(&blob.document())?;
        inner.note(|| Change::Document(blob.document()));
        Ok(blob)
    }
}

impl Drop for BlobWriter<'_> {
    fn drop(&mut self) {
        if let Some(unfinished) = self.unfinished.take() {
            let path = unfinished.new_path();
            if let Err(error) = self.inner.config.storage.remove_file(&path) {
                tracing::warn!(path, %error, "what was not finished stays until the next start");
            }
        }
    }
}

impl Inner {
    fn blobs_of(&self, collection: CollectionId) -> Result<Vec<Blob>> {
        let named = self.catalog.documents(KIND, &key(collection, None))?;
        named.iter().map(Blob::of_document).collect()
    }

    /// Bytes of the blobs of a collection.
    pub(super) fn blob_bytes(&self, collection: CollectionId) -> Result<u64> {
        let blobs = self.blobs_of(collection)?;
        Ok(blobs.iter().map(|blob| blob.bytes).sum())
    }

    /// Removes the blobs of a collection that was deleted; what cannot be removed now is swept at the next start.
    /// The caller holds `changes`.
    pub(super) fn forget_blobs(&self, collection: CollectionId) {
        let forgotten = self.blobs_of(collection).and_then(|blobs| {
            blobs.iter().try_for_each(|blob| {
                let Document { kind, key, .. } = blob.document();
                self.catalog.delete_document(&kind, &key)?;
                self.note(|| Change::DocumentDeleted { kind, key });
                self.config.storage.remove_file(&blob.path())
            })
        });
        if let Err(error) = forgotten {
            tracing::warn!(%collection, %error, "blobs of a deleted collection stay until the next start");
        }
    }

    /// The files that nothing names, while nobody publishes one.
    pub(super) fn unnamed_blobs(&self) -> Result<Vec<String>> {
        let named = self.catalog.documents(KIND, "")?;
        find_unnamed(self.config.storage.as_ref(), &named)
    }

    /// What is damaged of the blobs that are named, as far as `go_on` lets it look.
    pub(super) fn verify_blobs(&self, go_on: &dyn Fn() -> bool) -> Result<Vec<Error>> {
        let mut damaged = Vec::new();
        for document in self.catalog.documents(KIND, "")? {
            if !go_on() {
                break;
            }
            let blob = Blob::of_document(&document)?;
            let Err(error) = blob.read(self.config.storage.as_ref()) else {
                continue;
            };
            // One that was removed meanwhile is no damage.
            if self.catalog.document(KIND, &document.key)?.is_some() {
                damaged.push(error);
            }
        }
        Ok(damaged)
    }

    /// Fails where the disk has no more room than writes need.
    fn expect_disk(&self) -> Result<()> {
        let free = self.config.storage.free_bytes()?;
        let min = self.config.limits.free_disk_bytes_min;
        if free >= min {
            return Ok(());
        }
        let message = format!(
            "The disk has {free} bytes free, and {min} are kept (free_disk_bytes_min). Free some disk, then \
             try again."
        );
        Err(Error::new(ErrorKind::OutOfSpace, message))
    }
}

/// Removes what a crash left: blobs that were being written, those of collections that are gone, and files that
/// nothing names, unless the catalogue may have lost what named them.
pub(super) fn sweep(
    config: &Config,
    catalog: &Catalog,
    known: &HashSet<CollectionId>,
    strangers: Strangers,
) -> Result<()> {
    let storage = config.storage.as_ref();
    remove_unfinished(storage)?;
    for document in catalog.documents(KIND, "")? {
        let blob = Blob::of_document(&document)?;
        if !known.contains(&blob.collection) {
            catalog.delete_document(KIND, &document.key)?;
            storage.remove_file(&blob.path())?;
        }
    }
    for path in find_unnamed(storage, &catalog.documents(KIND, "")?)? {
        match strangers {
            Strangers::Go => storage.remove_file(&path)?,
            Strangers::Stay => tracing::warn!(
                path,
                "a file that the catalogue does not name stays until the job orphan_sweep, since the \
                 database was not closed"
            ),
        }
    }
    Ok(())
}
