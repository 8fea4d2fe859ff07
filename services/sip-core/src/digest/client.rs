//! A request that is challenged and sent again with credentials (RFC 7616 section 3.6, RFC 3261 sections 22.2 and 22.3).

use std::fmt;

use super::{Algorithm, Answer, Ha1, OfferedChallenge};
use crate::message::{Header, Message};

/// Realms that one request may have to satisfy: proxies on the way and the phone itself.
const MAX_REALMS: usize = 4;

/// Who we are for those who ask.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    pub user: &'a str,
    pub password: &'a str,
}

impl fmt::Debug for Login<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The challenges that one peer has made, and what was answered. Pure: the client nonce comes from outside.
#[derive(Debug, Default)]
pub struct Client {
    realms: Vec<Realm>,
}

#[derive(Debug)]
struct Realm {
    /// From a 407: the answer is a Proxy-Authorization.
    proxy: bool,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    session: bool,
    auth: bool,
    /// Requests sent with this nonce.
    count: u32,
    /// A nonce that was called stale has been replaced once.
    renewed: bool,
}

impl Client {
    /// Takes in a 401 or 407. True: send the request again with [`Self::headers`]. False: nothing in it that we speak, or our answer was
    /// refused: the same nonce again, another one that does not say `stale`, or one that is stale for the second time.
    pub fn challenged(&mut self, response: Message<'_>) -> bool {
        let (proxy, header) = match response.status() {
            Some(401) => (false, Header::WwwAuthenticate),
            Some(407) => (true, Header::ProxyAuthenticate),
            _ => return false,
        };
        // The first that we speak is the one that the peer prefers (RFC 8760 section 2.4).
        let Some(offer) = response.fields(header).find_map(OfferedChallenge::parse) else { return false };
        let known = self.realms.iter().position(|r| r.proxy == proxy && r.realm == offer.realm);
        let renewed = match known.and_then(|at| self.realms.get(at)) {
            Some(known) if known.nonce == offer.nonce || !offer.stale || known.renewed => return false,
            Some(_) => true,
            None if self.realms.len() >= MAX_REALMS => return false,
            None => false,
        };
        let realm = Realm {
            proxy,
            realm: offer.realm.into_owned(),
            nonce: offer.nonce.to_owned(),
            opaque: offer.opaque.map(str::to_owned),
            algorithm: offer.algorithm,
            session: offer.session,
            auth: offer.auth,
            count: 0,
            renewed,
        };
        match known.and_then(|at| self.realms.get_mut(at)) {
            Some(known) => *known = realm,
            None => self.realms.push(realm),
        }
        true
    }

    /// Header names and values for the next request to this peer; none before it has asked. `cnonce`: fresh and unpredictable, no quote or
    /// backslash in it.
    pub fn headers(&mut self, login: Login<'_>, method: &str, uri: &str, cnonce: &str) -> Vec<(&'static str, String)> {
        let mut headers = Vec::with_capacity(self.realms.len());
        for known in &mut self.realms {
            known.count = known.count.saturating_add(1);
            let ha1 = Ha1::new(known.algorithm, login.user, &known.realm, login.password);
            let challenge = OfferedChallenge {
                realm: known.realm.as_str().into(),
                nonce: &known.nonce,
                opaque: known.opaque.as_deref(),
                algorithm: known.algorithm,
                session: known.session,
                auth: known.auth,
                stale: false,
            };
            let answer = Answer { user: login.user, ha1: &ha1, method, uri, cnonce, nc: known.count };
            headers.push((if known.proxy { "Proxy-Authorization" } else { "Authorization" }, answer.header(&challenge)));
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Credentials, verify};
    use crate::message::MessageBuf;

    const LOGIN: Login<'static> = Login { user: "redial", password: "secret" };

    fn challenge(code: u16, lines: &[&str]) -> MessageBuf {
        let name = if code == 401 { "WWW-Authenticate" } else { "Proxy-Authenticate" };
        let fields: String = lines.iter().map(|line| format!("{name}: Digest realm=\"{line}\r\n")).collect();
        let text = format!(
            "SIP/2.0 {code} X\r\nVia: SIP/2.0/UDP us;branch=z9hG4bK1\r\nFrom: <sip:b@x>;tag=1\r\nTo: <sip:a@x>;tag=2\r\nCall-ID: c\r\nCSeq: 1 REFER\r\n\
             {fields}Content-Length: 0\r\n\r\n"
        );
        MessageBuf::parse(text.into_bytes()).unwrap()
    }

    #[test]
    fn a_challenge_is_answered_and_the_next_request_counts_on() {
        let mut client = Client::default();
        assert!(client.headers(LOGIN, "REFER", "sip:a@y", "cn").is_empty(), "nobody has asked");
        assert!(client.challenged(challenge(401, &["r\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256"]).view()));
        for count in 1..=2 {
            let headers = client.headers(LOGIN, "REFER", "sip:a@y", "cn");
            assert_eq!((headers.len(), headers[0].0), (1, "Authorization"));
            let credentials = Credentials::parse(headers[0].1.as_bytes()).unwrap();
            assert_eq!((credentials.nc, credentials.cnonce), (format!("{count:08x}").as_str(), "cn"));
            assert!(verify(&credentials, "REFER", &Ha1::new(Algorithm::Sha256, "redial", "r", "secret")));
        }
    }

    #[test]
    fn an_answer_that_is_challenged_again_was_refused() {
        for again in ["r\", nonce=\"n\"", "r\", nonce=\"m\"", "r\", nonce=\"n\", stale=true"] {
            let mut client = Client::default();
            assert!(client.challenged(challenge(401, &["r\", nonce=\"n\""]).view()));
            assert!(!client.challenged(challenge(401, &[again]).view()), "{again}");
        }
    }

    #[test]
    fn a_stale_nonce_is_replaced_once() {
        let mut client = Client::default();
        assert!(client.challenged(challenge(407, &["r\", nonce=\"n\", qop=\"auth\""]).view()));
        assert!(client.challenged(challenge(407, &["r\", nonce=\"m\", qop=\"auth\", stale=true"]).view()));
        let headers = client.headers(LOGIN, "REFER", "sip:a@y", "cn");
        assert!(headers[0].0 == "Proxy-Authorization" && headers[0].1.contains("nonce=\"m\"") && headers[0].1.contains("nc=00000001"));
        assert!(!client.challenged(challenge(407, &["r\", nonce=\"o\", qop=\"auth\", stale=true"]).view()));
    }

    #[test]
    fn every_realm_on_the_way_gets_its_answer_and_what_we_do_not_speak_is_passed_over() {
        let mut client = Client::default();
        assert!(client.challenged(challenge(407, &["p\", nonce=\"n\", algorithm=SHA-512-256", "p\", nonce=\"n\", algorithm=MD5"]).view()));
        assert!(client.challenged(challenge(401, &["r\", nonce=\"n\""]).view()));
        let names: Vec<_> = client.headers(LOGIN, "REFER", "sip:a@y", "cn").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["Proxy-Authorization", "Authorization"]);
        assert!(!client.challenged(challenge(401, &["q\", nonce=\"n\", algorithm=SHA-512-256"]).view()));
    }
}
