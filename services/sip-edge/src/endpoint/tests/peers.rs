//! Two edges behind one address: whichever of them a datagram reaches.

use proptest::prelude::*;
use redial_core::Binding;
use redial_core::link::{
    BindingChange, ContactChange, Event, Order, RecallOrder, RecallReport, RecallResult, Register, Registered, Request,
};
use sip_core::routing::{Branch, EdgeTag};

use super::*;
use crate::endpoint::config::{Listener, Transport};
use crate::endpoint::{EndpointConfig, Peer, fixture};
use crate::peers::{Beat, Peers, wire};

/// The address that phones send to.
const PUBLIC: &str = "203.0.113.1:5060";
const NAMES: [&str; 2] = ["edge-0", "edge-1"];

/// As the edges see the phones: each edge at another address, which only it can send to.
const ALICE_AT: [&str; 2] = ["198.51.100.1:1000", "198.51.100.2:2000"];
const BOB_AT: [&str; 2] = ["198.51.100.1:1001", "198.51.100.2:2001"];

/// Each branch is another call's: the Call-ID picks the edge.
fn request(method: &str, uri: &str, branch: &str, extra: &str) -> String {
    super::request(method, uri, branch, extra).replace("call-1", &format!("id-of-{branch}"))
}

fn invite(branch: &str, extra: &str) -> String {
    super::invite(branch, extra).replace("call-1", &format!("id-of-{branch}"))
}

struct Edges {
    drivers: [Driver; 2],
    /// Edges whose datagrams to each other arrive.
    joined: bool,
}

/// What a phone received, and by which edge.
type Arrived = (usize, Sent);

fn edge(own: usize, public: [&str; 2]) -> Driver {
    let secret = fixture::config(None).secret;
    let listener = |public: &str| {
        vec![Listener { transport: Transport::Udp, bound: "192.0.2.1:5060".parse().unwrap(), advertised: public.parse().unwrap() }]
    };
    let peers = |own: usize| Peers::new(&secret, &EdgeId::new(NAMES[own]), &listener(public[own]), 1, fixture::start());
    let peers_here = Arc::new(peers(own));
    peers_here.enlist(
        fixture::start(),
        &secret,
        &[0, 1].map(|n: usize| redial_runtime::discovery::Member { name: NAMES[n].to_owned(), addr: ([10, 0, 0, n as u8], 5070).into() }),
    );
    let other = peers(1 - own);
    peers_here.heard(fixture::start(), other.own, other.says(false));
    let (edge, listeners) = (EdgeId::new(NAMES[own]), listener(public[own]));
    let config = EndpointConfig { edge, listeners, peers: Some(peers_here), known: known(100), ..fixture::config(None) };
    Driver::worker(Arc::new(config), 0)
}

impl Edges {
    fn behind_one_address() -> Self {
        Self { drivers: [edge(0, [PUBLIC, PUBLIC]), edge(1, [PUBLIC, PUBLIC])], joined: true }
    }

    fn peers(&self, at: usize) -> &Peers {
        self.drivers[at].config.peers.as_ref().unwrap()
    }

    /// A phone's datagram reaches the edge `at`.
    fn receive(&mut self, at: usize, phone: [&str; 2], text: &str) -> Vec<Arrived> {
        let from = Peer { edge: EdgeTag::HERE, listener: 0, addr: phone[at].parse().unwrap() };
        let sent = self.drivers[at].receive_from(from, text.as_bytes());
        self.carry(at, sent)
    }

    fn reply(&mut self, at: usize, reply: Reply) -> Vec<Arrived> {
        let sent = self.drivers[at].reply(reply);
        self.carry(at, sent)
    }

    /// What edge `at` sent, and what came of it where the other edge had a part in it.
    fn carry(&mut self, at: usize, sent: Vec<Sent>) -> Vec<Arrived> {
        let mut arrived: Vec<Arrived> = sent.into_iter().map(|sent| (at, sent)).collect();
        let other = 1 - at;
        for (to, datagram) in std::mem::take(&mut self.drivers[at].passed) {
            assert_eq!(to, self.peers(other).own);
            if !self.joined {
                continue;
            }
            let opened = wire::read(&datagram).unwrap();
            let (edge, sender) = match opened.kind {
                wire::Kind::Send => (EdgeTag::HERE, None),
                _ => (self.peers(at).own, Some(())),
            };
            let peer = Peer { edge, listener: opened.phone.listener, addr: opened.phone.addr };
            if sender.is_none() {
                let message = sip_core::MessageBuf::parse(opened.content.to_vec()).unwrap();
                let text = String::from_utf8(opened.content.to_vec()).unwrap();
                arrived.push((other, Sent { to: peer.addr, text, message }));
            } else {
                let sent = self.drivers[other].receive_from(peer, opened.content);
                arrived.extend(self.carry(other, sent));
            }
        }
        for (at, sent) in &arrived {
            let known = [ALICE_AT[*at], BOB_AT[*at]];
            assert!(known.contains(&sent.to.to_string().as_str()), "edge {at} cannot send to {}", sent.to);
        }
        arrived
    }

    /// The edge that asks the coordinator something, and what.
    fn asked(&self) -> Vec<(usize, &Request)> {
        self.drivers.iter().enumerate().flat_map(|(at, driver)| driver.requests.iter().map(move |request| (at, request))).collect()
    }
}

/// A registered contact of bob's, a phone behind a NAT that came by edge `at`.
fn bob_by(at: usize) -> Target {
    let flow = Flow::new(format!("udp/0/{}", BOB_AT[at]));
    Target { uri: "sip:bob@10.0.0.7:5060".to_owned(), q: 1000, path: Vec::new(), edge: EdgeId::new(NAMES[at]), flow }
}

/// Alice calls; bob's phone is reached by edge `by`. Who handles the call, and the INVITE as it reached bob.
fn call(edges: &mut Edges, at: usize, by: usize, branch: &str) -> (usize, Sent) {
    assert!(edges.receive(at, ALICE_AT, &invite(branch, "")).is_empty());
    let owner = edges.asked()[0].0;
    let mut sent = edges.reply(owner, online_watched(&[bob_by(by)]));
    assert_eq!((sent.len(), sent[0].0, sent[0].1.to.to_string().as_str()), (1, by, BOB_AT[by]));
    (owner, sent.remove(0).1)
}

fn inside(method: &str, [own, other]: [&str; 2], invite: &Sent, branch: &str) -> String {
    let route = invite.header("Record-Route").unwrap();
    format!(
        "{method} sip:x@10.0.0.9:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:x@example.com>;tag={own}\r\nTo: <sip:y@example.com>;tag={other}\r\nRoute: {route}\r\nCall-ID: call-1\r\nCSeq: 8 {method}\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every datagram of a call and each of its repetitions at any edge: one INVITE to bob, one call, every answer where it belongs.
    #[test]
    fn a_call_is_one_call_whatever_edge_its_datagrams_reach(n: u32, ways in prop::collection::vec(0_usize..2, 16), by in 0_usize..2) {
        let mut way = ways.into_iter().cycle();
        let mut next = || way.next().unwrap_or(0);
        let mut edges = Edges::behind_one_address();
        let branch = format!("call{n}");
        let (owner, to_bob) = call(&mut edges, next(), by, &branch);
        for _ in 0..3 {
            let again = edges.receive(next(), ALICE_AT, &invite(&branch, ""));
            prop_assert!(again.iter().all(|(_, sent)| sent.status() == 100), "{again:?}");
            prop_assert!(edges.asked().is_empty());
        }
        let ringing = edges.receive(next(), BOB_AT, &to_bob.response(180, ""));
        prop_assert_eq!(ringing.iter().map(|(_, sent)| sent.status()).collect::<Vec<_>>(), [180]);
        for _ in 0..2 {
            let answered = edges.receive(next(), BOB_AT, &to_bob.response(200, ""));
            prop_assert_eq!(answered.iter().map(|(_, sent)| sent.status()).collect::<Vec<_>>(), [200]);
            prop_assert_eq!(&ALICE_AT[answered[0].0], &answered[0].1.to.to_string());
        }
        let ack = edges.receive(next(), ALICE_AT, &inside("ACK", ["a1", "phone"], &to_bob, "ack"));
        prop_assert_eq!(ack.iter().map(|(at, sent)| (*at, sent.method())).collect::<Vec<_>>(), [(by, "ACK".to_owned())]);

        let bye = edges.receive(next(), BOB_AT, &inside("BYE", ["phone", "a1"], &to_bob, "bye"));
        prop_assert_eq!(bye.iter().map(|(_, sent)| sent.method()).collect::<Vec<_>>(), ["BYE"]);
        let again = edges.receive(next(), BOB_AT, &inside("BYE", ["phone", "a1"], &to_bob, "bye"));
        prop_assert!(again.is_empty(), "{:?}", again);
        let done = edges.receive(next(), ALICE_AT, &bye[0].1.response(200, ""));
        prop_assert_eq!(done.iter().map(|(_, sent)| sent.status()).collect::<Vec<_>>(), [200]);
        let ended = edges.asked().into_iter().filter(|(_, request)| matches!(&request.event, Event::CallReport(r) if r.result == redial_core::link::CallResult::Ended));
        prop_assert_eq!(ended.count(), 1);
        prop_assert!(owner < 2);
    }

    #[test]
    fn a_call_is_cancelled_and_refused_at_any_edge(n: u32, ways in prop::collection::vec(0_usize..2, 8), by in 0_usize..2) {
        let mut edges = Edges::behind_one_address();
        let branch = format!("call{n}");
        let (_, to_bob) = call(&mut edges, ways[0], by, &branch);
        edges.receive(ways[1], BOB_AT, &to_bob.response(180, ""));
        let cancel = request("CANCEL", "sip:bob@example.com", &branch, "");
        let sent = edges.receive(ways[2], ALICE_AT, &cancel);
        prop_assert_eq!(sent.len(), 2);
        let (to_alice, stop): (Vec<_>, Vec<_>) = sent.into_iter().partition(|(_, sent)| sent.status() == 200);
        prop_assert_eq!((to_alice[0].0, stop[0].0, stop[0].1.method()), (ways[2], by, "CANCEL".to_owned()));
        let stopped = edges.receive(ways[5], BOB_AT, &stop[0].1.response(200, ""));
        prop_assert!(stopped.is_empty(), "{:?}", stopped);
        let sent = edges.receive(ways[3], BOB_AT, &to_bob.response(487, ""));
        let acked: Vec<_> = sent.iter().map(|(_, sent)| (sent.method(), sent.status())).collect();
        prop_assert!(acked.contains(&("INVITE".to_owned(), 487)) && acked.contains(&("ACK".to_owned(), 0)) && acked.len() == 2, "{:?}", acked);
        let ack = edges.receive(ways[4], ALICE_AT, &request("ACK", "sip:bob@example.com", &branch, ""));
        prop_assert!(ack.is_empty(), "{:?}", ack);
        // Acknowledged, so it is not repeated.
        for driver in &mut edges.drivers {
            let again = driver.pass(std::time::Duration::from_secs(2));
            prop_assert!(again.is_empty() && driver.passed.is_empty(), "{:?} {:?}", again, driver.passed);
        }
    }
}

fn register(branch: &str) -> String {
    request("REGISTER", "sip:example.com", branch, "Contact: <sip:alice@10.0.0.9:5060>;expires=600\r\n")
        .replace("To: <sip:example.com>", "To: <sip:alice@example.com>")
}

fn put(event: &Event) -> Binding {
    match event {
        Event::Register(Register { change: BindingChange::Each(changes), .. }) => match &changes[0] {
            ContactChange::Put(binding) => binding.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_register_again_at_another_edge_has_the_same_answer_and_is_passed_to_nobody() {
    let mut edges = Edges::behind_one_address();
    let mut answers = Vec::new();
    for at in [0, 1] {
        assert!(edges.receive(at, ALICE_AT, &register("r")).is_empty());
        let asked = edges.asked();
        assert_eq!(asked.len(), 1);
        let binding = put(&asked[0].1.event);
        assert_eq!((asked[0].0, binding.edge.as_str(), binding.flow.as_str()), (at, NAMES[at], format!("udp/0/{}", ALICE_AT[at]).as_str()));
        let answer = edges.reply(at, Reply::Registered(Registered::Bindings(vec![binding]))).remove(0);
        assert_eq!((answer.0, answer.1.status()), (at, 200));
        // What the phone's address looks like is each edge's own view.
        answers.push(answer.1.text.lines().filter(|line| !line.starts_with("Via:")).map(str::to_owned).collect::<Vec<_>>());
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn the_edge_of_a_recall_hears_what_reaches_the_other() {
    for at in [0, 1] {
        let mut edges = Edges::behind_one_address();
        let flow = Flow::new(format!("udp/0/{}", ALICE_AT[0]));
        let to_alice = Target { uri: "sip:alice@10.0.0.9:5060".to_owned(), q: 1000, path: Vec::new(), edge: EdgeId::new(NAMES[0]), flow };
        let order = RecallOrder {
            pair: pair(),
            fence: Fence(9),
            rung: 2,
            targets: vec![to_alice],
            timeout: std::time::Duration::from_secs(20),
            credentials: None,
            trace: None,
        };
        let sent = edges.drivers[0].order(Order::Recall(order));
        let refer = edges.carry(0, sent).remove(0).1;
        edges.receive(at, ALICE_AT, &refer.response(202, ""));
        let notify = format!(
            "NOTIFY sip:x@{PUBLIC} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9:5060;branch=z9hG4bKn;rport\r\nMax-Forwards: 70\r\nFrom: {};tag=phone\r\n\
             To: {}\r\nCall-ID: {}\r\nCSeq: 1 NOTIFY\r\nEvent: refer\r\nSubscription-State: terminated;reason=noresource\r\n\
             Content-Type: message/sipfrag\r\nContent-Length: 23\r\n\r\nSIP/2.0 486 Busy Here\r\n",
            refer.header("To").unwrap(),
            refer.header("From").unwrap(),
            refer.header("Call-ID").unwrap()
        );
        for _ in 0..2 {
            let answer = edges.receive(at, ALICE_AT, &notify);
            assert_eq!((answer[0].0, answer[0].1.status()), (at, 200));
        }
        let results: Vec<_> = edges.asked().into_iter().map(|(at, request)| (at, request.event.clone())).collect();
        let report = |result| Event::RecallReport(RecallReport { pair: pair(), fence: Fence(9), rung: 2, result });
        assert_eq!(results, [(0, report(RecallResult::Accepted)), (0, report(RecallResult::Notified(486)))]);
    }
}

/// The answer to a ringing call gets through though the edge that made the call is gone, and nobody is sent where he likes by that.
#[test]
fn the_responses_of_an_edge_that_is_gone_find_their_way() {
    let mut edges = Edges::behind_one_address();
    let (owner, to_bob) = (0..)
        .find_map(|n| {
            let (owner, to_bob) = call(&mut edges, 1, 1, &format!("call{n}"));
            (owner == 0).then_some((owner, to_bob))
        })
        .unwrap();
    assert_eq!(owner, 0);
    let gone = edges.peers(0).own;
    edges.peers(1).heard(fixture::start(), gone, Beat { leaving: true, ..edges.peers(0).says(false) });
    let sent = edges.receive(1, BOB_AT, &to_bob.response(200, ""));
    assert_eq!(
        sent.iter().map(|(at, sent)| (*at, sent.status(), sent.to.to_string())).collect::<Vec<_>>(),
        [(1, 200, ALICE_AT[1].to_owned())]
    );
    assert_eq!(sent[0].1.headers("Via").count(), 1);

    let text = to_bob.response(200, "");
    let branch = text.split_once("branch=").unwrap().1.split(';').next().unwrap().to_owned();
    let own = Branch::parse(&branch).unwrap();
    for forged in [own.to_string(), branch.replace(&branch[30..31], if &branch[30..31] == "0" { "1" } else { "0" })] {
        assert!(edges.receive(1, BOB_AT, &text.replace(&branch, &forged)).is_empty());
    }
    assert!(edges.receive(1, BOB_AT, &to_bob.response(200, "").replace("7 INVITE", "7 CANCEL")).is_empty());
    assert!(edges.receive(1, BOB_AT, &to_bob.response(100, "")).is_empty());
}

#[test]
fn what_an_edge_that_is_gone_held_is_handled_by_who_is_left() {
    let mut edges = Edges::behind_one_address();
    edges.joined = false;
    let gone = edges.peers(0).own;
    edges.peers(1).heard(fixture::start(), gone, Beat { leaving: true, ..edges.peers(0).says(false) });
    for n in 0..8 {
        assert!(edges.receive(1, ALICE_AT, &invite(&format!("call{n}"), "")).is_empty());
    }
    assert_eq!(edges.drivers[1].requests.len(), 8);
    // Bob's phone is behind a NAT that knows the other edge's address. Each time that something is sent, `peers/port` looks whether that edge is
    // there, and sends it from here if not; one that was started a moment ago has not heard of the others yet.
    assert!(edges.drivers[1].reply(online(&[bob_by(0)])).is_empty());
    let (to, datagram) = &edges.drivers[1].passed[0];
    let opened = wire::read(datagram).unwrap();
    assert_eq!((*to, opened.kind, opened.phone.addr.to_string()), (gone, wire::Kind::Send, BOB_AT[0].to_owned()));
}

#[test]
fn an_edge_that_drains_gives_everything_new_to_the_others() {
    let mut edges = Edges::behind_one_address();
    let draining = edges.peers(0).own;
    edges.peers(0).drain(fixture::start());
    edges.peers(1).heard(fixture::start(), draining, edges.peers(0).says(false));
    edges.drivers[0].endpoint.drain();
    assert!(edges.receive(0, ALICE_AT, &register("r")).is_empty());
    assert_eq!(edges.asked()[0].0, 1);
    let binding = put(&edges.asked()[0].1.event);
    assert_eq!((binding.edge.as_str(), binding.flow.as_str()), (NAMES[0], format!("udp/0/{}", ALICE_AT[0]).as_str()));
    let sent = edges.reply(1, Reply::Registered(Registered::Bindings(vec![binding])));
    assert_eq!((sent[0].0, sent[0].1.status()), (0, 200));
    for n in 0..8 {
        edges.receive(n % 2, ALICE_AT, &invite(&format!("call{n}"), ""));
    }
    assert_eq!(edges.asked().len(), 8);
    assert!(edges.asked().iter().all(|(at, _)| *at == 1));
}

/// Each with an address of its own, as on the network of its node.
#[test]
fn edges_with_addresses_of_their_own_pass_nothing_but_what_is_for_each_others_phones() {
    let own = ["203.0.113.1:5060", "203.0.113.2:5060"];
    let mut edges = Edges { drivers: [edge(0, own), edge(1, own)], joined: true };
    for n in 0..8 {
        let (owner, to_bob) = call(&mut edges, 0, 1, &format!("call{n}"));
        assert_eq!(owner, 0);
        let sent = edges.receive(1, BOB_AT, &to_bob.response(486, ""));
        assert!(sent.iter().any(|(at, sent)| (*at, sent.status()) == (0, 486)), "{sent:?}");
        edges.drivers[0].events();
    }
}

/// A challenge of one edge is answered at the other, which sees the phone at another address.
#[test]
fn a_nonce_is_good_at_every_edge_behind_the_address() {
    let password = "secret";
    let ha1 = sip_core::digest::Ha1::new(sip_core::digest::Algorithm::Sha256, "alice", "example.com", password);
    let users = match &ha1 {
        sip_core::digest::Ha1::Sha256(hash) => {
            format!("alice:example.com:{}\n", hash.iter().map(|b| format!("{b:02x}")).collect::<String>())
        }
        sip_core::digest::Ha1::Md5(_) => panic!("another algorithm"),
    };
    let mut edges = Edges::behind_one_address();
    for driver in &mut edges.drivers {
        let config = EndpointConfig {
            users: fixture::config(Some(&users)).users,
            edge: driver.config.edge.clone(),
            listeners: driver.config.listeners.clone(),
            peers: driver.config.peers.clone(),
            ..fixture::config(None)
        };
        *driver = Driver::worker(Arc::new(config), 0);
    }
    let challenged = edges.receive(0, ALICE_AT, &register("r")).remove(0).1;
    assert_eq!(challenged.status(), 401);
    let challenge = sip_core::digest::OfferedChallenge::parse(challenged.header("WWW-Authenticate").unwrap().as_bytes()).unwrap();
    let answer = sip_core::digest::Answer { user: "alice", ha1: &ha1, method: "REGISTER", uri: "sip:example.com", cnonce: "c", nc: 1 };
    let again = register("r2").replace("Contact:", &format!("Authorization: {}\r\nContact:", answer.header(&challenge)));
    assert!(edges.receive(1, ALICE_AT, &again).is_empty());
    assert_eq!(edges.asked()[0].0, 1);
}
