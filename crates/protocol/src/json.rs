//! Decoding of JSON bodies, with errors in the words and statuses that clients know.
//!
//! Decoding runs without noting where it is; only when it fails is it run again to find the path
//! of the offending member, so that good requests do not pay for it. Integers may be written as `1.0`.

use std::marker::PhantomData;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer};
use serde_json::error::Category;

use crate::ApiError;

mod bounded;
mod whole;

pub(crate) use bounded::filter;
pub(crate) use whole::EXACT_MAX;
pub use whole::WholeNumbers;

/// Levels of a filter or a rank inside one another at most. One is an object in a list or in an object, so
/// that these, and what is around them and in them, stay below the objects and lists that the reader of
/// JSON takes inside one another, which are 127.
pub(crate) const LEVELS_MAX: usize = 60;

/// Decodes `body`, an object, as a `T`.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    decode_seed(body, || PhantomData::<T>)
}

/// Decodes `body` by what `seed` makes. It is called again to tell where a failure is.
pub(crate) fn decode_seed<'de, S>(
    body: &'de [u8],
    seed: impl Fn() -> S,
) -> Result<S::Value, ApiError>
where
    S: DeserializeSeed<'de>,
{
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(syntax_error("the body is not UTF-8"));
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let decoded = seed().deserialize(WholeNumbers(&mut deserializer));
    match decoded.and_then(|value| deserializer.end().map(|()| value)) {
        Ok(value) => Ok(value),
        Err(error) => Err(explain(text, &error, seed())),
    }
}

/// Says what is wrong with `text`, which failed with `error`.
fn explain<'de, S>(text: &'de str, error: &serde_json::Error, seed: S) -> ApiError
where
    S: DeserializeSeed<'de>,
{
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let traced = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
    let failed = seed.deserialize(WholeNumbers(traced)).is_err();
    let path = track.path().to_string();
    let is_deep = error.to_string().starts_with("recursion limit exceeded");
    let reason = if is_deep {
        format!(
            "objects and lists are nested too deep ({error}); a filter or a rank may have {LEVELS_MAX} levels"
        )
    } else if failed && path != "." && path != "?" {
        format!("{path}: {error}")
    } else {
        error.to_string()
    };
    if error.classify() == Category::Data {
        shape_error(&reason)
    } else {
        syntax_error(&reason)
    }
}

/// The error of JSON that has the wrong shape.
pub(crate) fn shape_error(reason: &str) -> ApiError {
    ApiError::unprocessable(format!(
        "Failed to deserialize the JSON body into the target type: {reason}"
    ))
}

fn syntax_error(reason: &str) -> ApiError {
    ApiError::invalid(format!(
        "Failed to parse the request body as JSON: {reason}"
    ))
}

/// Decodes a member that may be null or absent, which mean the same.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: serde::Deserialize<'de> + Default,
{
    Ok(<Option<T> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Body {
        #[expect(dead_code, reason = "only decoding is looked at")]
        ids: Vec<String>,
    }

    fn check(body: &str, status: u16, message: &str) {
        let error = decode::<Body>(body.as_bytes()).unwrap_err();
        assert_eq!(error.status, status, "{error}");
        assert!(error.message.contains(message), "{error}");
    }

    #[test]
    fn wrong_shape_is_422_with_path_line_and_column() {
        check(
            r#"{"ids":["a",1]}"#,
            422,
            "Failed to deserialize the JSON body into the target type: ids[1]: \
             invalid type: integer `1`, expected a string at line 1 column 13",
        );
        check(
            "{}",
            422,
            "into the target type: missing field `ids` at line 1 column 2",
        );
        check(
            " [[\"a\"]]",
            422,
            "invalid type: sequence, expected an object",
        );
    }

    #[test]
    fn broken_syntax_is_400() {
        check(
            r#"{"ids":[NaN]}"#,
            400,
            "Failed to parse the request body as JSON: ids[0]: ",
        );
        check(
            "",
            400,
            "Failed to parse the request body as JSON: EOF while parsing",
        );
        check(r#"{"ids":[]} x"#, 400, "trailing characters");
        let deep = "[".repeat(100_000);
        check(&format!("{{\"ids\":{deep}"), 422, "invalid type: sequence");
        check(
            &format!("{{\"a\":{deep}"),
            400,
            "Failed to parse the request body as JSON",
        );
    }

    #[test]
    fn bytes_that_are_not_text_are_400() {
        assert_eq!(decode::<Body>(b"\xff\xfe").unwrap_err().status, 400);
    }
}
