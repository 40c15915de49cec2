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

use std::ops::Range;
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

/// Tokens that go through the network together: so many that reading the weights is a small part of the
/// work, and so few that what is between two layers stays in a near cache.
const GROUP_TOKENS: usize = 256;

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
        let ids = shared(texts.len(), threads, |row, (): &mut ()| {
            self.tokenizer.ids(texts[row].as_ref(), TOKENS_MAX)
        });
        let groups = groups(&ids, threads);
        let blocks = shared(groups.len(), threads, |group, room| {
            self.network.vectors(&ids[groups[group].clone()], room)
        });
        blocks.concat()
    }

    /// The tokens of `text` as the model reads them.
    pub fn tokens(&self, text: &str) -> Vec<u32> {
        self.tokenizer.ids(text, TOKENS_MAX)
    }
}

/// Cuts texts of these tokens into runs that go through the network together: [`GROUP_TOKENS`] in each, or
/// fewer where there is not enough for all threads.
fn groups(ids: &[Vec<u32>], threads: usize) -> Vec<Range<usize>> {
    let all: usize = ids.iter().map(Vec::len).sum();
    let enough = GROUP_TOKENS.min(all.div_ceil(threads.max(1)));
    let (mut groups, mut start, mut tokens) = (Vec::new(), 0, 0);
    for (row, ids) in ids.iter().enumerate() {
        tokens += ids.len();
        if tokens >= enough {
            groups.push(start..row + 1);
            (start, tokens) = (row + 1, 0);
        }
    }
    if start < ids.len() {
        groups.push(start..ids.len());
    }
    groups
}

/// What `work` makes of each number below `count`, in their order, on `threads` threads at most, each with
/// a room of its own.
fn shared<R: Default, T: Send>(
    count: usize,
    threads: usize,
    work: impl Fn(usize, &mut R) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let on_thread = || {
        let (mut room, mut made) = (R::default(), Vec::new());
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return made;
            }
            made.push((at, work(at, &mut room)));
        }
    };
    let mut made = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(count))
            .map(|_| scope.spawn(on_thread))
            .collect();
        let mut made = on_thread();
        for other in others {
            match other.join() {
                Ok(more) => made.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        made
    });
    made.sort_unstable_by_key(|&(at, _)| at);
    made.into_iter().map(|(_, one)| one).collect()
}
