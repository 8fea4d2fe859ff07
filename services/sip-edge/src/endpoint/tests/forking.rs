//! One request to several phones.

use std::time::Duration;

use super::*;

fn at<'a>(sent: &'a [Sent], to: &str) -> Option<&'a Sent> {
    sent.iter().find(|s| s.to.to_string() == to)
}

#[test]
fn phones_of_equal_q_ring_together_and_the_first_answer_wins() {
    let (mut driver, invites) = ringing(online_watched(&[target(BOB, 1000), target(BOB_2, 1000)]));
    assert_eq!(invites.len(), 2);
    assert_ne!(invites[0].header("Via"), invites[1].header("Via"));
    for (phone, invite) in [(BOB, &invites[0]), (BOB_2, &invites[1])] {
        assert_eq!(codes(&driver.receive(phone, &invite.response(180, ""))), [180]);
    }
    let sent = driver.receive(BOB_2, &invites[1].response(200, ""));
    assert!(codes(&sent).contains(&200));
    assert_eq!(at(&sent, BOB).map(Sent::method).as_deref(), Some("CANCEL"));
    // The loser's 487 is acknowledged and goes no further.
    let sent = driver.receive(BOB, &invites[0].response(487, ""));
    assert_eq!(sent.iter().map(Sent::method).collect::<Vec<_>>(), ["ACK"]);
    assert_eq!(driver.events().len(), 1);
}

#[test]
fn a_second_phone_that_answers_too_is_passed_on() {
    let (mut driver, invites) = ringing(online(&[target(BOB, 1000), target(BOB_2, 1000)]));
    driver.receive(BOB, &invites[0].response(200, ""));
    assert_eq!(codes(&driver.receive(BOB_2, &invites[1].response(200, ""))), [200]);
}

#[test]
fn the_next_group_rings_when_the_first_has_failed() {
    let (mut driver, invites) = ringing(online(&[target(BOB_2, 500), target(BOB, 1000)]));
    assert_eq!((invites.len(), invites[0].to.to_string()), (1, BOB.to_owned()));
    let sent = driver.receive(BOB, &invites[0].response(486, ""));
    assert!(!codes(&sent).contains(&486));
    let next = at(&sent, BOB_2).unwrap();
    let sent = driver.receive(BOB_2, &next.response(404, ""));
    assert!(codes(&sent).contains(&486), "the first of equal answers: {sent:?}");
}

#[test]
fn a_6xx_ends_the_search() {
    let (mut driver, invites) = ringing(online(&[target(BOB, 1000), target(BOB_2, 1000), target("192.0.2.22:5060", 100)]));
    driver.receive(BOB_2, &invites[1].response(180, ""));
    let sent = driver.receive(BOB, &invites[0].response(603, ""));
    assert_eq!(at(&sent, BOB_2).map(Sent::method).as_deref(), Some("CANCEL"));
    assert!(at(&sent, ALICE).is_none());
    let sent = driver.receive(BOB_2, &invites[1].response(487, ""));
    assert!(codes(&sent).contains(&603));
    assert!(at(&sent, "192.0.2.22:5060").is_none());
}

#[test]
fn a_cancel_reaches_every_phone() {
    let (mut driver, invites) = ringing(online(&[target(BOB, 1000), target(BOB_2, 1000)]));
    driver.receive(BOB, &invites[0].response(180, ""));
    driver.receive(BOB_2, &invites[1].response(180, ""));
    let sent = driver.receive(ALICE, &request("CANCEL", "sip:bob@example.com", "1", ""));
    assert_eq!(sent.iter().filter(|s| s.method() == "CANCEL" && s.status() == 0).count(), 2);
    assert!(!codes(&driver.receive(BOB, &invites[0].response(487, ""))).contains(&487));
    assert!(codes(&driver.receive(BOB_2, &invites[1].response(487, ""))).contains(&487));
}

#[test]
fn challenges_of_all_phones_go_up_together() {
    let (mut driver, invites) = ringing(online(&[target(BOB, 1000), target(BOB_2, 1000)]));
    driver.receive(BOB, &invites[0].response(401, "WWW-Authenticate: Digest realm=\"a\", nonce=\"1\"\r\n"));
    let sent = driver.receive(BOB_2, &invites[1].response(407, "Proxy-Authenticate: Digest realm=\"b\", nonce=\"2\"\r\n"));
    let answer = at(&sent, ALICE).unwrap();
    assert_eq!(answer.status(), 401);
    assert!(answer.header("WWW-Authenticate").unwrap().contains("realm=\"a\""));
    assert!(answer.header("Proxy-Authenticate").unwrap().contains("realm=\"b\""));
}

#[test]
fn a_phones_503_does_not_speak_for_us() {
    let (mut driver, invites) = ringing(online(&[target(BOB, 1000)]));
    assert!(codes(&driver.receive(BOB, &invites[0].response(503, ""))).contains(&500));
}

#[test]
fn a_contact_that_cannot_be_reached_is_a_480() {
    let mut driver = Driver::new(config());
    driver.receive(ALICE, &invite("1", ""));
    let mut nowhere = target(BOB, 1000);
    nowhere.uri = "sip:bob@phone.example.net".to_owned();
    nowhere.edge = EdgeId::new("another");
    nowhere.flow = Flow::new("ws/17");
    assert_eq!(codes(&driver.reply(online(&[nowhere]))), [480]);
}

#[test]
fn a_message_is_forked_and_answered_by_the_first_2xx() {
    let mut driver = Driver::new(config());
    assert!(driver.receive(ALICE, &request("MESSAGE", "sip:bob@example.com", "1", "")).is_empty());
    let sent = driver.reply(Reply::Located(vec![target(BOB, 1000), target(BOB_2, 1000)]));
    assert_eq!(sent.len(), 2);
    assert_eq!(codes(&driver.receive(BOB, &sent[0].response(200, ""))), [200]);
    assert!(driver.receive(BOB_2, &sent[1].response(200, "")).is_empty());
    driver.pass(Duration::from_secs(40));
    assert_eq!(driver.transactions(), (0, 0));
}

#[test]
fn a_silent_message_gets_a_100_late_and_no_408() {
    let mut driver = Driver::new(config());
    driver.receive(ALICE, &request("MESSAGE", "sip:bob@example.com", "1", ""));
    driver.reply(Reply::Located(vec![target(BOB, 1000)]));
    let answers: Vec<u16> = driver.pass(Duration::from_secs(70)).iter().filter(|s| s.to.to_string() == ALICE).map(Sent::status).collect();
    assert_eq!(answers, [100], "RFC 4320");
    assert_eq!(driver.transactions(), (0, 0));
}

#[test]
fn a_message_to_nobody_is_a_480() {
    let mut driver = Driver::new(config());
    driver.receive(ALICE, &request("MESSAGE", "sip:bob@example.com", "1", ""));
    assert_eq!(codes(&driver.reply(Reply::Located(vec![]))), [480]);
}
