//! Durations as operators write them: `90s`, `1h`, `500ms`, `1h30m`, or a whole number of seconds.

use std::time::Duration;

/// Longer than any sensible period, and short enough that every deadline fits the store's milliseconds.
pub(super) const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Units from the longest to the shortest, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads one or more `<digits><unit>` without spaces, or bare digits (seconds). Exact: no fractions, no rounding.
///
/// # Errors
/// A sentence for the operator.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("is empty, expected a duration like 90s".to_owned());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| not_a_duration(text))?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = match &rest[..letters] {
            "" if rest.is_empty() && digits == text.trim().len() => 1000,
            name => UNITS.iter().find(|(unit, _)| *unit == name).ok_or_else(|| not_a_duration(text))?.1,
        };
        rest = &rest[letters..];
        total = number.checked_mul(unit).and_then(|ms| total.checked_add(ms)).ok_or_else(too_long)?;
    }
    let duration = Duration::from_millis(total);
    if duration > LONGEST { Err(too_long()) } else { Ok(duration) }
}

/// The shortest exact spelling; what is below a millisecond is cut.
pub(super) fn print(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if ms % 1000 == 0 { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
}

fn not_a_duration(text: &str) -> String {
    format!("{text:?} is no duration, expected one like 90s, 1h30m, 500ms or a whole number of seconds")
}

fn too_long() -> String {
    format!("is longer than {} days", LONGEST.as_secs() / 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_operators_write() {
        for (text, ms) in
            [("90s", 90_000), ("1h", 3_600_000), ("500ms", 500), ("7", 7000), ("1h30m", 5_400_000), ("2d", 172_800_000), (" 0s ", 0)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            " ",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "1w",
            "1h30",
            "30 1h",
            "10S",
            "99999999999999999999s",
            "367d",
            "9223372036854775807d",
            "١s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn printed_is_read_back(ms in 0u64..=366 * 86_400_000) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse(&print(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,12}") {
            let _ = parse(&text);
        }
    }
}
