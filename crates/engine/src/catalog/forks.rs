//! Forks: collections that begin as what another collection is, and share its segments.
//!
//! What must stay true: a fork is one transaction; it names the very segments of its origin at the
//! origin's applied SeqId, so that the log of the fork begins behind it. A segment's files stay
//! while any collection names them, whether their home is there or not: nobody can name a segment
//! that no collection names any more.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::collections::{Stored, gone, is_taken, taken};
use super::fault::{Fault, Result};
use super::manifests::{insert_segment, is_named, segments_in, segments_of};
use super::names::{database_of, uuid_at};
use super::tables::{Changes, Place, Table};
use super::{Catalog, CollectionRow};
use crate::model::{CollectionId, Origin, SegmentId, SeqId};

impl Catalog {
    /// Makes `id`, called `name`, of what `source` is at its applied SeqId, in the same database.
    /// `NotFound` where the source is gone, `AlreadyExists` where the name is taken.
    pub fn fork_collection(
        &self,
        source: CollectionId,
        id: CollectionId,
        name: &str,
    ) -> crate::Result<CollectionRow> {
        self.write(|changes| {
            let connection = changes.connection;
            let (_, stored) = Stored::find(connection, source)?.ok_or_else(|| gone(source))?;
            if is_taken(connection, stored.database, name)? {
                return Err(taken(name));
            }
            let place = [stored.database.as_bytes()];
            let database =
                Table::Database.first(connection, "WHERE id = ?1", place, database_of)?;
            let (_, database) = database
                .ok_or_else(|| Fault::Damaged(format!("collection {source} is in no database")))?;
            let mut segments = segments_of(connection, source)?;
            for segment in &mut segments {
                segment.home = segment.home.or(Some(source));
            }
            let mut origins: Vec<Origin> = origins_of(connection, source)?
                .into_iter()
                .map(|(_, origin)| origin)
                .collect();
            origins.push(Origin {
                collection: source,
                seq: stored.applied,
            });
            let fork = Stored {
                id: id.0,
                name: name.to_owned(),
                ..stored
            };
            changes.insert(Table::Collection, &fork.values())?;
            for (position, segment) in segments.iter().enumerate() {
                insert_segment(changes, id, position as i64, segment)?;
            }
            insert_origins(changes, id, &origins)?;
            let mut row = fork.told(&database)?;
            row.manifest.segments = segments;
            row.collection.origins = origins;
            Ok(row)
        })
    }

    /// Whether any collection names segment `id`, whose files are in the folder of `home`.
    pub fn is_named(&self, home: CollectionId, id: SegmentId) -> crate::Result<bool> {
        self.read(|connection| is_named(connection, home, id))
    }

    /// Whether `home` is a collection, and the segments in its folder that any collection names.
    pub fn folder_of(&self, home: CollectionId) -> crate::Result<(bool, Vec<SegmentId>)> {
        self.read(|connection| {
            let is_there = Stored::find(connection, home)?.is_some();
            Ok((is_there, segments_in(connection, home)?))
        })
    }
}

const OF_COLLECTION: &str = "WHERE collection_id = ?1 ORDER BY position";

fn origins_of(connection: &Connection, collection: CollectionId) -> Result<Vec<(Place, Origin)>> {
    let id = [collection.0.as_bytes()];
    Table::Origin.rows(connection, OF_COLLECTION, id, origin_of)
}

/// The origins of all collections, each with its collection; those of one in their order.
pub(super) fn all_origins(connection: &Connection) -> Result<Vec<(CollectionId, Origin)>> {
    let order = "ORDER BY collection_id, position";
    let rows = Table::Origin.rows(connection, order, [], |row| {
        Ok((CollectionId(uuid_at(row, 1)?), origin_of(row)?))
    })?;
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

fn origin_of(row: &Row<'_>) -> Result<Origin> {
    Ok(Origin {
        collection: CollectionId(uuid_at(row, 3)?),
        seq: SeqId(row.get::<_, i64>(4)? as u64),
    })
}

/// Notes where a collection comes from.
pub(super) fn insert_origins(
    changes: &mut Changes<'_>,
    collection: CollectionId,
    origins: &[Origin],
) -> Result<()> {
    for (position, origin) in origins.iter().enumerate() {
        let values = [
            ValueRef::Blob(collection.0.as_bytes()),
            ValueRef::Integer(position as i64),
            ValueRef::Blob(origin.collection.0.as_bytes()),
            ValueRef::Integer(origin.seq.0 as i64),
        ];
        changes.insert(Table::Origin, &values)?;
    }
    Ok(())
}

/// Deletes what is known of where a collection comes from.
pub(super) fn delete_origins(changes: &mut Changes<'_>, collection: CollectionId) -> Result<()> {
    for (place, _) in origins_of(changes.connection, collection)? {
        changes.delete(place)?;
    }
    Ok(())
}
