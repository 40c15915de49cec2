//! Manifests: which segments a collection has, and up to which SeqId they hold everything.

use hashbrown::HashMap;
use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::collections::{Stored, gone, to_json};
use super::fault::Result;
use super::names::uuid_at;
use super::tables::{Changes, Place, Table};
use super::{Catalog, ManifestCommit, SegmentRow};
use crate::model::{CollectionId, SegmentId};
use crate::{Error, ErrorKind};

impl Catalog {
    /// Commits a manifest; `Conflict` where the version is not the next one, `NotFound` where the
    /// collection is gone.
    pub fn commit_manifest(&self, commit: &ManifestCommit) -> crate::Result<()> {
        let ManifestCommit {
            collection,
            manifest,
            dimension,
            schema,
        } = commit;
        let schema = schema.as_ref().map(to_json).transpose()?;
        self.write(|changes| {
            let found = Stored::find(changes.connection, *collection)?;
            let (place, mut stored) = found.ok_or_else(|| gone(*collection))?;
            if manifest.version != stored.manifest_version + 1 {
                let message = format!(
                    "the manifest of collection {collection} has version {}, so that the next is {}, not {}",
                    stored.manifest_version,
                    stored.manifest_version + 1,
                    manifest.version
                );
                return Err(Error::new(ErrorKind::Conflict, message).into());
            }
            replace_segments(changes, *collection, &manifest.segments)?;
            stored.manifest_version = manifest.version;
            stored.applied = manifest.applied;
            stored.dimension = dimension.or(stored.dimension);
            stored.schema = schema.unwrap_or(stored.schema);
            changes.update(place, &stored.values())
        })
    }
}

/// Makes `segments` those of the collection; rows that stay as they are stay untouched.
fn replace_segments(
    changes: &mut Changes<'_>,
    collection: CollectionId,
    segments: &[SegmentRow],
) -> Result<()> {
    let stored = Table::Segment.rows(
        changes.connection,
        OF_COLLECTION,
        [collection.0.as_bytes()],
        |row| Ok((row.get::<_, i64>(3)?, segment_of(row)?)),
    )?;
    let mut stored: HashMap<SegmentId, (Place, i64, SegmentRow)> = stored
        .into_iter()
        .map(|(place, (position, segment))| (segment.id, (place, position, segment)))
        .collect();
    for (position, segment) in segments.iter().enumerate() {
        let position = position as i64;
        let values = segment_values(&collection, position, segment);
        match stored.remove(&segment.id) {
            Some((_, at, before)) if at == position && before == *segment => {}
            Some((place, ..)) => changes.update(place, &values)?,
            None => changes.insert(Table::Segment, &values)?,
        }
    }
    for (place, ..) in stored.into_values() {
        changes.delete(place)?;
    }
    Ok(())
}

/// Chooses the segments of the collection that is the first parameter, oldest first.
pub(super) const OF_COLLECTION: &str = "WHERE collection_id = ?1 ORDER BY position";

/// The segment in a row.
pub(super) fn segment_of(row: &Row<'_>) -> Result<SegmentRow> {
    Ok(SegmentRow {
        id: SegmentId(uuid_at(row, 1)?),
        rows: row.get(4)?,
        toc_checksum: row.get::<_, i64>(5)? as u64,
        dead: row.get(6)?,
    })
}

pub(super) fn segment_values<'a>(
    collection: &'a CollectionId,
    position: i64,
    segment: &'a SegmentRow,
) -> [ValueRef<'a>; 6] {
    [
        ValueRef::Blob(segment.id.0.as_bytes()),
        ValueRef::Blob(collection.0.as_bytes()),
        ValueRef::Integer(position),
        ValueRef::Integer(segment.rows.into()),
        ValueRef::Integer(segment.toc_checksum as i64),
        ValueRef::Blob(&segment.dead),
    ]
}
