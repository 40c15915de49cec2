//! Values of Python, read as serde reads any other format, so that the decoders of request bodies
//! also decode lists and dictionaries.
//!
//! What must stay true: strings are read where they are, without a copy of them; what has the
//! method `tolist` (scalars and arrays of NumPy) or `to_dict` (sparse vectors) is read as what that
//! answers; everything else that JSON could not hold is refused by the name of its type.

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

/// Reads one value.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a, 'py>(pub(crate) &'a Bound<'py, PyAny>);

impl<'de> Deserializer<'de> for Value<'_, '_> {
    type Error = Unreadable;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        let value = self.0;
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
        if let Ok(text) = value.cast::<PyString>() {
            return visitor.visit_str(text.to_str()?);
        }
        if value.is_none() {
            return visitor.visit_unit();
        }
        // Before numbers: true and false are numbers in Python.
        if let Ok(truth) = value.cast::<PyBool>() {
            return visitor.visit_bool(truth.is_true());
        }
        if let Ok(number) = value.cast::<PyFloat>() {
            return visitor.visit_f64(number.value());
        }
        if value.is_instance_of::<PyInt>() {
            return visit_integer(value, visitor);
        }
        if let Ok(members) = value.cast::<PyDict>() {
            return visit_members(members, visitor);
        }
        if let Ok(list) = value.cast::<PyList>() {
            return visitor.visit_seq(Items { items: list.iter() });
        }
        if let Ok(list) = value.cast::<PyTuple>() {
            return visitor.visit_seq(Items { items: list.iter() });
        }
        visit_other(value, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        if self.0.is_none() {
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

fn visit_members<'de, V: Visitor<'de>>(
    members: &Bound<'_, PyDict>,
    visitor: V,
) -> Result<V::Value, Unreadable> {
    visitor.visit_map(Members {
        members: members.iter(),
        value: None,
    })
}

fn visit_other<'de, V: Visitor<'de>>(
    value: &Bound<'_, PyAny>,
    visitor: V,
) -> Result<V::Value, Unreadable> {
    for method in ["tolist", "to_dict"] {
        if let Ok(method) = value.getattr(method) {
            let plain = method.call0()?;
            // Whatever answers itself would be asked for ever.
            if !plain.get_type().is(value.get_type()) {
                return Value(&plain).deserialize_any(visitor);
            }
        }
    }
    Err(Unreadable::custom(format_args!(
        "a value of the type {} cannot be stored: a string, number, boolean, list of one of these, \
         sparse vector or None is allowed",
        value.get_type().name()?
    )))
}

/// The items of a list.
struct Items<I> {
    items: I,
}

impl<'de, 'py, I: ExactSizeIterator<Item = Bound<'py, PyAny>>> SeqAccess<'de> for Items<I> {
    type Error = Unreadable;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Unreadable> {
        let next = self.items.next();
        next.map(|item| seed.deserialize(Value(&item))).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The members of a dictionary.
struct Members<'py, I> {
    members: I,
    value: Option<Bound<'py, PyAny>>,
}

impl<'de, 'py, I> MapAccess<'de> for Members<'py, I>
where
    I: Iterator<Item = (Bound<'py, PyAny>, Bound<'py, PyAny>)>,
{
    type Error = Unreadable;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Unreadable> {
        let Some((key, value)) = self.members.next() else {
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
        seed.deserialize(Value(&value))
    }
}
