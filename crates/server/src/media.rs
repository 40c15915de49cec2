//! In which form records come and go: JSON, or a stream of Arrow.
//!
//! What must stay true: JSON is what a request means that says nothing, or likes both as well; errors are
//! JSON whatever is asked for.

use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use vermilion_protocol::{ApiError, arrow};

use crate::answer::Failure;

/// A form of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Arrow,
}

const JSON: &str = "application/json";

impl Form {
    /// Its media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Arrow => arrow::MEDIA_TYPE,
        }
    }

    /// What a body is said to be: JSON where nothing is said, `None` where it is something else.
    pub(crate) fn of_body(headers: &HeaderMap) -> Option<Self> {
        let Some(value) = headers.get(CONTENT_TYPE) else {
            return Some(Self::Json);
        };
        let kind = value.to_str().ok()?.split(';').next().unwrap_or_default();
        let kind = kind.trim().to_ascii_lowercase();
        if kind == JSON || (kind.starts_with("application/") && kind.ends_with("+json")) {
            return Some(Self::Json);
        }
        (kind == arrow::MEDIA_TYPE).then_some(Self::Arrow)
    }

    /// What an answer should be by `headers`; `None` where neither form is taken. Of two forms that
    /// are liked as well, Arrow is meant only where it is named and JSON is not.
    fn of_answer(headers: &HeaderMap) -> Option<Self> {
        let ranges: Vec<Range> = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter(|range| !range.trim().is_empty())
            .map(Range::read)
            .collect();
        if ranges.is_empty() {
            return Some(Self::Json);
        }
        let liking = |form: Self| {
            let fits = ranges.iter().filter_map(|range| range.fits(form));
            // What names a type most closely says how it is liked.
            let closest = fits.max_by_key(|fit| fit.closeness);
            closest.map_or((0, 0), |fit| (fit.quality, fit.closeness))
        };
        let (json, arrow) = (liking(Self::Json), liking(Self::Arrow));
        if json.0 == 0 && arrow.0 == 0 {
            return None;
        }
        Some(if arrow > json {
            Self::Arrow
        } else {
            Self::Json
        })
    }
}

/// One of the types that a client takes, with how much it likes it.
struct Range {
    kind: String,
    /// Thousandths; `None` where it cannot be read, and the range means nothing.
    quality: Option<u16>,
}

/// How a range fits a type.
struct Fit {
    closeness: u8,
    quality: u16,
}

impl Range {
    fn read(text: &str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let said = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let quality = said.map_or(Some(1.0), |said| said.parse::<f32>().ok());
        let quality = quality.filter(|quality| (0.0..=1.0).contains(quality));
        Self {
            kind,
            quality: quality.map(|quality| (quality * 1000.0).round() as u16),
        }
    }

    fn fits(&self, form: Form) -> Option<Fit> {
        let closeness = match self.kind.as_str() {
            kind if kind == form.media_type() => 3,
            "application/*" => 2,
            "*/*" => 1,
            _ => return None,
        };
        let quality = self.quality?;
        Some(Fit { closeness, quality })
    }
}

/// The form that the answer to a request should have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerForm(pub(crate) Form);

impl<S: Send + Sync> FromRequestParts<S> for AnswerForm {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        Form::of_answer(&parts.headers).map(Self).ok_or_else(|| {
            let message = format!(
                "The header `Accept` takes neither `{JSON}` nor `{}`, which are what this route answers",
                arrow::MEDIA_TYPE
            );
            ApiError::new(406, message).into()
        })
    }
}

impl From<Form> for HeaderValue {
    fn from(form: Form) -> Self {
        Self::from_static(form.media_type())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_json_content_types_are_json() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            Form::of_body(&headers)
        };
        let (json, arrow) = (Some(Form::Json), Some(Form::Arrow));
        assert_eq!(Form::of_body(&HeaderMap::new()), json);
        assert_eq!(with("application/json"), json);
        assert_eq!(with("Application/JSON; charset=utf-8"), json);
        assert_eq!(with("application/vnd.api+json"), json);
        assert_eq!(with("application/vnd.apache.arrow.stream"), arrow);
        assert_eq!(with("Application/vnd.Apache.Arrow.Stream; a=b"), arrow);
        assert_eq!(with("application/vnd.apache.arrow.file"), None);
        assert_eq!(with("text/plain"), None);
        assert_eq!(with("text/json"), None);
    }

    #[test]
    fn answers_take_the_form_that_is_liked_most_and_json_of_equals() {
        let stream = "application/vnd.apache.arrow.stream";
        let (json, arrow) = (Some(Form::Json), Some(Form::Arrow));
        for (accept, expected) in [
            ("", json),
            ("*/*", json),
            ("application/*", json),
            ("application/json", json),
            ("application/json, text/plain, */*", json),
            (stream, arrow),
            ("APPLICATION/vnd.apache.arrow.STREAM", arrow),
            (&format!("{stream};codec=zstd"), arrow),
            (&format!("{stream}, */*"), arrow),
            (&format!("{stream}, */*;q=0.1"), arrow),
            (&format!("{stream}, application/json"), json),
            (&format!("{stream};q=0.9, application/json;q=0.8"), arrow),
            (&format!("{stream};q=0.5, application/json;q=0.8"), json),
            (&format!("{stream};q=0.5, */*"), json),
            (&format!("{stream};q=0, */*"), json),
            ("application/json;q=0, */*", arrow),
            ("application/json;q=0, application/*;q=0.2", arrow),
            (&format!("text/html, {stream} ; q=0.001"), arrow),
            ("text/html", None),
            ("application/json;q=0", None),
            ("*/*;q=0", None),
            ("application/vnd.apache.arrow.file", None),
            ("application/json;q=much", None),
            ("application/json;q=NaN", None),
            ("application/json;q=2", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(Form::of_answer(&headers), expected, "{accept}");
        }
        let mut headers = HeaderMap::new();
        assert_eq!(Form::of_answer(&headers), json);
        headers.append(ACCEPT, "text/html".parse().unwrap());
        headers.append(ACCEPT, stream.parse().unwrap());
        assert_eq!(Form::of_answer(&headers), arrow);
    }
}
