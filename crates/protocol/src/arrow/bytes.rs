//! Columns of bytes: binary in any of its layouts, or texts of base64.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, LargeStringArray};
use arrow_schema::DataType;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{shown, texts, wrong_column};
use crate::ApiError;

/// Refuses a column that is neither of bytes nor of texts and not all null.
pub(super) fn check(column: &str, holds: &DataType) -> Result<(), ApiError> {
    let is_binary = matches!(
        holds,
        DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
    );
    if is_binary || texts::are_texts(holds) || *holds == DataType::Null {
        return Ok(());
    }
    let problem = format!(
        "holds {}; it must hold bytes (binary in any layout) or strings of base64",
        shown(holds)
    );
    Err(wrong_column(column, problem))
}

/// The bytes of each row as base64; a column of texts as it is.
pub(super) fn as_base64(array: &ArrayRef) -> ArrayRef {
    let encoded = |bytes: Option<&[u8]>| bytes.map(|bytes| STANDARD.encode(bytes));
    let encoded: LargeStringArray = match array.data_type() {
        DataType::Binary => array.as_binary::<i32>().iter().map(encoded).collect(),
        DataType::LargeBinary => array.as_binary::<i64>().iter().map(encoded).collect(),
        DataType::BinaryView => array.as_binary_view().iter().map(encoded).collect(),
        DataType::FixedSizeBinary(_) => array.as_fixed_size_binary().iter().map(encoded).collect(),
        _ => return Arc::clone(array),
    };
    Arc::new(encoded)
}
