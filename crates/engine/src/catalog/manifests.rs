//! Manifests: which segments a collection has, and up to which SeqId they hold everything.

use hashbrown::HashMap;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

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
            if let Some(sealed) = schema {
                // Settings may have changed since the seal began; it only brings keys.
                let mut schema = stored.schema()?;
                schema.add_discovered(sealed);
                stored.schema = to_json(&schema)?;
            }
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
    let mut stored: HashMap<SegmentId, (Place, i64, SegmentRow)> = HashMap::new();
    for table in TABLES {
        for (place, (position, segment)) in
            rows_of(table, changes.connection, OF_COLLECTION, collection)?
        {
            stored.insert(segment.id, (place, position, segment));
        }
    }
    for (position, segment) in segments.iter().enumerate() {
        let position = position as i64;
        match stored.remove(&segment.id) {
            Some((_, at, before)) if at == position && before == *segment => {}
            Some((place, _, before)) if before.home == segment.home => {
                let (_, values) = segment_values(&collection, position, segment);
                changes.update(place, &values)?;
            }
            before => {
                if let Some((place, ..)) = before {
                    changes.delete(place)?;
                }
                insert_segment(changes, collection, position, segment)?;
            }
        }
    }
    for (place, ..) in stored.into_values() {
        changes.delete(place)?;
    }
    Ok(())
}

/// The tables of segments: a collection's own, and borrowed ones.
const TABLES: [Table; 2] = [Table::Segment, Table::BorrowedSegment];

/// Chooses the segments of the collection that is the first parameter, oldest first.
const OF_COLLECTION: &str = "WHERE collection_id = ?1 ORDER BY position";

fn rows_of(
    table: Table,
    connection: &Connection,
    condition: &str,
    id: CollectionId,
) -> Result<Vec<(Place, (i64, SegmentRow))>> {
    table.rows(connection, condition, [id.0.as_bytes()], |row| {
        Ok((row.get::<_, i64>(3)?, segment_of(table, row)?))
    })
}

/// The segments of a collection, oldest first.
pub(super) fn segments_of(
    connection: &Connection,
    collection: CollectionId,
) -> Result<Vec<SegmentRow>> {
    let mut found = Vec::new();
    for table in TABLES {
        found.extend(rows_of(table, connection, OF_COLLECTION, collection)?);
    }
    found.sort_by_key(|(_, (position, _))| *position);
    Ok(found.into_iter().map(|(_, (_, segment))| segment).collect())
}

/// The segments of all collections, each with its collection; those of one oldest first.
pub(super) fn all_segments(connection: &Connection) -> Result<Vec<(CollectionId, SegmentRow)>> {
    let mut found = Vec::new();
    for table in TABLES {
        let rows = table.rows(connection, "", [], |row| {
            let position: i64 = row.get(3)?;
            Ok((
                CollectionId(uuid_at(row, 2)?),
                position,
                segment_of(table, row)?,
            ))
        })?;
        found.extend(rows.into_iter().map(|(_, row)| row));
    }
    found.sort_by_key(|(collection, position, _)| (*collection, *position));
    Ok(found
        .into_iter()
        .map(|(collection, _, segment)| (collection, segment))
        .collect())
}

/// Deletes every row that makes a segment part of a collection.
pub(super) fn delete_segments(changes: &mut Changes<'_>, collection: CollectionId) -> Result<()> {
    for table in TABLES {
        for (place, _) in rows_of(table, changes.connection, OF_COLLECTION, collection)? {
            changes.delete(place)?;
        }
    }
    Ok(())
}

/// The ids of the segments whose files are in the folder of `home`, whoever they are part of.
pub(super) fn segments_in(connection: &Connection, home: CollectionId) -> Result<Vec<SegmentId>> {
    let own = rows_of(Table::Segment, connection, OF_COLLECTION, home)?;
    let lent = "WHERE home_id = ?1";
    let lent = rows_of(Table::BorrowedSegment, connection, lent, home)?;
    let ids = own.into_iter().chain(lent);
    Ok(ids.map(|(_, (_, segment))| segment.id).collect())
}

/// Whether the catalogue names segment `id`, whose files are in the folder of `home`.
pub(super) fn is_named(connection: &Connection, home: CollectionId, id: SegmentId) -> Result<bool> {
    let key = [home.0.as_bytes(), id.0.as_bytes()];
    let own = "WHERE collection_id = ?1 AND id = ?2";
    let lent = "WHERE home_id = ?1 AND id = ?2";
    Ok(Table::Segment
        .first(connection, own, key, |_| Ok(()))?
        .is_some()
        || Table::BorrowedSegment
            .first(connection, lent, key, |_| Ok(()))?
            .is_some())
}

/// The segment in a row.
fn segment_of(table: Table, row: &Row<'_>) -> Result<SegmentRow> {
    let home = match table {
        Table::BorrowedSegment => Some(CollectionId(uuid_at(row, 7)?)),
        _ => None,
    };
    Ok(SegmentRow {
        id: SegmentId(uuid_at(row, 1)?),
        home,
        rows: row.get(4)?,
        toc_checksum: row.get::<_, i64>(5)? as u64,
        dead: row.get(6)?,
    })
}

/// Makes `segment` the one at `position` of the collection.
pub(super) fn insert_segment(
    changes: &mut Changes<'_>,
    collection: CollectionId,
    position: i64,
    segment: &SegmentRow,
) -> Result<()> {
    let (table, values) = segment_values(&collection, position, segment);
    changes.insert(table, &values)
}

/// Where a segment is stored, and its values.
fn segment_values<'a>(
    collection: &'a CollectionId,
    position: i64,
    segment: &'a SegmentRow,
) -> (Table, Vec<ValueRef<'a>>) {
    let mut values = vec![
        ValueRef::Blob(segment.id.0.as_bytes()),
        ValueRef::Blob(collection.0.as_bytes()),
        ValueRef::Integer(position),
        ValueRef::Integer(segment.rows.into()),
        ValueRef::Integer(segment.toc_checksum as i64),
        ValueRef::Blob(&segment.dead),
    ];
    match &segment.home {
        None => (Table::Segment, values),
        Some(home) => {
            values.push(ValueRef::Blob(home.0.as_bytes()));
            (Table::BorrowedSegment, values)
        }
    }
}
