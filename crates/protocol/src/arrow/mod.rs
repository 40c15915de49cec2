//! Records as Arrow streams, in both directions: what JSON bodies and answers say, in columns.
//!
//! What must stay true: a stream and a JSON body of the same content make the same batch, and the
//! same answer is told by both; limits are those of JSON; whatever bytes come in, decoding answers an
//! [`ApiError`] and never panics, and takes memory in proportion to what a body may have. The columns
//! are laid down in `docs/reference/arrow.md`.

mod answered;
mod answers;
mod bytes;
mod cells;
mod check;
mod columns;
mod metadata;
mod records;
mod stream;
mod table;
mod texts;
mod vectors;

use std::fmt::Display;

pub use answered::{Answered, Vectors, read_fetched, read_nearest};
pub use answers::{Cells, write_columns, write_fetched, write_found, write_nearest};
pub use records::{decode, decode_logged};

use crate::ApiError;

/// The media type of an Arrow stream.
pub const MEDIA_TYPE: &str = "application/vnd.apache.arrow.stream";

/// The columns of records by name; `metadata.` is followed by a key.
const ID: &str = "id";
const EMBEDDING: &str = "embedding";
const DOCUMENT: &str = "document";
const URI: &str = "uri";
/// What a log calls the same.
const INPUT_URI: &str = "input_uri";
/// The picture of a record of a log.
const THUMBNAIL: &str = "thumbnail";
const METADATA: &str = "metadata";
const METADATA_KEY: &str = "metadata.";
/// Which query a record of an answer is for, and how far it is from that.
const QUERY_INDEX: &str = "query_index";
const RANK: &str = "rank";
const DISTANCE: &str = "distance";

/// How much a stream may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Records.
    pub records_max: usize,
    /// Bytes that its compressed buffers, and then its values, may unfold to.
    pub bytes_max: usize,
}

/// Letters of a name or a reason that are shown in an error.
const SHOWN_MAX: usize = 300;

/// `text`, cut where it is long: clients decide what is in it.
fn shown(text: &impl Display) -> String {
    let text = text.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}\u{2026}", &text[..at]),
        None => text,
    }
}

/// What the error of a body that is no stream begins with.
const BROKEN: &str = "Failed to read the request body as an Arrow stream: ";

/// The error of a body that is no stream, or holds what streams here may not.
fn broken(why: &impl Display) -> ApiError {
    ApiError::invalid(format!("{BROKEN}{}", shown(why)))
}

/// The error of a column as a whole.
fn wrong_column(column: &str, why: impl Display) -> ApiError {
    ApiError::invalid(format!("Arrow column `{}` {why}", shown(&column)))
}

/// The error of one value; rows count from 0 through all batches of a stream.
fn wrong_value(column: &str, row: usize, why: impl Display) -> ApiError {
    ApiError::invalid(format!(
        "Arrow column `{}`, row {row}: {why}",
        shown(&column)
    ))
}

/// Bytes that may still be unfolded.
#[derive(Clone, Copy, Debug)]
struct Budget {
    left: usize,
    most: usize,
}

impl Budget {
    fn new(most: usize) -> Self {
        Self { left: most, most }
    }

    /// Takes `bytes` of what is left.
    fn take(&mut self, bytes: usize) -> Result<(), ApiError> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(ApiError::new(
                413,
                format!(
                    "The Arrow stream unfolds to more than {} bytes, the most that a body may have",
                    self.most
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests;
