//! Removes files that no collection names any more.
//!
//! What must stay true: the catalogue is asked after it has forgotten a segment, so that files that
//! a fork shares stay until the last that names them is gone. Where the catalogue itself does not
//! know what it holds, everything stays: a commit that failed here may come true at the next start.
//! A failure leaves files for the sweep of that start, and is no error.

use hashbrown::HashSet;

use crate::Result;
use crate::catalog::{Catalog, SegmentRow};
use crate::model::{CollectionId, SegmentId};
use crate::segments::Segment;
use crate::storage::Storage;

/// Removes the files of segment `id` in the folder of `home`, unless a collection names it.
pub(crate) fn remove_segment(
    storage: &dyn Storage,
    catalog: &Catalog,
    home: CollectionId,
    id: SegmentId,
) {
    let folder = Segment::folder(home, id);
    let removed = catalog.is_named(home, id).and_then(|is_named| {
        if is_named || catalog.is_uncertain() {
            Ok(())
        } else {
            storage.remove_dir(&folder)
        }
    });
    told(&folder, removed);
}

/// Removes the files of a deleted collection that had `segments`: those in its folder that no
/// other collection names, and those that it alone had borrowed.
pub(crate) fn remove_collection(
    storage: &dyn Storage,
    catalog: &Catalog,
    collection: CollectionId,
    segments: &[SegmentRow],
) {
    if catalog.is_uncertain() {
        return;
    }
    let folder = folder_of(collection);
    told(&folder, clear(storage, catalog, collection));
    let mut homes = HashSet::new();
    for segment in segments {
        if let Some(home) = segment.home {
            remove_segment(storage, catalog, home, segment.id);
            homes.insert(home);
        }
    }
    for home in homes {
        // A home that is gone itself has nothing but what others named.
        let cleared = catalog.folder_of(home).and_then(|(is_there, named)| {
            if is_there || !named.is_empty() {
                Ok(())
            } else {
                storage.remove_dir(&folder_of(home))
            }
        });
        told(&folder_of(home), cleared);
    }
}

/// Removes from the folder of a deleted collection what nobody names.
fn clear(storage: &dyn Storage, catalog: &Catalog, collection: CollectionId) -> Result<()> {
    let folder = folder_of(collection);
    let (_, named) = catalog.folder_of(collection)?;
    if named.is_empty() {
        return storage.remove_dir(&folder);
    }
    let named: HashSet<String> = named.iter().map(ToString::to_string).collect();
    for entry in storage.list(&folder)? {
        if entry.is_dir && !named.contains(&entry.name) {
            storage.remove_dir(&format!("{folder}/{}", entry.name))?;
        }
    }
    Ok(())
}

fn folder_of(collection: CollectionId) -> String {
    format!("segments/{collection}")
}

fn told(folder: &str, removed: Result<()>) {
    if let Err(error) = removed {
        tracing::warn!(folder, %error, "files that nobody needs stay until the next start");
    }
}
