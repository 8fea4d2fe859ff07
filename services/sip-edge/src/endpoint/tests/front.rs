//! In front of registrars: REGISTER on its way there and what its answer teaches, and what finds its way where.

use std::time::Duration;

use redial_core::link::{BindingChange, ContactChange, Event, Failure, Register, Registered};
use sip_core::routing::PathToken;

use super::*;
use crate::endpoint::EndpointConfig;
use crate::upstream::{Front, Upstreams, Way};

pub(super) const SERVER: &str = "192.0.2.50:5060";
pub(super) const SERVER_2: &str = "192.0.2.51:5060";

pub(super) fn front_with(way: Way, servers: &[&str]) -> Driver {
    let specs: Vec<_> = servers.iter().map(|server| format!("example.com={server}").parse().unwrap()).collect();
    let front = Front { upstreams: Arc::new(Upstreams::new(&specs)), way, check: Duration::from_secs(5), timeout: Duration::from_secs(3) };
    Driver::new(EndpointConfig { front: Some(front), ..config() })
}

pub(super) fn front() -> Driver {
    front_with(Way::Path, &[SERVER])
}

fn register(branch: &str, contact: &str, extra: &str) -> String {
    format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP {ALICE};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:alice@example.com>\r\nCall-ID: reg-1\r\nCSeq: 3 REGISTER\r\nContact: {contact}\r\n\
         {extra}Content-Length: 0\r\n\r\n"
    )
}

fn learned(driver: &mut Driver) -> Register {
    match driver.events().remove(0) {
        Event::Register(register) => register,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_register_goes_to_the_server_with_a_path_and_what_it_grants_is_stored_before_the_200() {
    let mut driver = front();
    let sent = driver.receive(ALICE, &register("1", "<sip:alice@10.0.0.7:5060;ob>;expires=3600", ""));
    let [at_server] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(at_server.to.to_string(), SERVER);
    assert!(at_server.text.starts_with("REGISTER sip:example.com SIP/2.0\r\n"));
    assert_eq!(at_server.header("Contact"), Some("<sip:alice@10.0.0.7:5060;ob>;expires=3600"));
    assert_eq!((at_server.header("Supported"), at_server.header("Record-Route")), (Some("path"), None));
    let path = at_server.header("Path").unwrap();
    let token = path.strip_prefix("<sip:").and_then(|p| p.strip_suffix("@192.0.2.1:5060;lr>")).unwrap();
    let token = PathToken::decode(&[7; 32], token).unwrap();
    assert_eq!((token.flow.addr.to_string(), token.contact), (ALICE.to_owned(), None));

    // Two minutes instead of an hour. The 200 waits for the store (P1).
    let ok = at_server.response(200, "Contact: <sip:alice@10.0.0.7:5060;ob>;expires=120\r\nService-Route: <sip:192.0.2.50;lr>\r\n");
    assert!(driver.receive(SERVER, &ok).is_empty());
    let request = driver.requests.remove(0);
    let Event::Register(register) = &request.event else { panic!("{request:?}") };
    assert_eq!((register.aor.as_str(), register.call_id.as_str(), register.cseq), ("alice@example.com", "reg-1", 3));
    let BindingChange::Each(changes) = &register.change else { panic!("{register:?}") };
    let [ContactChange::Put(binding)] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!((binding.uri.as_str(), binding.flow.as_str()), ("sip:alice@10.0.0.7:5060;ob", "udp/0/192.0.2.10:5060"));
    assert_eq!(binding.expires_at, driver.now().unix.after(Duration::from_secs(120)));
    let binding = binding.clone();
    driver.requests.push(request);
    let answers = driver.reply(Reply::Registered(Registered::Bindings(vec![binding])));
    assert_eq!((codes(&answers), answers[0].to.to_string()), (vec![200], ALICE.to_owned()));
    assert_eq!(answers[0].header("Service-Route"), Some("<sip:192.0.2.50;lr>"));
    assert_eq!(answers[0].headers("Via").count(), 1);
    // The phone did not hear it: the same again, without the server.
    assert_eq!(codes(&driver.receive(ALICE, &self::register("1", "<sip:alice@10.0.0.7:5060;ob>;expires=3600", ""))), [200]);
}

#[test]
fn a_challenge_passes_and_teaches_nothing() {
    let mut driver = front();
    let sent = driver.receive(ALICE, &register("1", "<sip:alice@192.0.2.10>", ""));
    let challenge = "WWW-Authenticate: Digest realm=\"example.com\", nonce=\"n\"\r\n";
    let answers = driver.receive(SERVER, &sent[0].response(401, challenge));
    assert_eq!(codes(&answers), [401]);
    assert_eq!(answers[0].header("WWW-Authenticate"), Some("Digest realm=\"example.com\", nonce=\"n\""));
    assert!(driver.events().is_empty());
}

#[test]
fn p6_the_servers_200_reaches_the_phone_although_the_store_is_away() {
    let mut driver = front();
    let sent = driver.receive(ALICE, &register("1", "<sip:alice@192.0.2.10>", ""));
    driver.receive(SERVER, &sent[0].response(200, "Contact: <sip:alice@192.0.2.10>;expires=60\r\n"));
    assert_eq!(codes(&driver.reply(Reply::Failed(Failure::StoreUnavailable))), [200]);
}

#[test]
fn goodbyes_are_learned_in_every_form() {
    let removed = |contact: &str, extra: &str, answer: &str| {
        let mut driver = front();
        let sent = driver.receive(ALICE, &register("1", contact, extra));
        driver.receive(SERVER, &sent[0].response(200, answer));
        learned(&mut driver).change
    };
    assert_eq!(removed("*", "Expires: 0\r\n", ""), BindingChange::RemoveAll);
    for (contact, extra, answer) in [
        ("<sip:alice@192.0.2.10>;expires=0", "", "Contact: <sip:alice@192.0.2.99>;expires=60\r\n"),
        ("<sip:alice@192.0.2.10>", "Expires: 0\r\n", ""),
        ("<sip:alice@192.0.2.10>", "", ""),
    ] {
        match removed(contact, extra, answer) {
            BindingChange::Each(changes) => assert!(matches!(changes.as_slice(), [ContactChange::Remove(_)]), "{changes:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_registrar_that_lists_where_the_phone_was_seen_has_granted_it_all_the_same() {
    let mut driver = front();
    let sent = driver.receive(ALICE, &register("1", "<sip:alice@10.0.0.7>", ""));
    driver.receive(SERVER, &sent[0].response(200, "Contact: <sip:alice@192.0.2.10:5060>\r\nExpires: 90\r\n"));
    match learned(&mut driver).change {
        BindingChange::Each(changes) => match changes.as_slice() {
            [ContactChange::Put(binding)] => assert_eq!(binding.expires_at, driver.now().unix.after(Duration::from_secs(90))),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_path_our_address_stands_for_the_phones_and_the_phone_does_not_notice() {
    let mut driver = front_with(Way::Contact, &[SERVER]);
    let contact = "\"A\" <sip:alice@10.0.0.7:5060;ob>;q=0.5;+sip.instance=\"<urn:uuid:1>\"";
    let sent = driver.receive(ALICE, &register("1", contact, ""));
    assert_eq!((sent[0].header("Path"), sent[0].header("Supported")), (None, None));
    let ours = sent[0].header("Contact").unwrap().to_owned();
    assert!(ours.starts_with("\"A\" <sip:") && ours.ends_with("@192.0.2.1:5060>;q=0.5;+sip.instance=\"<urn:uuid:1>\""), "{ours}");

    let answer = format!("Contact: {ours};expires=300, <sip:alice@192.0.2.77>;expires=20\r\n");
    driver.receive(SERVER, &sent[0].response(200, &answer));
    let request = driver.requests.remove(0);
    let Event::Register(Register { change: BindingChange::Each(changes), .. }) = &request.event else { panic!("{request:?}") };
    let [ContactChange::Put(binding)] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!(binding.uri, "sip:alice@10.0.0.7:5060;ob");
    assert_eq!(binding.expires_at, driver.now().unix.after(Duration::from_secs(300)));
    driver.requests.push(request);
    let answers = driver.reply(Reply::Registered(Registered::Bindings(Vec::new())));
    assert_eq!(answers[0].header("Contact"), Some(format!("{contact};expires=300, <sip:alice@192.0.2.77>;expires=20").as_str()));

    // The server calls the phone by it.
    let uri = ours.split(['<', '>']).nth(1).unwrap();
    let call = super::request("INVITE", uri, "2", "Contact: <sip:bob@192.0.2.20>\r\n").replace(ALICE, SERVER);
    let sent = driver.receive(SERVER, &call);
    assert_eq!(sent[0].to.to_string(), ALICE);
    assert!(sent[0].text.starts_with("INVITE sip:alice@10.0.0.7:5060;ob SIP/2.0\r\n"), "{}", sent[0].text);
}

#[test]
fn everything_else_of_a_phone_goes_to_the_server_of_its_domain() {
    let mut driver = front();
    for (n, (method, uri, code)) in [
        ("MESSAGE", "sip:bob@example.com", None),
        ("SUBSCRIBE", "sip:alice@example.com", None),
        ("PUBLISH", "sip:alice@example.com", None),
        ("OPTIONS", "sip:example.com", None),
        ("MESSAGE", "sip:carol@elsewhere.org", None),
        ("OPTIONS", "sip:192.0.2.1", Some(200)),
    ]
    .into_iter()
    .enumerate()
    {
        let sent = driver.receive(ALICE, &request(method, uri, &n.to_string(), ""));
        match code {
            Some(code) => assert_eq!(codes(&sent), [code]),
            None => assert_eq!((sent[0].to.to_string(), sent[0].method()), (SERVER.to_owned(), method.to_owned())),
        }
    }
    assert!(driver.events().is_empty(), "nobody is asked");
}

#[test]
fn p7_nobody_is_relayed_to_where_no_token_of_ours_leads() {
    let mut driver = front();
    let code = |driver: &mut Driver, from: &str, method: &str, uri: &str, extra: &str, branch: &str| {
        codes(&driver.receive(from, &request(method, uri, branch, extra).replace(ALICE, from)))
    };
    assert_eq!(code(&mut driver, ALICE, "MESSAGE", "sip:bob@example.com", "Route: <sip:203.0.113.1;lr>\r\n", "1"), [403]);
    assert_eq!(code(&mut driver, ALICE, "INVITE", "sip:bob@203.0.113.9", "Route: <sip:bm9uZQ@192.0.2.1;lr>\r\n", "2"), [403]);
    // A server expects the AoR to be ours: it would go round.
    assert_eq!(code(&mut driver, SERVER, "INVITE", "sip:bob@example.com", "", "3"), [404]);
    // Their Service-Route is theirs to use, also by a name that only they know.
    for (host, branch) in [("192.0.2.50", "4"), ("registrar.example.com", "5")] {
        let routes = format!("Route: <sip:192.0.2.1;lr>, <sip:{host};lr>\r\n");
        let sent = driver.receive(ALICE, &request("MESSAGE", "sip:bob@example.com", branch, &routes));
        assert_eq!((sent[0].to.to_string(), sent[0].header("Route")), (SERVER.to_owned(), Some(&*format!("<sip:{host};lr>"))));
    }
}
