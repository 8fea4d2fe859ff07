//! Names of the Redis keys.
//!
//! Everything of a callee is in its shard, everything of a caller in its own; the shard is the cluster hash tag, so a script touches
//! one slot. In `redial:watch` and in the due index a pair is `callee|caller`: `|` is never part of a SIP user or host unescaped
//! (RFC 3261 section 25.1), and is escaped here should an AoR carry it nevertheless.

use std::borrow::Cow;

use redial_core::{Aor, Pair, Shard};

/// Prefix of every watch record; what follows is `{shard}:callee|caller`.
const WATCH: &str = "redial:watch:";

/// User-Agent to the rung of the ladder that connected such a phone. One key for all, so it has no shard.
pub(super) const LEARNED: &str = "redial:learned";

pub(super) fn bind(aor: &Aor) -> String {
    of_aor("redial:bind:", aor)
}

pub(super) fn wait(callee: &Aor) -> String {
    of_aor("redial:wait:", callee)
}

pub(super) fn last(aor: &Aor) -> String {
    of_aor("redial:last:", aor)
}

pub(super) fn turn(callee: &Aor) -> String {
    of_aor("redial:turn:", callee)
}

pub(super) fn parked(caller: &Aor) -> String {
    of_aor("redial:parked:", caller)
}

pub(super) fn mine(caller: &Aor) -> String {
    of_aor("redial:mine:", caller)
}

pub(super) fn due(shard: Shard) -> String {
    format!("redial:due:{{{}}}", shard.0)
}

pub(super) fn watch(pair: &Pair) -> String {
    let mut key = of_aor(WATCH, &pair.callee);
    push_caller(&mut key, &pair.caller);
    key
}

/// The pair as a member of the due index.
pub(super) fn member(pair: &Pair) -> String {
    let mut member = escaped(&pair.callee).into_owned();
    push_caller(&mut member, &pair.caller);
    member
}

/// Reads [`member`] back.
pub(super) fn parse_member(member: &[u8]) -> Option<Pair> {
    let (callee, caller) = std::str::from_utf8(member).ok()?.split_once('|')?;
    (!callee.is_empty() && !caller.is_empty()).then(|| Pair { callee: Aor::new(callee), caller: Aor::new(caller) })
}

/// The pair whose record has this key; `None` for every other key.
pub(super) fn parse_watch(key: &[u8]) -> Option<Pair> {
    let rest = key.strip_prefix(WATCH.as_bytes())?;
    let colon = rest.iter().position(|&b| b == b':')?;
    parse_member(&rest[colon + 1..])
}

fn of_aor(prefix: &str, aor: &Aor) -> String {
    // Room for the shard and, in a watch's key, for the caller.
    let mut key = String::with_capacity(prefix.len() + aor.as_str().len() + 64);
    key.push_str(prefix);
    key.push('{');
    push_number(&mut key, aor.shard().0);
    key.push_str("}:");
    key.push_str(&escaped(aor));
    key
}

/// Several times for every request, so without the formatting machinery.
fn push_number(key: &mut String, number: u16) {
    if number > 9 {
        push_number(key, number / 10);
    }
    key.push(char::from(b'0' + (number % 10) as u8));
}

fn push_caller(key: &mut String, caller: &Aor) {
    key.push('|');
    key.push_str(&escaped(caller));
}

fn escaped(aor: &Aor) -> Cow<'_, str> {
    if aor.as_str().contains('|') { Cow::Owned(aor.as_str().replace('|', "%7C")) } else { Cow::Borrowed(aor.as_str()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(callee: &str, caller: &str) -> Pair {
        Pair { callee: Aor::new(callee), caller: Aor::new(caller) }
    }

    #[test]
    fn keys_look_as_documented() {
        let p = pair("bob@example.com", "alice@example.com");
        let s = p.callee.shard().0;
        assert_eq!(watch(&p), format!("redial:watch:{{{s}}}:bob@example.com|alice@example.com"));
        assert_eq!(wait(&p.callee), format!("redial:wait:{{{s}}}:bob@example.com"));
        assert_eq!(due(Shard(7)), "redial:due:{7}");
    }

    #[test]
    fn other_keys_are_no_watches() {
        for key in ["redial:bind:{1}:bob@example.com", "redial:watch:", "redial:watch:{1}:bob", "redial:watch:{1}:|a", "x", ""] {
            assert_eq!(parse_watch(key.as_bytes()), None, "{key}");
        }
        assert_eq!(parse_watch(b"redial:watch:{1}:\xff|\xff"), None);
    }

    proptest! {
        #[test]
        fn pairs_survive(callee in "[^|]{1,12}@[a-z:\\[\\].]{1,9}", caller in "[^|]{1,12}@[a-z:\\[\\].]{1,9}") {
            let p = pair(&callee, &caller);
            prop_assert_eq!(parse_member(member(&p).as_bytes()), Some(p.clone()));
            prop_assert_eq!(parse_watch(watch(&p).as_bytes()), Some(p));
        }

        #[test]
        fn a_separator_inside_an_aor_never_moves_the_border(callee in "[a|]{1,6}", caller in "[b|]{1,6}") {
            let back = parse_member(member(&pair(&callee, &caller)).as_bytes()).unwrap();
            prop_assert_eq!((back.callee.as_str(), back.caller.as_str()), (&*callee.replace('|', "%7C"), &*caller.replace('|', "%7C")));
        }
    }
}
