//! REGISTER: nothing is answered before the store has spoken, and whatever it says is answered.

use std::time::Duration;

use redial_core::link::{BindingChange, ContactChange, Event, Failure, Registered};
use redial_core::{Binding, BindingId, UnixMillis};

use super::*;

pub(super) fn register(branch: &str, cseq: u32) -> String {
    format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP {BOB};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:bob@example.com>;tag=b1\r\nTo: <sip:bob@example.com>\r\nCall-ID: reg-1\r\nCSeq: {cseq} REGISTER\r\n\
         Contact: <sip:bob@{BOB}>;expires=600\r\nContent-Length: 0\r\n\r\n"
    )
}

/// The binding that [`register`] makes.
pub(super) fn binding(driver: &Driver) -> Binding {
    Binding {
        id: BindingId("b".to_owned()),
        uri: format!("sip:bob@{BOB}"),
        params: String::new(),
        q: 1000,
        expires_at: UnixMillis(driver.now().unix.0 + 600_000),
        call_id: "reg-1".to_owned(),
        cseq: 1,
        path: Vec::new(),
        edge: EdgeId::new("edge"),
        flow: Flow::new(format!("udp/0/{BOB}")),
        user_agent: String::new(),
        probed: false,
    }
}

pub(super) fn registered(driver: &Driver) -> Reply {
    Reply::Registered(Registered::Bindings(vec![binding(driver)]))
}

#[test]
fn p1_a_register_is_answered_only_after_the_store() {
    let mut driver = Driver::new(config());
    assert!(driver.receive(BOB, &register("1", 1)).is_empty());
    // Again, before the answer: asked once.
    assert!(driver.receive(BOB, &register("1", 1)).is_empty());
    assert_eq!(driver.requests.len(), 1);
    match &driver.requests[0].event {
        Event::Register(event) => {
            assert_eq!((event.aor.as_str(), event.call_id.as_str(), event.cseq), ("bob@example.com", "reg-1", 1));
            match &event.change {
                BindingChange::Each(changes) => {
                    assert!(matches!(changes.as_slice(), [ContactChange::Put(b)] if b.uri == format!("sip:bob@{BOB}")))
                }
                other => panic!("{other:?}"),
            }
        }
        other => panic!("{other:?}"),
    }
    let reply = registered(&driver);
    let sent = driver.reply(reply);
    assert_eq!(codes(&sent), [200]);
    assert_eq!(sent[0].header("Contact"), Some("<sip:bob@192.0.2.20:5060>;expires=600"));
    // Again, after the answer: from memory.
    assert_eq!(driver.receive(BOB, &register("1", 1))[0].text, sent[0].text);
    assert!(driver.requests.is_empty());
    driver.pass(Duration::from_secs(33));
    assert_eq!(driver.transactions(), (0, 0));
}

#[test]
fn a_register_without_a_store_is_refused_for_now() {
    for failure in [Failure::StoreUnavailable, Failure::Overloaded, Failure::Timeout] {
        let mut driver = Driver::new(config());
        driver.receive(BOB, &register("1", 1));
        let sent = driver.reply(Reply::Failed(failure));
        assert_eq!(codes(&sent), [503]);
        assert!(sent[0].header("Retry-After").is_some());
    }
}

#[test]
fn a_coordinator_that_never_answers_is_given_up() {
    let mut driver = Driver::new(config());
    driver.receive(BOB, &register("1", 1));
    let sent = driver.pass(Duration::from_secs(4));
    assert_eq!(codes(&sent), [503]);
    // Its late answer changes nothing.
    let reply = registered(&driver);
    assert!(driver.reply(reply).is_empty());
    assert_eq!(driver.counted("sip_dropped_total", "late_reply"), 1);
}

#[test]
fn an_old_register_is_answered_500() {
    let mut driver = Driver::new(config());
    driver.receive(BOB, &register("1", 1));
    assert_eq!(codes(&driver.reply(Reply::Registered(Registered::OutOfOrder))), [500]);
}

#[test]
fn a_register_is_for_our_domains_only() {
    let mut driver = Driver::new(config());
    assert_eq!(codes(&driver.receive(BOB, &register("1", 1).replace("example.com", "example.org"))), [404]);
    assert_eq!(codes(&driver.receive(BOB, &register("2", 1).replace("expires=600", "expires=10"))), [423]);
    let required = register("3", 1).replace("Contact:", "Require: gruu\r\nContact:");
    let sent = driver.receive(BOB, &required);
    assert_eq!((codes(&sent), sent[0].header("Unsupported")), (vec![420], Some("gruu")));
    // Nothing is kept of what is refused at once.
    assert_eq!((driver.requests.len(), driver.transactions()), (0, (0, 0)));
}
