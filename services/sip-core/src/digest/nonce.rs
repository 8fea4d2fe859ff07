//! Nonces without state: time and source under a keyed hash (RFC 7616 section 5.4 leaves the making to the server).
//!
//! A nonce is good for any number of requests of its lifetime, because counting nc would need a list that all pods share. What a listener can
//! repeat within the lifetime is therefore limited by the source address that the nonce is bound to, and by method and uri, which the response covers.

use std::net::IpAddr;
use std::time::Duration;

use crate::keyed;

const LABEL: &[u8; 8] = b"nonce  1";
const TIME: usize = 6;
const MAC: usize = 12;
const TEXT: usize = (TIME + MAC) / 3 * 4;

/// What a nonce in credentials is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Freshness {
    Fresh,
    /// One of ours, but too old: challenge with stale=true, if the response is right.
    Stale,
    /// Not ours, or given to another address.
    Forged,
}

/// A nonce for this source: 24 characters that need no quoting.
#[must_use]
pub fn issue(secret: &[u8], unix_ms: u64, source: IpAddr) -> String {
    let mut bytes = [0; TIME + MAC];
    let (time, mac) = bytes.split_at_mut(TIME);
    // 48 bits of milliseconds last until the year 10889.
    time.copy_from_slice(&unix_ms.to_be_bytes()[8 - TIME..]);
    mac.copy_from_slice(&seal(secret, time, source));
    keyed::base64url(&bytes)
}

/// Judges a nonce. One that another pod issued a little in our future counts by the distance too, so clocks may differ by less than the lifetime.
#[must_use]
pub fn check(secret: &[u8], text: &str, now_unix_ms: u64, source: IpAddr, lifetime: Duration) -> Freshness {
    let Some(bytes) = (text.len() == TEXT).then(|| keyed::from_base64url(text.as_bytes())).flatten() else {
        return Freshness::Forged;
    };
    let (time, mac) = bytes.split_at(TIME);
    if !keyed::same(mac, &seal(secret, time, source)) {
        return Freshness::Forged;
    }
    let issued = time.iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    if u128::from(now_unix_ms.abs_diff(issued)) <= lifetime.as_millis() { Freshness::Fresh } else { Freshness::Stale }
}

fn seal(secret: &[u8], time: &[u8], source: IpAddr) -> [u8; MAC] {
    // One and the same client may appear as IPv4 or as an IPv4-mapped address, by listener.
    match source.to_canonical() {
        IpAddr::V4(ip) => keyed::mac(secret, LABEL, &[time, &ip.octets()]),
        IpAddr::V6(ip) => keyed::mac(secret, LABEL, &[time, &ip.octets()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &[u8] = b"shared by all edges";
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_nonce_ages_from_fresh_to_stale() {
        let source = IpAddr::from([192, 0, 2, 1]);
        let nonce = issue(SECRET, 1_000_000, source);
        assert_eq!(nonce.len(), TEXT);
        for (now, expected) in [
            (1_000_000, Freshness::Fresh),
            (1_060_000, Freshness::Fresh),
            (1_060_001, Freshness::Stale),
            (940_000, Freshness::Fresh),
            (939_999, Freshness::Stale),
            (u64::MAX, Freshness::Stale),
        ] {
            assert_eq!(check(SECRET, &nonce, now, source, MINUTE), expected, "{now}");
        }
    }

    #[test]
    fn a_nonce_serves_one_source_under_one_secret() {
        let source = IpAddr::from([192, 0, 2, 1]);
        let nonce = issue(SECRET, 1_000_000, source);
        assert_eq!(check(SECRET, &nonce, 1_000_000, IpAddr::from([192, 0, 2, 2]), MINUTE), Freshness::Forged);
        assert_eq!(check(b"another", &nonce, 1_000_000, source, MINUTE), Freshness::Forged);
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(check(SECRET, &nonce, 1_000_000, mapped, MINUTE), Freshness::Fresh, "the same client by a dual-stack listener");
    }

    proptest! {
        #[test]
        fn issued_nonces_are_known_again(ms in 0_u64..1 << 48, source: IpAddr, age in 0_u64..120_000) {
            let expected = if age <= 60_000 { Freshness::Fresh } else { Freshness::Stale };
            prop_assert_eq!(check(SECRET, &issue(SECRET, ms, source), ms + age, source, MINUTE), expected);
        }

        #[test]
        fn any_changed_character_is_a_forgery(ms in 0_u64..1 << 48, source: IpAddr, at in 0..TEXT, with in "[A-Za-z0-9_=\"-]") {
            let mut nonce = issue(SECRET, ms, source);
            prop_assume!(nonce[at..=at] != with);
            nonce.replace_range(at..=at, &with);
            prop_assert_eq!(check(SECRET, &nonce, ms, source, MINUTE), Freshness::Forged);
        }

        #[test]
        fn any_text_is_judged_without_harm(text in "\\PC{0,40}", source: IpAddr) {
            prop_assert_eq!(check(SECRET, &text, 0, source, MINUTE), Freshness::Forged);
        }
    }
}
