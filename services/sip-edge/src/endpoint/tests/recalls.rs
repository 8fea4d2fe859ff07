//! REFERs of our own, through the endpoint's transactions.

use std::time::Duration;

use redial_core::link::{Event, Order, RecallOrder, RecallReport, RecallResult};

use super::*;

fn order() -> Order {
    let mut to_alice = target(ALICE, 1000);
    to_alice.uri = format!("sip:alice@{ALICE}");
    order_to(to_alice)
}

pub(super) fn order_to(target: Target) -> Order {
    Order::Recall(RecallOrder {
        pair: pair(),
        fence: Fence(9),
        rung: 2,
        targets: vec![target],
        timeout: Duration::from_secs(20),
        credentials: None,
        trace: None,
    })
}

fn results(driver: &mut Driver) -> Vec<RecallResult> {
    let result = |event| match event {
        Event::RecallReport(RecallReport { fence: Fence(9), rung: 2, result, .. }) => Some(result),
        _ => None,
    };
    driver.events().into_iter().filter_map(result).collect()
}

fn notify(refer: &Sent, fragment: &str) -> String {
    let (from, to) = (refer.header("To").unwrap(), refer.header("From").unwrap());
    format!(
        "NOTIFY sip:x@192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {ALICE};branch=z9hG4bKn;rport\r\nMax-Forwards: 70\r\nFrom: {from};tag=phone\r\nTo: {to}\r\n\
         Call-ID: {}\r\nCSeq: 1 NOTIFY\r\nEvent: refer\r\nSubscription-State: terminated;reason=noresource\r\nContent-Type: message/sipfrag\r\n\
         Content-Length: {}\r\n\r\n{fragment}",
        refer.header("Call-ID").unwrap(),
        fragment.len()
    )
}

#[test]
fn a_recall_is_sent_answered_and_reported() {
    let mut driver = Driver::new(config());
    let sent = driver.order(order());
    assert_eq!((sent[0].method().as_str(), sent[0].to.to_string()), ("REFER", ALICE.to_owned()));
    assert_eq!(sent[0].header("Refer-To"), Some("<sip:bob@example.com>"));
    assert_eq!(driver.pass(Duration::from_millis(600)).len(), 1, "repeated until it is answered");
    driver.receive(ALICE, &sent[0].response(202, ""));
    assert_eq!(results(&mut driver), [RecallResult::Accepted]);
    let answer = driver.receive(ALICE, &notify(&sent[0], "SIP/2.0 486 Busy Here\r\n"));
    assert_eq!(codes(&answer), [200]);
    assert_eq!(results(&mut driver), [RecallResult::Notified(486)]);
    assert_eq!(driver.counted("redial_recalls_total", "accepted"), 1);
}

#[test]
fn a_silent_phone_is_reported_and_nothing_more_is_sent_to_it() {
    let mut driver = Driver::new(config());
    driver.order(order());
    assert!(!driver.pass(Duration::from_secs(20)).is_empty());
    assert_eq!(results(&mut driver), [RecallResult::Silent]);
    assert!(driver.pass(Duration::from_secs(60)).is_empty());
    assert_eq!(driver.transactions(), (0, 0));
}

#[test]
fn a_notify_for_another_workers_recall_is_handed_over() {
    let mut driver = Driver::new(config());
    let sent = driver.order(order());
    let tag = sent[0].header("From").unwrap().split_once("tag=").unwrap().1;
    let text = notify(&sent[0], "SIP/2.0 100 Trying\r\n").replace(&format!("{}03", &tag[..10]), &format!("{}01", &tag[..10]));
    assert!(driver.receive(ALICE, &text).is_empty());
    assert_eq!(driver.handover().iter().map(|h| h.0).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_notify_for_no_recall_is_a_481() {
    let mut driver = Driver::new(config());
    let sent = driver.order(order());
    let text = notify(&sent[0], "").replace("Call-ID: ", "Call-ID: other");
    assert_eq!(codes(&driver.receive(ALICE, &text)), [481]);
}
