//! The question: which stretch of production is compared with what.
//!
//! What must stay true: a question that is understood has a window that ends after it begins; what cannot be is refused
//! by the name of what was asked.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::body::{TIMES, Time};
use crate::fields::Context;
use crate::{Refusal, Result};

/// Chance at which production is called moved, unless said otherwise.
const ALPHA: f64 = 0.05;
/// The least chance and the most that may be asked: as in a trigger.
pub const ALPHA_MIN: f64 = 0.002;
/// See [`ALPHA_MIN`].
pub const ALPHA_MAX: f64 = 0.5;
/// Lengths of a bucket that are chosen by themselves: 5 minutes to a day.
const LENGTHS: [f64; 7] = [300.0, 900.0, 3600.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0];
/// See [`LENGTHS`].
const DAY: f64 = 86_400.0;
/// Buckets of a timeline that are chosen by themselves, about.
const BUCKETS: f64 = 48.0;
/// Buckets of a timeline at most.
const BUCKETS_MAX: f64 = 500.0;

/// What is asked of drift, as texts of a query string.
#[derive(Clone, Debug, Default)]
pub struct AskedDrift {
    /// When the window begins: with the first observation unless said otherwise.
    pub from: Option<String>,
    /// When it ends: after the last observation unless said otherwise.
    pub to: Option<String>,
    /// How long it is, in place of `from`: `1d`, `6h`, `30m`, `45s`, `2w`.
    pub window: Option<String>,
    /// What it is compared with: a context, a dataset, `previous`, or a stretch `A..B` of production.
    pub reference: Option<String>,
    /// What the difference is told by: `class`, `cluster`, `metadata`, with commas.
    pub by: Option<String>,
    /// How long a bucket of the timeline is.
    pub bucket: Option<String>,
    /// The chance below which production is called moved.
    pub alpha: Option<f64>,
}

/// What a window is compared with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Against {
    /// Records of a context; of production those before the window.
    Context(Context),
    Dataset(String),
    /// Production of another time.
    Time(Range<f64>),
}

/// What the difference is told by.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct By {
    pub(super) class: bool,
    pub(super) cluster: bool,
    pub(super) metadata: bool,
}

/// The question, understood.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) window: Range<f64>,
    pub(super) against: Against,
    pub(super) by: By,
    /// How long a bucket of the timeline is; `None` where that is to be chosen.
    pub(super) bucket: Option<f64>,
    pub(super) alpha: f64,
}

impl Question {
    /// Understands what is asked of production that was observed in `seen`, its last moment included.
    pub(super) fn of(asked: &AskedDrift, seen: Range<f64>) -> Result<Self> {
        let from = asked
            .from
            .as_deref()
            .map(|text| moment("from", text))
            .transpose()?;
        let to = asked
            .to
            .as_deref()
            .map(|text| moment("to", text))
            .transpose()?;
        let length = asked
            .window
            .as_deref()
            .map(|text| duration("window", text))
            .transpose()?;
        if length.is_some() && from.is_some() {
            let message = "Both `from` and `window` say when the window begins.";
            return Err(Refusal::wrong("ambiguous_window", message)
                .field("window")
                .hint("`from` and `to`, or `window` with or without `to`"));
        }
        // The last observation is in the window: a window ends before `to`. One that begins after it, or
        // ends before the first, has no records, and is none that ends before it begins.
        let to = to.unwrap_or_else(|| {
            let after = from.map_or(f64::NEG_INFINITY, f64::next_up);
            seen.end.next_up().max(after)
        });
        let first = seen.start.min(to.next_down());
        let from = from.unwrap_or_else(|| length.map_or(first, |length| to - length));
        if from >= to {
            let message = "The window ends before it begins.";
            return Err(Refusal::wrong("bad_time", message).field("to"));
        }
        let window = from..to;
        let alpha = asked.alpha.unwrap_or(ALPHA);
        if !(ALPHA_MIN..=ALPHA_MAX).contains(&alpha) {
            let message = format!("`alpha` is {alpha}.");
            return Err(Refusal::wrong("out_of_range", message)
                .field("alpha")
                .hint(format!("{ALPHA_MIN} to {ALPHA_MAX}")));
        }
        Ok(Self {
            against: against(asked.reference.as_deref(), &window)?,
            by: by(asked.by.as_deref())?,
            bucket: bucket(asked.bucket.as_deref(), &window)?,
            window,
            alpha,
        })
    }

    /// How long a bucket of the timeline is, of records that were observed at these times: as asked, else
    /// the shortest that makes a timeline of few buckets, half of which have `least` records.
    pub(super) fn bucket_of(&self, times: &[f64], least: usize) -> f64 {
        self.bucket.unwrap_or_else(|| {
            let whole = self.window.end - self.window.start;
            let fits = LENGTHS.iter().filter(|length| whole / **length <= BUCKETS);
            let days = (whole / BUCKETS / DAY).ceil() * DAY;
            let lengths: Vec<f64> = fits.copied().collect();
            let filled = lengths
                .iter()
                .find(|length| median(times, **length) >= least);
            *filled.or(lengths.last()).unwrap_or(&days)
        })
    }
}

fn against(asked: Option<&str>, window: &Range<f64>) -> Result<Against> {
    let Some(asked) = asked else {
        return Ok(Against::Context(Context::Training));
    };
    if asked == "previous" {
        return Ok(Against::Time(
            window.start - (window.end - window.start)..window.start,
        ));
    }
    if let Some((from, to)) = asked.split_once("..") {
        let stretch = moment("reference", from)?..moment("reference", to)?;
        if stretch.is_empty() {
            let message = "The reference ends before it begins.";
            return Err(Refusal::wrong("bad_time", message).field("reference"));
        }
        return Ok(Against::Time(stretch));
    }
    let context = Context::named(asked).map(Against::Context);
    Ok(context.unwrap_or_else(|| Against::Dataset(asked.to_owned())))
}

fn by(asked: Option<&str>) -> Result<By> {
    let mut by = By::default();
    for part in asked.unwrap_or("class,cluster,metadata").split(',') {
        match part.trim() {
            "class" => by.class = true,
            "cluster" => by.cluster = true,
            "metadata" => by.metadata = true,
            other => {
                let message = format!("`{other}` is nothing that drift is told by.");
                return Err(Refusal::wrong("unknown_breakdown", message)
                    .field("by")
                    .hint("class, cluster, metadata"));
            }
        }
    }
    Ok(by)
}

/// How long a bucket of the timeline of a window is to be.
fn bucket(asked: Option<&str>, window: &Range<f64>) -> Result<Option<f64>> {
    let whole = window.end - window.start;
    let Some(asked) = asked else {
        return Ok(None);
    };
    let length = duration("bucket", asked)?;
    if whole / length > BUCKETS_MAX {
        let message = "The window has too many buckets of that length.";
        return Err(Refusal::wrong("out_of_range", message)
            .field("bucket")
            .hint(format!("{BUCKETS_MAX} buckets at most")));
    }
    Ok(Some(length))
}

/// How many of these times half of the buckets of a length have at least that have any.
fn median(times: &[f64], length: f64) -> usize {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    for at in times {
        *counts.entry((at / length).floor() as i64).or_default() += 1;
    }
    let mut counts: Vec<usize> = counts.into_values().collect();
    counts.sort_unstable();
    counts.get(counts.len() / 2).copied().unwrap_or(0)
}

fn moment(field: &str, text: &str) -> Result<f64> {
    let told = text.trim();
    let time = match told.parse() {
        Ok(seconds) => Time::Seconds(seconds),
        Err(_) => Time::Text(told.to_owned()),
    };
    let seconds = time.seconds().filter(|seconds| seconds.is_finite());
    seconds.ok_or_else(|| {
        Refusal::wrong("bad_time", format!("`{text}` is no moment."))
            .field(field)
            .hint(TIMES)
    })
}

/// A length of time, as `90s`, `30m`, `6h`, `1d` or `2w`, in seconds.
fn duration(field: &str, text: &str) -> Result<f64> {
    let split = text.find(|letter: char| letter.is_ascii_alphabetic());
    let (number, unit) = text.split_at(split.unwrap_or(text.len()));
    let unit = match unit {
        "" | "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        "d" => Some(86_400.0),
        "w" => Some(7.0 * 86_400.0),
        _ => None,
    };
    let number = number
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite() && *number > 0.0);
    number
        .zip(unit)
        .map(|(number, unit)| number * unit)
        .ok_or_else(|| {
            Refusal::wrong("bad_time", format!("`{text}` is no length of time."))
                .field(field)
                .hint("a number above 0 with `s`, `m`, `h`, `d` or `w`, such as 1d")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(change: impl FnOnce(&mut AskedDrift)) -> Result<Question> {
        let mut asked = AskedDrift::default();
        change(&mut asked);
        Question::of(&asked, 1000.0..101_000.0)
    }

    #[test]
    fn a_window_is_all_of_production_unless_times_or_a_length_say_less() {
        let all = asked(|_| {}).unwrap();
        assert!(all.window.contains(&1000.0) && all.window.contains(&101_000.0));
        assert_eq!(all.against, Against::Context(Context::Training));
        let last = asked(|asked| asked.window = Some("1h".into())).unwrap();
        assert!((last.window.end - last.window.start - 3600.0).abs() < 1e-6);
        let text = asked(|asked| {
            asked.from = Some("1970-01-01T01:00:00Z".into());
            asked.to = Some("7200.5".into());
        });
        assert_eq!(text.unwrap().window, 3600.0..7200.5);
        let both =
            asked(|asked| (asked.from, asked.window) = (Some("1".into()), Some("1d".into())));
        assert_eq!(both.unwrap_err().code, "ambiguous_window");
        let turned = asked(|asked| (asked.from, asked.to) = (Some("9".into()), Some("9".into())));
        assert_eq!(turned.unwrap_err().code, "bad_time");
        // What lies beside all observations is empty, and not turned.
        let after = asked(|asked| asked.from = Some("200000".into())).unwrap();
        assert!(after.window.start > 101_000.0 && after.window.start < after.window.end);
        let before = asked(|asked| asked.to = Some("999".into())).unwrap();
        assert!(before.window.start < 999.0 && before.window.end <= 999.0);
        for wrong in ["", "d", "-1d", "1y", "infd", "0s"] {
            let refused = asked(|asked| asked.window = Some(wrong.into())).unwrap_err();
            assert_eq!(
                (refused.code, refused.field.as_deref()),
                ("bad_time", Some("window"))
            );
        }
    }

    #[test]
    fn references_are_contexts_datasets_the_time_before_or_another_time() {
        let against = |text: &str| {
            let told = asked(|asked| {
                (asked.from, asked.to) = (Some("3000".into()), Some("4000".into()));
                asked.reference = Some(text.into());
            });
            told.map(|told| told.against)
        };
        assert_eq!(against("test").unwrap(), Against::Context(Context::Test));
        assert_eq!(against("v7").unwrap(), Against::Dataset("v7".into()));
        assert_eq!(against("previous").unwrap(), Against::Time(2000.0..3000.0));
        assert_eq!(against("5..6.5").unwrap(), Against::Time(5.0..6.5));
        assert_eq!(against("6..5").unwrap_err().code, "bad_time");
    }

    #[test]
    fn buckets_are_as_short_as_a_timeline_of_few_lets_them_be() {
        let length = |window: &str, bucket: Option<&str>| {
            let told = asked(|asked| {
                asked.window = Some(window.into());
                asked.bucket = bucket.map(str::to_owned);
            });
            told.map(|told| told.bucket_of(&[], 0))
        };
        for (window, expected) in [
            ("1h", 300.0),
            ("1d", 3600.0),
            ("30d", 86_400.0),
            ("1000d", 21.0 * 86_400.0),
        ] {
            assert!(
                (length(window, None).unwrap() - expected).abs() < 1e-6,
                "{window}"
            );
        }
        assert!((length("1d", Some("2h")).unwrap() - 7200.0).abs() < 1e-6);
        let of_records = |count: u32, whole: f64| {
            let times: Vec<f64> = (0..count)
                .map(|n| 1000.0 + whole * f64::from(n) / f64::from(count))
                .collect();
            let told = Question::of(&AskedDrift::default(), 1000.0..1000.0 + whole);
            told.unwrap().bucket_of(&times, 20)
        };
        for (count, hours, expected) in [
            (4000, 46.0, 3600.0),
            (800, 46.0, 10_800.0),
            (250, 46.0, 21_600.0),
            (20, 46.0, 86_400.0),
            (20, 720.0, 86_400.0),
            (20, 24_000.0, 21.0 * 86_400.0),
        ] {
            let found = of_records(count, hours * 3600.0);
            assert!(
                (found - expected).abs() < 1e-6,
                "{count} in {hours}: {found}"
            );
        }
        assert_eq!(length("1d", Some("1s")).unwrap_err().code, "out_of_range");
    }
}
