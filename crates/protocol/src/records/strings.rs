//! Lists of strings, decoded into one buffer.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use vermilion_engine::model::{OptionalStrings, Strings};

/// Rows for which room is made on the word of another column.
const ROWS_AHEAD_MAX: usize = 1 << 20;

/// Reads a list of strings, `rows` of them as far as is known.
pub(super) struct IdsSeed {
    pub(super) rows: usize,
}

impl<'de> DeserializeSeed<'de> for IdsSeed {
    type Value = Strings;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Strings, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for IdsSeed {
    type Value = Strings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Strings, A::Error> {
        let rows = self.rows.min(ROWS_AHEAD_MAX);
        let mut ids = Strings::with_capacity(rows, rows * 16);
        while list.next_element_seed(IdSeed { ids: &mut ids })?.is_some() {}
        Ok(ids)
    }
}

struct IdSeed<'a> {
    ids: &'a mut Strings,
}

impl<'de> DeserializeSeed<'de> for IdSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IdSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.ids.push(text);
        Ok(())
    }
}

/// Reads null or a list of strings and nulls.
pub(super) struct StringsSeed {
    pub(super) rows: usize,
}

impl<'de> DeserializeSeed<'de> for StringsSeed {
    type Value = Option<OptionalStrings>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for StringsSeed {
    type Value = Option<OptionalStrings>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence of strings and nulls")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let rows = self.rows.min(ROWS_AHEAD_MAX);
        let mut column = OptionalStrings::with_capacity(rows, 0);
        while list
            .next_element_seed(TextSeed {
                column: &mut column,
            })?
            .is_some()
        {}
        Ok(Some(column))
    }
}

struct TextSeed<'a> {
    column: &'a mut OptionalStrings,
}

impl<'de> DeserializeSeed<'de> for TextSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for TextSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.column.push(None);
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.column.push(Some(text));
        Ok(())
    }
}
