//! Numbers that the catalogue notes for itself.
//!
//! What must stay true: a name has one row at most; a number that was never noted is told from 0.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::fault::Result;
use super::tables::{Changes, Table};

/// 1 while a process has the catalogue open.
pub(super) const OPEN: &str = "open";
/// How many transactions have changed the catalogue.
pub(super) const GENERATION: &str = "generation";
/// The number of the newest log file.
pub(super) const LOG_FILE: &str = "log_file";

const NAMED: &str = "WHERE name = ?1";

/// The number called `name`.
pub(super) fn value(connection: &Connection, name: &str) -> Result<Option<i64>> {
    let found = Table::Marker.first(connection, NAMED, [name], |row| Ok(row.get::<_, i64>(2)?))?;
    Ok(found.map(|(_, value)| value))
}

/// Notes the number called `name`.
pub(super) fn put(changes: &mut Changes<'_>, name: &str, value: i64) -> Result<()> {
    let row = [ValueRef::Text(name.as_bytes()), ValueRef::Integer(value)];
    match Table::Marker.first(changes.connection, NAMED, [name], |_| Ok(()))? {
        Some((place, ())) => changes.update(place, &row),
        None => changes.insert(Table::Marker, &row),
    }
}
