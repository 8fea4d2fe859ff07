//! One call to one phone: answered, failed, cancelled, timed out, and everything sent twice.

use std::time::Duration;

use redial_core::link::{CallReport, CallResult, Event, NotWatched, Offline, RequestedPeriod};

use super::*;

fn results(driver: &mut Driver) -> Vec<CallResult> {
    let result = |event| match event {
        Event::CallReport(CallReport { pair: of, fence: Fence(9), result }) if of == pair() => Some(result),
        _ => None,
    };
    driver.events().into_iter().filter_map(result).collect()
}

#[test]
fn an_answered_call_goes_through_and_is_reported_once() {
    let (mut driver, invites) = ringing(online_watched(&[target(BOB, 1000)]));
    let at_bob = &invites[0];
    assert_eq!(at_bob.to.to_string(), BOB);
    assert!(at_bob.text.starts_with("INVITE sip:bob@192.0.2.20:5060 SIP/2.0\r\n"), "{}", at_bob.text);
    assert_eq!(at_bob.header("Max-Forwards"), Some("69"));
    assert_eq!(at_bob.headers("Via").count(), 2);
    assert!(at_bob.headers("Via").nth(1).unwrap().contains("rport=5060"));

    let ringing = driver.receive(BOB, &at_bob.response(180, ""));
    assert_eq!((codes(&ringing), ringing[0].to.to_string()), (vec![180], ALICE.to_owned()));
    assert_eq!(ringing[0].headers("Via").count(), 1);

    let ok = at_bob.response(200, "Contact: <sip:bob@192.0.2.20>\r\n");
    assert_eq!(codes(&driver.receive(BOB, &ok)), [200]);
    // Time enough for the link to find out that a coordinator is dead, and to tell another.
    assert!(driver.requests.iter().all(|report| report.timeout > Duration::from_secs(8)));
    assert_eq!(results(&mut driver), [CallResult::Established]);
    // The phone repeats its 2xx until the ACK comes: each goes through, the report does not.
    assert_eq!(codes(&driver.receive(BOB, &ok)), [200]);
    assert!(results(&mut driver).is_empty());
    driver.pass(Duration::from_secs(40));
    assert_eq!(driver.transactions(), (0, 0));
    assert!(driver.endpoint.is_idle());
}

#[test]
fn a_refused_call_is_acknowledged_on_both_legs() {
    let (mut driver, invites) = ringing(online_watched(&[target(BOB, 1000)]));
    let busy = invites[0].response(486, "");
    let sent = driver.receive(BOB, &busy);
    let ack = sent.iter().find(|s| s.method() == "ACK" && s.status() == 0).unwrap();
    assert_eq!((ack.to.to_string(), ack.header("Via")), (BOB.to_owned(), invites[0].header("Via")));
    let answer = sent.iter().find(|s| s.status() == 486).unwrap();
    assert_eq!(answer.to.to_string(), ALICE);
    assert_eq!(results(&mut driver), [CallResult::Failed(486)]);

    // The phone repeats the 486: only the ACK goes out again. We repeat it to alice until her ACK comes.
    let again = driver.receive(BOB, &busy);
    assert_eq!((again.len(), again[0].method()), (1, "ACK".to_owned()));
    assert_eq!(codes(&driver.pass(Duration::from_millis(600))), [486]);
    let alice_ack = request("ACK", "sip:bob@example.com", "1", "")
        .replace("To: <sip:bob@example.com>", &format!("To: {}", answer.header("To").unwrap()));
    assert!(driver.receive(ALICE, &alice_ack).is_empty());
    assert!(driver.pass(Duration::from_secs(40)).is_empty());
    assert_eq!(driver.transactions(), (0, 0));
}

#[test]
fn a_100_is_sent_only_when_nothing_else_is_within_200_ms() {
    let mut driver = Driver::new(config());
    driver.receive(ALICE, &invite("1", ""));
    assert!(driver.pass(Duration::from_millis(199)).is_empty());
    assert_eq!(codes(&driver.reply(offline(Offline::NotWatched(NotWatched::PolicyOff)))), [480]);
    assert!(!codes(&driver.pass(Duration::from_millis(100))).contains(&100));
    driver.receive(ALICE, &invite("2", ""));
    let late = driver.pass(Duration::from_millis(499));
    assert_eq!(late.iter().filter(|s| s.status() == 100).count(), 1);
    assert_eq!(codes(&driver.receive(ALICE, &invite("2", ""))), [100], "sent again to who asks again");
}

#[test]
fn requests_that_come_again_are_answered_from_memory() {
    let mut driver = Driver::new(config());
    let call = invite("1", "");
    assert!(driver.receive(ALICE, &call).is_empty());
    assert!(driver.receive(ALICE, &call).is_empty());
    assert_eq!(driver.requests.len(), 1);
    let invites = driver.reply(online(&[target(BOB, 1000)]));
    driver.receive(BOB, &invites[0].response(180, ""));
    assert_eq!(codes(&driver.receive(ALICE, &call)), [180]);
    assert_eq!(driver.counted("sip_retransmissions_received_total", ""), 2);
    // The INVITE to a silent phone is repeated; after the 180 it is not.
    assert!(driver.pass(Duration::from_secs(3)).is_empty());
}

#[test]
fn a_silent_phone_is_asked_seven_times_and_then_given_up() {
    let (mut driver, _) = ringing(online_watched(&[target(BOB, 1000)]));
    let sent = driver.pass(Duration::from_millis(32_100));
    assert_eq!(sent.iter().filter(|s| s.status() == 0 && s.method() == "INVITE").count(), 6);
    assert!(codes(&sent).contains(&408));
    assert_eq!(results(&mut driver), [CallResult::Failed(408)]);
}

#[test]
fn a_phone_that_rings_for_ever_is_cancelled_by_timer_c() {
    let (mut driver, invites) = ringing(online(&[target(BOB, 1000)]));
    driver.receive(BOB, &invites[0].response(180, ""));
    driver.pass(Duration::from_secs(100));
    driver.receive(BOB, &invites[0].response(180, ""));
    assert!(driver.pass(Duration::from_secs(179)).is_empty());
    let sent = driver.pass(Duration::from_secs(2));
    assert!(sent.iter().any(|s| s.method() == "CANCEL"), "{sent:?}");
}

#[test]
fn a_cancelled_call_ends_with_487_after_the_phone_has_agreed() {
    let (mut driver, invites) = ringing(online_watched(&[target(BOB, 1000)]));
    driver.receive(BOB, &invites[0].response(180, ""));
    let cancel = request("CANCEL", "sip:bob@example.com", "1", "");
    let sent = driver.receive(ALICE, &cancel);
    assert_eq!(sent.iter().filter(|s| s.status() == 200).count(), 1);
    let at_bob = sent.iter().find(|s| s.status() == 0).unwrap();
    assert_eq!((at_bob.method().as_str(), at_bob.header("Via")), ("CANCEL", invites[0].header("Via")));
    // Again: answered again, sent on once.
    assert_eq!(codes(&driver.receive(ALICE, &cancel)), [200]);
    assert!(driver.receive(BOB, &at_bob.response(200, "")).is_empty());
    let sent = driver.receive(BOB, &invites[0].response(487, ""));
    assert!(codes(&sent).contains(&487));
    assert_eq!(results(&mut driver), [CallResult::Cancelled]);
    driver.pass(Duration::from_secs(80));
    assert_eq!(driver.transactions(), (0, 0));
}

#[test]
fn a_phone_that_has_said_nothing_is_cancelled_when_it_speaks() {
    let (mut driver, invites) = ringing(online(&[target(BOB, 1000)]));
    assert_eq!(codes(&driver.receive(ALICE, &request("CANCEL", "sip:bob@example.com", "1", ""))), [200]);
    let sent = driver.receive(BOB, &invites[0].response(180, ""));
    assert_eq!(sent.iter().map(Sent::method).collect::<Vec<_>>(), ["CANCEL"]);
}

#[test]
fn an_answer_that_crosses_the_cancel_wins() {
    let (mut driver, invites) = ringing(online_watched(&[target(BOB, 1000)]));
    driver.receive(BOB, &invites[0].response(180, ""));
    driver.receive(ALICE, &request("CANCEL", "sip:bob@example.com", "1", ""));
    assert!(codes(&driver.receive(BOB, &invites[0].response(200, ""))).contains(&200));
    assert_eq!(results(&mut driver), [CallResult::Established]);
}

#[test]
fn a_cancel_without_an_invite_is_answered_481() {
    let mut driver = Driver::new(config());
    assert_eq!(codes(&driver.receive(ALICE, &request("CANCEL", "sip:bob@example.com", "1", ""))), [481]);
    assert_eq!(driver.transactions(), (0, 0));
}

#[test]
fn a_watch_that_was_armed_for_a_caller_who_gave_up_is_taken_back() {
    let mut driver = Driver::new(config());
    driver.receive(ALICE, &invite("1", ""));
    let sent = driver.receive(ALICE, &request("CANCEL", "sip:bob@example.com", "1", ""));
    assert_eq!(codes(&sent), [200, 487]);
    assert!(driver.reply(offline(Offline::Granted { period: Duration::from_secs(600), trace: None })).is_empty());
    match driver.events().as_slice() {
        [Event::Route(route)] => assert_eq!(route.period, RequestedPeriod::OptOut),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_grant_is_told_in_the_480() {
    let mut driver = Driver::new(config());
    driver.receive(ALICE, &invite("1", "Redial-Period: 600\r\n"));
    match &driver.requests[0].event {
        Event::Route(route) => {
            assert_eq!(route.period, RequestedPeriod::Seconds(600));
            assert_eq!((route.callee.as_str(), route.caller.as_ref().unwrap().as_str()), ("bob@example.com", "alice@example.com"));
            assert_eq!((route.flow.as_str(), route.authenticated), ("udp/0/192.0.2.10:5060", false));
        }
        other => panic!("{other:?}"),
    }
    let sent = driver.reply(offline(Offline::Granted { period: Duration::from_secs(600), trace: None }));
    assert_eq!(codes(&sent), [480]);
    assert_eq!(sent[0].header("Call-Info"), Some("<sip:bob@example.com>;purpose=call-completion;m=NL"));
    assert_eq!((sent[0].header("Expires"), sent[0].header("Redial-Period")), (Some("600"), Some("600")));
    assert!(sent[0].header("To").unwrap().contains(";tag="));
    assert_eq!(driver.counted("redial_watches_granted_total", ""), 1);
}

#[test]
fn an_offline_callee_without_a_grant_gets_a_plain_480() {
    let mut driver = Driver::new(config());
    driver.receive(ALICE, &invite("1", ""));
    let sent = driver.reply(offline(Offline::NotWatched(NotWatched::CallerNotRegistered)));
    assert_eq!(codes(&sent), [480]);
    assert_eq!((sent[0].header("Call-Info"), sent[0].header("Expires")), (None, None));
    assert_eq!(driver.counted("redial_watches_refused_total", "caller_not_registered"), 1);
}

#[test]
fn the_period_stays_between_the_caller_and_us() {
    let mut driver = Driver::new(config());
    driver.receive(ALICE, &invite("1", "Expires: 180\r\nRedial-Period: 600\r\nX-Other: kept\r\n"));
    let sent = driver.reply(online(&[target(BOB, 1000)]));
    assert_eq!((sent[0].header("Expires"), sent[0].header("Redial-Period"), sent[0].header("X-Other")), (None, None, Some("kept")));
}
