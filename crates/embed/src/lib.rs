//! Texts to vectors on the processor, by the model all-MiniLM-L6-v2: what collections use that have no
//! other embedding function.
//!
//! What must stay true: a vector is that of the reference (the model's own forward pass in 32-bit floats)
//! to 1e-4 in each number, whatever stands beside a text and however many threads work; files are
//! read only where their hashes are those of the model. The model is no part of this crate.

mod files;
mod forward;
mod tokens;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use files::{ModelError, VOCABULARY, WEIGHTS};

use files::Tensors;
use forward::Network;
use tokens::Tokenizer;

/// Numbers of a vector.
pub const DIMENSION: usize = 384;

/// Tokens of a text that are read, the first and last of the model among them; the rest of a longer text is
/// passed over, as by the reference.
pub const TOKENS_MAX: usize = 256;

/// The model, read into memory.
#[derive(Debug)]
pub struct Model {
    tokenizer: Tokenizer,
    network: Network,
}

impl Model {
    /// Reads the model from the folder that holds [`WEIGHTS`] and [`VOCABULARY`].
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let vocabulary = files::read(folder, VOCABULARY)?;
        let weights = files::read(folder, WEIGHTS)?;
        Ok(Self {
            tokenizer: Tokenizer::new(&vocabulary)?,
            network: Network::new(&Tensors::read(&weights)?)?,
        })
    }

    /// The vectors of `texts`, [`DIMENSION`] numbers each and one after the other, made by `threads` threads
    /// at most: each of length 1.
    pub fn embed<T: AsRef<str> + Sync>(&self, texts: &[T], threads: usize) -> Vec<f32> {
        let mut block = vec![0.0; texts.len() * DIMENSION];
        let next = AtomicUsize::new(0);
        let mut made: Vec<(usize, Vec<f32>)> = Vec::with_capacity(texts.len());
        let work = || {
            let mut made = Vec::new();
            while let Some((row, text)) = {
                let row = next.fetch_add(1, Ordering::Relaxed);
                texts.get(row).map(|text| (row, text))
            } {
                let ids = self.tokenizer.ids(text.as_ref(), TOKENS_MAX);
                made.push((row, self.network.vector(&ids)));
            }
            made
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads.min(texts.len()))
                .map(|_| scope.spawn(work))
                .collect();
            made.extend(work());
            for other in others {
                match other.join() {
                    Ok(vectors) => made.extend(vectors),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        for (row, vector) in made {
            block[row * DIMENSION..][..DIMENSION].copy_from_slice(&vector);
        }
        block
    }

    /// The tokens of `text` as the model reads them.
    pub fn tokens(&self, text: &str) -> Vec<u32> {
        self.tokenizer.ids(text, TOKENS_MAX)
    }
}
