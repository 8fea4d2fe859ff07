//! The 200 to a REGISTER (RFC 3261 section 10.3 step 8).

use std::fmt::Write;

use redial_core::{Binding, UnixMillis};
use sip_core::Message;
use sip_core::message::Header;

use super::contact::clean;

/// Appends the header lines of the 200: every live binding as a Contact, its URI as the phone wrote it; Date, so that phones without a
/// clock can have one; and this request's Path where the phone knows Path (RFC 3327 section 5.3).
pub fn ok_headers(out: &mut String, now: UnixMillis, bindings: &[Binding], request: Message<'_>) {
    for binding in bindings {
        let left = binding.expires_at.0.saturating_sub(now.0).div_ceil(1000);
        if left == 0 {
            continue;
        }
        let _ = write!(out, "Contact: <{}>{};expires={left}", binding.uri, binding.params);
        write_q(out, binding.q);
        out.push_str("\r\n");
    }
    if super::supports_path(request) {
        for value in request.values(Header::Path).filter_map(clean) {
            let _ = write!(out, "Path: {value}\r\n");
        }
    }
    write_date(out, now);
}

/// `q` in thousandths, shortest form; 1 is what its absence means.
fn write_q(out: &mut String, q: u16) {
    match q {
        1000.. => {}
        0 => out.push_str(";q=0"),
        q => {
            let digits = format!("{q:03}");
            let _ = write!(out, ";q=0.{}", digits.trim_end_matches('0'));
        }
    }
}

/// RFC 3261 section 20.17: always GMT. Calendar by Howard Hinnant's civil-from-days, exact for every day since 1970.
fn write_date(out: &mut String, now: UnixMillis) {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = now.0 / 1000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01: years that begin in March have their leap day last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + u64::from(month >= 10);
    let weekday = DAYS[(days % 7) as usize];
    let name = MONTHS[((month + 2) % 12) as usize];
    out.extend(["Date: ", weekday, ", "]);
    two_digits(out, day);
    out.extend([" ", name, " "]);
    two_digits(out, year / 100);
    two_digits(out, year % 100);
    for (before, n) in [(' ', second / 3600), (':', second / 60 % 60), (':', second % 60)] {
        out.push(before);
        two_digits(out, n);
    }
    out.push_str(" GMT\r\n");
}

/// Every 200 has a date, and `write!` would spend more on it than on all other headers.
fn two_digits(out: &mut String, n: u64) {
    out.extend([n / 10 % 10, n % 10].map(|digit| char::from(b'0' + digit as u8)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_is_written_shortest() {
        for (q, text) in [(1000, ""), (0, ";q=0"), (500, ";q=0.5"), (250, ";q=0.25"), (125, ";q=0.125"), (1, ";q=0.001"), (50, ";q=0.05")] {
            let mut out = String::new();
            write_q(&mut out, q);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn dates_are_right() {
        for (seconds, text) in [
            (0, "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"),
            (951_782_399, "Date: Mon, 28 Feb 2000 23:59:59 GMT\r\n"),
            (951_782_400, "Date: Tue, 29 Feb 2000 00:00:00 GMT\r\n"),
            (1_289_687_340, "Date: Sat, 13 Nov 2010 22:29:00 GMT\r\n"),
            (1_798_761_599, "Date: Thu, 31 Dec 2026 23:59:59 GMT\r\n"),
            (4_102_444_800, "Date: Fri, 01 Jan 2100 00:00:00 GMT\r\n"),
        ] {
            let mut out = String::new();
            write_date(&mut out, UnixMillis(seconds * 1000 + 999));
            assert_eq!(out, text);
        }
    }
}
