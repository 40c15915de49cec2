//! Vectors of texts for the Python package, by the model of `vermilion-embed`.

use std::path::PathBuf;

use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use vermilion_embed::DIMENSION;
use vermilion_protocol::ApiError;

use crate::failure;

/// The model all-MiniLM-L6-v2, read into memory.
#[pyclass(frozen, module = "vermilion._engine")]
pub(crate) struct Model {
    model: vermilion_embed::Model,
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "arguments of Python come as values"
)]
#[pymethods]
impl Model {
    /// Reads the model from the folder `folder`.
    #[new]
    fn open(py: Python<'_>, folder: PathBuf) -> PyResult<Self> {
        let opened = py.detach(|| vermilion_embed::Model::open(&folder));
        let refused = |error: vermilion_embed::ModelError| ApiError::invalid(error.to_string());
        let model = opened.map_err(|error| failure::exception(py, &refused(error)))?;
        Ok(Self { model })
    }

    /// The vectors of `texts`, of shape (texts, 384), made by `threads` threads at most.
    fn embed<'py>(
        &self,
        py: Python<'py>,
        texts: Vec<String>,
        threads: usize,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let block = py.detach(|| self.model.embed(&texts, threads));
        PyArray1::from_vec(py, block).reshape([texts.len(), DIMENSION])
    }

    /// The ids of the tokens of `text` as the model reads them.
    fn tokens(&self, text: &str) -> Vec<u32> {
        self.model.tokens(text)
    }
}
