//! Two edges behind one address that gives every datagram to either of them.

use std::net::SocketAddr;
use std::thread;

use anyhow::{Context as _, Result, ensure};
use redial_tests::kamailio::{self, Kamailio};
use redial_tests::process::Scratch;
use redial_tests::wait::PATIENCE;
use redial_tests::{Coordinator, Edge, Phone, Policy, Redis, Splitter, ports, until};

const SECRET: &str = "what the edges of a test know and nobody else";
/// Pairs of phones that play at the same time, and how often each.
const PAIRS: usize = 4;
const ROUNDS: u32 = 50;

/// Deployment behind one address.
struct Shared {
    redis: Redis,
    coordinators: Vec<Coordinator>,
    edges: Vec<Edge>,
    splitter: Splitter,
    /// The registrar that the edges stand before.
    _server: Option<Kamailio>,
    _scratch: Scratch,
}

/// An htdigest line: MD5 of `user:realm:password`, by the tool that everybody has.
fn users() -> Result<String> {
    use sip_core::digest::{Algorithm, Ha1};
    let mut text = String::new();
    for n in 0..PAIRS {
        for who in [format!("alice{n}"), format!("bob{n}")] {
            let Ha1::Md5(hash) = Ha1::new(Algorithm::Md5, &who, redial_tests::DOMAIN, "secret") else { anyhow::bail!("no MD5") };
            let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            text += &format!("{who}:{}:{hex}\n", redial_tests::DOMAIN);
        }
    }
    Ok(text)
}

impl Shared {
    fn start(seed: u64) -> Result<Self> {
        Self::start_before(None, seed)
    }

    fn start_before(server: Option<Kamailio>, seed: u64) -> Result<Self> {
        let redis = Redis::start()?;
        let policy = Policy::default();
        let coordinators = (0..2).map(|_| Coordinator::start(&redis, &policy, &[])).collect::<Result<Vec<_>>>()?;
        let scratch = Scratch::new("shared")?;
        let (secret, users) = (scratch.file("secret", SECRET)?, scratch.file("users", &users()?)?);
        let (public, socket) = Splitter::bind()?;
        let advertise = public.to_string();
        let urls: Vec<_> = coordinators.iter().map(|c| format!("http://{}", c.grpc)).collect();
        let names = [(ports::free()?, ports::free()?), (ports::free()?, ports::free()?)];
        let peers = names.map(|(sip, peer)| format!("edge-{}={peer}", sip.port()));
        let upstream = server.as_ref().map(|server| format!("{}={}", redial_tests::DOMAIN, server.sip));
        let mode = match &upstream {
            Some(upstream) => ["--mode", "front", "--upstream", upstream],
            None => ["--mode", "registrar", "--users", &users],
        };
        let mut edges = Vec::new();
        for (sip, peer) in names {
            let listen = peer.to_string();
            let more = ["--secret-file", &secret, "--advertise", &advertise, "--peer-listen", &listen];
            let more: Vec<&str> = more.into_iter().chain(mode).chain(peers.iter().flat_map(|peer| ["--peer", peer])).collect();
            edges.push(Edge::at(sip, &urls, &more)?);
        }
        for edge in &edges {
            edge.service.wait_metric("sip_edge_peers", &[("state", "live")], 1.0)?;
        }
        let splitter = Splitter::start(socket, edges.iter().map(|edge| edge.sip).collect(), seed)?;
        Ok(Self { redis, coordinators, edges, splitter, _server: server, _scratch: scratch })
    }

    fn coordinators(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        Ok(self.coordinators.iter().map(|c| c.service.metrics()).collect::<Result<Vec<_>>>()?.iter().map(|m| m.sum(name, labels)).sum())
    }

    /// What may explain a story that went wrong.
    fn troubles(&self) -> String {
        let edge = |name: &str, labels: &[(&str, &str)]| self.edges(name, labels).unwrap_or(f64::NAN);
        let coordinator = |name: &str, labels: &[(&str, &str)]| self.coordinators(name, labels).unwrap_or(f64::NAN);
        format!(
            "unanswered questions {}, datagrams between edges dropped {}, recalls not ordered again {}, watches {}, armed {}, ended {:?}, recalls {:?}",
            edge("redial_link_requests_total", &[("event", "timed_out")]),
            edge("sip_edge_peer_dropped_total", &[]),
            edge("sip_recall_orders_dropped_total", &[]),
            coordinator("redial_watches", &[]),
            coordinator("redial_watches_armed_total", &[]),
            ["connected", "cancelled", "failed", "expired"].map(|reason| coordinator("redial_watches_ended_total", &[("reason", reason)])),
            ["ordered", "accepted", "refused", "unreachable", "silent"]
                .map(|result| coordinator("redial_recalls_total", &[("result", result)])),
        )
    }

    fn edges(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        Ok(self.edges.iter().map(|e| e.service.metrics()).collect::<Result<Vec<_>>>()?.iter().map(|m| m.sum(name, labels)).sum())
    }
}

fn phone(who: &str, service: SocketAddr) -> Result<Phone> {
    let mut phone = Phone::new(who, service)?;
    phone.password = Some("secret".to_owned());
    Ok(phone)
}

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
    let (mut alice, bob) = (phone(&format!("alice{n}"), service)?, phone(&format!("bob{n}"), service)?);
    alice.register(600)?;
    story(&mut alice, bob, ROUNDS).map(drop)
}

fn seed() -> u64 {
    let seed = std::env::var("REDIAL_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    seed.unwrap_or_else(|| u64::from(std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[test]
fn the_whole_story_with_every_datagram_at_a_random_edge() -> Result<()> {
    let seed = seed();
    all_stories(&Shared::start(seed)?, seed)
}

/// What a server sends to the phones' Path comes to either edge, too.
#[test]
fn the_whole_story_in_front_of_a_server_with_every_datagram_at_a_random_edge() -> Result<()> {
    let seed = seed();
    all_stories(&Shared::start_before(Some(Kamailio::start(&[kamailio::PATH, kamailio::UNAVAILABLE])?), seed)?, seed)
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
    let mut shared = Shared::start(seed)?;
    let service = shared.splitter.public;
    let (mut alice, bob) = (phone("alice0", service)?, phone("bob0", service)?);
    alice.register(600)?;
    let bob = story(&mut alice, bob, 3)?;
    shared.edges[1].service.process.kill()?;
    shared.splitter.retire(1);
    alice.register(600)?;
    story(&mut alice, bob, 3).with_context(|| format!("REDIAL_TEST_SEED={seed} plays it again"))?;
    shared.edges[0].service.wait_metric("sip_edge_peers", &[("state", "listed")], 1.0)?;
    ensure!(shared.edges[0].service.metrics()?.sum("sip_edge_peers", &[("state", "live")]) == 0.0);
    Ok(())
}
