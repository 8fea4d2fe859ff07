//! The users file: `user:realm:hash` lines as htdigest writes them; a 32-digit hash is MD5, a 64-digit one SHA-256.
//!
//! A user may have a line for each. The realm is the user's domain, in lower case as it is offered in challenges, because the hash covers it.

use std::fmt;

use redial_core::Aor;
use rustc_hash::{FxHashMap, FxHashSet};
use sip_core::digest::{Algorithm, Ha1};
use sip_core::uri::Uri;

/// HA1 values of one user (RFC 7616 section 3.4.2): what the file keeps instead of the password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ha1s {
    pub md5: Option<Ha1>,
    pub sha256: Option<Ha1>,
}

/// A user of the file.
#[derive(Clone, Debug)]
pub struct Account {
    /// The address-of-record that this user proves to be.
    pub aor: Aor,
    pub ha1: Ha1s,
    /// The line that named the user first.
    line: usize,
}

/// Every user's HA1 values.
#[derive(Clone, Default)]
pub struct Users {
    realms: FxHashMap<Box<str>, Realm>,
    aors: FxHashSet<Aor>,
}

#[derive(Clone, Default)]
struct Realm {
    accounts: FxHashMap<Box<str>, Account>,
    offered: Offered,
}

/// Algorithms that every user of a realm has a hash for. A challenge offers exactly these: it cannot depend on the user without telling
/// which users exist, and a phone takes the first algorithm that it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    pub md5: bool,
    pub sha256: bool,
}

/// What is wrong with one line. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct LineError {
    pub line: usize,
    pub problem: Problem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("expected user:realm:hash")]
    Fields,
    #[error("the user name is empty or no SIP user can have it")]
    User,
    #[error("the realm is not a domain in lower case; the hash covers its spelling")]
    Realm,
    #[error("the hash is not 32 (MD5) or 64 (SHA-256) hexadecimal digits")]
    Hash,
    #[error("the same user, realm and algorithm again")]
    Repeated,
    #[error("this user shares no algorithm with the users above in the realm")]
    NoCommonAlgorithm,
}

impl Users {
    /// Reads the whole file. Empty lines and lines that start with `#` are skipped.
    /// # Errors
    /// Every bad line, in order; nothing is taken from a file that has one.
    pub fn parse(text: &str) -> Result<Self, Vec<LineError>> {
        let mut users = Self::default();
        let mut errors = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Err(problem) = users.add(number, line) {
                errors.push(LineError { line: number, problem });
            }
        }
        for realm in users.realms.values_mut() {
            realm.offered = Offered { md5: true, sha256: true };
            let mut accounts: Vec<&Account> = realm.accounts.values().collect();
            accounts.sort_unstable_by_key(|a| a.line);
            for account in accounts {
                let common = realm.offered.and(account.ha1);
                if common == Offered::default() {
                    errors.push(LineError { line: account.line, problem: Problem::NoCommonAlgorithm });
                } else {
                    realm.offered = common;
                }
            }
        }
        errors.sort_by_key(|e| e.line);
        if errors.is_empty() { Ok(users) } else { Err(errors) }
    }

    fn add(&mut self, number: usize, line: &str) -> Result<(), Problem> {
        let mut fields = line.split(':');
        let (Some(user), Some(realm), Some(hash), None) = (fields.next(), fields.next(), fields.next(), fields.next()) else {
            return Err(Problem::Fields);
        };
        let hash = Ha1::from_hex(hash).ok_or(Problem::Hash)?;
        if realm.is_empty() || realm.bytes().any(|b| b.is_ascii_uppercase() || b == b'"' || b.is_ascii_whitespace()) {
            return Err(Problem::Realm);
        }
        let aor = aor_of(user, realm).ok_or(Problem::User)?;
        let account = self.realms.entry(realm.into()).or_default().accounts.entry(user.into()).or_insert_with(|| Account {
            aor: aor.clone(),
            ha1: Ha1s::default(),
            line: number,
        });
        let repeated = account.ha1.slot(hash.algorithm()).replace(hash).is_some();
        self.aors.insert(aor);
        if repeated { Err(Problem::Repeated) } else { Ok(()) }
    }

    /// The user as the digest names it: both strings as received.
    #[must_use]
    pub fn account(&self, user: &str, realm: &str) -> Option<&Account> {
        self.realms.get(realm)?.accounts.get(user)
    }

    /// Some user of the file is this AoR.
    #[must_use]
    pub fn contains(&self, aor: &Aor) -> bool {
        self.aors.contains(aor)
    }

    /// What a challenge for this realm offers. A realm without users offers both: nobody will pass, and nobody learns that from the challenge.
    #[must_use]
    pub fn offered(&self, realm: &str) -> Offered {
        self.realms.get(realm).map_or(Offered { md5: true, sha256: true }, |r| r.offered)
    }

    /// Number of users (not of lines).
    #[must_use]
    pub fn len(&self) -> usize {
        self.realms.values().map(|r| r.accounts.len()).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.realms.is_empty()
    }
}

impl Offered {
    fn and(self, ha1: Ha1s) -> Self {
        Self { md5: self.md5 && ha1.md5.is_some(), sha256: self.sha256 && ha1.sha256.is_some() }
    }
}

impl Ha1s {
    #[must_use]
    pub fn of(&self, algorithm: Algorithm) -> Option<Ha1> {
        match algorithm {
            Algorithm::Md5 => self.md5,
            Algorithm::Sha256 => self.sha256,
        }
    }

    fn slot(&mut self, algorithm: Algorithm) -> &mut Option<Ha1> {
        match algorithm {
            Algorithm::Md5 => &mut self.md5,
            Algorithm::Sha256 => &mut self.sha256,
        }
    }
}

/// The AoR of a user name: `alice` in realm `example.com` is alice@example.com, and so is `alice@example.com`, which some phones insist on.
fn aor_of(user: &str, realm: &str) -> Option<Aor> {
    let user = user.strip_suffix(realm).and_then(|u| u.strip_suffix('@')).unwrap_or(user);
    if user.is_empty() {
        return None;
    }
    let mut uri = String::with_capacity(user.len() + realm.len() + 8);
    uri.push_str("sip:");
    for byte in user.bytes() {
        // RFC 3261 section 25.1: unreserved and user-unreserved stand for themselves, everything else is escaped.
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = fmt::Write::write_fmt(&mut uri, format_args!("%{byte:02X}"));
        }
    }
    uri.push('@');
    uri.push_str(realm);
    Uri::parse(uri.as_bytes())?.aor().map(Aor::new)
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("users", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "939e7578ed9e3c518a452acee763bce9";
    const SHA256: &str = "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232";

    fn problems(text: &str) -> Vec<(usize, Problem)> {
        Users::parse(text).expect_err("has bad lines").into_iter().map(|e| (e.line, e.problem)).collect()
    }

    #[test]
    fn a_user_may_have_a_hash_of_each_kind() {
        let users =
            Users::parse(&format!("# phones\n\nalice:example.com:{MD5}\r\nalice:example.com:{SHA256}\nbob:example.com:{MD5}\n")).unwrap();
        let alice = users.account("alice", "example.com").unwrap();
        assert_eq!(alice.aor, Aor::new("alice@example.com"));
        assert_eq!(alice.ha1.of(Algorithm::Md5), Ha1::from_hex(MD5));
        assert_eq!(alice.ha1.of(Algorithm::Sha256), Ha1::from_hex(SHA256));
        assert!(users.account("bob", "example.com").unwrap().ha1.sha256.is_none());
        assert!(users.account("alice", "example.org").is_none());
        assert!(users.contains(&Aor::new("bob@example.com")));
        assert!(!users.contains(&Aor::new("carol@example.com")));
        assert_eq!(users.len(), 2);
    }

    #[test]
    fn a_realm_offers_what_all_its_users_have() {
        let users = Users::parse(&format!("alice:a.org:{MD5}\nalice:a.org:{SHA256}\nbob:a.org:{MD5}\ncarol:b.org:{SHA256}\n")).unwrap();
        assert_eq!(users.offered("a.org"), Offered { md5: true, sha256: false });
        assert_eq!(users.offered("b.org"), Offered { md5: false, sha256: true });
        assert_eq!(users.offered("c.org"), Offered { md5: true, sha256: true });
        assert_eq!(problems(&format!("alice:a.org:{MD5}\nbob:a.org:{SHA256}\n")), [(2, Problem::NoCommonAlgorithm)]);
    }

    #[test]
    fn every_bad_line_is_reported_with_its_number() {
        let text = format!(
            "alice:example.com\n:example.com:{MD5}\nalice:Example.com:{MD5}\nalice::{MD5}\nalice:example.com:12\n# fine\nbob:example.com:{MD5}\n\
             bob:example.com:{MD5}\ncarol:example.com:{}\na:b:c:d",
            MD5.replace('9', "g")
        );
        assert_eq!(
            problems(&text),
            [
                (1, Problem::Fields),
                (2, Problem::User),
                (3, Problem::Realm),
                (4, Problem::Realm),
                (5, Problem::Hash),
                (8, Problem::Repeated),
                (9, Problem::Hash),
                (10, Problem::Fields)
            ]
        );
        assert_eq!(Users::parse("x").unwrap_err()[0].to_string(), "line 1: expected user:realm:hash");
    }

    #[test]
    fn user_names_map_to_canonical_aors() {
        let aor = |user| aor_of(user, "example.com").unwrap();
        assert_eq!(aor("alice@example.com"), Aor::new("alice@example.com"));
        assert_eq!(aor("+4930123"), Aor::new("+4930123@example.com"));
        let spaced = Uri::parse(b"sip:a%20b@example.com").unwrap().aor().unwrap();
        assert_eq!(aor("a b").as_str(), spaced);
    }

    #[test]
    fn hashes_are_not_printed() {
        let users = Users::parse(&format!("alice:example.com:{MD5}")).unwrap();
        assert!(!format!("{users:?} {:?}", users.account("alice", "example.com")).contains("939e"));
    }
}
