//! Values of a report as text.
//!
//! What must stay true: [`Cell::html`] and [`Cell::markdown`] are the only ways of a text that users
//! logged onto a page, and neither lets it be markup. A picture is one by its bytes, told in letters of base64.

use jiff::Timestamp;
use serde_json::Value as Json;

use crate::Thumbnail;

/// Letters of a text that are shown.
const LETTERS_MAX: usize = 200;

/// A text for a page, or a picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    /// As it was logged.
    Text(String),
    /// A data URL that this program wrote.
    Picture(String),
}

impl Default for Cell {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl Cell {
    /// A text as it is.
    pub(super) fn of(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A text, a number or nothing; long texts are cut.
    pub(super) fn plain(value: &Json) -> Self {
        match value {
            Json::Null => Self::default(),
            Json::String(text) => Self::Text(cut(text)),
            other => Self::Text(cut(&other.to_string())),
        }
    }

    /// A number between 0 and 1 as so much of a hundred.
    pub(super) fn percent(value: &Json) -> Self {
        let number = value.as_f64();
        Self::Text(number.map_or_else(String::new, |number| format!("{:.1} %", number * 100.0)))
    }

    /// A number with three digits behind the point.
    pub(super) fn number(value: &Json) -> Self {
        let number = value.as_f64();
        Self::Text(number.map_or_else(String::new, |number| format!("{number:.3}")))
    }

    /// Seconds since 1970 as a time, in UTC.
    pub(super) fn moment(value: &Json) -> Self {
        let time = value.as_f64().and_then(|seconds| {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "what is cut are parts of a second"
            )]
            let whole = seconds as i64;
            Timestamp::from_second(whole).ok()
        });
        Self::Text(time.map_or_else(String::new, |time| time.to_string()))
    }

    /// Texts of a list, one after the other.
    pub(super) fn list(value: &Json) -> Self {
        let texts = value.as_array().into_iter().flatten();
        let texts: Vec<String> = texts
            .map(|one| Self::plain(one).text().to_owned())
            .collect();
        Self::Text(cut(&texts.join("; ")))
    }

    /// Numbers by name.
    pub(super) fn metrics(value: &Json) -> Self {
        let numbers = value.as_object().into_iter().flatten();
        let texts: Vec<String> = numbers
            .map(|(name, number)| format!("{name} {}", Self::number(number).text()))
            .collect();
        Self::Text(cut(&texts.join("; ")))
    }

    /// The picture that a data URL is; nothing where it is none.
    pub(super) fn picture(value: &Json) -> Self {
        let found = value.as_str().and_then(Thumbnail::of_document);
        let found = found.filter(Thumbnail::is_picture);
        found.map_or_else(Self::default, |found| Self::Picture(found.document()))
    }

    /// As it is, for what is escaped later.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Picture(_) => "",
        }
    }

    /// As text of a page of HTML, or of an attribute in quotation marks.
    pub(super) fn html(&self) -> String {
        if let Self::Picture(url) = self {
            return format!("<img src=\"{url}\" alt=\"\">");
        }
        let mut escaped = String::with_capacity(self.text().len());
        for letter in self.text().chars() {
            match letter {
                '&' => escaped.push_str("&amp;"),
                '<' => escaped.push_str("&lt;"),
                '>' => escaped.push_str("&gt;"),
                '"' => escaped.push_str("&quot;"),
                '\'' => escaped.push_str("&#39;"),
                letter if letter.is_control() => escaped.push(' '),
                letter => escaped.push(letter),
            }
        }
        escaped
    }

    /// As text of a cell of a table of Markdown.
    pub(super) fn markdown(&self) -> String {
        let mut escaped = String::with_capacity(self.text().len());
        for letter in self.text().chars() {
            match letter {
                '&' => escaped.push_str("&amp;"),
                '<' => escaped.push_str("&lt;"),
                '>' => escaped.push_str("&gt;"),
                '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '!' | '$' => {
                    escaped.push('\\');
                    escaped.push(letter);
                }
                // What looks like an address would become a link.
                ':' => escaped.push_str("&#58;"),
                '@' => escaped.push_str("&#64;"),
                letter if letter.is_control() => escaped.push(' '),
                letter => escaped.push(letter),
            }
        }
        escaped
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LETTERS_MAX) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text.to_owned(),
    }
}

/// Items of a list; none of what is no list.
pub(super) fn each(value: &Json) -> impl Iterator<Item = &Json> {
    value.as_array().into_iter().flatten()
}

/// Parts one after the other.
pub(super) fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect()
}

/// A count with the right form of its word.
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// What stands above [`of_signal`].
pub(super) const SIGNAL_HEAD: [&str; 5] = [
    "Signal",
    "Counts",
    "Tells errors",
    "Tells the unknown",
    "Why",
];

/// What a signal counts, as a row.
pub(super) fn of_signal(signal: &Json) -> Vec<Cell> {
    vec![
        Cell::plain(&signal["signal"]),
        Cell::percent(&signal["share"]),
        Cell::percent(&signal["tells_errors"]),
        Cell::percent(&signal["tells_unknown"]),
        Cell::plain(&signal["explanation"]),
    ]
}
