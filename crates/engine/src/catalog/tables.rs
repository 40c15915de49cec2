//! The tables of the catalogue, their migrations, and how rows change.
//!
//! What must stay true: every row is written by [`Changes`], which keeps the row's checksum and
//! the digest of its table. A migration, once released, never changes; a new one is added after it.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Params, Row, params, params_from_iter};

use super::checksums::{Digest, row_checksum};
use super::fault::{Fault, Result};
use crate::{Error, ErrorKind};

/// Stands in the header of the file, so that another program's file is noticed.
pub(super) const APPLICATION_ID: i64 = 0x5645_524D;

/// Migration `n` brings a catalogue of version `n` to version `n + 1`.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE digest (
        name TEXT NOT NULL PRIMARY KEY, row_count INTEGER NOT NULL, joined INTEGER NOT NULL,
        checksum INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE marker (
        name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL, checksum INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE tenant (
        name TEXT NOT NULL PRIMARY KEY, resource_name TEXT, checksum INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE database (
        id BLOB NOT NULL PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL,
        checksum INTEGER NOT NULL,
        UNIQUE (tenant, name)
    ) STRICT;
    CREATE TABLE collection (
        id BLOB NOT NULL PRIMARY KEY, database_id BLOB NOT NULL REFERENCES database (id),
        name TEXT NOT NULL, metadata TEXT, schema TEXT NOT NULL, dimension INTEGER,
        manifest_version INTEGER NOT NULL, applied_seq INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        UNIQUE (database_id, name)
    ) STRICT;
    CREATE TABLE segment (
        id BLOB NOT NULL PRIMARY KEY, collection_id BLOB NOT NULL REFERENCES collection (id),
        position INTEGER NOT NULL, row_count INTEGER NOT NULL, toc_checksum INTEGER NOT NULL,
        dead BLOB NOT NULL, checksum INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX segment_of_collection ON segment (collection_id, position);
",
    "
    CREATE TABLE job (
        name TEXT NOT NULL PRIMARY KEY, spec TEXT NOT NULL, paused INTEGER NOT NULL,
        next_at INTEGER, last_at INTEGER, retry_attempt INTEGER NOT NULL, retry_at INTEGER,
        retry_for INTEGER, checksum INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE job_run (
        id INTEGER NOT NULL PRIMARY KEY, job TEXT NOT NULL, run TEXT NOT NULL,
        checksum INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX run_of_job ON job_run (job, id);
",
    "
    CREATE TABLE borrowed_segment (
        id BLOB NOT NULL, collection_id BLOB NOT NULL REFERENCES collection (id),
        position INTEGER NOT NULL, row_count INTEGER NOT NULL, toc_checksum INTEGER NOT NULL,
        dead BLOB NOT NULL, home_id BLOB NOT NULL, checksum INTEGER NOT NULL,
        PRIMARY KEY (collection_id, id)
    ) STRICT;
    CREATE INDEX borrowed_of_home ON borrowed_segment (home_id, id);
    CREATE TABLE origin (
        collection_id BLOB NOT NULL REFERENCES collection (id), position INTEGER NOT NULL,
        origin_id BLOB NOT NULL, seq INTEGER NOT NULL, checksum INTEGER NOT NULL,
        PRIMARY KEY (collection_id, position)
    ) STRICT;
",
    "
    CREATE TABLE document (
        kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, checksum INTEGER NOT NULL,
        PRIMARY KEY (kind, key)
    ) STRICT;
",
];

/// The version that this program writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// A table whose rows carry a checksum as their last column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// Notes of the catalogue to itself.
    Marker,
    /// Tenants.
    Tenant,
    /// Databases.
    Database,
    /// Collections, with the heads of their manifests.
    Collection,
    /// Segments of the manifests.
    Segment,
    /// Jobs of the scheduler, with their times.
    Job,
    /// Runs of jobs.
    JobRun,
    /// Segments of manifests whose files are in the folder of another collection.
    BorrowedSegment,
    /// The collections that forks come from.
    Origin,
    /// JSON documents of whoever builds on the database.
    Document,
}

impl Table {
    /// Every table but `digest`, each at its own number.
    pub(super) const ALL: [Self; 10] = [
        Self::Marker,
        Self::Tenant,
        Self::Database,
        Self::Collection,
        Self::Segment,
        Self::Job,
        Self::JobRun,
        Self::BorrowedSegment,
        Self::Origin,
        Self::Document,
    ];

    /// The first version that has the table.
    fn since(self) -> i64 {
        match self {
            Self::Job | Self::JobRun => 2,
            Self::BorrowedSegment | Self::Origin => 3,
            Self::Document => 4,
            _ => 1,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Marker => "marker",
            Self::Tenant => "tenant",
            Self::Database => "database",
            Self::Collection => "collection",
            Self::Segment => "segment",
            Self::Job => "job",
            Self::JobRun => "job_run",
            Self::BorrowedSegment => "borrowed_segment",
            Self::Origin => "origin",
            Self::Document => "document",
        }
    }

    /// How many columns stand before the checksum.
    fn columns(self) -> usize {
        match self {
            Self::Marker | Self::Tenant => 2,
            Self::Database | Self::JobRun | Self::Document => 3,
            Self::Collection | Self::Job => 8,
            Self::Segment => 6,
            Self::BorrowedSegment => 7,
            Self::Origin => 4,
        }
    }

    fn select(self) -> &'static str {
        match self {
            Self::Marker => "SELECT rowid, * FROM marker",
            Self::Tenant => "SELECT rowid, * FROM tenant",
            Self::Database => "SELECT rowid, * FROM database",
            Self::Collection => "SELECT rowid, * FROM collection",
            Self::Segment => "SELECT rowid, * FROM segment",
            Self::Job => "SELECT rowid, * FROM job",
            Self::JobRun => "SELECT rowid, * FROM job_run",
            Self::BorrowedSegment => "SELECT rowid, * FROM borrowed_segment",
            Self::Origin => "SELECT rowid, * FROM origin",
            Self::Document => "SELECT rowid, * FROM document",
        }
    }

    fn insert(self) -> &'static str {
        match self {
            Self::Marker => "INSERT INTO marker VALUES (?, ?, ?)",
            Self::Tenant => "INSERT INTO tenant VALUES (?, ?, ?)",
            Self::Database => "INSERT INTO database VALUES (?, ?, ?, ?)",
            Self::Collection => "INSERT INTO collection VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            Self::Segment => "INSERT INTO segment VALUES (?, ?, ?, ?, ?, ?, ?)",
            Self::Job => "INSERT INTO job VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            Self::JobRun => "INSERT INTO job_run VALUES (?, ?, ?, ?)",
            Self::BorrowedSegment => "INSERT INTO borrowed_segment VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            Self::Origin => "INSERT INTO origin VALUES (?, ?, ?, ?, ?)",
            Self::Document => "INSERT INTO document VALUES (?, ?, ?, ?)",
        }
    }

    fn update(self) -> &'static str {
        match self {
            Self::Marker => "UPDATE marker SET (name, value, checksum) = (?, ?, ?) WHERE rowid = ?",
            Self::Tenant => {
                "UPDATE tenant SET (name, resource_name, checksum) = (?, ?, ?) WHERE rowid = ?"
            }
            Self::Database => {
                "UPDATE database SET (id, tenant, name, checksum) = (?, ?, ?, ?) WHERE rowid = ?"
            }
            Self::Collection => {
                "UPDATE collection SET (id, database_id, name, metadata, schema, dimension,
                 manifest_version, applied_seq, checksum) = (?, ?, ?, ?, ?, ?, ?, ?, ?)
                 WHERE rowid = ?"
            }
            Self::Segment => {
                "UPDATE segment SET (id, collection_id, position, row_count, toc_checksum, dead,
                 checksum) = (?, ?, ?, ?, ?, ?, ?) WHERE rowid = ?"
            }
            Self::Job => {
                "UPDATE job SET (name, spec, paused, next_at, last_at, retry_attempt, retry_at,
                 retry_for, checksum) = (?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE rowid = ?"
            }
            Self::JobRun => {
                "UPDATE job_run SET (id, job, run, checksum) = (?, ?, ?, ?) WHERE rowid = ?"
            }
            Self::BorrowedSegment => {
                "UPDATE borrowed_segment SET (id, collection_id, position, row_count, toc_checksum,
                 dead, home_id, checksum) = (?, ?, ?, ?, ?, ?, ?, ?) WHERE rowid = ?"
            }
            Self::Origin => {
                "UPDATE origin SET (collection_id, position, origin_id, seq, checksum)
                 = (?, ?, ?, ?, ?) WHERE rowid = ?"
            }
            Self::Document => {
                "UPDATE document SET (kind, key, body, checksum) = (?, ?, ?, ?) WHERE rowid = ?"
            }
        }
    }

    fn delete(self) -> &'static str {
        match self {
            Self::Marker => "DELETE FROM marker WHERE rowid = ?",
            Self::Tenant => "DELETE FROM tenant WHERE rowid = ?",
            Self::Database => "DELETE FROM database WHERE rowid = ?",
            Self::Collection => "DELETE FROM collection WHERE rowid = ?",
            Self::Segment => "DELETE FROM segment WHERE rowid = ?",
            Self::Job => "DELETE FROM job WHERE rowid = ?",
            Self::JobRun => "DELETE FROM job_run WHERE rowid = ?",
            Self::BorrowedSegment => "DELETE FROM borrowed_segment WHERE rowid = ?",
            Self::Origin => "DELETE FROM origin WHERE rowid = ?",
            Self::Document => "DELETE FROM document WHERE rowid = ?",
        }
    }

    /// The checksum that `row` (its rowid, then all columns) carries, found to be right.
    pub(super) fn check(self, row: &Row<'_>) -> Result<Place> {
        let last = self.columns() + 1;
        let values: Vec<ValueRef<'_>> = (1..last)
            .map(|at| row.get_ref(at))
            .collect::<rusqlite::Result<_>>()?;
        let found = row_checksum(self.name(), values);
        let (rowid, expected) = (row.get(0)?, row.get::<_, i64>(last)? as u64);
        if found != expected {
            return Err(Fault::Damaged(format!(
                "row {rowid} of table `{}` has checksum {found:016x}, {expected:016x} was written",
                self.name()
            )));
        }
        Ok(Place {
            table: self,
            rowid,
            checksum: expected,
        })
    }

    /// The rows that `condition` (a WHERE clause, an order) chooses, each checked, as `take`
    /// makes them of a row's columns, which start at number 1.
    pub(super) fn rows<T>(
        self,
        connection: &Connection,
        condition: &str,
        params: impl Params,
        mut take: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<(Place, T)>> {
        let sql = format!("{} {condition}", self.select());
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params)?;
        let mut taken = Vec::new();
        while let Some(row) = rows.next()? {
            taken.push((self.check(row)?, take(row)?));
        }
        Ok(taken)
    }

    /// The first of the rows that `condition` chooses.
    pub(super) fn first<T>(
        self,
        connection: &Connection,
        condition: &str,
        params: impl Params,
        take: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Option<(Place, T)>> {
        Ok(self
            .rows(connection, condition, params, take)?
            .into_iter()
            .next())
    }
}

/// A stored row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    table: Table,
    rowid: i64,
    checksum: u64,
}

/// The digest of every table, by its number in [`Table::ALL`].
pub(super) type Digests = [Digest; Table::ALL.len()];

/// The changes of one transaction.
pub(super) struct Changes<'a> {
    /// Where they are made.
    pub(super) connection: &'a Connection,
    /// The digests as they come to be.
    digests: Digests,
}

impl<'a> Changes<'a> {
    /// Begins with tables whose digests are `digests`.
    pub(super) fn new(connection: &'a Connection, digests: Digests) -> Self {
        Self {
            connection,
            digests,
        }
    }

    /// Adds a row.
    pub(super) fn insert(&mut self, table: Table, values: &[ValueRef<'_>]) -> Result<()> {
        let checksum = row_checksum(table.name(), values.iter().copied());
        self.connection
            .prepare_cached(table.insert())?
            .execute(params_from_iter(parameters(values, checksum)))?;
        self.digests[table as usize].add(checksum);
        Ok(())
    }

    /// Gives a stored row other values.
    pub(super) fn update(&mut self, place: Place, values: &[ValueRef<'_>]) -> Result<()> {
        let checksum = row_checksum(place.table.name(), values.iter().copied());
        let rowid = ToSqlOutput::Owned(place.rowid.into());
        self.connection
            .prepare_cached(place.table.update())?
            .execute(params_from_iter(
                parameters(values, checksum).chain([rowid]),
            ))?;
        let digest = &mut self.digests[place.table as usize];
        digest.remove(place.checksum);
        digest.add(checksum);
        Ok(())
    }

    /// Takes a stored row away.
    pub(super) fn delete(&mut self, place: Place) -> Result<()> {
        self.connection
            .prepare_cached(place.table.delete())?
            .execute([place.rowid])?;
        self.digests[place.table as usize].remove(place.checksum);
        Ok(())
    }

    /// Whether any row is not as it was when the digests were `before`.
    pub(super) fn has_changed(&self, before: &Digests) -> bool {
        self.digests != *before
    }

    /// Writes the digests that are not as they were in `before`; answers the new ones.
    pub(super) fn finish(self, before: &Digests) -> Result<Digests> {
        for (table, (digest, before)) in Table::ALL.iter().zip(self.digests.iter().zip(before)) {
            if digest != before {
                write_digest(self.connection, *table, *digest)?;
            }
        }
        Ok(self.digests)
    }

    /// Writes every digest again: they carry the version, which a migration changes.
    pub(super) fn renew_digests(&self) -> Result<()> {
        self.connection.execute("DELETE FROM digest", [])?;
        for (table, digest) in Table::ALL.iter().zip(self.digests) {
            if digest != Digest::default() {
                write_digest(self.connection, *table, digest)?;
            }
        }
        Ok(())
    }
}

fn write_digest(connection: &Connection, table: Table, digest: Digest) -> Result<()> {
    let (rows, joined) = (digest.rows as i64, digest.joined as i64);
    let checksum = digest_checksum(VERSION, table.name(), rows, joined) as i64;
    connection
        .prepare_cached(
            "INSERT INTO digest VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name) DO UPDATE
             SET (row_count, joined, checksum) = (?2, ?3, ?4)",
        )?
        .execute(params![table.name(), rows, joined, checksum])?;
    Ok(())
}

fn parameters<'a>(
    values: &'a [ValueRef<'a>],
    checksum: u64,
) -> impl Iterator<Item = ToSqlOutput<'a>> {
    let values = values.iter().map(|&value| ToSqlOutput::Borrowed(value));
    values.chain([ToSqlOutput::Owned((checksum as i64).into())])
}

/// The checksum of a table's digest in a catalogue of version `version`.
pub(super) fn digest_checksum(version: i64, table: &str, rows: i64, joined: i64) -> u64 {
    row_checksum(
        "digest",
        [
            ValueRef::Integer(version),
            ValueRef::Text(table.as_bytes()),
            ValueRef::Integer(rows),
            ValueRef::Integer(joined),
        ],
    )
}

/// The stored digests of a catalogue of version `version`. A table without a row has none.
pub(super) fn read_digests(connection: &Connection, version: i64) -> Result<Digests> {
    let mut digests = Digests::default();
    let mut statement =
        connection.prepare("SELECT name, row_count, joined, checksum FROM digest")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let (count, joined, expected): (i64, i64, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
        let found = digest_checksum(version, &name, count, joined) as i64;
        let table = Table::ALL.into_iter().find(|table| table.name() == name);
        let (Some(table), true) = (table, found == expected) else {
            return Err(Fault::Damaged(format!(
                "the digest of table `{name}` has checksum {found:016x}, {expected:016x} was written"
            )));
        };
        digests[table as usize] = Digest {
            rows: count as u64,
            joined: joined as u64,
        };
    }
    Ok(digests)
}

/// Checks every row of every table that a catalogue of version `version` has, and every digest;
/// answers the digests.
pub(super) fn check_rows(connection: &Connection, version: i64) -> Result<Digests> {
    let written = read_digests(connection, version)?;
    let tables = Table::ALL.into_iter();
    for table in tables.filter(|table| table.since() <= version) {
        let mut found = Digest::default();
        let mut statement = connection.prepare(table.select())?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            found.add(table.check(row)?.checksum);
        }
        let expected = written[table as usize];
        if found != expected {
            return Err(Fault::Damaged(format!(
                "table `{}` has {} rows with digest {:016x}, {} rows with digest {:016x} were written",
                table.name(),
                found.rows,
                found.joined,
                expected.rows,
                expected.joined
            )));
        }
    }
    Ok(written)
}

/// Lets the SQL library check every page, index and reference.
pub(super) fn check_pages(connection: &Connection) -> Result<()> {
    let told: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if told != "ok" {
        return Err(Fault::Damaged(told));
    }
    let orphan = connection
        .query_row("PRAGMA foreign_key_check", [], |row| {
            row.get::<_, String>(0)
        })
        .optional()?;
    orphan.map_or(Ok(()), |table| {
        Err(Fault::Damaged(format!(
            "a row of table `{table}` belongs to a row that is not there"
        )))
    })
}

/// The version of the catalogue; 0 for an empty file.
pub(super) fn version(connection: &Connection) -> Result<i64> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (version, application) = (pragma("user_version")?, pragma("application_id")?);
    let objects = definitions(connection)?;
    if version == 0 && application == 0 && objects.is_empty() {
        return Ok(0);
    }
    // The digests know the version too: one flipped bit cannot make an old file look new.
    let known = version_of_digests(connection, &objects);
    if application != APPLICATION_ID && known.is_none() {
        return Err(Error::new(
            ErrorKind::Corrupted,
            "the file is no catalogue: it belongs to another program, or its header is damaged",
        )
        .into());
    }
    if application != APPLICATION_ID || known.is_some_and(|known| known != version) {
        return Err(Fault::Damaged(format!(
            "its header says application {application:#x} and version {version}, its tables say \
             application {APPLICATION_ID:#x} and version {}",
            known.unwrap_or(version)
        )));
    }
    if !(1..=VERSION).contains(&version) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the catalogue has version {version}, this program knows versions 1 to {VERSION}; \
                 a newer release wrote it, and can open it"
            ),
        )
        .into());
    }
    let expected = expected_definitions(version)?;
    if let Some(wrong) = objects.iter().find(|object| !expected.contains(object)) {
        return Err(Fault::Damaged(format!(
            "it defines {wrong}, which was never written"
        )));
    }
    if let Some(lost) = expected.iter().find(|object| !objects.contains(object)) {
        return Err(Fault::Damaged(format!("the definition of {lost} is lost")));
    }
    Ok(version)
}

/// The version for which the digests are right, if there is one.
fn version_of_digests(connection: &Connection, objects: &[String]) -> Option<i64> {
    if objects.is_empty() {
        return None;
    }
    (1..=VERSION).rev().find(|&version| {
        read_digests(connection, version).is_ok_and(|digests| digests != Digests::default())
    })
}

/// What the catalogue of a version defines: tables and indexes with their texts.
fn definitions(connection: &Connection) -> Result<Vec<String>> {
    let mut statement = connection.prepare(
        "SELECT type || ' `' || name || '` on ' || tbl_name || ': ' || coalesce(sql, 'implied')
         FROM sqlite_schema ORDER BY 1",
    )?;
    let texts = statement.query_map([], |row| row.get(0))?;
    Ok(texts.collect::<rusqlite::Result<_>>()?)
}

fn expected_definitions(version: i64) -> Result<Vec<String>> {
    let empty = Connection::open_in_memory()?;
    for migration in &MIGRATIONS[..version as usize] {
        empty.execute_batch(migration)?;
    }
    definitions(&empty)
}

/// Brings the catalogue from `version` to [`VERSION`] inside a transaction of the caller.
pub(super) fn migrate(connection: &Connection, version: i64) -> Result<()> {
    for migration in &MIGRATIONS[version as usize..] {
        connection.execute_batch(migration)?;
    }
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    Ok(())
}
