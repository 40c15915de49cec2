//! Columns of answers as values of Python: vectors as arrays of NumPy that own the block they were
//! answered in, everything else as lists.
//!
//! What must stay true: what came from a server as Arrow has the very numbers that JSON would have given.

use numpy::PyArrayMethods;
use numpy::{PyArray1, PyArray2};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use vermilion_engine::model::{
    Embeddings, Fetched, MetadataColumn, Nearest, OptionalStrings, SparseVector, Strings, Value,
};
use vermilion_protocol::answers::is_shown;
use vermilion_protocol::arrow::{Answered, Vectors};

/// How numbers of single precision become those of Python, which are of double precision.
#[derive(Clone, Copy)]
pub(crate) enum Singles {
    /// As they are.
    Exact,
    /// By the shortest decimal that stands for them, which is what JSON has.
    Decimal,
}

impl Singles {
    fn double(self, value: f32) -> f64 {
        match self {
            Self::Exact => f64::from(value),
            Self::Decimal => value.to_string().parse().unwrap_or(f64::from(value)),
        }
    }
}

/// The answer to `get`: `{"ids": [...], "embeddings": array or None, ...}`.
pub(crate) fn fetched(
    py: Python<'_>,
    fetched: Fetched,
    singles: Singles,
) -> PyResult<Bound<'_, PyDict>> {
    let answer = PyDict::new(py);
    answer.set_item("ids", strings(py, &fetched.ids)?)?;
    let rows = fetched.ids.len();
    let vectors = fetched.embeddings.map(|one| block(py, one, rows));
    answer.set_item("embeddings", vectors.transpose()?)?;
    let texts =
        |column: Option<OptionalStrings>| column.map(|column| optional(py, &column)).transpose();
    answer.set_item("documents", texts(fetched.documents)?)?;
    answer.set_item("uris", texts(fetched.uris)?)?;
    let metadatas = fetched.metadatas;
    let metadatas = metadatas.map(|column| metadata(py, &column, singles));
    answer.set_item("metadatas", metadatas.transpose()?)?;
    Ok(answer)
}

/// The answer to `query`: of each query vector what `get` answers, and `distances`.
pub(crate) fn nearest(py: Python<'_>, answers: Vec<Nearest>) -> PyResult<Bound<'_, PyList>> {
    let list = PyList::empty(py);
    for one in answers {
        let answer = fetched(py, one.records, Singles::Exact)?;
        answer.set_item("distances", PyList::new(py, one.distances)?)?;
        list.append(answer)?;
    }
    Ok(list)
}

/// The same of what a server answered; without `distances` where it told none.
pub(crate) fn answered(py: Python<'_>, answer: Answered) -> PyResult<Bound<'_, PyDict>> {
    let told = fetched(py, answer.records, Singles::Decimal)?;
    if let Some(vectors) = answer.vectors {
        told.set_item("embeddings", copied(py, vectors)?)?;
    }
    let double = |value: Option<f32>| value.map(|value| Singles::Decimal.double(value));
    let distances = answer.distances;
    let distances = distances.map(|column| PyList::new(py, column.into_iter().map(double)));
    told.set_item("distances", distances.transpose()?)?;
    Ok(told)
}

/// An array of vectors that are part of an answer, which goes: it is the caller's, to be changed at will.
fn copied(py: Python<'_>, vectors: Vectors) -> PyResult<Bound<'_, PyArray2<f32>>> {
    let dimension = vectors.dimension();
    let array = vectors.take(
        |part| PyArray1::from_slice(py, part),
        |all| PyArray1::from_vec(py, all),
    );
    let rows = array.len()?.checked_div(dimension).unwrap_or(0);
    array.reshape([rows, dimension])
}

fn strings<'py>(py: Python<'py>, column: &Strings) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, column.iter())
}

fn optional<'py>(py: Python<'py>, column: &OptionalStrings) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, column.iter())
}

/// An array of `rows` vectors; it owns the block, which is not copied.
fn block(py: Python<'_>, vectors: Embeddings, rows: usize) -> PyResult<Bound<'_, PyArray2<f32>>> {
    let dimension = vectors.dimension();
    let rows = if dimension == 0 { 0 } else { rows };
    PyArray1::from_vec(py, vectors.into_values()).reshape([rows, dimension])
}

fn metadata<'py>(
    py: Python<'py>,
    column: &MetadataColumn,
    singles: Singles,
) -> PyResult<Bound<'py, PyList>> {
    // Each key is made once, whatever number of records has it.
    let keys: Vec<Option<Bound<'py, PyString>>> = column
        .keys()
        .iter()
        .map(|key| is_shown(key).then(|| PyString::new(py, key)))
        .collect();
    let list = PyList::empty(py);
    for row in 0..column.len() {
        let members = PyDict::new(py);
        for (key, value) in column.cells(row) {
            if let Some(key) = &keys[*key as usize] {
                members.set_item(key, cell(py, value, singles)?)?;
            }
        }
        list.append((!members.is_empty()).then_some(members))?;
    }
    Ok(list)
}

fn cell<'py>(py: Python<'py>, value: &Value, singles: Singles) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::Null => Ok(py.None().into_bound(py)),
        Value::Bool(value) => value.into_bound_py_any(py),
        Value::Int(value) => value.into_bound_py_any(py),
        Value::Float(value) => value.into_bound_py_any(py),
        Value::Str(value) => value.into_bound_py_any(py),
        Value::Bools(list) => list.into_bound_py_any(py),
        Value::Ints(list) => list.into_bound_py_any(py),
        Value::Floats(list) => list.into_bound_py_any(py),
        Value::Strs(list) => list.into_bound_py_any(py),
        Value::Sparse(vector) => sparse(py, vector, singles),
    }
}

fn sparse<'py>(
    py: Python<'py>,
    vector: &SparseVector,
    singles: Singles,
) -> PyResult<Bound<'py, PyAny>> {
    let make = py.import("vermilion.types")?.getattr("SparseVector")?;
    let values = vector.values.iter().map(|&value| singles.double(value));
    make.call1((&vector.indices, PyList::new(py, values)?, &vector.tokens))
}
