//! What the behaviour tests share: a seeded source of choices, a naive model of a database, and
//! the comparison of the two.
//!
//! What must stay true: the model is written from the API's description, record by record, and
//! shares no code with the engine.

use std::collections::BTreeMap;
use std::path::Path;

use vermilion_engine::model::{
    CollectionScope, Consistency, Embeddings, GetRequest, Include, MetadataColumn, NewCollection,
    Operation, ReadLevel, RecordBatch, Schema, Value,
};
use vermilion_engine::{Config, Database};

/// The tenant and database of every test.
pub(crate) const TENANT: &str = "default_tenant";
/// See [`TENANT`].
pub(crate) const DATABASE: &str = "default_database";
/// Numbers in the vectors of random batches.
pub(crate) const DIMENSION: usize = 3;

/// A seeded source of choices (splitmix64).
pub(crate) struct Choices(pub(crate) u64);

impl Choices {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True once in `n` times.
    pub(crate) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A record as the model has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelRecord {
    /// Its id.
    pub(crate) id: String,
    /// Its vector.
    pub(crate) vector: Vec<f32>,
    /// Its document.
    pub(crate) document: Option<String>,
    /// Its uri.
    pub(crate) uri: Option<String>,
    /// Its metadata.
    pub(crate) metadata: BTreeMap<String, Value>,
}

/// A collection as the model has it: records in the order of their insertion.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ModelCollection {
    /// The records.
    pub(crate) records: Vec<ModelRecord>,
}

impl ModelCollection {
    /// Does what `batch` asks.
    pub(crate) fn apply(&mut self, batch: &RecordBatch) {
        for row in 0..batch.len() {
            let id = batch.ids.get(row);
            let at = self.records.iter().position(|record| record.id == id);
            match (batch.operations[row], at) {
                (Operation::Delete, Some(at)) => {
                    self.records.remove(at);
                }
                (Operation::Add | Operation::Upsert, None) => {
                    let mut record = ModelRecord {
                        id: id.to_owned(),
                        vector: Vec::new(),
                        document: None,
                        uri: None,
                        metadata: BTreeMap::new(),
                    };
                    merge(&mut record, batch, row);
                    self.records.push(record);
                }
                (Operation::Update | Operation::Upsert, Some(at)) => {
                    merge(&mut self.records[at], batch, row);
                }
                (Operation::Delete | Operation::Update, None) | (Operation::Add, Some(_)) => {}
            }
        }
    }
}

fn merge(record: &mut ModelRecord, batch: &RecordBatch, row: usize) {
    if let Some(vector) = batch.embeddings.get(row) {
        record.vector = vector.to_vec();
    }
    if let Some(document) = batch.documents.get(row) {
        record.document = Some(document.to_owned());
    }
    if let Some(uri) = batch.uris.get(row) {
        record.uri = Some(uri.to_owned());
    }
    for (key, value) in batch.metadata.row(row) {
        if *value == Value::Null {
            record.metadata.remove(key);
        } else {
            record.metadata.insert(key.to_owned(), value.clone());
        }
    }
}

/// A batch of up to `rows_max` random operations on ids of a small set, so that they meet.
pub(crate) fn random_batch(choices: &mut Choices, ids: usize, rows_max: usize) -> RecordBatch {
    let rows = 1 + choices.below(rows_max);
    let mut batch = RecordBatch::default();
    let uniform = choices.once_in(2).then(|| random_operation(choices));
    let (mut values, mut present) = (Vec::new(), Vec::new());
    let mut metadata = MetadataColumn::default();
    for _ in 0..rows {
        let operation = uniform.unwrap_or_else(|| random_operation(choices));
        let inserts = matches!(operation, Operation::Add | Operation::Upsert);
        batch.operations.push(operation);
        batch.ids.push(&format!("id{}", choices.below(ids)));
        let has_vector = inserts || (operation == Operation::Update && choices.once_in(2));
        present.push(has_vector);
        for _ in 0..DIMENSION {
            values.push(if has_vector {
                choices.below(1000) as f32
            } else {
                0.0
            });
        }
        let deletes = operation == Operation::Delete;
        let document = (!deletes && choices.once_in(2)).then(|| random_text(choices));
        batch.documents.push(document.as_deref());
        let uri = (!deletes && choices.once_in(8)).then(|| format!("uri:{}", choices.below(9)));
        batch.uris.push(uri.as_deref());
        if !deletes {
            push_random_metadata(choices, operation, &mut metadata);
        }
        metadata.finish_row();
    }
    batch.metadata = metadata;
    batch.embeddings = if present.contains(&true) {
        Embeddings::with_absent(DIMENSION, values, present).expect("whole rows")
    } else {
        Embeddings::default()
    };
    batch
}

fn random_operation(choices: &mut Choices) -> Operation {
    match choices.below(10) {
        0..=3 => Operation::Add,
        4..=5 => Operation::Update,
        6..=7 => Operation::Upsert,
        _ => Operation::Delete,
    }
}

fn random_text(choices: &mut Choices) -> String {
    let words = [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "\u{e9}clair",
        "%_\\",
        "line\nbreak",
    ];
    let count = choices.below(6);
    (0..count)
        .map(|_| words[choices.below(words.len())])
        .collect::<Vec<_>>()
        .join(" ")
}

fn push_random_metadata(
    choices: &mut Choices,
    operation: Operation,
    metadata: &mut MetadataColumn,
) {
    for key in ["color", "size", "weight", "seen", "tags"] {
        if !choices.once_in(2) {
            continue;
        }
        let value = match (key, choices.below(12)) {
            (_, 0) if operation != Operation::Add => Value::Null,
            ("color", _) => Value::Str(format!("c{}", choices.below(4)).into()),
            ("size", 1) => Value::Str("large".into()),
            ("size", _) => Value::Int(choices.below(20) as i64 - 10),
            ("weight", _) => Value::Float(choices.below(40) as f64 / 4.0),
            ("seen", _) => Value::Bool(choices.once_in(2)),
            _ => Value::Strs(vec![format!("t{}", choices.below(3)), "all".to_owned()].into()),
        };
        let number = metadata.intern(key);
        metadata.push_cell(number, value);
    }
}

/// Makes a collection called `name` and answers its id.
pub(crate) fn create(database: &Database, name: &str) -> vermilion_engine::Result<()> {
    database
        .create_collection(NewCollection {
            tenant: TENANT.to_owned(),
            database: DATABASE.to_owned(),
            name: name.to_owned(),
            metadata: None,
            schema: Schema::default(),
            get_or_create: false,
        })
        .map(|_| ())
}

/// Makes a fork of the collection called `source`.
pub(crate) fn fork(database: &Database, source: &str, name: &str) -> vermilion_engine::Result<()> {
    with_scope(database, source, |scope| {
        database.fork_collection(scope, name).map(|_| ())
    })
}

/// Calls `act` with the scope of the collection called `name`.
pub(crate) fn with_scope<T>(
    database: &Database,
    name: &str,
    act: impl FnOnce(CollectionScope<'_>) -> vermilion_engine::Result<T>,
) -> vermilion_engine::Result<T> {
    let id = database.collection(TENANT, DATABASE, name)?.id;
    act(CollectionScope {
        tenant: TENANT,
        database: DATABASE,
        id,
    })
}

/// Every column of an answer.
pub(crate) fn everything() -> Include {
    Include {
        documents: true,
        metadatas: true,
        embeddings: true,
        uris: true,
        distances: false,
    }
}

/// Sees everything that was acknowledged, whatever the collection's way is.
pub(crate) fn everything_acknowledged() -> Consistency {
    Consistency {
        read_level: Some(ReadLevel::IndexAndWal),
        ..Consistency::default()
    }
}

/// The records of the collection called `name` as the engine answers them; nobody writes to it.
pub(crate) fn read_all(
    database: &Database,
    name: &str,
) -> vermilion_engine::Result<ModelCollection> {
    let read = read_beside_writers(database, name)?;
    let count = with_scope(database, name, |scope| {
        database.count_seeing(scope, everything_acknowledged())
    })?;
    assert_eq!(
        count,
        read.records.len() as u64,
        "count and get disagree in {name}"
    );
    Ok(read)
}

/// The same where others may write meanwhile.
pub(crate) fn read_beside_writers(
    database: &Database,
    name: &str,
) -> vermilion_engine::Result<ModelCollection> {
    let request = GetRequest {
        include: everything(),
        consistency: everything_acknowledged(),
        ..GetRequest::default()
    };
    let got = with_scope(database, name, |scope| database.get(scope, &request))?;
    let (vectors, documents) = (got.embeddings.unwrap_or_default(), got.documents);
    let (uris, metadatas) = (
        got.uris.expect("asked for"),
        got.metadatas.expect("asked for"),
    );
    let documents = documents.expect("asked for");
    let record = |row: usize| ModelRecord {
        id: got.ids.get(row).to_owned(),
        vector: vectors
            .get(row)
            .expect("every record has a vector")
            .to_vec(),
        document: documents.get(row).map(str::to_owned),
        uri: uris.get(row).map(str::to_owned),
        metadata: metadatas
            .row(row)
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect(),
    };
    Ok(ModelCollection {
        records: (0..got.ids.len()).map(record).collect(),
    })
}

/// A configuration without background threads and with sizes so small that everything happens.
pub(crate) fn small(config: Config) -> Config {
    let mut config = config;
    config.upkeep.background = false;
    config.upkeep.log_file_bytes = 8 << 10;
    config.upkeep.log_bytes = 32 << 10;
    config.upkeep.seal_rows = 64;
    config.upkeep.merge_fan_out = 3;
    config.limits.free_disk_bytes_min = 0;
    config
}

/// The same on the folder `path`, which is made if it is not there.
pub(crate) fn on_disk(path: &Path) -> Config {
    small(Config::at(path).expect("the folder is free"))
}
