use super::*;
use crate::endpoint::config::Transport;
use crate::endpoint::fixture;

const SECRET: [u8; 32] = [7; 32];

fn listeners(advertised: &str) -> Vec<Listener> {
    vec![Listener { transport: Transport::Udp, bound: "10.0.0.1:5060".parse().unwrap(), advertised: advertised.parse().unwrap() }]
}

fn peers(name: &str, advertised: &str) -> Peers {
    Peers::new(&SECRET, &EdgeId::new(name), &listeners(advertised), 2, fixture::start())
}

fn member(name: &str, port: u16) -> Member {
    Member { name: name.to_owned(), addr: ([10, 0, 0, 1], port).into() }
}

fn after(ms: u64) -> Instant {
    fixture::start() + Duration::from_millis(ms)
}

/// `a`, which has heard `b` at its start.
fn met(advertised: &str) -> (Peers, Peers) {
    let (a, b) = (peers("a", "203.0.113.1:5060"), peers("b", advertised));
    a.enlist(after(0), &SECRET, &[member("a", 1), member("b", 2)]);
    assert_eq!((a.count(), a.is_live(b.own)), ((1, 0), false), "listed is not there yet");
    a.heard(after(0), b.own, b.says(false));
    assert!(a.is_live(b.own));
    (a, b)
}

#[test]
fn an_edge_that_falls_silent_is_gone_until_it_is_heard_again() {
    let (a, b) = met("203.0.113.1:5060");
    a.review(after(1900));
    assert!(a.is_live(b.own) && a.is_shared());
    a.review(after(2100));
    assert!(!a.is_live(b.own) && !a.is_shared() && a.addr(b.own).is_none());
    assert_eq!(a.name_of(b.own), Some(EdgeId::new("b")), "its phones are its own while it is listed");
    a.heard(after(2200), b.own, b.says(false));
    assert_eq!((a.addr(b.own), a.tag_of(&EdgeId::new("b"))), (Some(member("b", 2).addr), Some(b.own)));
    a.heard(after(2300), b.own, b.says(true));
    assert!(!a.is_live(b.own), "it said goodbye");
}

#[test]
fn only_edges_at_the_same_address_that_do_not_drain_share_transactions() {
    assert!(!met("203.0.113.2:5060").0.is_shared());
    let (a, b) = met("203.0.113.1:5060");
    b.drain(after(0));
    a.heard(after(100), b.own, b.says(false));
    assert!(!a.is_shared() && a.is_live(b.own));
}

#[test]
fn the_list_decides_who_is_heard_and_where() {
    let (a, b) = met("203.0.113.1:5060");
    let stranger = peers("c", "203.0.113.1:5060");
    a.heard(after(100), stranger.own, stranger.says(false));
    assert!(!a.is_live(stranger.own));
    a.enlist(after(100), &SECRET, &[member("b", 2), member("c", 3)]);
    assert!(a.is_live(b.own), "what is known of it stays known");
    a.enlist(after(100), &SECRET, &[member("b", 4)]);
    assert!(!a.is_live(b.own), "a new pod of the old name has yet to be heard");
    a.heard(after(200), b.own, b.says(false));
    assert_eq!(a.addr(b.own), Some(member("b", 4).addr));
    a.enlist(after(200), &SECRET, &[]);
    assert_eq!((a.count(), a.is_shared()), ((0, 0), false));
}
