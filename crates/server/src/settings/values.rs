//! The types a setting can have, and how each is read from text.
//!
//! What must stay true: reading never guesses; a text that is not wholly understood is refused.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use vermilion_engine::config::SchedulerClass;

/// How the settings page writes that a setting is nothing.
pub(super) const NOTHING: &str = "none";

/// A type that a setting can have.
pub trait SettingValue: Sized {
    /// What a text must be, to end the sentence "which is not ...".
    const EXPECTS: &'static str;
    /// Whether the flag may stand without a value.
    const IS_SWITCH: bool = false;
    /// Whether a list of texts may stand for their texts with commas between.
    const IS_LIST: bool = false;
    /// Reads a text; `None` where it is not what [`Self::EXPECTS`] says.
    fn parse(text: &str) -> Option<Self>;
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteCount(pub u64);

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// Errors.
    Error,
    /// And warnings.
    Warn,
    /// And what an operator wants to know.
    Info,
    /// And every request.
    Debug,
    /// And steps inside.
    Trace,
}

impl LogLevel {
    /// The level as filters write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Origins of web pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(pub Vec<String>);

/// A path, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptionalPath(pub Option<PathBuf>);

/// A number, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OptionalNumber(pub Option<NonZeroUsize>);

impl SettingValue for OptionalNumber {
    const EXPECTS: &'static str = "a number from 1 up, or `none`";
    fn parse(text: &str) -> Option<Self> {
        if is_nothing(text) {
            return Some(Self(None));
        }
        text.parse().ok().map(Some).map(Self)
    }
}

/// The address of a server, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptionalAddress(pub Option<String>);

impl SettingValue for OptionalAddress {
    const EXPECTS: &'static str = "an address such as http://localhost:4318, or `none`";
    fn parse(text: &str) -> Option<Self> {
        if is_nothing(text) {
            return Some(Self(None));
        }
        let rest = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"))?;
        let sound = !rest.is_empty() && !rest.contains(char::is_whitespace);
        sound.then(|| Self(Some(text.to_owned())))
    }
}

impl SettingValue for OptionalPath {
    const EXPECTS: &'static str = "a path, or `none`";
    fn parse(text: &str) -> Option<Self> {
        Some(Self((!is_nothing(text)).then(|| PathBuf::from(text))))
    }
}

/// A number of bytes, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionalBytes(pub Option<u64>);

impl SettingValue for OptionalBytes {
    const EXPECTS: &'static str = "a number of bytes such as 512KiB or 40MiB, or `none`";
    fn parse(text: &str) -> Option<Self> {
        if is_nothing(text) {
            return Some(Self(None));
        }
        Some(Self(Some(ByteCount::parse(text)?.0)))
    }
}

/// A share of something, from 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(pub u8);

impl SettingValue for Percent {
    const EXPECTS: &'static str = "a number from 1 to 100";
    fn parse(text: &str) -> Option<Self> {
        let share = text.parse().ok()?;
        (1..=100).contains(&share).then_some(Self(share))
    }
}

impl SettingValue for PathBuf {
    const EXPECTS: &'static str = "a path";
    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
    }
}

impl SettingValue for String {
    const EXPECTS: &'static str = "a name or an IP address";
    fn parse(text: &str) -> Option<Self> {
        let plain = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '/');
        plain.then(|| text.to_owned())
    }
}

impl SettingValue for u16 {
    const EXPECTS: &'static str = "a number from 0 to 65535";
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl SettingValue for u32 {
    const EXPECTS: &'static str = "a number from 0 to 4294967295";
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl SettingValue for usize {
    const EXPECTS: &'static str = "a number from 1 up";
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|&number| number > 0)
    }
}

impl SettingValue for bool {
    const EXPECTS: &'static str = "`true` or `false`";
    const IS_SWITCH: bool = true;
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        }
    }
}

impl SettingValue for ByteCount {
    const EXPECTS: &'static str = "a number of bytes such as 1048576, 512KiB, 40MiB or 4GiB";
    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split_unit(text)?;
        let factor: u64 = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        number
            .checked_mul(factor)
            .filter(|&bytes| bytes > 0)
            .map(Self)
    }
}

impl SettingValue for Duration {
    const EXPECTS: &'static str = "a time such as 250ms, 5s, 10m or 1h";
    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split_unit(text)?;
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        number.checked_mul(milliseconds).map(Self::from_millis)
    }
}

impl SettingValue for LogLevel {
    const EXPECTS: &'static str = "one of off, error, warn, info, debug, trace";
    fn parse(text: &str) -> Option<Self> {
        [
            Self::Off,
            Self::Error,
            Self::Warn,
            Self::Info,
            Self::Debug,
            Self::Trace,
        ]
        .into_iter()
        .find(|level| level.name() == text)
    }
}

impl SettingValue for SchedulerClass {
    const EXPECTS: &'static str = "`in_process` or `external`";
    fn parse(text: &str) -> Option<Self> {
        match text {
            "in_process" => Some(Self::InProcess),
            "external" => Some(Self::External),
            _ => None,
        }
    }
}

impl SettingValue for LogFormat {
    const EXPECTS: &'static str = "`text` or `json`";
    fn parse(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

impl SettingValue for Origins {
    const EXPECTS: &'static str = "a list of origins such as https://example.org, or `*`";
    const IS_LIST: bool = true;
    fn parse(text: &str) -> Option<Self> {
        if is_nothing(text) {
            return Some(Self::default());
        }
        let origins: Vec<String> = text
            .split(',')
            .map(str::trim)
            .filter(|origin| !origin.is_empty())
            .map(str::to_owned)
            .collect();
        let is_origin = |origin: &String| {
            origin == "*" || origin.starts_with("http://") || origin.starts_with("https://")
        };
        origins.iter().all(is_origin).then_some(Self(origins))
    }
}

/// Whether a text says that there is nothing: by being empty, or as the settings page writes it.
fn is_nothing(text: &str) -> bool {
    text.is_empty() || text == NOTHING
}

/// A number and the letters behind it.
fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number = text[..end].parse().ok()?;
    Some((number, text[end..].trim_start()))
}
