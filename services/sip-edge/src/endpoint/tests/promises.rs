//! The promises that an endpoint keeps, by number.

use std::time::Duration;

use proptest::prelude::*;
use redial_core::link::{Event, Failure, Offline, Order, RecallOrder};
use sip_core::digest::{Algorithm, Answer, Ha1, OfferedChallenge};

use super::super::testing::config_with;
use super::register::{register, registered};
use super::*;

// alice and bob, password "secret" both.
fn users() -> String {
    let line = |user: &str| match Ha1::new(Algorithm::Md5, user, "example.com", "secret") {
        Ha1::Md5(hash) => format!("{user}:example.com:{}\n", hash.iter().map(|b| format!("{b:02x}")).collect::<String>()),
        Ha1::Sha256(_) => unreachable!("asked for MD5"),
    };
    line("alice") + &line("bob")
}

/// `Proxy-Authorization` line of `user` for the challenge in `sent`.
fn credentials(sent: &Sent, user: &str, uri: &str) -> String {
    let challenge = sent.header("Proxy-Authenticate").unwrap();
    let challenge = OfferedChallenge::parse(challenge.as_bytes()).unwrap();
    let ha1 = Ha1::new(Algorithm::Md5, user, "example.com", "secret");
    let answer = Answer { user, ha1: &ha1, method: "INVITE", uri, cnonce: "c", nc: 1 };
    format!("Proxy-Authorization: {}\r\n", answer.header(&challenge))
}

#[test]
fn p1_a_grant_is_told_only_after_it_was_stored() {
    let mut driver = Driver::new(config());
    assert!(driver.receive(ALICE, &invite("1", "Redial-Period: 600\r\n")).is_empty());
    assert_eq!(codes(&driver.pass(Duration::from_secs(1))), [100]);
    let sent = driver.reply(offline(Offline::Granted { period: Duration::from_secs(600), trace: None }));
    assert!(sent[0].header("Call-Info").is_some());
}

#[test]
fn p5_a_register_is_answered_while_recalls_are_running() {
    let mut driver = Driver::new(config());
    let order = |fence| RecallOrder {
        pair: pair(),
        fence: Fence(fence),
        rung: 1,
        targets: vec![target(BOB_2, 1000)],
        timeout: Duration::from_secs(20),
        credentials: None,
        trace: None,
    };
    driver.order(Order::Recall(order(1)));
    driver.receive(BOB, &register("1", 1));
    let reply = registered(&driver);
    assert_eq!(codes(&driver.reply(reply)), [200]);
}

#[test]
fn p6_calls_between_known_phones_go_on_without_a_store() {
    let mut driver = Driver::new(config());
    driver.receive(BOB, &register("1", 1));
    let reply = registered(&driver);
    driver.reply(reply);
    driver.receive(ALICE, &invite("1", ""));
    let sent = driver.reply(Reply::Failed(Failure::StoreUnavailable));
    assert_eq!((sent[0].method().as_str(), sent[0].to.to_string()), ("INVITE", BOB.to_owned()));
    assert!(codes(&driver.receive(BOB, &sent[0].response(200, ""))).contains(&200));
    assert_eq!(driver.counted("sip_routed_total", "from_memory"), 1);
    // Until the binding has run out.
    driver.pass(Duration::from_secs(601));
    driver.receive(ALICE, &invite("2", ""));
    let sent = driver.pass(Duration::from_millis(2_100));
    assert_eq!(codes(&sent), [100, 480]);
    assert_eq!(sent[1].header("Call-Info"), None);
    assert_eq!(driver.counted("sip_routed_total", "refused"), 1);
}

#[test]
fn p7_only_the_proven_user_speaks_in_his_name() {
    let mut driver = Driver::new(config_with(Some(&users())));
    let challenged = driver.receive(ALICE, &invite("1", ""));
    assert_eq!((codes(&challenged), driver.transactions()), (vec![407], (0, 0)));
    let uri = "sip:bob@example.com";
    let own = credentials(&challenged[0], "alice", uri);
    let foreign = credentials(&challenged[0], "bob", uri);

    assert_eq!(codes(&driver.receive(ALICE, &invite("2", &foreign))), [403]);
    assert!(driver.requests.is_empty());

    assert!(driver.receive(ALICE, &invite("4", &own)).is_empty());
    assert!(matches!(&driver.requests[0].event, Event::Route(r) if r.authenticated && r.caller == Some(pair().caller)));
    // What proved it goes no further.
    assert_eq!(driver.reply(online(&[target(BOB, 1000)]))[0].header("Proxy-Authorization"), None);
}

/// RFC 3323: who calls is hidden from the callee, not from us.
#[test]
fn p7_an_anonymous_call_is_the_proven_users() {
    let mut driver = Driver::new(config_with(Some(&users())));
    let anonymous = |branch: &str, extra: &str| {
        invite(branch, extra).replace("From: <sip:alice@example.com>", "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>")
    };
    let challenged = driver.receive(ALICE, &anonymous("1", ""));
    let own = credentials(&challenged[0], "alice", "sip:bob@example.com");
    assert!(driver.receive(ALICE, &anonymous("2", &own)).is_empty());
    assert!(matches!(&driver.requests[0].event, Event::Route(r) if r.authenticated && r.caller == Some(pair().caller)));
    let sent = driver.reply(online(&[target(BOB, 1000)]));
    assert!(sent[0].header("From").unwrap().contains("anonymous.invalid"));
}

#[test]
fn p7_a_made_up_tag_does_not_get_by_the_challenge() {
    let mut driver = Driver::new(config_with(Some(&users())));
    driver.receive(BOB, &register("1", 1));
    for uri in ["sip:bob@example.com", "sip:bob@192.0.2.20:5060"] {
        let bob = target(BOB, 1000);
        driver.config.known.learn(&driver.config, &pair().callee, vec![(driver.now().unix.after(Duration::from_secs(60)), bob)]);
        let made_up = request("INVITE", uri, "9", "").replace(&format!("To: <{uri}>"), &format!("To: <{uri}>;tag=x"));
        assert_eq!(codes(&driver.receive(ALICE, &made_up)), [407], "{uri}");
    }
}

/// The kernel gives alice's datagrams to one worker and bob's to another.
#[test]
fn p6_what_one_worker_learned_serves_all() {
    let mut bobs = Driver::new(config());
    bobs.receive(BOB, &register("1", 1));
    let reply = registered(&bobs);
    bobs.reply(reply);
    let mut alices = Driver::worker(Arc::clone(&bobs.config), 4);
    alices.receive(ALICE, &invite("1", ""));
    let sent = alices.reply(Reply::Failed(Failure::StoreUnavailable));
    assert_eq!((sent[0].method().as_str(), sent[0].to.to_string()), ("INVITE", BOB.to_owned()));
}

#[test]
fn p6_what_the_store_has_last_told_counts() {
    let mut driver = Driver::new(config());
    driver.receive(BOB, &register("1", 1));
    let reply = registered(&driver);
    driver.reply(reply);
    // bob has left by another edge.
    driver.receive(ALICE, &request("MESSAGE", "sip:bob@example.com", "1", ""));
    driver.reply(Reply::Located(vec![]));
    driver.receive(ALICE, &invite("2", ""));
    assert_eq!(codes(&driver.reply(Reply::Failed(Failure::StoreUnavailable))), [480]);
}

#[test]
fn p7_nobody_waits_for_a_user_who_does_not_exist() {
    let mut driver = Driver::new(config_with(Some(&users())));
    let call = |branch: &str, extra: &str| request("INVITE", "sip:nobody@example.com", branch, extra);
    let challenged = driver.receive(ALICE, &call("1", ""));
    let own = credentials(&challenged[0], "alice", "sip:nobody@example.com");
    assert_eq!(codes(&driver.receive(ALICE, &call("2", &own))), [404]);
    assert!(driver.requests.is_empty());
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "INVITE sip:bob@example.com SIP/2.0\r\n",
        "ACK sip:bob@192.0.2.20 SIP/2.0\r\n",
        "CANCEL sip:bob@example.com SIP/2.0\r\n",
        "REGISTER sip:example.com SIP/2.0\r\n",
        "SIP/2.0 200 OK\r\n",
        "SIP/2.0 180 \r\n",
        "BYE sip:alice@192.0.2.10 SIP/2.0\r\n",
        "Via: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK1;rport\r\n",
        "v: SIP/2.0/UDP [2001:db8::1]\r\n",
        "Via: garbage\r\n",
        "Max-Forwards: 1\r\n",
        "Max-Forwards: x\r\n",
        "From: <sip:alice@example.com>;tag=a\r\n",
        "To: <sip:bob@example.com>\r\n",
        "t: sip:bob@example.com;tag=rd030123456789abcdef\r\n",
        "To: <sip:b@example.com>;tag=rr031-0123456789abcdef\r\n",
        "Call-ID: c\r\n",
        "CSeq: 1 INVITE\r\n",
        "CSeq: 1 ACK\r\n",
        "CSeq: 9 REGISTER\r\n",
        "CSeq: 1 BYE\r\n",
        "Contact: *\r\n",
        "Contact: <sip:a@192.0.2.10>;q=0.5, \"\r\n",
        "Route: <sip:192.0.2.1;lr>\r\n",
        "Expires: 0\r\n",
        "Content-Length: 0\r\n",
        "Content-Length: -1\r\n",
        "\r\n",
        ":",
        " ",
        "\"",
        "<",
        "%00",
    ])
    .prop_map(|word| word.as_bytes().to_vec());
    let noise = prop::collection::vec(any::<u8>(), 0..12);
    prop::collection::vec(prop_oneof![12 => word, 1 => noise], 0..24).prop_map(|parts| parts.concat())
}

proptest! {
    /// P8: whatever comes, the endpoint neither panics nor grows beyond its limits, and ends idle.
    #[test]
    fn p8_bad_input_never_stops_the_service(messages in prop::collection::vec(pieces(), 1..24), replies in prop::collection::vec(0_u8..4, 0..24)) {
        let mut driver = Driver::new(super::super::EndpointConfig { max_transactions: 8, known: known(4), ..config() });
        let mut replies = replies.into_iter();
        for message in messages {
            driver.receive_bytes(ALICE, &message);
            prop_assert!(driver.transactions().0 <= 8);
            if !driver.requests.is_empty() {
                match replies.next() {
                    Some(0) => drop(driver.reply(online_watched(&[target(BOB, 1000), target(BOB_2, 500)]))),
                    Some(1) => drop(driver.reply(Reply::Failed(Failure::StoreUnavailable))),
                    Some(2) => drop(driver.reply(offline(Offline::Granted { period: Duration::from_secs(60), trace: None }))),
                    _ => drop(driver.pass(Duration::from_secs(1))),
                }
            }
        }
        driver.pass(Duration::from_secs(300));
        prop_assert_eq!(driver.transactions(), (0, 0));
        prop_assert!(driver.endpoint.is_idle());
    }

    /// P8: a valid call of which one octet was changed.
    #[test]
    fn p8_one_wrong_octet_never_stops_the_service(at in any::<prop::sample::Index>(), octet in any::<u8>()) {
        let mut driver = Driver::new(config());
        let mut bytes = invite("1", "Redial-Period: 600\r\nRoute: <sip:192.0.2.1;lr>\r\n").into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = octet;
        driver.receive_bytes(ALICE, &bytes);
        if !driver.requests.is_empty() {
            driver.reply(online(&[target(BOB, 1000)]));
        }
        driver.pass(Duration::from_secs(300));
        prop_assert_eq!(driver.transactions(), (0, 0));
    }
}
