//! The endpoint as its peers see it: phones on one side, the coordinator on the other, time in the test's hand.

mod calls;
mod dialogs;
mod forking;
mod front;
mod front_calls;
mod limits;
mod peers;
mod probes;
mod promises;
mod recalls;
mod register;
mod streams;

use std::sync::Arc;

use redial_core::link::{Offline, Reply, Routed, Target, WatchRef};
use redial_core::{Aor, EdgeId, Fence, Flow, Pair};

use super::Known;
use super::testing::{Driver, Sent, config};

const ALICE: &str = "192.0.2.10:5060";
const BOB: &str = "192.0.2.20:5060";
const BOB_2: &str = "192.0.2.21:5060";

/// A request of alice's phone for `uri`; `extra` are whole header lines.
fn request(method: &str, uri: &str, branch: &str, extra: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {ALICE};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=a1\r\n\
         To: <{uri}>\r\nCall-ID: call-1\r\nCSeq: 7 {method}\r\n{extra}Content-Length: 0\r\n\r\n"
    )
}

fn invite(branch: &str, extra: &str) -> String {
    request("INVITE", "sip:bob@example.com", branch, &format!("Contact: <sip:alice@{ALICE}>\r\n{extra}"))
}

/// A contact of bob's at this address.
fn target(addr: &str, q: u16) -> Target {
    let flow = Flow::new(format!("udp/{}/{addr}", u8::from(addr.starts_with('['))));
    Target { uri: format!("sip:bob@{addr}"), q, path: Vec::new(), edge: EdgeId::new("edge"), flow }
}

fn pair() -> Pair {
    Pair { callee: Aor::new("bob@example.com"), caller: Aor::new("alice@example.com") }
}

fn watch() -> WatchRef {
    WatchRef { pair: pair(), fence: Fence(9), trace: None }
}

fn online(targets: &[Target]) -> Reply {
    Reply::Routed(Routed::Online { targets: targets.to_vec(), report: vec![] })
}

fn online_watched(targets: &[Target]) -> Reply {
    Reply::Routed(Routed::Online { targets: targets.to_vec(), report: vec![watch()] })
}

fn offline(offline: Offline) -> Reply {
    Reply::Routed(Routed::Offline(offline))
}

fn codes(sent: &[Sent]) -> Vec<u16> {
    sent.iter().map(Sent::status).collect()
}

/// A call that has reached bob's phone: the driver, and the INVITE as it came there.
fn ringing(reply: Reply) -> (Driver, Vec<Sent>) {
    let mut driver = Driver::new(config());
    assert!(driver.receive(ALICE, &invite("1", "")).is_empty());
    let invites = driver.reply(reply);
    assert!(!invites.is_empty() && invites.iter().all(|s| s.method() == "INVITE" && s.status() == 0), "{invites:?}");
    (driver, invites)
}

/// A memory for so many AoRs.
fn known(max: usize) -> Arc<Known> {
    Arc::new(Known::new(max))
}
