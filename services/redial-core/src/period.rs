//! The monitoring period: what the INVITE asked for and what is granted.

use std::time::Duration;

use crate::link::RequestedPeriod;
use crate::policy::{PeriodSource, Policy};

/// What the INVITE asks for under `policy`. `header` is the value of the policy's period header, `expires` that of Expires
/// (RFC 3261 section 20.19), both as received.
///
/// The sources that the policy names count in its order; a value that is no number of seconds, or is shorter than the policy's
/// minimum, counts as absent, and so the next source may speak. `0` opts out. Longer periods than the maximum are cut to it.
#[must_use]
pub fn requested(policy: &Policy, header: Option<&[u8]>, expires: Option<&[u8]>) -> RequestedPeriod {
    policy
        .period_from
        .iter()
        .filter_map(|source| match source {
            PeriodSource::Header => header,
            PeriodSource::Expires => expires,
        })
        .filter_map(delta_seconds)
        .find_map(|seconds| {
            if seconds == 0 {
                return Some(RequestedPeriod::OptOut);
            }
            let asked = Duration::from_secs(u64::from(seconds));
            (asked >= policy.period_min).then(|| RequestedPeriod::Seconds(whole_seconds(asked.min(policy.period_max))))
        })
        .unwrap_or(RequestedPeriod::Absent)
}

/// How long the watch will stand; `None` when the caller opted out.
#[must_use]
pub fn granted(policy: &Policy, requested: RequestedPeriod) -> Option<Duration> {
    match requested {
        RequestedPeriod::OptOut => None,
        RequestedPeriod::Absent => Some(policy.period_default),
        RequestedPeriod::Seconds(s) => Some(Duration::from_secs(u64::from(s)).clamp(policy.period_min, policy.period_max)),
    }
}

/// `delta-seconds` (RFC 3261 section 25.1): digits only. A number beyond 32 bits is the largest one.
fn delta_seconds(value: &[u8]) -> Option<u32> {
    let digits = value.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0u32, |n, d| n.saturating_mul(10).saturating_add(u32::from(d - b'0'))))
}

/// Rounded up, so that a maximum below one second is not an opt-out.
fn whole_seconds(d: Duration) -> u32 {
    let seconds = d.as_secs() + u64::from(d.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use RequestedPeriod::{Absent, OptOut, Seconds};
    use proptest::prelude::*;

    fn policy(from: &[PeriodSource]) -> Policy {
        Policy { period_from: from.to_vec(), ..Policy::default() }
    }

    #[test]
    fn header_goes_before_expires() {
        let p = Policy::default();
        assert_eq!(requested(&p, Some(b"600"), Some(b"1200")), Seconds(600));
        assert_eq!(requested(&p, None, Some(b" 1200 ")), Seconds(1200));
        assert_eq!(requested(&p, None, None), Absent);
        let swapped = policy(&[PeriodSource::Expires, PeriodSource::Header]);
        assert_eq!(requested(&swapped, Some(b"600"), Some(b"1200")), Seconds(1200));
    }

    #[test]
    fn below_min_counts_as_absent() {
        let p = Policy::default();
        assert_eq!(requested(&p, Some(b"59"), Some(b"60")), Seconds(60));
        assert_eq!(requested(&p, Some(b"59"), None), Absent);
        assert_eq!(requested(&p, None, Some(b"1")), Absent);
    }

    #[test]
    fn above_max_is_cut() {
        let p = Policy::default();
        assert_eq!(requested(&p, Some(b"86401"), None), Seconds(86_400));
        assert_eq!(requested(&p, Some(b"99999999999999999999999"), None), Seconds(86_400));
    }

    #[test]
    fn zero_opts_out_from_any_counted_source() {
        let p = Policy::default();
        assert_eq!(requested(&p, Some(b"0"), Some(b"600")), OptOut);
        assert_eq!(requested(&p, None, Some(b"0")), OptOut);
        assert_eq!(requested(&p, Some(b"600"), Some(b"0")), Seconds(600), "the header speaks first");
        assert_eq!(requested(&policy(&[PeriodSource::Header]), None, Some(b"0")), Absent, "Expires does not count");
        assert_eq!(requested(&policy(&[]), Some(b"600"), Some(b"0")), Absent);
        assert_eq!(granted(&p, OptOut), None);
    }

    #[test]
    fn garbage_counts_as_absent() {
        let p = Policy::default();
        for bad in [&b""[..], b" ", b"-1", b"+60", b"60s", b"6 0", b"0x10", b"\xff\xfe", b"1e3", b"60;q=1"] {
            assert_eq!(requested(&p, Some(bad), None), Absent, "{bad:?}");
            assert_eq!(requested(&p, Some(bad), Some(b"300")), Seconds(300), "{bad:?}");
        }
    }

    #[test]
    fn default_is_granted_when_absent() {
        assert_eq!(granted(&Policy::default(), Absent), Some(Duration::from_secs(3600)));
    }

    proptest! {
        #[test]
        fn grants_stay_between_min_and_max(header in proptest::collection::vec(any::<u8>(), 0..12), expires in "[0-9]{0,8}") {
            let p = Policy::default();
            if let Some(period) = granted(&p, requested(&p, Some(&header), Some(expires.as_bytes()))) {
                prop_assert!(period >= p.period_min && period <= p.period_max);
            }
        }
    }
}
