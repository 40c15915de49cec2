//! Bodies as JSON means them. An integer may be written with a fraction of zero, such as `1.0`, as some languages
//! do; and what has members is an object, and no list.
//!
//! What must stay true: only where an integer is asked for is one made of such a number, so that a value of
//! metadata that is `1.0` stays a float; none is taken that may stand for another integer.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// Floats stand for one integer each up to here, and for several above.
pub(crate) const EXACT_MAX: f64 = 9_007_199_254_740_991.0;

/// Reads like `D`, and takes whole numbers for integers and objects alone for what has members, at
/// every depth. Decoders that keep a part before they know what it is (tagged and untagged enums) ask
/// for no integer, so that in these nothing changes.
#[derive(Debug)]
pub struct WholeNumbers<D>(pub D);

macro_rules! pass {
    ($($name:ident)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$name(visitor)
        })*
    };
}

macro_rules! follow {
    ($($name:ident($($argument:ident: $kind:ty),*))*) => {
        $(fn $name<V: Visitor<'de>>(self $(, $argument: $kind)*, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$name($($argument,)* Within(visitor))
        })*
    };
}

macro_rules! integers {
    ($($name:ident)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$name(Integer(visitor))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for WholeNumbers<D> {
    type Error = D::Error;

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }
    pass! {
        deserialize_bool deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit
        deserialize_identifier deserialize_ignored_any
    }
    follow! {
        deserialize_any()
        deserialize_option()
        deserialize_seq()
        deserialize_map()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    /// Derived decoders would also take the members as a list in their order.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _members: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Members(visitor))
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// Visits an integer, or a number that is one.
struct Integer<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Integer<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<V::Value, E> {
        self.0.visit_u64(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<V::Value, E> {
        self.0.visit_i64(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<V::Value, E> {
        if value.fract() != 0.0 || value.abs() > EXACT_MAX {
            return self.0.visit_f64(value);
        }
        if value < 0.0 {
            self.0.visit_i64(value as i64)
        } else {
            self.0.visit_u64(value as u64)
        }
    }
}

/// Visits an object.
struct Members<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Members<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Within(members))
    }
}

/// Visits what may hold integers further down.
struct Within<T>(T);

macro_rules! visit {
    ($($name:ident($kind:ty))*) => {
        $(fn $name<E: Error>(self, value: $kind) -> Result<V::Value, E> {
            self.0.$name(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Within<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    visit! {
        visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_f64(f64)
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(WholeNumbers(from))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(WholeNumbers(from))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Within(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Within(members))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Within(variant))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Within<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(WholeNumbers(from))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Within<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Within(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Within<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Within(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Within<A> {
    type Error = A::Error;
    type Variant = Within<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (name, variant) = self.0.variant_seed(seed)?;
        Ok((name, Within(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Within<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(Within(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, Within(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, Within(visitor))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Body {
        count: Option<u64>,
        #[serde(default)]
        small: i8,
        #[serde(default)]
        rows: Vec<(u32, f64)>,
        #[serde(default)]
        kept: Option<Kept>,
        #[serde(default)]
        free: Value,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum Kept {
        Best(u32),
        Of { k: u32 },
    }

    #[derive(Debug, Deserialize)]
    struct Outer {
        #[expect(dead_code, reason = "only decoding is looked at")]
        inner: Vec<Body>,
    }

    fn decode(body: &str) -> Result<Body, serde_json::Error> {
        Body::deserialize(WholeNumbers(&mut serde_json::Deserializer::from_str(body)))
    }

    #[test]
    fn whole_numbers_are_integers_wherever_one_is_asked_for() {
        let body = r#"{"count":1e2,"small":-3.0,"rows":[[1.0,1.0],[-0.0,2.5]],
            "kept":{"Best":7.00},"free":{"a":[1.0,1]}}"#;
        let expected = Body {
            count: Some(100),
            small: -3,
            rows: vec![(1, 1.0), (0, 2.5)],
            kept: Some(Kept::Best(7)),
            free: json!({"a": [1.0, 1]}),
        };
        let decoded = decode(body).unwrap();
        assert_eq!(decoded, expected);
        assert!(decoded.free["a"][0].is_f64() && decoded.free["a"][1].is_u64());
        let nested = decode(r#"{"count":null,"kept":{"Of":{"k":2.0}}}"#).unwrap();
        assert_eq!(nested.kept, Some(Kept::Of { k: 2 }));
    }

    #[test]
    fn a_list_stands_for_no_object() {
        let outer =
            |text| Outer::deserialize(WholeNumbers(&mut serde_json::Deserializer::from_str(text)));
        outer(r#"{"inner":[{"count":1}]}"#).unwrap();
        for wrong in [r#"{"inner":[[1,2,[],null,3]]}"#, r#"[[{"count":1}]]"#] {
            let error = outer(wrong).unwrap_err().to_string();
            assert!(
                error.contains("invalid type: sequence, expected an object"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_no_integer_or_may_be_another_is_refused() {
        let refused = |body: &str, words: &str| {
            let error = decode(body).unwrap_err().to_string();
            assert!(error.contains(words), "{body}: {error}");
        };
        refused(
            r#"{"count":2.5}"#,
            "invalid type: floating point `2.5`, expected u64",
        );
        refused(
            r#"{"count":-1.0}"#,
            "invalid value: integer `-1`, expected u64",
        );
        refused(
            r#"{"small":128.0}"#,
            "invalid value: integer `128`, expected i8",
        );
        refused(r#"{"count":"1"}"#, "invalid type: string");
        let exact = decode(r#"{"count":9007199254740991.0}"#).unwrap();
        assert_eq!(exact.count, Some((1 << 53) - 1));
        // Read as the float that 9007199254740992.0 is.
        refused(r#"{"count":9007199254740993.0}"#, "floating point");
        refused(r#"{"count":1e300}"#, "floating point");
        let largest = decode(r#"{"count":18446744073709551615}"#).unwrap();
        assert_eq!(largest.count, Some(u64::MAX));
    }
}
