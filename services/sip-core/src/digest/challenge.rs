//! What a server asks in WWW-Authenticate or Proxy-Authenticate (RFC 7616 section 3.3).

use std::borrow::Cow;
use std::fmt;

use super::Algorithm;
use super::params::{after_scheme, quote};

/// Displays as the header's value. Of several algorithms each gets a field of its own, the preferred one first (RFC 8760 section 2.3).
#[derive(Clone, Copy, Debug)]
pub struct Challenge<'a> {
    pub realm: &'a str,
    pub nonce: &'a str,
    pub algorithm: Algorithm,
    /// The credentials were right but for an old nonce: the phone need not ask its user.
    pub stale: bool,
}

impl fmt::Display for Challenge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut realm = String::with_capacity(self.realm.len() + 2);
        quote(self.realm, &mut realm);
        write!(f, "Digest realm={realm}, nonce=\"{}\", algorithm={}, qop=\"auth\"", self.nonce, self.algorithm.as_str())?;
        if self.stale { f.write_str(", stale=true") } else { Ok(()) }
    }
}

const SESSION: &str = "-sess";

/// A received challenge that we can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedChallenge<'a> {
    pub realm: Cow<'a, str>,
    /// As received between the quotes.
    pub nonce: &'a str,
    /// To be returned as received.
    pub opaque: Option<&'a str>,
    pub algorithm: Algorithm,
    /// The algorithm's `-sess` variant.
    pub session: bool,
    /// False: no qop was offered, the answer is that of RFC 2069.
    pub auth: bool,
    pub stale: bool,
}

impl<'a> OfferedChallenge<'a> {
    /// None: another scheme, malformed, or nothing in it that we speak (then try the next field, RFC 8760 section 2.4).
    #[must_use]
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        const NAMES: [&str; 6] = ["realm", "nonce", "opaque", "algorithm", "qop", "stale"];
        let mut found = [None; NAMES.len()];
        for param in after_scheme(value)? {
            let (name, value) = param.ok()?;
            if let Some(at) = NAMES.iter().position(|n| n.eq_ignore_ascii_case(name))
                && found[at].replace(value).is_some()
            {
                return None;
            }
        }
        let [realm, nonce, opaque, algorithm, qop, stale] = found;
        let auth = match qop {
            Some(offers) if offers.raw.split(',').any(|offer| offer.trim().eq_ignore_ascii_case("auth")) => true,
            Some(_) => return None,
            None => false,
        };
        let algorithm = algorithm.map_or("MD5", |v| v.raw);
        let plain = algorithm.len().checked_sub(SESSION.len()).and_then(|at| algorithm.split_at_checked(at));
        let plain = plain.filter(|(_, end)| end.eq_ignore_ascii_case(SESSION)).map(|(plain, _)| plain);
        // Without qop there is no client nonce to make a session of.
        if plain.is_some() && !auth {
            return None;
        }
        Some(Self {
            realm: realm?.meaning(),
            nonce: nonce?.raw,
            opaque: opaque.map(|v| v.raw),
            algorithm: Algorithm::from_token(plain.unwrap_or(algorithm).as_bytes())?,
            session: plain.is_some(),
            auth,
            stale: stale.is_some_and(|v| v.raw.eq_ignore_ascii_case("true")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_prints_as_rfc_7616_has_it() {
        let mut challenge = Challenge { realm: "a \"b\" c", nonce: "n", algorithm: Algorithm::Sha256, stale: false };
        assert_eq!(challenge.to_string(), r#"Digest realm="a \"b\" c", nonce="n", algorithm=SHA-256, qop="auth""#);
        challenge.stale = true;
        assert!(challenge.to_string().ends_with(", stale=true"));
    }

    #[test]
    fn received_challenges_are_read() {
        let c = OfferedChallenge::parse(br#"Digest realm="asterisk",nonce="x",opaque="o",stale=TRUE,algorithm=md5,qop="auth-int, Auth""#)
            .unwrap();
        assert_eq!((&*c.realm, c.nonce, c.opaque, c.algorithm, c.auth, c.stale), ("asterisk", "x", Some("o"), Algorithm::Md5, true, true));
        let old = OfferedChallenge::parse(b"Digest realm=\"r\", nonce=\"n\"").unwrap();
        assert_eq!((old.auth, old.algorithm, old.stale), (false, Algorithm::Md5, false));
        let sess = OfferedChallenge::parse(b"Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256-Sess, qop=auth").unwrap();
        assert_eq!((sess.algorithm, sess.session, old.session), (Algorithm::Sha256, true, false));
    }

    #[test]
    fn challenges_that_we_cannot_answer_are_passed_over() {
        for other in [
            "Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"",
            "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-512-256",
            "Digest realm=\"r\", nonce=\"n\", algorithm=MD5-sess",
            "Digest realm=\"r\", nonce=\"n\", algorithm=-sess, qop=auth",
            "Digest realm=\"r\", realm=\"s\", nonce=\"n\"",
            "Digest realm=\"r\"",
            "Digest nonce=\"n\"",
            "Basic realm=\"r\"",
        ] {
            assert_eq!(OfferedChallenge::parse(other.as_bytes()), None, "{other}");
        }
    }
}
