//! Phones by TCP and TLS: the connection is the only way to them.

use std::time::Duration;

use redial_core::link::{Event, RecallResult};
use sip_core::routing::EdgeTag;

use super::*;
use crate::endpoint::config::{Listener, Transport};
use crate::endpoint::{EndpointConfig, Peer};

/// UDP, TCP and TLS on one address.
fn listeners() -> Vec<Listener> {
    [(Transport::Udp, "192.0.2.1:5060"), (Transport::Tcp, "192.0.2.1:5060"), (Transport::Tls, "192.0.2.1:5061")]
        .map(|(transport, addr)| Listener { transport, bound: addr.parse().unwrap(), advertised: addr.parse().unwrap() })
        .to_vec()
}

fn peer(listener: u8, addr: &str) -> Peer {
    Peer { edge: EdgeTag::HERE, listener, addr: addr.parse().unwrap() }
}

fn on(flow: &str, addr: &str) -> Target {
    Target { flow: Flow::new(flow), ..target(addr, 1000) }
}

/// Alice calls by TLS; the INVITE as it reaches bob.
fn called(bob: Target) -> (Driver, Vec<Sent>) {
    let mut driver = Driver::new(EndpointConfig { listeners: listeners(), ..config() });
    assert!(driver.receive_from(peer(2, "192.0.2.10:40000"), invite("1", "").as_bytes()).is_empty());
    let sent = driver.reply(online(&[bob]));
    (driver, sent)
}

#[test]
fn each_side_is_told_the_way_that_it_has() {
    let (mut driver, sent) = called(on("tcp/1/192.0.2.20:41000", BOB));
    let [invite] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(invite.to.to_string(), "192.0.2.20:41000", "not the port in the Contact: nobody can connect to it");
    assert!(invite.header("Via").unwrap().starts_with("SIP/2.0/TCP 192.0.2.1:5060;branch="), "{}", invite.text);
    let routes: Vec<&str> = invite.headers("Record-Route").collect();
    let ends: Vec<&str> = routes.iter().map(|route| route.split_once('@').unwrap().1).collect();
    assert_eq!(ends, ["192.0.2.1:5060;transport=tcp;lr>", "192.0.2.1:5061;transport=tls;lr>"]);

    let ringing = driver.receive_from(peer(1, "192.0.2.20:41000"), invite.response(180, "").as_bytes());
    assert_eq!((codes(&ringing), ringing[0].to.to_string()), (vec![180], "192.0.2.10:40000".to_owned()));
    assert!(driver.pass(Duration::from_secs(30)).is_empty(), "a connection repeats by itself");
}

#[test]
fn a_phone_by_a_connection_is_called_by_way_of_us_even_where_its_contact_looks_direct() {
    let mut driver = Driver::new(EndpointConfig { listeners: listeners(), ..config() });
    driver.receive_from(peer(1, ALICE), invite("1", "").as_bytes());
    let sent = driver.reply(online(&[on(&format!("tcp/1/{BOB}"), BOB)]));
    assert_eq!(sent[0].headers("Record-Route").count(), 1, "{}", sent[0].text);
}

#[test]
fn a_caller_hears_at_once_that_the_connection_is_gone() {
    let (mut driver, sent) = called(on("tcp/1/192.0.2.20:41000", BOB));
    let answers = driver.unreachable(peer(1, "192.0.2.20:41000"), &sent[0].text);
    let [ack, answer] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!((answer.status(), answer.to.to_string()), (480, "192.0.2.10:40000".to_owned()));
    assert_eq!(driver.transactions().1, 0);
    for nobodys in [&ack.text, &answer.text, "\r\n\r\n", "ACK sip:b@192.0.2.20 SIP/2.0\r\n\r\n"] {
        assert!(driver.unreachable(peer(1, "192.0.2.20:41000"), nobodys).is_empty(), "{nobodys}");
    }
}

#[test]
fn a_connection_of_an_edge_that_is_gone_or_of_another_listener_is_no_way() {
    for (flow, edge) in [("tcp/1/192.0.2.20:41000", "gone"), ("tls/1/192.0.2.20:41000", "edge"), ("tcp/7/192.0.2.20:41000", "edge")] {
        let (_, sent) = called(Target { edge: EdgeId::new(edge), ..on(flow, BOB) });
        assert_eq!(codes(&sent), [480], "{flow} of {edge}: no datagram is sent to a phone that listens to none");
    }
    let (_, sent) = called(on("udp/1/192.0.2.20:5060", BOB));
    assert_eq!(
        (sent[0].method().as_str(), sent[0].header("Via").unwrap().starts_with("SIP/2.0/UDP ")),
        ("INVITE", true),
        "listeners moved"
    );
}

#[test]
fn a_recall_by_a_connection_that_is_gone_is_over_at_once() {
    let mut driver = Driver::new(EndpointConfig { listeners: listeners(), ..config() });
    let sent = driver.order(super::recalls::order_to(on("tls/2/192.0.2.10:40000", ALICE)));
    let [refer] = sent.as_slice() else { panic!("{sent:?}") };
    assert!(refer.header("Contact").unwrap().ends_with("@192.0.2.1:5061;transport=tls>"), "{}", refer.text);
    driver.unreachable(peer(2, "192.0.2.10:40000"), &refer.text);
    match driver.events().as_slice() {
        [Event::RecallReport(report)] => assert_eq!(report.result, RecallResult::Unreachable),
        other => panic!("{other:?}"),
    }
}
