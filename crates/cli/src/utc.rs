//! Times as people write them: `2026-11-21T03:55:00Z`, to nanoseconds since 1970 and back.
//!
//! What must stay true: UTC only; what is not wholly understood is refused.

use jiff::Timestamp;

/// The time as text, to the millisecond.
pub(crate) fn text(nanoseconds: u64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(nanoseconds));
    let time = time.expect("64 bits of nanoseconds end in the year 2554");
    format!("{time:.3}")
}

/// Reads `2026-11-21T03:55:00Z`, with up to nine digits behind a period, or a plain number of
/// nanoseconds.
pub(crate) fn parse(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    // Without a plain Z it is the time of another zone, or of none.
    text.strip_suffix('Z')?;
    let time: Timestamp = text.parse().ok()?;
    u64::try_from(time.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn times_go_to_text_and_back() {
        for (nanoseconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400 * SECOND, "2000-02-29T00:00:00.000Z"),
            (1_792_555_199_987_000_000, "2026-10-21T03:59:59.987Z"),
            (4_107_542_399 * SECOND, "2100-02-28T23:59:59.000Z"),
        ] {
            assert_eq!(text(nanoseconds), expected);
            assert_eq!(parse(expected), Some(nanoseconds));
        }
        assert_eq!(text(1_999_999), "1970-01-01T00:00:00.001Z");
        assert_eq!(text(u64::MAX), "2554-07-21T23:34:33.709Z");
        assert_eq!(
            parse("2026-11-21 03:55:00Z"),
            parse("2026-11-21T03:55:00.0Z")
        );
        assert_eq!(parse("1500"), Some(1500));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-11-21",
            "2026-11-21T03:55:00",
            "2026-11-21T03:55:00+01:00",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-10T00:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T03:60:00Z",
            "2026-11-21T03:55:00.Z",
            "2026-11-21T03:55:00.1234567890Z",
            "1969-12-31T23:59:59Z",
            "+026-11-21T03:55:00Z",
            "9999-11-21T03:55:00Z",
            "99999999999999999999999",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
