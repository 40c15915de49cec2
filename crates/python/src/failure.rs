//! Errors of the engine as exceptions of the package: `vermilion.errors` says which class goes with
//! which status, for this way and for HTTP alike.

use pyo3::prelude::*;
use vermilion_protocol::ApiError;

/// The exception that says what `error` says.
pub(crate) fn exception(py: Python<'_>, error: &ApiError) -> PyErr {
    let make = || {
        py.import("vermilion.errors")?.getattr("of_answer")?.call1((
            error.status,
            error.name,
            &error.message,
        ))
    };
    make().map_or_else(|cause| cause, PyErr::from_value)
}
