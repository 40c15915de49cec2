//! Files that are kept with collections, of backups and out of them.
//!
//! What must stay true: what a backup's catalogue names is in it, or in one that it carries on; a restored
//! catalogue names only what was restored. One that came and went between two backups is in neither.

use std::collections::BTreeSet;

use super::Destination;
use super::manifest::{BackupManifest, read_checked};
use crate::Result;
use crate::blobs::{Blob, FOLDER, KIND};
use crate::catalog::{CatalogCopy, Document};
use crate::storage::Storage;

/// The blobs that `catalog` names and `before` does not.
pub(super) fn new_blobs(catalog: &CatalogCopy, before: Option<&CatalogCopy>) -> Result<Vec<Blob>> {
    let held = before.into_iter().flat_map(documents);
    let held: BTreeSet<&str> = held.map(|document| &*document.key).collect();
    let new = documents(catalog).filter(|document| !held.contains(&*document.key));
    new.map(Blob::of_document).collect()
}

/// Copies the blobs of the collections of `catalog` out of `chain`, and lets it forget the others.
pub(super) fn restore_blobs(
    from: &dyn Destination,
    storage: &dyn Storage,
    chain: &[BackupManifest],
    catalog: &mut CatalogCopy,
    told: &mut dyn FnMut(&str, u64) -> Result<()>,
) -> Result<()> {
    let CatalogCopy {
        collections,
        documents,
        ..
    } = catalog;
    let mut kept = Vec::with_capacity(documents.len());
    for document in documents.drain(..) {
        if document.kind == KIND {
            let blob = Blob::of_document(&document)?;
            let mut rows = collections.iter();
            if !rows.any(|row| row.collection.id == blob.collection) {
                continue;
            }
            let path = blob.path();
            let mut files = chain.iter().filter_map(|manifest| {
                let mut files = manifest.files.iter();
                Some((manifest.number, files.find(|file| file.path == path)?))
            });
            let Some((number, file)) = files.next() else {
                tracing::warn!(
                    path,
                    "no backup has this file, which had gone again; it is left out"
                );
                continue;
            };
            if !storage.exists(FOLDER)? {
                storage.create_dir(FOLDER)?;
            }
            let mut copy = storage.create(&path)?;
            read_checked(from, number, file, &mut |chunk| copy.write(&[chunk]))?;
            copy.sync()?;
            storage.sync_dir(FOLDER)?;
            told(&path, file.bytes)?;
        }
        kept.push(document);
    }
    *documents = kept;
    Ok(())
}

/// The documents of a catalogue that name blobs.
fn documents(catalog: &CatalogCopy) -> impl Iterator<Item = &Document> {
    let documents = catalog.documents.iter();
    documents.filter(|document| document.kind == KIND)
}
