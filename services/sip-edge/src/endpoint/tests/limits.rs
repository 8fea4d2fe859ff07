//! What is not forwarded, what is answered at once, and that every table has an end.

use std::time::Duration;

use redial_core::link::Failure;

use super::*;

fn answer(driver: &mut Driver, text: &str) -> (u16, Sent) {
    let mut sent = driver.receive(ALICE, text);
    assert_eq!(sent.len(), 1, "{sent:?}");
    (sent[0].status(), sent.remove(0))
}

#[test]
fn the_preconditions_of_a_proxy_are_checked() {
    let mut driver = Driver::new(config());
    let call = |extra: &str| invite("1", extra);
    for (text, code) in [
        (call("").replace("Max-Forwards: 70", "Max-Forwards: 0"), 483),
        (call("Proxy-Require: privacy\r\n"), 420),
        (request("OPTIONS", "tel:+1234", "2", ""), 416),
        (request("OPTIONS", "nobody:knows", "3", ""), 416),
        (request("INVITE", "sips:bob@example.com", "4", ""), 416),
        (request("INVITE", "sip:bob@example.org", "5", ""), 404),
        (call("").replace("CSeq: 7 INVITE", "CSeq: 7 BYE"), 400),
        (call("").replace("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"), 505),
    ] {
        assert_eq!(answer(&mut driver, &text).0, code, "{text}");
    }
    assert_eq!((driver.requests.len(), driver.transactions()), (0, (0, 0)));
}

#[test]
fn requests_for_the_server_itself_are_answered_by_it() {
    let mut driver = Driver::new(config());
    for uri in ["sip:example.com", "sip:192.0.2.1:5060"] {
        let (code, sent) = answer(&mut driver, &request("OPTIONS", uri, "1", "").replace("Max-Forwards: 70", "Max-Forwards: 0"));
        assert_eq!(code, 200);
        assert!(sent.header("Allow").is_some() && sent.header("Accept").is_some() && sent.header("Supported").is_some());
    }
    let (code, sent) = answer(&mut driver, &request("MESSAGE", "sip:example.com", "2", ""));
    assert_eq!((code, sent.header("Allow").is_some()), (405, true));
    assert_eq!(answer(&mut driver, &request("NEWMETHOD", "sip:example.com", "3", "")).0, 501);
    let (code, sent) = answer(&mut driver, &request("OPTIONS", "sip:example.com", "4", "Require: a\r\nProxy-Require: b\r\n"));
    assert_eq!((code, sent.header("Unsupported")), (420, Some("a, b")));
}

/// Phones ask for their messages waiting and publish their presence unless they are told not to.
#[test]
fn what_a_phone_asks_of_the_server_does_not_come_back_to_it() {
    let mut driver = Driver::new(config());
    let (code, sent) = answer(&mut driver, &request("PUBLISH", "sip:alice@example.com", "1", "Event: presence\r\n"));
    assert_eq!((code, sent.header("Allow").is_some()), (405, true));
    let (code, sent) = answer(&mut driver, &request("SUBSCRIBE", "sip:alice@example.com", "2", "Event: message-summary\r\n"));
    assert_eq!((code, sent.header("Allow-Events")), (489, Some("refer")));
    assert!(driver.receive(ALICE, &request("SUBSCRIBE", "sip:bob@example.com", "3", "Event: dialog\r\n")).is_empty());
    assert_eq!(driver.requests.len(), 1);
}

#[test]
fn the_same_stateless_answer_has_the_same_tag() {
    let mut driver = Driver::new(config());
    let call = request("INVITE", "sip:bob@example.org", "5", "");
    let first = answer(&mut driver, &call).1;
    assert_eq!(answer(&mut driver, &call).1.text, first.text);
    // Its ACK ends here.
    let ack = call.replace("INVITE", "ACK").replace("To: <sip:bob@example.org>", &format!("To: {}", first.header("To").unwrap()));
    assert!(driver.receive(ALICE, &ack).is_empty());
    assert_eq!(driver.counted("sip_dropped_total", "stray_ack"), 1);
}

#[test]
fn a_request_that_comes_back_unchanged_is_a_loop() {
    let mut driver = Driver::new(config());
    driver.receive(ALICE, &invite("1", ""));
    // A binding that leads back to us, with the AoR as its contact.
    let mut us = target("192.0.2.1:5060", 1000);
    us.uri = "sip:bob@example.com".to_owned();
    let sent = driver.reply(online(&[us]));
    let text = sent[0].text.clone();
    let mut back = driver.receive("192.0.2.1:5060", &text);
    assert_eq!((back[0].status(), back[0].to.to_string()), (482, "192.0.2.1:5060".to_owned()));
    let answer = back.remove(0).text;
    assert!(codes(&driver.receive("192.0.2.1:5060", &answer)).contains(&482));
}

#[test]
fn a_full_table_refuses_what_is_new_and_keeps_what_it_has() {
    let mut driver = Driver::new(super::super::EndpointConfig { max_transactions: 3, ..config() });
    for n in 0..3 {
        assert!(driver.receive(ALICE, &invite(&n.to_string(), "")).is_empty());
    }
    let (code, sent) = answer(&mut driver, &invite("more", ""));
    assert_eq!((code, sent.header("Retry-After").is_some()), (503, true));
    assert_eq!((driver.transactions().0, driver.requests.len()), (3, 3));
    assert!(driver.receive(ALICE, &invite("0", "")).is_empty());
    assert_eq!(driver.reply(online(&[target(BOB, 1000)])).len(), 1);
    // What makes room is taken even now.
    let cancelled = driver.receive(ALICE, &request("CANCEL", "sip:bob@example.com", "1", ""));
    assert_eq!(codes(&cancelled), [200, 487]);
    let ack = request("ACK", "sip:bob@example.com", "1", "");
    driver.receive(ALICE, &ack.replace("To: <sip:bob@example.com>", &format!("To: {}", cancelled[1].header("To").unwrap())));
    driver.pass(Duration::from_secs(6));
    assert!(driver.receive(ALICE, &invite("more", "")).is_empty());
}

#[test]
fn a_drain_refuses_new_calls_and_ends() {
    let (mut driver, invites) = ringing(online(&[target(BOB, 1000)]));
    driver.endpoint.drain();
    assert_eq!(answer(&mut driver, &invite("2", "")).0, 503);
    assert!(!driver.endpoint.is_idle());
    assert_eq!(codes(&driver.receive(BOB, &invites[0].response(200, ""))), [200]);
    driver.pass(Duration::from_secs(33));
    assert!(driver.endpoint.is_idle());
    assert_eq!(driver.endpoint.next_timer(), None);
}

#[test]
fn known_bindings_are_bounded() {
    let mut driver = Driver::new(super::super::EndpointConfig { known: known(2), ..config() });
    for user in ["a", "b", "c"] {
        driver.receive(ALICE, &request("MESSAGE", &format!("sip:{user}@example.com"), user, ""));
        driver.reply(Reply::Located(vec![target(BOB, 1000)]));
    }
    let mut ask = |user: &str| {
        driver.receive(ALICE, &request("MESSAGE", &format!("sip:{user}@example.com"), &format!("{user}2"), ""));
        codes(&driver.reply(Reply::Failed(Failure::StoreUnavailable)))
    };
    assert_eq!(ask("a"), [480]);
    assert_eq!(ask("b"), [0]);
    assert_eq!(ask("c"), [0]);
}

#[test]
fn keep_alives_are_answered_and_other_noise_is_not() {
    let mut driver = Driver::new(config());
    driver.receive_bytes(ALICE, b"\r\n\r\n");
    assert!(driver.receive_bytes(ALICE, b"\r\n").is_empty());
    assert!(driver.receive_bytes(ALICE, b"").is_empty());
    assert!(driver.receive_bytes(ALICE, b"\0\0\0\0").is_empty());
    assert!(driver.receive_bytes(ALICE, b"GET / HTTP/1.1\r\n\r\n").is_empty());
    assert!(driver.counted("sip_dropped_total", "not_sip") >= 2);
}

#[test]
fn responses_go_by_our_branch_or_nowhere() {
    let (mut driver, invites) = ringing(online(&[target(BOB, 1000)]));
    let ringing = invites[0].response(180, "");
    let branch = ringing.split("branch=").nth(1).unwrap().split(';').next().unwrap().to_owned();
    // Another worker's: the fifth and sixth hexadecimal digit after the edge's eight name it.
    let parsed = sip_core::routing::Branch::parse(&branch).unwrap();
    let other = sip_core::routing::Branch { worker: 1, ..parsed };
    assert!(driver.receive(BOB, &ringing.replace(&branch, other.text().as_str())).is_empty());
    assert_eq!(
        driver.handover().iter().map(|(worker, peer, _)| (*worker, peer.addr.to_string())).collect::<Vec<_>>(),
        [(1, BOB.to_owned())]
    );
    for wrong in [
        sip_core::routing::Branch { serial: parsed.serial ^ 1, ..parsed },
        sip_core::routing::Branch { edge: sip_core::routing::EdgeTag(parsed.edge.0 ^ 1), ..parsed },
    ] {
        assert!(driver.receive(BOB, &ringing.replace(&branch, wrong.text().as_str())).is_empty());
    }
    assert_eq!(driver.counted("sip_dropped_total", "no_transaction"), 2);
    assert!(driver.handover().is_empty());
}

#[test]
fn responses_go_back_the_way_the_request_came() {
    let mut driver = Driver::new(config());
    let options = request("OPTIONS", "sip:example.com", "1", "");
    let to = |driver: &mut Driver, from: &str, text: &str| driver.receive(from, text)[0].to.to_string();
    assert_eq!(to(&mut driver, "192.0.2.10:40000", &options), "192.0.2.10:40000");
    let without_rport = options.replace(";rport", "");
    assert_eq!(to(&mut driver, "192.0.2.10:40000", &without_rport), "192.0.2.10:5060");
    // Behind a NAT sent-by's port means nothing.
    assert_eq!(to(&mut driver, "203.0.113.4:40000", &without_rport), "203.0.113.4:40000");
}
