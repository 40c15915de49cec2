//! Values in columns of Parquet files as values of metadata.
//!
//! What must stay true: a value is what the Python package makes of it: null and NaN are none, a float of 32 bits
//! is the same number in 64.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use serde_json::{Number, Value};

/// Whether [`cell`] reads columns of this type.
pub(super) fn is_metadata(holds: &DataType) -> bool {
    match holds {
        DataType::List(items) | DataType::LargeList(items) | DataType::FixedSizeList(items, _) => {
            is_scalar(items.data_type())
        }
        other => is_scalar(other),
    }
}

fn is_scalar(holds: &DataType) -> bool {
    match holds {
        DataType::Dictionary(_, values) => is_scalar(values),
        DataType::Null
        | DataType::Boolean
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View => true,
        other => other.is_integer(),
    }
}

/// The value in a row of a column whose type [`is_metadata`] lets through; `None` where there is none.
pub(super) fn cell(column: &ArrayRef, row: usize) -> Result<Option<Value>, String> {
    if column.is_null(row) {
        return Ok(None);
    }
    let items = match column.data_type() {
        DataType::List(_) => column.as_list::<i32>().value(row),
        DataType::LargeList(_) => column.as_list::<i64>().value(row),
        DataType::FixedSizeList(..) => column.as_fixed_size_list().value(row),
        _ => return scalar(column, row),
    };
    let list = (0..items.len()).map(|item| {
        let value = if items.is_null(item) {
            None
        } else {
            scalar(&items, item)?
        };
        value.ok_or_else(|| "a list has an item that is null or NaN".to_owned())
    });
    Ok(Some(Value::Array(list.collect::<Result<_, _>>()?)))
}

fn scalar(column: &ArrayRef, row: usize) -> Result<Option<Value>, String> {
    let value = match column.data_type() {
        DataType::Null => return Ok(None),
        DataType::Boolean => Value::from(column.as_boolean().value(row)),
        DataType::Int8 => Value::from(column.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => Value::from(column.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => Value::from(column.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => Value::from(column.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => Value::from(column.as_primitive::<UInt8Type>().value(row)),
        DataType::UInt16 => Value::from(column.as_primitive::<UInt16Type>().value(row)),
        DataType::UInt32 => Value::from(column.as_primitive::<UInt32Type>().value(row)),
        DataType::UInt64 => Value::from(column.as_primitive::<UInt64Type>().value(row)),
        DataType::Float32 => {
            return float(f64::from(column.as_primitive::<Float32Type>().value(row)));
        }
        DataType::Float64 => return float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Value::from(column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Value::from(column.as_string::<i64>().value(row)),
        DataType::Utf8View => Value::from(column.as_string_view().value(row)),
        DataType::Dictionary(..) => {
            let coded = column.as_any_dictionary();
            return match coded.normalized_keys().get(row) {
                Some(&key) if !coded.values().is_null(key) => scalar(coded.values(), key),
                _ => Ok(None),
            };
        }
        other => return Err(format!("it holds {other}")),
    };
    Ok(Some(value))
}

fn float(number: f64) -> Result<Option<Value>, String> {
    if number.is_nan() {
        return Ok(None);
    }
    match Number::from_f64(number) {
        Some(number) => Ok(Some(Value::Number(number))),
        None => Err("a number is infinite".to_owned()),
    }
}
