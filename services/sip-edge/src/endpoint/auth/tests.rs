use redial_core::UnixMillis;
use sip_core::Index;
use sip_core::digest::{Answer, OfferedChallenge};

use super::*;
use crate::endpoint::fixture;

const REALM: &str = "example.com";

fn ha1_line(algorithm: Algorithm, user: &str, realm: &str, password: &str) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let hash = match Ha1::new(algorithm, user, realm, password) {
        Ha1::Md5(bytes) => hex(&bytes),
        Ha1::Sha256(bytes) => hex(&bytes),
    };
    format!("{user}:{realm}:{hash}\n")
}

/// alice and bob with a hash of each kind.
fn users() -> String {
    let both = |user| [Algorithm::Md5, Algorithm::Sha256].map(|a| ha1_line(a, user, REALM, "secret")).concat();
    both("alice") + &both("bob")
}

fn peer(address: &str) -> Peer {
    Peer { edge: sip_core::routing::EdgeTag::HERE, listener: 0, addr: address.parse().unwrap() }
}

fn at(seconds: u64) -> Now {
    Now { instant: fixture::start(), unix: UnixMillis(1_700_000_000_000 + seconds * 1000) }
}

struct Sender<'a> {
    method: &'a str,
    uri: &'a str,
    from: &'a str,
    peer: Peer,
}

const PHONE: &str = "192.0.2.7:5060";

impl Sender<'_> {
    fn alice(method: &'static str) -> Self {
        Sender {
            method,
            uri: if method == "REGISTER" { "sip:example.com" } else { "sip:bob@example.com" },
            from: "sip:alice@example.com",
            peer: peer(PHONE),
        }
    }

    fn kind(&self) -> Kind {
        if self.method == "REGISTER" { Kind::Www } else { Kind::Proxy }
    }

    fn send(&self, config: &EndpointConfig, now: Now, credentials: &[String]) -> Auth {
        let name = if self.kind() == Kind::Www { "Authorization" } else { "Proxy-Authorization" };
        let lines: String = credentials.iter().map(|c| format!("{name}: {c}\r\n")).collect();
        let (method, uri, from) = (self.method, self.uri, self.from);
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK1\r\nFrom: <{from}>;tag=1\r\nTo: <{from}>\r\nCall-ID: 1\r\n\
             CSeq: 1 {method}\r\nMax-Forwards: 70\r\n{lines}Content-Length: 0\r\n\r\n"
        );
        let mut index = Index::default();
        authenticate(config, now, self.peer, Message::parse(text.as_bytes(), &mut index).unwrap(), self.kind())
    }

    fn answer(&self, challenge: &str, user: &str, password: &str) -> String {
        self.answer_for(self.uri, challenge, user, password)
    }

    fn answer_for(&self, uri: &str, challenge: &str, user: &str, password: &str) -> String {
        let challenge = OfferedChallenge::parse(challenge.as_bytes()).unwrap();
        let ha1 = Ha1::new(challenge.algorithm, user, &challenge.realm, password);
        Answer { user, ha1: &ha1, method: self.method, uri, cnonce: "0a4f113b", nc: 1 }.header(&challenge)
    }
}

/// The values of the challenges, first to last.
fn challenges(auth: Auth, kind: Kind) -> Vec<String> {
    let Auth::Challenge(lines) = auth else { panic!("{auth:?} is no challenge") };
    lines.split_terminator("\r\n").map(|l| l.strip_prefix(kind.challenge()).unwrap().strip_prefix(": ").unwrap().to_owned()).collect()
}

fn proved(aor: &str) -> Auth {
    Auth::Proved(Aor::new(aor))
}

#[test]
fn without_a_users_file_nobody_is_asked() {
    assert_eq!(Sender::alice("INVITE").send(&fixture::config(None), at(0), &[]), Auth::Open);
}

#[test]
fn sha_256_is_offered_first_and_either_answer_is_taken() {
    let config = fixture::config(Some(&users()));
    for method in ["REGISTER", "INVITE"] {
        let alice = Sender::alice(method);
        let asked = challenges(alice.send(&config, at(0), &[]), alice.kind());
        assert_eq!(asked.len(), 2);
        assert!(asked[0].contains("algorithm=SHA-256") && asked[1].contains("algorithm=MD5"), "{asked:?}");
        assert!(asked.iter().all(|c| c.contains("realm=\"example.com\"") && !c.contains("stale")));
        for challenge in &asked {
            assert_eq!(alice.send(&config, at(1), &[alice.answer(challenge, "alice", "secret")]), proved("alice@example.com"));
        }
    }
}

#[test]
fn only_what_the_file_can_check_is_offered() {
    let config = fixture::config(Some(&ha1_line(Algorithm::Md5, "alice", REALM, "secret")));
    let asked = challenges(Sender::alice("REGISTER").send(&config, at(0), &[]), Kind::Www);
    assert_eq!(asked.len(), 1);
    assert!(asked[0].contains("algorithm=MD5"));
}

#[test]
fn wrong_password_unknown_user_and_no_credentials_get_the_same_answer() {
    let config = fixture::config(Some(&users()));
    let alice = Sender::alice("REGISTER");
    let none = alice.send(&config, at(0), &[]);
    let challenge = &challenges(none.clone(), Kind::Www)[0];
    for (user, password) in [("alice", "wrong"), ("nobody", "secret"), ("", "")] {
        assert_eq!(alice.send(&config, at(0), &[alice.answer(challenge, user, password)]), none, "{user}");
    }
    for junk in ["Digest", "Digest username=\"alice\"", "Basic YWxpY2U6c2VjcmV0", "NoOneKnowsThisScheme opaque-data=here", ""] {
        assert_eq!(alice.send(&config, at(0), &[junk.to_owned()]), none, "{junk}");
    }
}

#[test]
fn an_old_nonce_is_stale_only_with_the_right_password() {
    let config = fixture::config(Some(&users()));
    let alice = Sender::alice("REGISTER");
    let challenge = &challenges(alice.send(&config, at(0), &[]), Kind::Www)[0];
    let right = alice.answer(challenge, "alice", "secret");
    assert_eq!(alice.send(&config, at(300), std::slice::from_ref(&right)), proved("alice@example.com"));
    assert!(challenges(alice.send(&config, at(301), std::slice::from_ref(&right)), Kind::Www).iter().all(|c| c.ends_with("stale=true")));
    let wrong = alice.answer(challenge, "alice", "guess");
    assert!(challenges(alice.send(&config, at(301), &[wrong]), Kind::Www).iter().all(|c| !c.contains("stale")));
    let moved = Sender { peer: peer("192.0.2.8:5060"), ..Sender::alice("REGISTER") };
    assert!(challenges(moved.send(&config, at(1), &[right]), Kind::Www).iter().all(|c| c.ends_with("stale=true")), "another address");
}

/// Another edge with the same secret judges as the one that challenged.
#[test]
fn nonces_are_nobodys_own() {
    let alice = Sender::alice("INVITE");
    let challenge = &challenges(alice.send(&fixture::config(Some(&users())), at(0), &[]), Kind::Proxy)[0];
    let credentials = [alice.answer(challenge, "alice", "secret")];
    assert_eq!(alice.send(&fixture::config(Some(&users())), at(1), &credentials), proved("alice@example.com"));
    let other = EndpointConfig { secret: [8; 32], ..fixture::config(Some(&users())) };
    assert!(matches!(alice.send(&other, at(1), &credentials), Auth::Challenge(_)));
}

#[test]
fn credentials_of_other_realms_are_passed_over() {
    let config = fixture::config(Some(&users()));
    let alice = Sender::alice("INVITE");
    let challenge = &challenges(alice.send(&config, at(0), &[]), Kind::Proxy)[0];
    let foreign = alice.answer(&challenge.replace(REALM, "example.org"), "alice", "secret");
    assert!(matches!(alice.send(&config, at(0), std::slice::from_ref(&foreign)), Auth::Challenge(_)));
    assert_eq!(alice.send(&config, at(0), &[foreign, alice.answer(challenge, "alice", "secret")]), proved("alice@example.com"));
}

#[test]
fn credentials_serve_one_method_and_one_callee() {
    let config = fixture::config(Some(&users()));
    let alice = Sender::alice("INVITE");
    let challenge = &challenges(alice.send(&config, at(0), &[]), Kind::Proxy)[0];
    let for_carol = Sender { uri: "sip:carol@example.com", ..Sender::alice("INVITE") }.answer(challenge, "alice", "secret");
    let for_message = Sender::alice("MESSAGE").answer(challenge, "alice", "secret");
    for other in [for_carol, for_message] {
        assert!(matches!(alice.send(&config, at(0), &[other]), Auth::Challenge(_)));
    }
    for server in ["sip:192.0.2.1:5060", "sip:example.com"] {
        let simple = alice.answer_for(server, challenge, "alice", "secret");
        assert_eq!(alice.send(&config, at(0), &[simple]), proved("alice@example.com"), "{server}");
    }
}

/// P7: a user who speaks in another user's name arms nothing.
#[test]
fn p7_a_call_in_another_users_name_is_forbidden() {
    let config = fixture::config(Some(&users()));
    let alice = Sender::alice("INVITE");
    let challenge = &challenges(alice.send(&config, at(0), &[]), Kind::Proxy)[0];
    let bob = alice.answer(challenge, "bob", "secret");
    assert_eq!(alice.send(&config, at(0), std::slice::from_ref(&bob)), Auth::Forbidden);
    let anonymous = Sender { from: "sip:anonymous@anonymous.invalid", ..Sender::alice("INVITE") };
    assert_eq!(anonymous.send(&config, at(0), &[bob]), proved("bob@example.com"), "RFC 3323 privacy");
}

#[test]
fn each_domain_is_a_realm() {
    let text = users() + &ha1_line(Algorithm::Sha256, "carol", "example.org", "secret");
    let mut config = fixture::config(Some(&text));
    config.domains.push("example.org".to_owned());
    let carol = Sender { from: "sip:carol@Example.Org", uri: "sip:example.org", ..Sender::alice("REGISTER") };
    let asked = challenges(carol.send(&config, at(0), &[]), Kind::Www);
    assert_eq!(asked.len(), 1, "the realm has only SHA-256");
    assert!(asked[0].contains("realm=\"example.org\""));
    assert_eq!(carol.send(&config, at(0), &[carol.answer(&asked[0], "carol", "secret")]), proved("carol@example.org"));
}
