//! Lists of vectors, decoded into one block of numbers.
//!
//! A vector is an array of numbers or a base64 string of little-endian `f32`; one list holds one
//! form only. The dimension is that of the first vector. Once a rule is broken the rest of the
//! list is read for its shape alone and nothing more is kept.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use vermilion_engine::model::{Embeddings, all_finite};

use crate::ApiError;

/// Bytes for which room is made on the word of another column.
const BYTES_AHEAD_MAX: usize = 64 << 20;

/// Bytes that absent vectors may take in a block. One vector and many nulls are few bytes of a body,
/// and each null takes the place of a vector.
const ABSENT_BYTES_MAX: usize = 512 << 20;

/// Refuses more `absent` vectors beside those of `dimension` than a block may hold.
pub(crate) fn check_absent(absent: usize, dimension: usize) -> Result<(), ApiError> {
    if absent.saturating_mul(dimension) <= ABSENT_BYTES_MAX / 4 {
        return Ok(());
    }
    Err(ApiError::new(
        413,
        format!(
            "{absent} records without an embedding beside embeddings of dimension {dimension} take \
             more than the {ABSENT_BYTES_MAX} bytes that are allowed; send records with and without \
             embeddings in separate requests"
        ),
    ))
}

/// Which forms a list of vectors may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forms {
    /// Arrays of numbers.
    Arrays,
    /// Arrays of numbers, or base64 strings.
    Any,
    /// The same; single vectors, or the whole list, may be null.
    AnyOrNull,
}

/// Vectors as they are being read.
pub(super) struct VectorBlock {
    forms: Forms,
    form: Option<Form>,
    dimension: Option<usize>,
    values: Vec<f32>,
    present: Vec<bool>,
    absent: usize,
    rows_ahead: usize,
    problem: Option<Problem>,
}

/// The form that the first vector of a list has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Array,
    Base64,
}

/// The first rule that was found broken.
enum Problem {
    Empty,
    NotFinite,
    Dimensions,
    Absent(ApiError),
    Base64(String),
}

/// What is said of numbers that are not finite, in words that clients know.
const NOT_FINITE: &str = "Embeddings must not contain NaN or Infinity values";

impl VectorBlock {
    /// What reads a list of vectors, `rows` of them as far as is known.
    pub(super) fn seed(forms: Forms, rows: usize) -> VectorsSeed {
        VectorsSeed {
            block: Self {
                forms,
                form: None,
                dimension: None,
                values: Vec::new(),
                present: Vec::new(),
                absent: 0,
                rows_ahead: rows,
                problem: None,
            },
        }
    }

    /// How many vectors there were, absent ones included.
    pub(super) fn rows(&self) -> usize {
        self.present.len()
    }

    /// The block as a column; `member` is where it came from.
    pub(super) fn into_embeddings(self, member: &str) -> Result<Embeddings, ApiError> {
        match self.problem {
            Some(Problem::Empty) => Err(ApiError::validation(
                member,
                "Each embedding must have at least 1 dimension",
            )),
            Some(Problem::NotFinite) => Err(ApiError::validation(member, NOT_FINITE)),
            Some(Problem::Dimensions) => Err(ApiError::invalid(
                "Inconsistent dimensions in provided embeddings",
            )),
            Some(Problem::Absent(error)) => Err(error),
            Some(Problem::Base64(message)) => Err(ApiError::invalid(message)),
            None => {
                let Some(dimension) = self.dimension else {
                    return Ok(Embeddings::default());
                };
                Ok(
                    Embeddings::with_absent(dimension, self.values, self.present)
                        .expect("every row has as many numbers as the first"),
                )
            }
        }
    }

    fn note(&mut self, problem: Problem) {
        self.problem.get_or_insert(problem);
        self.values = Vec::new();
    }

    /// Whether `form` is that of the vectors before.
    fn takes(&mut self, form: Form) -> bool {
        *self.form.get_or_insert(form) == form
    }

    fn push_absent(&mut self) {
        self.present.push(false);
        self.absent += 1;
        if let Some(dimension) = self.dimension
            && self.has_room_for_absent(dimension)
        {
            self.values.resize(self.values.len() + dimension, 0.0);
        }
    }

    /// Whether absent rows may take their place beside vectors of `dimension`.
    fn has_room_for_absent(&mut self, dimension: usize) -> bool {
        if let Err(error) = check_absent(self.absent, dimension) {
            self.note(Problem::Absent(error));
        }
        self.problem.is_none()
    }

    /// Makes the room for a row of `dimension` numbers, which is known to be the one of all rows
    /// when this answers true.
    fn fix_dimension(&mut self, dimension: usize) -> bool {
        if self.problem.is_some() {
            return false;
        }
        if dimension == 0 {
            self.note(Problem::Empty);
            return false;
        }
        match self.dimension {
            None => {
                self.dimension = Some(dimension);
                if !self.has_room_for_absent(dimension) {
                    return false;
                }
                let ahead = self.rows_ahead.max(1).saturating_mul(dimension);
                self.values.reserve(ahead.min(BYTES_AHEAD_MAX / 4));
                // Absent rows before the first vector take their place now.
                self.values.resize(self.present.len() * dimension, 0.0);
                true
            }
            Some(known) if known == dimension => true,
            Some(_) => {
                self.note(Problem::Dimensions);
                false
            }
        }
    }

    /// Ends a row whose numbers were appended to the block from `from` on.
    fn finish_array(&mut self, from: usize) {
        let dimension = self.values.len() - from;
        if self.dimension.is_none() {
            // The first row: whatever absent rows came before it must stand before it.
            let row = self.values.split_off(from);
            if self.fix_dimension(dimension) {
                self.values.extend_from_slice(&row);
            }
        } else {
            self.fix_dimension(dimension);
        }
        self.finish_row(dimension);
    }

    /// Notes numbers that are not finite in the row just appended.
    fn finish_row(&mut self, dimension: usize) {
        self.present.push(true);
        if self.problem.is_none() {
            let row = &self.values[self.values.len() - dimension..];
            if !all_finite(row) {
                self.note(Problem::NotFinite);
            }
        }
    }

    fn push_base64(&mut self, text: &str) {
        if self.problem.is_none()
            && let Err(problem) = self.try_push_base64(text)
        {
            self.note(problem);
        }
        self.present.push(true);
    }

    fn try_push_base64(&mut self, text: &str) -> Result<(), Problem> {
        let padding = text
            .bytes()
            .rev()
            .take_while(|&byte| byte == b'=')
            .count()
            .min(2);
        let bytes = (text.len() / 4 * 3).saturating_sub(padding);
        if !text.len().is_multiple_of(4) || !bytes.is_multiple_of(4) {
            // Whatever is wrong with the alphabet or the padding comes first.
            return Err(match STANDARD.decode(text) {
                Err(error) => invalid_base64(&error),
                Ok(decoded) => Problem::Base64(format!(
                    "Invalid byte length: {} bytes cannot be converted to f32 values (must be \
                     divisible by 4)",
                    decoded.len()
                )),
            });
        }
        let dimension = bytes / 4;
        if !self.fix_dimension(dimension) {
            return Ok(());
        }
        let from = self.values.len();
        self.values.resize(from + dimension, 0.0);
        let row = &mut self.values[from..];
        match STANDARD.decode_slice(text, bytemuck::cast_slice_mut::<f32, u8>(row)) {
            Ok(written) if written == bytes => {}
            Ok(_) => {
                return Err(Problem::Base64(
                    "Invalid base64 string: wrong length".to_owned(),
                ));
            }
            Err(base64::DecodeSliceError::DecodeError(error)) => {
                return Err(invalid_base64(&error));
            }
            Err(error) => return Err(Problem::Base64(format!("Invalid base64 string: {error}"))),
        }
        if cfg!(target_endian = "big") {
            for number in &mut *row {
                *number = f32::from_bits(u32::from_le(number.to_bits()));
            }
        }
        if all_finite(row) {
            return Ok(());
        }
        let at = row
            .iter()
            .position(|number| !number.is_finite())
            .unwrap_or(0);
        Err(Problem::Base64(format!(
            "Non-finite float value at embedding index {at}: {}",
            row[at]
        )))
    }
}

fn invalid_base64(error: &base64::DecodeError) -> Problem {
    Problem::Base64(format!("Invalid base64 string: {error}"))
}

/// Reads a list of vectors.
pub(super) struct VectorsSeed {
    block: VectorBlock,
}

impl<'de> DeserializeSeed<'de> for VectorsSeed {
    type Value = Option<VectorBlock>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.block.forms {
            Forms::Arrays => deserializer.deserialize_seq(self),
            Forms::Any => deserializer.deserialize_any(self),
            Forms::AnyOrNull => deserializer.deserialize_option(self),
        }
    }
}

/// What is said of vectors in a form that is not allowed, in words that clients know.
const WRONG_FORM: &str = "data did not match any variant of untagged enum EmbeddingsPayload";

impl<'de> Visitor<'de> for VectorsSeed {
    type Value = Option<VectorBlock>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.block.forms {
            Forms::Arrays => "a sequence of arrays of numbers",
            Forms::Any | Forms::AnyOrNull => "a sequence of arrays of numbers or of base64 strings",
        })
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        match self.block.forms {
            Forms::Arrays => Err(E::invalid_type(serde::de::Unexpected::Unit, &self)),
            Forms::Any => Err(E::custom(WRONG_FORM)),
            Forms::AnyOrNull => Ok(None),
        }
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Self::Value, A::Error> {
        let block = &mut self.block;
        while list
            .next_element_seed(VectorSeed { block: &mut *block })?
            .is_some()
        {}
        Ok(Some(self.block))
    }
}

/// Reads one vector.
struct VectorSeed<'a> {
    block: &'a mut VectorBlock,
}

impl<'de> DeserializeSeed<'de> for VectorSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for VectorSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.block.forms {
            Forms::Arrays => "an array of numbers",
            Forms::Any => "an array of numbers or a base64 string",
            Forms::AnyOrNull => "an array of numbers, a base64 string or null",
        })
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        match self.block.forms {
            Forms::Arrays => Err(E::invalid_type(serde::de::Unexpected::Unit, &self)),
            Forms::Any => Err(E::custom(WRONG_FORM)),
            Forms::AnyOrNull => {
                self.block.push_absent();
                Ok(())
            }
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if self.block.forms == Forms::Arrays {
            let found = serde::de::Unexpected::Str(if text.len() > 40 { "…" } else { text });
            return Err(E::invalid_type(found, &self));
        }
        if !self.block.takes(Form::Base64) {
            return Err(E::custom(WRONG_FORM));
        }
        self.block.push_base64(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let block = self.block;
        if !block.takes(Form::Array) {
            // The rest of the body is read first: broken syntax in it comes before wrong shape.
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Err(A::Error::custom(WRONG_FORM));
        }
        if block.problem.is_some() {
            while list.next_element::<f32>()?.is_some() {}
            block.present.push(true);
            return Ok(());
        }
        let from = block.values.len();
        while let Some(number) = list.next_element::<f32>()? {
            block.values.push(number);
        }
        block.finish_array(from);
        Ok(())
    }
}

/// The error of a body whose vectors hold a number that no `f32` can: to the reader of JSON that
/// is broken syntax, to a client it is a number that is not finite.
pub(crate) fn explain_overflow(error: ApiError, member: &str) -> ApiError {
    let from_vectors = error.message.contains(&format!(" {member}["));
    if from_vectors && error.message.contains("number out of range") {
        return ApiError::validation(member, NOT_FINITE);
    }
    error
}

/// The vectors of a query: arrays of numbers only.
pub(crate) struct QueryVectors(VectorBlock);

impl QueryVectors {
    /// The vectors as a column, if they keep the rules.
    pub(crate) fn check(self) -> Result<Embeddings, ApiError> {
        self.0.into_embeddings("query_embeddings")
    }
}

impl<'de> Deserialize<'de> for QueryVectors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let block = VectorBlock::seed(Forms::Arrays, 0).deserialize(deserializer)?;
        Ok(Self(block.expect("a list that must not be null is a list")))
    }
}

/// The same in the forms that writes take too: arrays of numbers, or base64.
pub(crate) struct PackedQueryVectors(QueryVectors);

impl PackedQueryVectors {
    /// The vectors as a column, if they keep the rules; `others` must be empty.
    pub(crate) fn check(self, others: &QueryVectors) -> Result<Embeddings, ApiError> {
        if others.0.rows() > 0 {
            return Err(ApiError::invalid(
                "A query has vectors in `query_embeddings` or in `packed_query_embeddings`, not in both",
            ));
        }
        self.0.0.into_embeddings("packed_query_embeddings")
    }
}

impl<'de> Deserialize<'de> for PackedQueryVectors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let block = VectorBlock::seed(Forms::Any, 0).deserialize(deserializer)?;
        let block = block.expect("a list that must not be null is a list");
        Ok(Self(QueryVectors(block)))
    }
}
