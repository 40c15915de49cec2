//! Times as people write them: `2026-11-21T03:55:00Z`, to nanoseconds since 1970 and back.
//!
//! What must stay true: UTC only, by the calendar that is in use; what is not wholly understood is
//! refused.

const SECOND: u64 = 1_000_000_000;
const DAY_SECONDS: u64 = 86_400;
/// Days from 1 March of year 0 to 1 January 1970.
const EPOCH_DAYS: i64 = 719_468;
/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;

/// The time as text, to the millisecond.
pub(crate) fn text(nanoseconds: u64) -> String {
    let seconds = nanoseconds / SECOND;
    let (year, month, day) = date((seconds / DAY_SECONDS) as i64);
    let clock = seconds % DAY_SECONDS;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        clock / 3600,
        clock / 60 % 60,
        clock % 60,
        nanoseconds % SECOND / 1_000_000
    )
}

/// Reads `2026-11-21T03:55:00Z`, with up to nine digits behind a period, or a plain number of
/// nanoseconds.
pub(crate) fn parse(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let (day, clock) = text.strip_suffix('Z')?.split_once(['T', ' '])?;
    let [year, month, day] = numbers(day, '-', [4, 2, 2])?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let digits = fraction.len();
    let plain = (1..=9).contains(&digits) && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction = fraction.parse::<u64>().ok()? * 10_u64.pow(9 - digits as u32);
    let days = days(year as i64, month as i64, day as i64);
    // A day that the month does not have comes back as another one.
    if date(days) != (year as i64, month as i64, day as i64) {
        return None;
    }
    let seconds = u64::try_from(days).ok()? * DAY_SECONDS + hour * 3600 + minute * 60 + second;
    seconds.checked_mul(SECOND)?.checked_add(fraction)
}

fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut found = [0; 3];
    let mut parts = text.split(between);
    for (found, digits) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *found = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

/// Year, month and day of a day since 1970. Years are counted from March, so that a leap day is
/// the last of its year.
fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + EPOCH_DAYS;
    let era = shifted.div_euclid(ERA_DAYS);
    let of_era = shifted.rem_euclid(ERA_DAYS);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// The day since 1970 of a date.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year = year.rem_euclid(400);
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * march_month + 2) / 5 + day - 1;
    era * ERA_DAYS + year * 365 + year / 4 - year / 100 + of_year - EPOCH_DAYS
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for day in 0..60_000 {
            let (year, month, number) = date(day);
            assert_eq!(days(year, month, number), day);
        }
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
