//! The engine and the routes of the server for the Python package `vermilion`: values of Python to columns
//! and back, errors to exceptions, and no logic.
//!
//! What must stay true: the interpreter's lock is given back around every call of the engine; a search of many
//! vectors ends soon after a signal; all decoding is that of the protocol; a process that was forked from the one that opened a database
//! never touches it, since the threads behind it are not there.

mod calls;
#[cfg(feature = "embed")]
mod embed;
mod failure;
mod given;
mod results;
mod values;

use std::cell::Cell;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use numpy::{PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList};
use uuid::Uuid;
use vermilion_engine::asker::Answers;
use vermilion_engine::model::{CollectionId, CollectionScope, Embeddings, Operation, RecordBatch};
use vermilion_engine::{Config, Database};
use vermilion_protocol::{ApiError, arrow, reads, records};
use vermilion_server::{InProcess, ServerConfig};

use crate::results::Singles;

/// How many vectors a search has from which on it looks for signals, which takes a thread.
const QUERIES_MANY: usize = 32;
/// How often it does.
const SIGNALS_EVERY: Duration = Duration::from_millis(50);

/// A key of metadata that chromadb refuses and the database would take; see `vermilion.metadata`.
const KEY_OF_CHROMA: &str = "chroma:document";

/// An open database, until it is closed.
#[pyclass(frozen, module = "vermilion._engine")]
struct Engine {
    database: Held,
    limit: usize,
}

/// An open database, and what answers requests about it once there was one.
struct Open {
    database: Arc<Database>,
    server: Mutex<Option<Arc<InProcess>>>,
}

impl Deref for Open {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

impl Open {
    /// What answers requests, which begins with the first of them.
    fn server(&self) -> Result<Arc<InProcess>, ApiError> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = &*server {
            return Ok(server.clone());
        }
        let opened = InProcess::open(ServerConfig::default(), self.database.clone());
        let opened = opened.map_err(|error| ApiError::new(500, error.to_string()))?;
        Ok(server.insert(Arc::new(opened)).clone())
    }

    /// Ends what answers requests, which are left.
    fn end_server(&self) {
        let server = self
            .server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(server) = server {
            self.database.end_waits();
            server.close();
        }
    }
}

/// The database, gone once it is closed, and the process that opened it.
struct Held {
    database: Mutex<Option<Arc<Open>>>,
    process: u32,
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Open>>> {
        // What it guards is whole at every moment, whoever panics.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self) -> Result<Arc<Open>, ApiError> {
        // Before the lock, which a thread that was not forked may have held.
        if self.process != std::process::id() {
            return Err(ApiError::new(
                503,
                "This database was opened before the process was forked; open it anew in the new \
                 process, or start processes with the method `spawn`. A folder can be open in one \
                 process at a time; several share it through a server.",
            ));
        }
        let closed = || ApiError::new(503, "This database was closed; open it anew.");
        self.lock().clone().ok_or_else(closed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            // Closing would wait for threads that only the process before the fork has.
            let database = std::mem::take(&mut self.database);
            let _left = std::mem::ManuallyDrop::new(database);
        }
    }
}

/// Which collection: tenant, database, id.
type Names = (String, String, String);

#[expect(
    clippy::needless_pass_by_value,
    reason = "arguments of Python come as values"
)]
#[pymethods]
impl Engine {
    /// Opens the folder `path`, made where it is not there; a database in memory without one.
    #[new]
    #[pyo3(signature = (path=None))]
    fn open(py: Python<'_>, path: Option<String>) -> PyResult<Self> {
        let opened = py.detach(|| {
            let config = match path {
                Some(path) => Config::at(path)?,
                None => Config::in_memory(),
            };
            Database::open(config)
        });
        let database = opened.map_err(|error| failure::exception(py, &error.into()))?;
        Ok(Self {
            limit: database.limits().batch_records_max,
            database: Held {
                database: Mutex::new(Some(Arc::new(Open {
                    database: Arc::new(database),
                    server: Mutex::default(),
                }))),
                process: std::process::id(),
            },
        })
    }

    /// Ends the waits of others, refuses what comes later, leaves the log with a clean end, and gives
    /// the folder back once calls that run have ended.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, |database| {
            self.database.lock().take();
            database.end_server();
            Ok(database.close()?)
        })
    }

    /// Nanoseconds since 1970.
    fn heartbeat(&self, py: Python<'_>) -> PyResult<u64> {
        self.run(py, |database| Ok(database.now_nanoseconds()))
    }

    /// Records in one batch at most.
    #[getter]
    fn max_batch_size(&self) -> usize {
        self.limit
    }

    /// Carries out `operation` on what `names` names; body and answer are JSON as over HTTP.
    fn call<'py>(
        &self,
        py: Python<'py>,
        operation: &str,
        names: Vec<String>,
        body: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let answer = self.run(py, |database| {
            calls::call(database, operation, &names, body)
        })?;
        Ok(PyBytes::new(py, &answer))
    }

    /// Asks the routes of a server, within this process: `form` is the media type of `body`. Answers the status,
    /// the media type and the body; the pieces of an answer with 200 go to `take` instead, where it is given.
    #[pyo3(signature = (method, path, form=None, body=None, take=None))]
    fn ask<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        path: &str,
        form: Option<&str>,
        body: Option<&[u8]>,
        take: Option<Bound<'py, PyAny>>,
    ) -> PyResult<(u16, String, Bound<'py, PyBytes>)> {
        let body = body.unwrap_or_default().to_vec();
        let broken = |error: std::io::Error| ApiError::new(503, error.to_string());
        let mut answered = self.run(py, |open| {
            open.server()?.ask(method, path, form, body).map_err(broken)
        })?;
        let take = take.filter(|_| answered.status == 200);
        let mut whole = Vec::new();
        loop {
            let piece = py.detach(|| answered.piece());
            let piece = piece.map_err(|error| failure::exception(py, &broken(error)))?;
            match (piece, &take) {
                (None, _) => break,
                (Some(piece), Some(take)) => drop(take.call1((PyBytes::new(py, &piece),))?),
                (Some(piece), None) => whole.extend_from_slice(&piece),
            }
        }
        Ok((answered.status, answered.kind, PyBytes::new(py, &whole)))
    }

    /// Writes records: `operation` is `add`, `update` or `upsert`; `columns` a dictionary with `ids`
    /// and any of `documents`, `uris`, `metadatas`; `embeddings` a block of vectors. `look` is called before anything is
    /// written where the metadata is not as nearly all of it is, and raises what is wrong with it. Answers the first and
    /// last SeqId.
    fn write(
        &self,
        py: Python<'_>,
        names: Names,
        operation: &str,
        columns: &Bound<'_, PyDict>,
        embeddings: Option<PyReadonlyArray2<'_, f32>>,
        look: Option<Bound<'_, PyAny>>,
    ) -> PyResult<(u64, u64)> {
        let is_odd = Cell::new(false);
        let decode = || {
            let operation = operation_named(operation)?;
            let embeddings = embeddings.map(|block| vectors(&block)).transpose()?;
            let columns = values::Value::columns(columns.as_any(), &is_odd);
            records::decode_columns(columns, embeddings, operation, self.limit)
        };
        let decoded = decode();
        let is_usual = |batch: &RecordBatch| {
            !is_odd.get() && batch.metadata.key_number(KEY_OF_CHROMA).is_none()
        };
        if let Some(look) = look
            && !decoded.as_ref().is_ok_and(is_usual)
        {
            look.call0()?;
        }
        let batch = decoded.map_err(|error| failure::exception(py, &error))?;
        let seqs = self.run(py, |database| Ok(database.write(scope(&names)?, batch)?))?;
        Ok((seqs.first.0, seqs.last.0))
    }

    /// Records by the body of `get`.
    fn get<'py>(&self, py: Python<'py>, names: Names, body: &[u8]) -> PyResult<Bound<'py, PyDict>> {
        let fetched = self.run(py, |database| {
            let asked = reads::decode_get(body)?;
            Ok(database.get(scope(&names)?, &asked.request)?)
        })?;
        results::fetched(py, fetched, Singles::Exact)
    }

    /// The nearest records to each vector of `queries`, by a body of `query` that has no vectors.
    fn query<'py>(
        &self,
        py: Python<'py>,
        names: Names,
        queries: PyReadonlyArray2<'_, f32>,
        body: &[u8],
    ) -> PyResult<Bound<'py, PyList>> {
        let queries = vectors(&queries).map_err(|error| failure::exception(py, &error))?;
        let is_long = queries.len() >= QUERIES_MANY;
        let work = |database: &Open| {
            let mut asked = reads::decode_query(body)?;
            asked.request.embeddings = queries;
            Ok(database.query(scope(&names)?, &asked.request)?)
        };
        let nearest = if is_long {
            self.run_until_signal(py, work)
        } else {
            self.run(py, work)
        };
        results::nearest(py, nearest?)
    }
}

impl Engine {
    /// Runs `work` without the interpreter's lock.
    fn run<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Open) -> Result<T, ApiError> + Send,
    ) -> PyResult<T> {
        let done = self.database.get().and_then(|database| {
            py.detach(|| {
                let done = work(&database);
                // Whoever lets go of it last closes it, which is no work for the holder of the lock.
                drop(database);
                done
            })
        });
        done.map_err(|error| failure::exception(py, &error))
    }
}

impl Engine {
    /// The same on a thread of its own, while this one looks for signals: one that raises, as Ctrl-C does,
    /// ends the work.
    fn run_until_signal<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&Open) -> Result<T, ApiError> + Send,
    ) -> PyResult<T> {
        let database = self.database.get();
        let database = database.map_err(|error| failure::exception(py, &error))?;
        let asker = Answers::new(u64::MAX).asker();
        let (waiting, is_done) = (thread::current(), AtomicBool::new(false));
        let done = thread::scope(|scope| {
            let body = || {
                let done = asker.serve(|| work(&database));
                is_done.store(true, Ordering::Release);
                waiting.unpark();
                done
            };
            let named = thread::Builder::new().name("vermilion-query".to_owned());
            let worker = named.spawn_scoped(scope, body)?;
            let mut signal = Ok(());
            while signal.is_ok() && !is_done.load(Ordering::Acquire) && !worker.is_finished() {
                py.detach(|| thread::park_timeout(SIGNALS_EVERY));
                signal = py.check_signals();
            }
            if signal.is_err() {
                asker.leave();
            }
            let done = py.detach(|| worker.join());
            signal?;
            PyResult::Ok(done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        // Whoever lets go of it last closes it, which is no work for the holder of the lock.
        py.detach(|| drop(database));
        done?.map_err(|error| failure::exception(py, &error))
    }
}

fn operation_named(name: &str) -> Result<Operation, ApiError> {
    match name {
        "add" => Ok(Operation::Add),
        "update" => Ok(Operation::Update),
        "upsert" => Ok(Operation::Upsert),
        _ => Err(ApiError::invalid(format!(
            "{name} is no way to write records; add, update and upsert are"
        ))),
    }
}

fn scope(names: &Names) -> Result<CollectionScope<'_>, ApiError> {
    let id = Uuid::try_parse(&names.2)
        .map_err(|_| ApiError::invalid("Collection ID is not a valid UUIDv4"))?;
    Ok(CollectionScope {
        tenant: &names.0,
        database: &names.1,
        id: CollectionId(id),
    })
}

/// The vectors of a block, copied once: the array stays the caller's, to be changed at will.
fn vectors(block: &PyReadonlyArray2<'_, f32>) -> Result<Embeddings, ApiError> {
    let dimension = block.shape()[1];
    let values = block
        .as_slice()
        .map_err(|_| ApiError::invalid("A block of vectors must be contiguous, row after row"))?;
    Embeddings::new(dimension, values.to_vec())
        .ok_or_else(|| ApiError::invalid("Each embedding must have at least 1 dimension"))
}

/// Reads the answer of a server to `get` as the stream of Arrow that it is. Bytes are read where they are.
#[pyfunction]
fn read_fetched(py: Python<'_>, body: PyBackedBytes) -> PyResult<Bound<'_, PyDict>> {
    let read = py.detach(|| arrow::read_fetched(Bytes::from_owner(body)));
    let answered = read.map_err(|error| failure::exception(py, &error))?;
    let answer = results::answered(py, answered)?;
    answer.del_item("distances")?;
    Ok(answer)
}

/// The same of the answer to `query` with `queries` vectors.
#[pyfunction]
fn read_nearest(
    py: Python<'_>,
    body: PyBackedBytes,
    queries: usize,
) -> PyResult<Bound<'_, PyList>> {
    let read = py.detach(|| arrow::read_nearest(Bytes::from_owner(body), queries));
    let answered = read.map_err(|error| failure::exception(py, &error))?;
    let list = PyList::empty(py);
    for one in answered {
        list.append(results::answered(py, one)?)?;
    }
    Ok(list)
}

/// The native part of the package.
#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    #[cfg(feature = "embed")]
    module.add_class::<embed::Model>()?;
    module.add_function(wrap_pyfunction!(given::all_finite, module)?)?;
    module.add_function(wrap_pyfunction!(given::block_of, module)?)?;
    module.add_function(wrap_pyfunction!(given::held, module)?)?;
    module.add_function(wrap_pyfunction!(given::odd_values, module)?)?;
    module.add_function(wrap_pyfunction!(read_fetched, module)?)?;
    module.add_function(wrap_pyfunction!(read_nearest, module)?)?;
    module.add_class::<Engine>()
}
