//! What the story cost in SIP messages, next to what presence would have spent for the same.

use std::time::Duration;

use crate::phone::Line;

/// Messages that exist only because of auto-redial: everything of the recall (REFER, its answer, NOTIFYs).
/// The failed INVITE, the REGISTERs and the final call would have happened anyway.
pub fn spent(lines: &[Line]) -> usize {
    lines.iter().filter(|line| line.method == "REFER" || line.method == "NOTIFY").count()
}

/// Messages of a presence server for one completed pair: SUBSCRIBE and NOTIFY with their answers at the start, a PUBLISH and
/// a NOTIFY when the callee is back, un-PUBLISH and un-SUBSCRIBE with its last NOTIFY at the end, each with its 200; and one
/// SUBSCRIBE, NOTIFY and their 200s for each refresh (RFC 6665, RFC 3903).
pub fn presence(waited: Duration, refresh: Duration) -> u64 {
    16 + 4 * refreshes(waited, refresh)
}

/// The same by RFC 6910 call-completion subscriptions.
pub fn call_completion(waited: Duration, refresh: Duration) -> u64 {
    12 + 4 * refreshes(waited, refresh)
}

/// A phone that redials every minute: INVITE, 100, 480, ACK each time.
pub fn redialling(waited: Duration) -> u64 {
    4 * waited.as_secs().div_ceil(60)
}

fn refreshes(waited: Duration, refresh: Duration) -> u64 {
    waited.as_secs().div_ceil(refresh.as_secs()).saturating_sub(1)
}

/// The table under the ladder.
pub fn table(spent: usize) -> String {
    let hour = Duration::from_secs(3600);
    let day = 24 * hour;
    let row = |name: &str, one: String, all: String| format!("  {name:<44}{one:>12}{all:>14}\n");
    let refresh = [Duration::from_secs(3600), Duration::from_secs(600)];
    let both = |waited| format!("{} / {}", presence(waited, refresh[0]), presence(waited, refresh[1]));
    [
        row("SIP messages beyond the calls themselves", "waiting 1 h".into(), "waiting 24 h".into()),
        row("this run (counted on the wire)", spent.to_string(), spent.to_string()),
        row("presence, refreshed every 3600 s / 600 s", both(hour), both(day)),
        row("RFC 6910 call completion", call_completion(hour, refresh[0]).to_string(), call_completion(day, refresh[0]).to_string()),
        row("the phone redials every 60 s", redialling(hour).to_string(), redialling(day).to_string()),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_the_comparison_follow_from_the_formulas() {
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86_400));
        let short = Duration::from_secs(600);
        assert_eq!([presence(hour, hour), presence(hour, short)], [16, 36]);
        assert_eq!([presence(day, hour), presence(day, short)], [108, 588]);
        assert_eq!([call_completion(hour, hour), call_completion(day, hour)], [12, 104]);
        assert_eq!([redialling(hour), redialling(day)], [240, 5760]);
    }
}
