//! The data folder of Chroma 1.x: `chroma.sqlite3` and a folder of HNSW files for each collection.
//!
//! What must stay true: everything is read in one transaction. Chroma writes operations to a queue
//! first and applies them to its tables and to its index later, each at its own pace: what the
//! queue holds beyond either is applied here.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};
use serde_json::{Map, Value, json};

use super::vectors::{Operation, Vectors};
use super::{Described, server};
use crate::failure::Failure;
use crate::transfer::Record;

/// The metadata key of a record's document.
const DOCUMENT: &str = "chroma:document";
/// The metadata key of a record's uri.
const URI: &str = "chroma:uri";

/// An opened folder.
pub(super) struct Folder {
    path: PathBuf,
    connection: Connection,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::new(format!("chroma.sqlite3 cannot be read: {error}"))
            .hint("is it a folder of Chroma 0.6 or 1.x that no program has open?")
    }
}

impl Folder {
    /// Opens the folder at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let file = path.join("chroma.sqlite3");
        if !file.is_file() {
            return Err(
                Failure::new(format!("{} is no data folder of Chroma", path.display()))
                    .hint("name a folder with a chroma.sqlite3 in it, or the address of a server"),
            );
        }
        let connection = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.execute_batch("BEGIN")?;
        Ok(Self {
            path: path.to_owned(),
            connection,
        })
    }

    fn has(&self, table: &str, column: &str) -> Result<bool, Failure> {
        let sql = "SELECT count(*) FROM pragma_table_info(?1) WHERE name = ?2";
        let count: u32 = self
            .connection
            .query_row(sql, (table, column), |row| row.get(0))?;
        Ok(count > 0)
    }

    pub(super) fn collections(&self) -> Result<Vec<Described>, Failure> {
        let column = |name: &str| -> Result<String, Failure> {
            let there = self.has("collections", name)?;
            Ok(if there {
                format!("c.{name}")
            } else {
                "NULL".to_owned()
            })
        };
        let sql = format!(
            "SELECT c.id, d.tenant_id, d.name, c.name, {}, {} FROM collections c \
             JOIN databases d ON d.id = c.database_id ORDER BY d.tenant_id, d.name, c.name",
            column("schema_str")?,
            column("config_json_str")?
        );
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            found.push(Described {
                tenant: row.get(1)?,
                database: row.get(2)?,
                name: row.get(3)?,
                metadata: self.collection_metadata(&id)?,
                settings: settings(row.get(4)?, row.get(5)?)?,
            });
        }
        Ok(found)
    }

    fn collection_metadata(&self, id: &str) -> Result<Option<Map<String, Value>>, Failure> {
        let booleans = self.has("collection_metadata", "bool_value")?;
        let boolean = if booleans { "bool_value" } else { "NULL" };
        let sql = format!(
            "SELECT key, str_value, int_value, float_value, {boolean} FROM collection_metadata \
             WHERE collection_id = ?1"
        );
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([id])?;
        let mut metadata = Map::new();
        while let Some(row) = rows.next()? {
            metadata.insert(row.get(0)?, cell(row, 1)?);
        }
        Ok((!metadata.is_empty()).then_some(metadata))
    }

    pub(super) fn records(&self, of: &Described) -> Result<Records<'_>, Failure> {
        let sql = "SELECT c.id FROM collections c JOIN databases d ON d.id = c.database_id \
                   WHERE d.tenant_id = ?1 AND d.name = ?2 AND c.name = ?3";
        let names = (&of.tenant, &of.database, &of.name);
        let id: String = self.connection.query_row(sql, names, |row| row.get(0))?;
        let segment = |scope: &str| -> Result<Option<String>, Failure> {
            let sql = "SELECT id FROM segments WHERE collection = ?1 AND scope = ?2";
            let found = self
                .connection
                .query_row(sql, (&id, scope), |row| row.get(0));
            Ok(found.optional()?)
        };
        let applied = |segment: &str| -> Result<i64, Failure> {
            let sql = "SELECT seq_id FROM max_seq_id WHERE segment_id = ?1";
            let found = self
                .connection
                .query_row(sql, [segment], |row| Ok(number(row.get_ref(0)?)));
            Ok(found.optional()?.unwrap_or(-1))
        };
        let sql = "SELECT topic FROM embeddings_queue WHERE topic LIKE '%/' || ?1 LIMIT 1";
        let topic = self.connection.query_row(sql, [&id], |row| row.get(0));
        let topic: String = topic.optional()?.unwrap_or_default();
        let metadata = segment("METADATA")?.unwrap_or_default();
        let vector = segment("VECTOR")?.unwrap_or_default();
        let vectors = Vectors::open(
            &self.path.join(&vector),
            &self.connection,
            &topic,
            applied(&vector)?,
            of.is_cosine(),
        )?;
        Records::open(self, vectors, metadata.clone(), &topic, applied(&metadata)?)
    }
}

/// The configuration of a collection as a request has it.
fn settings(
    schema: Option<String>,
    configuration: Option<String>,
) -> Result<Option<(&'static str, Value)>, Failure> {
    let parse = |text: &str| {
        serde_json::from_str::<Value>(text).map_err(|error| {
            Failure::new(format!("the settings of a collection are no JSON: {error}"))
        })
    };
    if let Some(schema) = schema {
        return Ok(Some(("schema", parse(&schema)?)));
    }
    let Some(configuration) = configuration else {
        return Ok(None);
    };
    let stored = server::configuration(&parse(&configuration)?);
    let known = stored.get("hnsw").or(stored.get("spann")).is_some();
    Ok(known.then_some(("configuration", stored)))
}

/// A number that older folders hold as bytes, the most significant first.
fn number(value: ValueRef<'_>) -> i64 {
    match value {
        ValueRef::Integer(number) => number,
        ValueRef::Blob(bytes) => bytes
            .iter()
            .fold(0, |sum, byte| (sum << 8) | i64::from(*byte)),
        _ => -1,
    }
}

/// The one of the columns string, integer, float and boolean, from `first` on, that has a value.
fn cell(row: &Row<'_>, first: usize) -> Result<Value, Failure> {
    if let Some(text) = row.get::<_, Option<String>>(first)? {
        return Ok(json!(text));
    }
    if let Some(number) = row.get::<_, Option<i64>>(first + 1)? {
        return Ok(json!(number));
    }
    if let Some(number) = row.get::<_, Option<f64>>(first + 2)? {
        return Ok(json!(number));
    }
    Ok(row
        .get::<_, Option<bool>>(first + 3)?
        .map_or(Value::Null, Value::Bool))
}

/// How the queue changes a record beyond what the tables hold.
#[derive(Clone, Debug)]
enum Change {
    /// Cells to set, or with null to remove, one operation after the other.
    Merged(Vec<Map<String, Value>>),
    /// Written anew, after it was deleted or for the first time.
    New(Vec<Map<String, Value>>),
    /// Deleted.
    Gone,
}

/// The records of one collection.
pub(super) struct Records<'a> {
    folder: &'a Folder,
    vectors: Vectors,
    /// Rows of the table `embeddings` by id.
    rows: HashMap<String, i64>,
    order: Vec<String>,
    changes: HashMap<String, Change>,
    has_lists: bool,
}

impl<'a> Records<'a> {
    fn open(
        folder: &'a Folder,
        vectors: Vectors,
        segment: String,
        topic: &str,
        applied: i64,
    ) -> Result<Self, Failure> {
        let sql = "SELECT id, embedding_id FROM embeddings WHERE segment_id = ?1 ORDER BY id";
        let mut statement = folder.connection.prepare(sql)?;
        let mut rows = statement.query([segment])?;
        let (mut order, mut by_id) = (Vec::new(), HashMap::new());
        while let Some(row) = rows.next()? {
            let id: String = row.get(1)?;
            by_id.insert(id.clone(), row.get(0)?);
            order.push(id);
        }
        let mut records = Self {
            folder,
            vectors,
            rows: by_id,
            order,
            changes: HashMap::new(),
            has_lists: folder.has("embedding_metadata_array", "key")?,
        };
        records.follow_queue(topic, applied)?;
        Ok(records)
    }

    /// Applies what the queue holds beyond the tables.
    fn follow_queue(&mut self, topic: &str, applied: i64) -> Result<(), Failure> {
        let mut statement = self.folder.connection.prepare(
            "SELECT operation, id, metadata FROM embeddings_queue \
             WHERE topic = ?1 AND seq_id > ?2 ORDER BY seq_id",
        )?;
        let mut rows = statement.query((topic, applied))?;
        let mut news = BTreeMap::new();
        let mut number = 0_u64;
        while let Some(row) = rows.next()? {
            number += 1;
            let id: String = row.get(1)?;
            let text: Option<String> = row.get(2)?;
            let cells = text.map(|text| serde_json::from_str(&text)).transpose();
            let cells: Option<Map<String, Value>> = cells.map_err(|error| {
                Failure::new(format!("an operation of the queue is no JSON: {error}"))
            })?;
            let there = match self.changes.get(&id) {
                Some(change) => !matches!(change, Change::Gone),
                None => self.rows.contains_key(&id),
            };
            match Operation::of(row.get(0)?)? {
                Operation::Delete => {
                    news.retain(|_, new| *new != id);
                    self.changes.insert(id, Change::Gone);
                }
                Operation::Add if there => {}
                Operation::Update if !there => {}
                _ if there => {
                    let change = self.changes.entry(id);
                    let change = change.or_insert(Change::Merged(Vec::new()));
                    if let Change::Merged(all) | Change::New(all) = change {
                        all.extend(cells);
                    }
                }
                _ => {
                    news.insert(number, id.clone());
                    self.changes
                        .insert(id, Change::New(cells.into_iter().collect()));
                }
            }
        }
        let changes = &self.changes;
        let stays = |id: &String| !matches!(changes.get(id), Some(Change::Gone | Change::New(_)));
        self.order.retain(stays);
        self.order.extend(news.into_values());
        Ok(())
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.order.clone()
    }

    pub(super) fn get(&self, ids: &[String]) -> Result<Vec<Record>, Failure> {
        ids.iter().map(|id| self.record(id)).collect()
    }

    fn record(&self, id: &str) -> Result<Record, Failure> {
        let change = self.changes.get(id);
        let mut cells = match (change, self.rows.get(id)) {
            (Some(Change::New(_)), _) | (_, None) => Map::new(),
            (_, Some(row)) => self.stored_cells(*row)?,
        };
        if let Some(Change::New(all) | Change::Merged(all)) = change {
            cells.extend(
                all.iter()
                    .flatten()
                    .map(|(key, value)| (key.clone(), value.clone())),
            );
        }
        cells.retain(|_, value| !value.is_null());
        let mut take = |key: &str| match cells.remove(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let (document, uri) = (take(DOCUMENT), take(URI));
        Ok(Record {
            id: id.to_owned(),
            embedding: self.vectors.get(&self.folder.connection, id)?,
            document,
            uri,
            metadata: (!cells.is_empty()).then_some(cells),
        })
    }

    fn stored_cells(&self, row: i64) -> Result<Map<String, Value>, Failure> {
        let mut cells = Map::new();
        let mut statement = self.folder.connection.prepare_cached(
            "SELECT key, string_value, int_value, float_value, bool_value \
             FROM embedding_metadata WHERE id = ?1",
        )?;
        let mut rows = statement.query([row])?;
        while let Some(row) = rows.next()? {
            cells.insert(row.get(0)?, cell(row, 1)?);
        }
        if self.has_lists {
            let mut statement = self.folder.connection.prepare_cached(
                "SELECT key, string_value, int_value, float_value, bool_value \
                 FROM embedding_metadata_array WHERE id = ?1 ORDER BY rowid",
            )?;
            let mut rows = statement.query([row])?;
            while let Some(row) = rows.next()? {
                let list = cells.entry(row.get::<_, String>(0)?).or_insert(json!([]));
                if let Value::Array(items) = list {
                    items.push(cell(row, 1)?);
                }
            }
        }
        Ok(cells)
    }
}
