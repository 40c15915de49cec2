//! Columns of texts: strings in any of their layouts, or a dictionary of them.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrowPrimitiveType};
use arrow_buffer::ArrowNativeType;
use arrow_schema::DataType;

use super::{shown, wrong_column};
use crate::ApiError;

/// Reads the text of a row; `None` where it is null.
pub(super) type Texts<'a> = Box<dyn Fn(usize) -> Option<&'a str> + 'a>;

/// Whether a column may be of texts, told from its type.
pub(super) fn are_texts(holds: &DataType) -> bool {
    match holds {
        DataType::Dictionary(_, values) => is_string(values),
        other => is_string(other),
    }
}

fn is_string(holds: &DataType) -> bool {
    matches!(
        holds,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// Refuses a column that is not of texts and not all null.
pub(super) fn check(column: &str, holds: &DataType) -> Result<(), ApiError> {
    if are_texts(holds) || *holds == DataType::Null {
        return Ok(());
    }
    let problem = format!(
        "holds {}; it must hold strings (utf8, large_utf8, utf8_view, or a dictionary of these)",
        shown(holds)
    );
    Err(wrong_column(column, problem))
}

/// What reads `array`, whose type [`check`] let through.
pub(super) fn texts(array: &dyn Array) -> Texts<'_> {
    match array.data_type() {
        DataType::Utf8 => {
            let strings = array.as_string::<i32>();
            Box::new(move |row| strings.is_valid(row).then(|| strings.value(row)))
        }
        DataType::LargeUtf8 => {
            let strings = array.as_string::<i64>();
            Box::new(move |row| strings.is_valid(row).then(|| strings.value(row)))
        }
        DataType::Utf8View => {
            let strings = array.as_string_view();
            Box::new(move |row| strings.is_valid(row).then(|| strings.value(row)))
        }
        DataType::Dictionary(keys, _) => match **keys {
            DataType::Int8 => chosen::<Int8Type>(array),
            DataType::Int16 => chosen::<Int16Type>(array),
            DataType::Int32 => chosen::<Int32Type>(array),
            DataType::Int64 => chosen::<Int64Type>(array),
            DataType::UInt8 => chosen::<UInt8Type>(array),
            DataType::UInt16 => chosen::<UInt16Type>(array),
            DataType::UInt32 => chosen::<UInt32Type>(array),
            _ => chosen::<UInt64Type>(array),
        },
        _ => Box::new(|_| None),
    }
}

/// Texts of a dictionary, chosen by keys of type `K`. Both may be null.
fn chosen<K>(array: &dyn Array) -> Texts<'_>
where
    K: arrow_array::types::ArrowDictionaryKeyType + ArrowPrimitiveType,
{
    let dictionary = array.as_dictionary::<K>();
    let keys = dictionary.keys();
    let values = texts(dictionary.values().as_ref());
    Box::new(move |row| {
        let key = keys.is_valid(row).then(|| keys.value(row).as_usize());
        key.and_then(&values)
    })
}
