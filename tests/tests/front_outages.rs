//! In front of existing servers when something is away: the store, or the servers themselves.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use redial_tests::front::{Site, wait_up};
use redial_tests::kamailio::{Kamailio, PATH, SHARED, user};
use redial_tests::wait::PATIENCE;
use redial_tests::{Phone, Policy, until};

/// P6: the servers know who is where, so whatever concerns no watch goes on.
#[test]
fn p6_calls_and_registrations_pass_without_the_store() -> Result<()> {
    let mut site = Site::start(1, 1, &[PATH], &[])?;
    let edge = site.edge(0);
    let (mut alice, mut bob) = (user("alice", edge)?, user("bob", edge)?);
    alice.register(600)?;
    alice.miss_with("carol", 404)?;
    bob.register(600)?;
    for hangs in [false, true] {
        if hangs {
            site.cluster.redis.pause()?
        } else {
            site.cluster.redis.kill()?
        }
        let mut dave = user("dave", edge)?;
        dave.register(600)?;
        alice.talk_to(&mut dave)?;
        dave.register(0)?;
        let missed = alice.invite("erin", "")?;
        ensure!((missed.status(), missed.is_remembered()) == (404, false), "the server's own word: {}", missed.status());
        if hangs {
            site.cluster.redis.resume()?
        } else {
            site.cluster.redis.restart()?
        }
        until("a watch to be granted again", PATIENCE, || Ok(alice.invite("erin", "")?.is_remembered().then_some(())))?;
    }
    // What was promised before is kept.
    let mut carol = user("carol", edge)?;
    until("carol's registration to be noted", PATIENCE, || {
        carol.register(600)?;
        alice.within(Duration::from_millis(500), "REFER")
    })?;
    site.cluster.edges[0].service.process.ensure_alive()
}

/// SIGSTOP: its socket takes what comes, and nothing is answered for a while.
#[test]
fn a_server_that_is_slow_is_waited_for_where_it_is_the_only_one() -> Result<()> {
    let Site { cluster, servers } = Site::start(1, 1, &[PATH], &[])?;
    let edge = cluster.edges[0].sip;
    let mut alice = user("alice", edge)?;
    alice.register(600)?;
    let server = &servers[0];
    server.pause()?;
    let (asked, resumed) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| -> Result<()> {
        let wakes = scope.spawn(move || -> Result<()> {
            // Longer than --upstream-timeout, and long enough for INVITEs to be sent again.
            let _ = resumed.recv_timeout(Duration::from_millis(2500));
            server.resume()
        });
        alice.miss_with("bob", 404)?;
        drop(asked);
        ensure!(wakes.join().is_ok_and(|woken| woken.is_ok()));
        Ok(())
    })?;
    ensure!(cluster.sum("redial_watches_armed_total", &[]) == 1.0, "armed once");
    let mut bob = user("bob", edge)?;
    bob.register(600)?;
    let refer = alice.expect("REFER")?;
    alice.reconnect(&refer, &mut bob)?;
    cluster.wait_ended("connected", 1)?;
    cluster.wait_no_watch_keys()
}

/// Of two the other one is asked, also for whom the slow one has, and what the slow one says late does no harm.
#[test]
fn a_server_that_is_slow_is_passed_over_where_there_is_another() -> Result<()> {
    let site = Site::start(2, 1, &[PATH], &[])?;
    let edge = site.edge(0);
    let mut alice = user("alice", edge)?;
    alice.register(600)?;
    for slow in &site.servers {
        slow.pause()?;
        for n in 0..4 {
            let who = format!("bob-{}-{n}", slow.sip.port());
            alice.miss_with(&who, 404)?;
            let mut bob = user(&who, edge)?;
            bob.register(600)?;
            let refer = alice.expect("REFER")?;
            alice.reconnect(&refer, &mut bob)?;
        }
        slow.resume()?;
        wait_up(&site.cluster, slow.sip, true)?;
    }
    site.over(8)
}

/// What the phones of one storm have in common.
struct Storm {
    edge: SocketAddr,
    /// Servers that have died so far.
    deaths: AtomicU32,
    connected: AtomicU32,
    /// Calls and registrations that failed although no server died meanwhile: another try would have saved them.
    lost: AtomicU32,
    /// Those that failed because one did.
    failed: AtomicU32,
}

const CALLERS: u32 = 8;
const STORIES: u32 = 200;

/// Challenged once more: the server that has challenged is not the one that got the password, and phones begin anew with what this one asks.
fn is_challenge(status: u16) -> bool {
    matches!(status, 401 | 407)
}

impl Storm {
    /// What came of a try, unless it failed. `since` is how many had died when what it depends on was done.
    fn tried<T>(&self, since: u32, result: Result<Option<T>>) -> Option<T> {
        match result {
            Ok(Some(value)) => Some(value),
            _ => {
                let counter = if self.deaths.load(SeqCst) == since { &self.lost } else { &self.failed };
                counter.fetch_add(1, SeqCst);
                None
            }
        }
    }

    /// Registers as often as it takes.
    fn register(&self, phone: &mut Phone) -> u32 {
        loop {
            let since = self.deaths.load(SeqCst);
            let answer = phone.try_register(600);
            if answer.as_ref().is_ok_and(|answer| is_challenge(answer.status())) {
                continue;
            }
            let registered = answer.map(|answer| (answer.status() == 200).then_some(()));
            if self.tried(since, registered).is_some() {
                return since;
            }
        }
    }

    /// Alice calls somebody who is away, and is connected in the end.
    fn story(&self, alice: &mut Phone, callee: &str) -> Result<()> {
        loop {
            let since = self.deaths.load(SeqCst);
            let call = alice.invite(callee, "");
            if call.as_ref().is_ok_and(|call| is_challenge(call.status())) {
                continue;
            }
            let call = call.map(|call| call.is_remembered().then_some(()));
            if self.tried(since, call).is_some() {
                break;
            }
        }
        let mut bob = user(callee, self.edge)?;
        bob.patience = Duration::from_secs(4);
        let registered = AtomicU32::new(self.register(&mut bob));
        let (registered, bob) = (&registered, &mut bob);
        std::thread::scope(|scope| -> Result<()> {
            let (over, ended) = std::sync::mpsc::channel::<()>();
            let answers = scope.spawn(move || -> Result<()> {
                loop {
                    match bob.within(Duration::from_secs(1), "INVITE")? {
                        // A server that dies takes calls with it that are being set up; the next one is answered again.
                        Some(invite) => _ = bob.pick_up(&invite).and_then(|()| bob.expect("BYE")).map(|bye| bob.answer(&bye, 200, "")),
                        // As phones do from time to time: a server that has died has forgotten it.
                        None => registered.store(self.register(bob), SeqCst),
                    }
                    if !matches!(ended.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty)) {
                        return Ok(());
                    }
                }
            });
            let called = self.recalled(alice, callee, registered);
            drop(over);
            ensure!(answers.join().is_ok_and(|answered| answered.is_ok()), "{callee}'s phone");
            called
        })?;
        self.connected.fetch_add(1, SeqCst);
        Ok(())
    }

    fn recalled(&self, alice: &mut Phone, callee: &str, registered: &AtomicU32) -> Result<()> {
        // Who has given a call up is not asked to call again, and dials.
        let mut given_up = false;
        loop {
            if !given_up {
                let refer = alice.within(PATIENCE, "REFER")?.with_context(|| format!("{} waited for a recall to {callee}", alice.who))?;
                alice.answer(&refer, 202, "")?;
            }
            let since = registered.load(SeqCst);
            let call = alice.invite(callee, "");
            given_up = call.as_ref().map_or(true, |call| is_challenge(call.status()));
            if call.as_ref().is_ok_and(|call| is_challenge(call.status())) {
                continue;
            }
            let call = call.map(|call| (call.status() == 200).then_some(call));
            if let Some(call) = self.tried(since, call) {
                // The call is up; a BYE that a dead server does not pass on is sent again in vain.
                let _ = alice.hang_up(&call);
                return Ok(());
            }
        }
    }
}

/// 200 stories, while a server dies, is away until that is seen, and comes back with nobody registered, three times.
fn storm(servers: usize) -> Result<()> {
    let policy = Policy::default().set("retryInitial", "\"500ms\"").set("retryMax", "\"1s\"").set("maxAttempts", 50);
    let Site { cluster, mut servers } = Site::with(servers, 1, &[PATH, SHARED], &policy, &[])?;
    let zero = || AtomicU32::new(0);
    let storm = Storm { edge: cluster.edges[0].sip, deaths: zero(), connected: zero(), lost: zero(), failed: zero() };
    let next = zero();
    std::thread::scope(|scope| -> Result<()> {
        let play = |caller: u32| {
            let mut alice = user(&format!("alice{caller}"), storm.edge)?;
            alice.patience = Duration::from_secs(4);
            storm.register(&mut alice);
            loop {
                let n = next.fetch_add(1, SeqCst);
                if n >= STORIES {
                    return Ok::<_, anyhow::Error>(());
                }
                storm.story(&mut alice, &format!("bob{n}")).with_context(|| format!("story {n}"))?;
            }
        };
        let players: Vec<_> = (0..CALLERS).map(|caller| scope.spawn(move || play(caller))).collect();
        let count = servers.len();
        for death in 1..=3 {
            let dies: &mut Kamailio = &mut servers[death % count];
            let at = STORIES * death as u32 / 5;
            until("stories before the next death", PATIENCE * 2, || Ok((storm.connected.load(SeqCst) >= at).then_some(())))?;
            // Before and after: what began while it was being killed depends on it, too.
            storm.deaths.fetch_add(1, SeqCst);
            dies.kill()?;
            storm.deaths.fetch_add(1, SeqCst);
            wait_up(&cluster, dies.sip, false)?;
            dies.start_again()?;
            storm.deaths.fetch_add(1, SeqCst);
        }
        for player in players {
            let Ok(played) = player.join() else { bail!("a player panicked") };
            played?;
        }
        Ok(())
    })?;
    let count = |counter: &AtomicU32| counter.load(SeqCst);
    println!("{} connected, {} tries failed with a server, {} lost", count(&storm.connected), count(&storm.failed), count(&storm.lost));
    ensure!((count(&storm.connected), count(&storm.lost)) == (STORIES, 0), "{} lost", count(&storm.lost));
    cluster.wait_ended("connected", STORIES)?;
    cluster.wait_no_watch_keys()
}

#[test]
fn two_hundred_stories_while_the_only_server_dies_and_comes_back() -> Result<()> {
    storm(1)
}

#[test]
fn two_hundred_stories_while_one_of_two_servers_dies_and_comes_back() -> Result<()> {
    storm(2)
}
