//! Columns of one metadata key: scalars and lists, as the cells that JSON of the same content makes.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use vermilion_engine::model::Value;

use super::texts::{are_texts, texts};
use super::vectors::range_of;
use super::{shown, wrong_column};
use crate::ApiError;
use crate::records::{Cell, list_of};

/// Reads the value of a row that is not null, or says what is wrong with it.
pub(super) type Cells<'a> = Box<dyn Fn(usize) -> Result<Cell, &'static str> + 'a>;

/// Refuses a column that metadata cannot hold. One of a field of a log may be of moments, which are seconds
/// since 1970 then.
pub(super) fn check(column: &str, holds: &DataType, of_field: bool) -> Result<(), ApiError> {
    let allowed = match holds {
        DataType::Null => true,
        DataType::Timestamp(..) => of_field,
        DataType::List(items) | DataType::LargeList(items) => is_scalar(items.data_type()),
        DataType::FixedSizeList(items, size) => *size >= 0 && is_scalar(items.data_type()),
        other => is_scalar(other),
    };
    if allowed {
        return Ok(());
    }
    let problem = format!(
        "holds {}; metadata is booleans, integers, floats, strings or lists of these; sparse vectors \
         go into the column `metadata` as JSON",
        shown(holds)
    );
    Err(wrong_column(column, problem))
}

/// Seconds since 1970, from so many parts of a second.
fn moment(parts: i64, in_a_second: f64) -> Value {
    Value::Float(parts as f64 / in_a_second)
}

fn is_scalar(holds: &DataType) -> bool {
    let number = holds.is_integer() || holds.is_floating();
    number || *holds == DataType::Boolean || are_texts(holds)
}

/// What reads `array`, whose type [`check`] let through.
pub(super) fn cells(array: &ArrayRef) -> Cells<'_> {
    let items = match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().values(),
        DataType::LargeList(_) => array.as_list::<i64>().values(),
        DataType::FixedSizeList(..) => array.as_fixed_size_list().values(),
        _ => return scalars(array),
    };
    let item = scalars(items);
    Box::new(move |row| {
        let range = range_of(array, row);
        if items.null_count() > 0 && range.clone().any(|at| items.is_null(at)) {
            return Err("an item of the list is null");
        }
        list_of(range.map(&item))
    })
}

fn scalars(array: &ArrayRef) -> Cells<'_> {
    fn of<'a>(value: impl Fn(usize) -> Value + 'a) -> Cells<'a> {
        Box::new(move |row| Ok(Cell::Value(value(row))))
    }
    macro_rules! numbers {
        ($kind:ty, $value:expr) => {{
            let numbers = array.as_primitive::<$kind>();
            let value = $value;
            of(move |row| value(numbers.value(row)))
        }};
    }
    let beyond = |value: u64| {
        let float = Value::Float(value as f64);
        i64::try_from(value).map_or(float, Value::Int)
    };
    match array.data_type() {
        DataType::Boolean => {
            let values = array.as_boolean();
            of(|row| Value::Bool(values.value(row)))
        }
        DataType::Int8 => numbers!(Int8Type, |value| Value::Int(i64::from(value))),
        DataType::Int16 => numbers!(Int16Type, |value| Value::Int(i64::from(value))),
        DataType::Int32 => numbers!(Int32Type, |value| Value::Int(i64::from(value))),
        DataType::Int64 => numbers!(Int64Type, Value::Int),
        DataType::UInt8 => numbers!(UInt8Type, |value| Value::Int(i64::from(value))),
        DataType::UInt16 => numbers!(UInt16Type, |value| Value::Int(i64::from(value))),
        DataType::UInt32 => numbers!(UInt32Type, |value| Value::Int(i64::from(value))),
        DataType::UInt64 => numbers!(UInt64Type, beyond),
        DataType::Float16 => {
            let numbers = array.as_primitive::<Float16Type>();
            of(|row| Value::Float(numbers.value(row).to_f64()))
        }
        DataType::Float32 => numbers!(Float32Type, |value| Value::Float(f64::from(value))),
        DataType::Float64 => numbers!(Float64Type, Value::Float),
        DataType::Timestamp(TimeUnit::Second, _) => {
            numbers!(TimestampSecondType, |value: i64| moment(value, 1e0))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            numbers!(TimestampMillisecondType, |value: i64| moment(value, 1e3))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            numbers!(TimestampMicrosecondType, |value: i64| moment(value, 1e6))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            numbers!(TimestampNanosecondType, |value: i64| moment(value, 1e9))
        }
        _ => {
            let text = texts(array);
            Box::new(move |row| match text(row) {
                Some(text) => Ok(Cell::Value(Value::Str(text.into()))),
                None => Err("an item of the list is null"),
            })
        }
    }
}
