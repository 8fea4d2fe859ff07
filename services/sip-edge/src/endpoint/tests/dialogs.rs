//! Requests inside dialogs: by the token in our Route, both ways, and nowhere else.

use redial_core::link::{CallReport, CallResult, Event};

use super::*;

/// A request inside the call, from one side, with the Route that our Record-Route made. The caller calls from 192.0.2.10.
fn inside(method: &str, from: &str, uri: &str, route: Option<&str>, branch: &str) -> String {
    let (own, other) = if from == ALICE { ("a1", "phone") } else { ("phone", "a1") };
    let route = route.map(|r| format!("Route: {r}\r\n")).unwrap_or_default();
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\nFrom: <sip:x@example.com>;tag={own}\r\n\
         To: <sip:y@example.com>;tag={other}\r\n{route}Call-ID: call-1\r\nCSeq: 8 {method}\r\nContent-Length: 0\r\n\r\n"
    )
}

fn record_route(invites: &[Sent]) -> String {
    invites[0].header("Record-Route").unwrap().to_owned()
}

#[test]
fn a_plain_call_between_reachable_phones_goes_on_without_us() {
    let (_, invites) = ringing(online(&[target(BOB, 1000)]));
    assert_eq!(invites[0].header("Record-Route"), None);
}

#[test]
fn the_bye_of_a_watched_call_comes_by_us_and_is_reported() {
    let (mut driver, invites) = ringing(online_watched(&[target(BOB, 1000)]));
    let route = record_route(&invites);
    driver.receive(BOB, &invites[0].response(200, ""));
    driver.events();

    let sent = driver.receive(ALICE, &inside("ACK", ALICE, "sip:bob@192.0.2.20:5060", Some(&route), "ack"));
    assert_eq!((sent[0].to.to_string(), sent[0].method().as_str(), sent[0].header("Route")), (BOB.to_owned(), "ACK", None));
    assert_eq!(driver.transactions().1, 1);

    let sent = driver.receive(BOB, &inside("BYE", BOB, "sip:alice@192.0.2.10:5060", Some(&route), "bye"));
    let bye = sent.iter().find(|s| s.method() == "BYE").unwrap();
    assert_eq!((bye.to.to_string(), bye.header("Route")), (ALICE.to_owned(), None));
    assert!(bye.text.starts_with("BYE sip:alice@192.0.2.10:5060 "));
    match driver.events().as_slice() {
        [Event::CallReport(report)] => assert_eq!(*report, CallReport { pair: pair(), fence: Fence(9), result: CallResult::Ended }),
        other => panic!("{other:?}"),
    }
    let sent = driver.receive(ALICE, &bye.response(200, ""));
    assert_eq!((codes(&sent), sent[0].to.to_string()), (vec![200], BOB.to_owned()));
}

#[test]
fn a_phone_behind_a_nat_is_reached_by_its_flow() {
    let mut behind = target(BOB, 1000);
    behind.uri = "sip:bob@10.0.0.7:5060".to_owned();
    let (mut driver, invites) = ringing(online(&[behind]));
    let route = record_route(&invites);
    assert!(invites[0].text.starts_with("INVITE sip:bob@10.0.0.7:5060 "));
    let sent = driver.receive(ALICE, &inside("INVITE", ALICE, "sip:bob@10.0.0.7:5060", Some(&route), "re"));
    assert_eq!((sent.len(), sent[0].to.to_string()), (1, BOB.to_owned()));
    // The NAT gives it another port: known by its host.
    let sent = driver.receive("192.0.2.20:41000", &inside("INFO", "10.0.0.7:5060", "sip:alice@192.0.2.10", Some(&route), "in"));
    assert_eq!(sent[0].to.to_string(), ALICE);
}

#[test]
fn sides_on_different_listeners_have_a_route_each() {
    let six = "[2001:db8::20]:5060";
    let (mut driver, invites) = ringing(online(&[target(six, 1000)]));
    // A line each: some phones read only the first value of a list.
    let routes: Vec<&str> = invites[0].headers("Record-Route").collect();
    assert!(
        matches!(routes[..], [six, four] if six.ends_with("@[2001:db8::1]:5060;lr>") && four.ends_with("@192.0.2.1:5060;lr>")),
        "{routes:?}"
    );
    let route = routes.join(", ");
    let sent = driver.receive(six, &inside("BYE", six, "sip:alice@192.0.2.10:5060", Some(&route), "bye"));
    assert_eq!((sent[0].to.to_string(), sent[0].header("Route")), (ALICE.to_owned(), None));
}

#[test]
fn nobody_is_sent_where_he_likes() {
    let mut driver = Driver::new(config());
    let victim = "sip:victim@198.51.100.9";
    let (good, _) = ringing(online_watched(&[target(BOB, 1000)]));
    drop(good);
    for (route, code) in [
        (Some("<sip:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@192.0.2.1;lr>"), 403),
        (Some("<sip:198.51.100.9;lr>"), 403),
        (Some("<sip:192.0.2.1;lr>, <sip:198.51.100.9;lr>"), 403),
    ] {
        assert_eq!(codes(&driver.receive(ALICE, &inside("BYE", ALICE, victim, route, "x"))), [code], "{route:?}");
        assert!(driver.receive(ALICE, &inside("ACK", ALICE, victim, route, "y")).is_empty());
    }
    let out_of_dialog = request("INVITE", "sip:bob@example.com", "z", "Route: <sip:198.51.100.9;lr>\r\n");
    assert_eq!(codes(&driver.receive(ALICE, &out_of_dialog)), [403]);
    assert_eq!(codes(&driver.receive(ALICE, &request("INVITE", victim, "q", ""))), [404]);
    assert_eq!((driver.requests.len(), driver.transactions()), (0, (0, 0)));
}

#[test]
fn a_preloaded_route_to_us_is_taken_off() {
    let mut driver = Driver::new(config());
    assert!(driver.receive(ALICE, &invite("1", "Route: <sip:192.0.2.1:5060;lr>\r\n")).is_empty());
    let sent = driver.reply(online(&[target(BOB, 1000)]));
    assert_eq!(sent[0].header("Route"), None);
}

/// Its DNS name leads to us, or the phone would have sent it elsewhere.
#[test]
fn a_phone_may_know_its_outbound_proxy_by_a_name_of_which_we_know_nothing() {
    let route = "Route: <sip:pbx.example.net;lr>\r\n";
    let mut driver = Driver::new(config());
    driver.receive(ALICE, &request("REGISTER", "sip:example.com", "r", route).replace("To: <sip:", "To: <sip:alice@"));
    assert!(matches!(driver.requests.remove(0).event, Event::Register(_)));
    assert!(driver.receive(ALICE, &invite("1", route)).is_empty());
    let sent = driver.reply(online(&[target(BOB, 1000)]));
    assert_eq!((sent[0].to.to_string(), sent[0].header("Route")), (BOB.to_owned(), None));
    // No relay for all that.
    let further = "Route: <sip:pbx.example.net;lr>, <sip:198.51.100.9;lr>\r\n";
    assert_eq!(codes(&driver.receive(ALICE, &invite("2", further))), [403]);
}

#[test]
fn a_bye_without_a_route_finds_a_known_phone() {
    let (mut driver, invites) = ringing(online(&[target(BOB, 1000)]));
    driver.receive(BOB, &invites[0].response(200, ""));
    let sent = driver.receive(ALICE, &inside("ACK", ALICE, "sip:bob@192.0.2.20:5060", None, "ack"));
    assert_eq!((sent.len(), sent[0].to.to_string()), (1, BOB.to_owned()));
    // Phones with an outbound proxy name it in every request.
    let sent = driver.receive(ALICE, &inside("BYE", ALICE, "sip:bob@192.0.2.20:5060", Some("<sip:192.0.2.1;lr>"), "bye0"));
    assert_eq!((sent.len(), sent[0].to.to_string(), sent[0].header("Route")), (1, BOB.to_owned(), None));
    let sent = driver.receive(ALICE, &inside("INVITE", ALICE, "sip:bob@192.0.2.20:5060", Some("<sip:192.0.2.1;lr>"), "re"));
    assert_eq!((sent.len(), sent[0].to.to_string()), (1, BOB.to_owned()));
    // Phones that put the AoR there are helped, too.
    let sent = driver.receive(ALICE, &inside("ACK", ALICE, "sip:bob@example.com", None, "ack2"));
    assert!(sent[0].text.starts_with("ACK sip:bob@192.0.2.20:5060 "));
    let sent = driver.receive(ALICE, &inside("BYE", ALICE, "sip:bob@192.0.2.20:5060", None, "bye"));
    assert_eq!((sent.len(), sent[0].to.to_string()), (1, BOB.to_owned()));
}

/// The other side registered at another edge, and this one was not on the way of the call so far.
#[test]
fn an_unknown_contact_is_looked_up_by_its_aor_and_only_it_is_asked() {
    for (contact, reply, expected) in [
        ("sip:y@192.0.2.20:5060", Reply::Located(vec![target(BOB_2, 1000), target(BOB, 500)]), Some(BOB)),
        ("sip:victim@198.51.100.9", Reply::Located(vec![target(BOB, 1000)]), None),
        ("sip:victim@198.51.100.9", Reply::Located(vec![]), None),
        ("sip:victim@198.51.100.9", Reply::Failed(redial_core::link::Failure::Timeout), None),
    ] {
        for route in [None, Some("<sip:192.0.2.1;lr>")] {
            let mut driver = Driver::new(config());
            assert!(driver.receive(ALICE, &inside("ACK", ALICE, contact, route, "ack")).is_empty());
            assert!(driver.receive(ALICE, &inside("BYE", ALICE, contact, route, "bye")).is_empty());
            assert!(matches!(&driver.requests[0].event, Event::Locate(l) if l.aor.as_str() == "y@example.com"));
            let sent = driver.reply(reply.clone());
            match expected {
                Some(phone) => assert_eq!((codes(&sent), sent[0].to.to_string()), (vec![0], phone.to_owned())),
                None => assert_eq!(codes(&sent), [481]),
            }
        }
    }
}

/// The callee's phone hangs up by us although nobody asked it to, and the kernel gives its datagrams to another worker.
#[test]
fn every_worker_knows_every_phone() {
    let (driver, _) = ringing(online(&[target(BOB, 1000)]));
    let mut other = Driver::worker(std::sync::Arc::clone(&driver.config), 4);
    let sent = other.receive(ALICE, &inside("BYE", ALICE, "sip:bob@192.0.2.20:5060", None, "bye"));
    assert_eq!((sent.len(), sent[0].to.to_string()), (1, BOB.to_owned()));
}

#[test]
fn a_phone_with_two_aors_is_known_until_both_are_gone() {
    let (mut driver, _) = ringing(online(&[target(BOB, 1000)]));
    for (branch, reply, code) in [("m1", vec![target(BOB, 1000)], 0), ("m2", vec![], 480)] {
        driver.receive(ALICE, &request("MESSAGE", "sip:office@example.com", branch, ""));
        assert_eq!(codes(&driver.reply(Reply::Located(reply))), [code]);
    }
    let bye = |branch| inside("BYE", ALICE, "sip:bob@192.0.2.20:5060", None, branch);
    assert_eq!(driver.receive(ALICE, &bye("bye1"))[0].to.to_string(), BOB);
    driver.receive(ALICE, &request("MESSAGE", "sip:bob@example.com", "m3", ""));
    driver.reply(Reply::Located(vec![]));
    assert!(driver.receive(ALICE, &bye("bye2")).is_empty());
    assert_eq!(codes(&driver.reply(Reply::Located(vec![]))), [481]);
}
