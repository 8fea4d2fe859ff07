//! Two edges behind one address that gives every datagram to either of them.

use std::net::SocketAddr;
use std::thread;

use anyhow::{Context as _, Result, ensure};
use redial_tests::kamailio::{self, Kamailio, user};
use redial_tests::shared::{Shared, seed};
use redial_tests::wait::PATIENCE;
use redial_tests::{Phone, Policy, until};

/// Pairs of phones that play at the same time, and how often each.
const PAIRS: usize = 4;
const ROUNDS: u32 = 50;

/// Missed, remembered, back, recalled, connected, hung up. Returns the callee's phone.
fn story(alice: &mut Phone, mut bob: Phone, rounds: u32) -> Result<Phone> {
    for round in 0..rounds {
        alice.miss(&bob.who)?;
        bob.register(600)?;
        let refer = alice.expect("REFER").with_context(|| format!("round {round}"))?;
        alice.reconnect(&refer, &mut bob).with_context(|| format!("round {round}"))?;
        ensure!(alice.poll("REFER")?.is_none(), "round {round}: recalled twice");
        bob.register(0)?;
    }
    Ok(bob)
}

fn pair(n: usize, service: SocketAddr) -> Result<()> {
    let (mut alice, bob) = (user(&format!("alice{n}"), service)?, user(&format!("bob{n}"), service)?);
    alice.register(600)?;
    story(&mut alice, bob, ROUNDS).map(drop)
}

#[test]
fn the_whole_story_with_every_datagram_at_a_random_edge() -> Result<()> {
    let seed = seed();
    all_stories(&Shared::start(None, &Policy::default(), &[], seed)?, seed)
}

/// What a server sends to the phones' Path comes to either edge, too.
#[test]
fn the_whole_story_in_front_of_a_server_with_every_datagram_at_a_random_edge() -> Result<()> {
    let seed = seed();
    let server = Kamailio::start(&[kamailio::PATH, kamailio::UNAVAILABLE])?;
    all_stories(&Shared::start(Some(server), &Policy::default(), &[], seed)?, seed)
}

fn all_stories(shared: &Shared, seed: u64) -> Result<()> {
    let service = shared.splitter.public;
    let pairs: Vec<_> = (0..PAIRS).map(|n| thread::spawn(move || pair(n, service))).collect();
    let played: Vec<_> = pairs.into_iter().map(|pair| pair.join().map_err(|_| anyhow::anyhow!("a pair failed"))).collect();
    for pair in played {
        pair.and_then(|played| played).with_context(|| format!("REDIAL_TEST_SEED={seed} plays it again; {}", shared.troubles()))?;
    }
    let all = f64::from(ROUNDS) * PAIRS as f64;
    // A miss that comes before the end of the call before it was heard of renews that call's watch: two stories may share one.
    let count = |name: &str, labels: &[(&str, &str)]| shared.coordinators(name, labels);
    until("every watch connected", PATIENCE, || {
        Ok((count("redial_watches_ended_total", &[("reason", "connected")])? == count("redial_watches_armed_total", &[])?).then_some(()))
    })?;
    let (recalled, armed) = (count("redial_recalls_total", &[("result", "ordered")])?, count("redial_watches_armed_total", &[])?);
    let ended = count("redial_watches_ended_total", &[])?;
    ensure!(recalled == all, "{recalled} recalled, not {all}; REDIAL_TEST_SEED={seed}");
    ensure!(ended == armed && armed <= all && armed > 0.9 * all, "{armed} armed, {ended} ended of {all}; REDIAL_TEST_SEED={seed}");
    until("no key of a watch in Redis", PATIENCE, || Ok(shared.redis.watch_keys()?.is_empty().then_some(())))?;
    for what in ["request", "response", "send"] {
        ensure!(shared.edges("sip_edge_peer_passed_total", &[("what", what)])? > 0.0, "no {what} passed");
    }
    ensure!(shared.edges("sip_edge_peer_dropped_total", &[])? == 0.0, "datagrams between edges were dropped");
    let (given, copies) = shared.splitter.counts();
    ensure!(copies > 0 && given > copies);
    eprintln!("seed {}: {given} datagrams of phones, {copies} of them copies", shared.splitter.seed());
    Ok(())
}

/// Its share of the transactions falls to the other as soon as it is silent, and phones that register again are reached by the other.
#[test]
fn an_edge_that_dies_takes_nothing_with_it_but_what_it_was_doing() -> Result<()> {
    let seed = seed();
    let mut shared = Shared::start(None, &Policy::default(), &[], seed)?;
    let service = shared.splitter.public;
    let (mut alice, bob) = (user("alice0", service)?, user("bob0", service)?);
    alice.register(600)?;
    let bob = story(&mut alice, bob, 3)?;
    shared.edges[1].service.process.kill()?;
    shared.splitter.retire(1);
    alice.register(600)?;
    story(&mut alice, bob, 3).with_context(|| format!("REDIAL_TEST_SEED={seed} plays it again"))?;
    let peers = |state| Ok::<_, anyhow::Error>(shared.edges[0].service.metrics()?.sum("sip_edge_peers", &[("state", state)]));
    // Where none of the stories was its own to serve, they are over before anybody has missed it.
    until("the silent edge to count as gone", PATIENCE, || Ok((peers("live")? == 0.0).then_some(())))?;
    ensure!(peers("listed")? == 1.0);
    Ok(())
}
