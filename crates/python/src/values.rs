//! Values of Python, read as serde reads any other format, so that the decoders of request bodies
//! also decode lists and dictionaries.
//!
//! What must stay true: strings are read where they are, without a copy of them; what has the
//! method `tolist` (scalars and arrays of NumPy) or `to_dict` (sparse vectors) is read as what that
//! answers; everything else that JSON could not hold is refused by the name of its type; whether metadata holds
//! anything that is not as nearly all of it is, is noted.

use std::cell::Cell;
use std::fmt;

use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyDict, PyFloat, PyInt, PyList, PyListMethods, PyString, PyTuple, PyTupleMethods,
};
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;

/// Why a value could not be read.
#[derive(Debug)]
pub(crate) struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

impl serde::de::Error for Unreadable {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl From<PyErr> for Unreadable {
    fn from(error: PyErr) -> Self {
        Self::custom(error)
    }
}

/// How far within the columns of records a value of metadata is: in a member of the columns, a list, and a
/// dictionary.
const METADATA_DEPTH: usize = 3;

/// Reads one value.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a, 'py> {
    object: &'a Bound<'py, PyAny>,
    /// How many dictionaries and lists it is in.
    depth: usize,
    /// Whether a value of metadata is something else than a string, a number and a boolean.
    is_odd: &'a Cell<bool>,
}

impl<'a, 'py> Value<'a, 'py> {
    /// Reads columns of records; `is_odd` is told where a value of metadata is no single one.
    pub(crate) fn columns(columns: &'a Bound<'py, PyAny>, is_odd: &'a Cell<bool>) -> Self {
        Self {
            object: columns,
            depth: 0,
            is_odd,
        }
    }

    fn nested<'b>(&self, object: &'b Bound<'py, PyAny>) -> Value<'b, 'py>
    where
        'a: 'b,
    {
        Value {
            object,
            depth: self.depth + 1,
            is_odd: self.is_odd,
        }
    }
}

impl<'de> Deserializer<'de> for Value<'_, '_> {
    type Error = Unreadable;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        let value = self.object;
        // Most are of these types themselves, which is told at a glance.
        if let Ok(text) = value.cast_exact::<PyString>() {
            return visitor.visit_str(text.to_str()?);
        }
        if value.is_exact_instance_of::<PyInt>() {
            return visit_integer(value, visitor);
        }
        if let Ok(number) = value.cast_exact::<PyFloat>() {
            return visitor.visit_f64(number.value());
        }
        if let Ok(truth) = value.cast_exact::<PyBool>() {
            return visitor.visit_bool(truth.is_true());
        }
        if self.depth == METADATA_DEPTH {
            self.is_odd.set(true);
        }
        if let Ok(text) = value.cast::<PyString>() {
            return visitor.visit_str(text.to_str()?);
        }
        if value.is_none() {
            return visitor.visit_unit();
        }
        if let Ok(number) = value.cast::<PyFloat>() {
            return visitor.visit_f64(number.value());
        }
        if value.is_instance_of::<PyInt>() {
            return visit_integer(value, visitor);
        }
        if let Ok(members) = value.cast::<PyDict>() {
            return visitor.visit_map(Members {
                of: self,
                rest: members.iter(),
                value: None,
            });
        }
        if let Ok(list) = value.cast::<PyList>() {
            let rest = list.iter();
            return visitor.visit_seq(Items { of: self, rest });
        }
        if let Ok(list) = value.cast::<PyTuple>() {
            let rest = list.iter();
            return visitor.visit_seq(Items { of: self, rest });
        }
        self.visit_other(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        if self.object.is_none() {
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

fn visit_integer<'de, V: Visitor<'de>>(
    value: &Bound<'_, PyAny>,
    visitor: V,
) -> Result<V::Value, Unreadable> {
    if let Ok(number) = value.extract::<i64>() {
        return visitor.visit_i64(number);
    }
    match value.extract::<u64>() {
        Ok(number) => visitor.visit_u64(number),
        Err(_) => visitor.visit_f64(value.extract()?),
    }
}

impl Value<'_, '_> {
    fn visit_other<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        for method in ["tolist", "to_dict"] {
            if let Ok(method) = self.object.getattr(method) {
                let plain = method.call0()?;
                // Whatever answers itself would be asked for ever.
                if !plain.get_type().is(self.object.get_type()) {
                    let object = &plain;
                    return Value { object, ..self }.deserialize_any(visitor);
                }
            }
        }
        Err(Unreadable::custom(format_args!(
            "a value of the type {} cannot be stored: a string, number, boolean, list of one of these, \
             sparse vector or None is allowed",
            self.object.get_type().name()?
        )))
    }
}

/// The items of a list.
struct Items<'a, 'py, I> {
    of: Value<'a, 'py>,
    rest: I,
}

impl<'de, 'py, I> SeqAccess<'de> for Items<'_, 'py, I>
where
    I: ExactSizeIterator<Item = Bound<'py, PyAny>>,
{
    type Error = Unreadable;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Unreadable> {
        let next = self.rest.next();
        let read = next.map(|item| seed.deserialize(self.of.nested(&item)));
        read.transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The members of a dictionary.
struct Members<'a, 'py, I> {
    of: Value<'a, 'py>,
    rest: I,
    value: Option<Bound<'py, PyAny>>,
}

impl<'de, 'py, I> MapAccess<'de> for Members<'_, 'py, I>
where
    I: Iterator<Item = (Bound<'py, PyAny>, Bound<'py, PyAny>)>,
{
    type Error = Unreadable;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Unreadable> {
        let Some((key, value)) = self.rest.next() else {
            return Ok(None);
        };
        let Ok(name) = key.cast::<PyString>() else {
            return Err(Unreadable::custom(format_args!(
                "a key of the type {} is not allowed: keys are strings",
                key.get_type().name()?
            )));
        };
        self.value = Some(value);
        let read: serde::de::value::StrDeserializer<'_, Unreadable> =
            name.to_str()?.into_deserializer();
        seed.deserialize(read).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, Unreadable> {
        let value = self.value.take();
        let value = value.ok_or_else(|| Unreadable::custom("a value was read twice"))?;
        seed.deserialize(self.of.nested(&value))
    }
}
