//! A first look at what callers give: what is as nearly all of it is gets through here, everything else is left to
//! `vermilion.records` and `vermilion.metadata`, which know what is wrong with it.
//!
//! What must stay true: nothing is refused here, and nothing passes that they would refuse.

use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PySet, PyString, PyTuple};
use vermilion_engine::model;

/// The vectors in `rows` as one block, rounded to single precision: lists of Python's floats, all of one length.
/// `None` where anything else is among them.
#[pyfunction]
pub(crate) fn block_of<'py>(
    py: Python<'py>,
    rows: &Bound<'py, PyList>,
) -> PyResult<Option<Bound<'py, PyArray2<f32>>>> {
    let mut values: Vec<f32> = Vec::new();
    let (count, mut dimension) = (rows.len(), 0);
    for (number, row) in rows.iter().enumerate() {
        let Ok(row) = row.cast_exact::<PyList>() else {
            return Ok(None);
        };
        if number == 0 {
            dimension = row.len();
            values.reserve_exact(count * dimension);
        }
        for value in row.iter() {
            let Ok(value) = value.cast_exact::<PyFloat>() else {
                return Ok(None);
            };
            values.push(value.value() as f32);
        }
        if values.len() != (number + 1) * dimension {
            return Ok(None);
        }
    }
    if values.is_empty() {
        return Ok(None);
    }
    let rows = values.len() / dimension;
    PyArray1::from_vec(py, values)
        .reshape([rows, dimension])
        .map(Some)
}

/// Whether every number of a contiguous block is finite: NumPy would write down an answer for each.
#[pyfunction]
pub(crate) fn all_finite(py: Python<'_>, block: &Bound<'_, PyArray2<f32>>) -> PyResult<bool> {
    let block = block.try_readonly()?;
    let numbers = block.as_slice()?;
    Ok(py.detach(|| model::all_finite(numbers)))
}

/// What the metadata in `column`, dictionaries and whatever else, holds: its keys, whether a value is None, and
/// whether all others are strings, numbers and booleans.
#[pyfunction]
pub(crate) fn held<'py>(
    py: Python<'py>,
    column: &Bound<'py, PyList>,
) -> PyResult<(Bound<'py, PySet>, bool, bool)> {
    let keys = PySet::empty(py)?;
    // Most records have the keys of the one before, in its order: as the same objects or, where they were read
    // from a file, as others with the same letters.
    let mut before: Vec<(Bound<'py, PyAny>, String)> = Vec::new();
    let (mut has_none, mut is_plain) = (false, true);
    for members in column.iter() {
        let Ok(members) = members.cast::<PyDict>() else {
            continue;
        };
        for (place, (key, value)) in members.iter().enumerate() {
            if !is_single(&value) {
                let is_none = value.is_none();
                has_none |= is_none;
                is_plain &= is_none;
            }
            let known = before.get(place);
            if known.is_some_and(|(known, _)| known.is(&key)) {
                continue;
            }
            let letters = key.cast_exact::<PyString>().ok();
            let letters = letters.and_then(|letters| letters.to_str().ok());
            if known.is_some_and(|(_, known)| letters == Some(known)) {
                continue;
            }
            keys.add(&key)?;
            before.truncate(place);
            before.extend(letters.map(|letters| (key.clone(), letters.to_owned())));
        }
    }
    Ok((keys, has_none, is_plain))
}

/// The values of metadata in `column`, dictionaries and whatever else, that are neither a string, a number, a
/// boolean, None, nor a list of some of the first four that are all of one type: each with its row and its key.
#[pyfunction]
pub(crate) fn odd_values<'py>(
    py: Python<'py>,
    column: &Bound<'py, PyList>,
) -> PyResult<Bound<'py, PyList>> {
    let odd = PyList::empty(py);
    for (row, members) in column.iter().enumerate() {
        let Ok(members) = members.cast::<PyDict>() else {
            continue;
        };
        for (key, value) in members {
            let is_usual = value.is_none() || is_single(&value) || is_even(&value);
            if !is_usual {
                odd.append((row, key, value))?;
            }
        }
    }
    Ok(odd)
}

/// Whether `value` is of a type that every value of metadata may have, and no other that is derived from it.
fn is_single(value: &Bound<'_, PyAny>) -> bool {
    value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyBool>()
}

/// Whether `value` is a list with such values, all of one type.
fn is_even(value: &Bound<'_, PyAny>) -> bool {
    fn are_even<'py>(mut items: impl Iterator<Item = Bound<'py, PyAny>>) -> bool {
        let Some(first) = items.next().filter(is_single) else {
            return false;
        };
        let kind = first.get_type_ptr();
        items.all(|item| item.get_type_ptr() == kind)
    }
    if let Ok(list) = value.cast_exact::<PyList>() {
        return are_even(list.iter());
    }
    value
        .cast_exact::<PyTuple>()
        .is_ok_and(|tuple| are_even(tuple.iter()))
}
