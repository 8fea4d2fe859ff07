//! A rolling restart of the edges in front of an existing server, while phones go on: with addresses of their own, and behind one.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use redial_tests::front::Site;
use redial_tests::kamailio::{Kamailio, PATH, user};
use redial_tests::metrics::http_get;
use redial_tests::phone::{Call, Received};
use redial_tests::services::Service;
use redial_tests::shared::{Shared, seed};
use redial_tests::wait::PATIENCE;
use redial_tests::{Phone, Policy, until};

/// Lanes of stories that run side by side.
const LANES: usize = 6;
/// Transactions of phones that answered are kept for 32 s; nobody here sends again what was answered.
const DRAIN: [&str; 4] = ["--grace", "2s", "--drain-delay", "300ms"];

/// A REGISTER that is taken in the end: an edge that stops says 503, and phones try again.
fn register(phone: &mut Phone, seconds: u32) -> Result<()> {
    until("a REGISTER to be taken", PATIENCE, || Ok((phone.try_register(seconds)?.status() == 200).then_some(())))
}

/// Missed calls, recalls and new calls of one caller, one after the other. Returns how many.
fn stories(lane: usize, [here, there]: [SocketAddr; 2], over: &AtomicBool) -> Result<u32> {
    let mut alice = user(&format!("alice{lane}"), here)?;
    register(&mut alice, 600)?;
    let mut played = 0;
    while !over.load(Relaxed) || played == 0 {
        let mut bob = user(&format!("bob{lane}x{played}"), there)?;
        story(&mut alice, &mut bob).with_context(|| format!("after {played} stories of {}", bob.who))?;
        played += 1;
    }
    Ok(played)
}

/// A phone registers from time to time. Behind an address that is shared it is out of reach until then, if the edge is gone that it last sent to.
fn recall(phone: &mut Phone) -> Result<Received> {
    until("REFER", PATIENCE * 3, || {
        let refer = phone.within(Duration::from_secs(2), "REFER")?;
        if refer.is_none() {
            register(phone, 600)?;
        }
        Ok(refer)
    })
    .with_context(|| phone.who.clone())
}

/// One recall, and one more for each call that an edge refused because it was about to stop.
fn story(alice: &mut Phone, bob: &mut Phone) -> Result<()> {
    let callee = bob.who.clone();
    until("a watch to be granted", PATIENCE, || Ok(alice.invite(&callee, "")?.is_remembered().then_some(())))?;
    register(bob, 600)?;
    thread::scope(|scope| -> Result<()> {
        let served = scope.spawn(|| bob.serve_calls(1));
        let call = loop {
            let refer = recall(alice)?;
            let target = refer.message().refer_to().map(|to| String::from_utf8_lossy(to.uri.user).into_owned());
            ensure!(target.as_ref() == Some(&callee), "recalled for {target:?}, once more");
            alice.answer(&refer, 202, "")?;
            let call = alice.invite(&callee, "")?;
            match call.status() {
                200 => break call,
                503 => {}
                status => bail!("the new call: {status}"),
            }
        };
        alice.hang_up(&call)?;
        ensure!(served.join().is_ok_and(|served| served.is_ok()), "{callee}'s phone");
        Ok(())
    })?;
    register(bob, 0)?;
    ensure!(alice.poll("REFER")?.is_none(), "recalled twice");
    Ok(())
}

/// SIGTERM: not ready while it still runs, which is when a balancer takes it out; ends with 0 by itself, and is started again.
fn roll(service: &mut Service, is_out: impl FnOnce()) -> Result<()> {
    service.process.terminate()?;
    let admin = service.admin;
    until("not ready", PATIENCE, || Ok(http_get(admin, "/ready").is_ok_and(|(status, _)| status == 503).then_some(())))?;
    is_out();
    let status = service.process.wait(PATIENCE)?;
    ensure!(status.code() == Some(0), "{status}\n{}", service.process.log());
    service.restart()
}

/// A call that is up, with both its phones, and a caller who waits, from before all of it.
struct Before {
    caller: Phone,
    call: Call,
    callee: thread::JoinHandle<Result<()>>,
    waiting: Phone,
}

impl Before {
    fn set_up([here, there]: [SocketAddr; 2]) -> Result<Self> {
        let (mut caller, mut callee, mut waiting) = (user("caller", here)?, user("callee", there)?, user("waiting", here)?);
        for phone in [&mut caller, &mut callee, &mut waiting] {
            phone.register(600)?;
        }
        let callee = thread::spawn(move || {
            let invite = callee.expect("INVITE")?;
            callee.pick_up(&invite)?;
            let again = until("the re-INVITE", PATIENCE * 4, || callee.poll("INVITE"))?;
            callee.pick_up(&again)?;
            ensure!(callee.invite_back(&invite)? == 200, "re-INVITE of the callee");
            callee.end(&invite)
        });
        let call = caller.invite("callee", "")?;
        ensure!(call.status() == 200, "{}", call.status());
        waiting.miss_with("away", 404)?;
        Ok(Self { caller, call, callee, waiting })
    }

    /// The call is changed by either side and ended by the callee; who waits is recalled and connected.
    fn go_on(self, there: SocketAddr) -> Result<()> {
        let Self { mut caller, mut call, callee, mut waiting } = self;
        ensure!(caller.invite_again(&mut call).context("re-INVITE of the caller")? == 200);
        let back = caller.expect("INVITE")?;
        caller.pick_up(&back)?;
        let bye = caller.expect("BYE")?;
        caller.answer(&bye, 200, "")?;
        ensure!(callee.join().is_ok_and(|served| served.is_ok()), "the callee of the call from before");
        let mut away = user("away", there)?;
        away.register(600)?;
        let refer = waiting.expect("REFER").context("the watch from before")?;
        let serve = thread::spawn(move || away.serve_calls(1));
        waiting.take_recall(&refer)?;
        ensure!(serve.join().is_ok_and(|served| served.is_ok()));
        Ok(())
    }
}

/// Lanes play until `roll` is over.
fn during(pairs: [[SocketAddr; 2]; 2], roll: impl FnOnce() -> Result<()>) -> Result<u32> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let over = &over;
        let lanes: Vec<_> = (0..LANES).map(|lane| scope.spawn(move || stories(lane, pairs[lane % 2], over))).collect();
        let rolled = roll();
        over.store(true, Relaxed);
        let played = lanes.into_iter().map(|lane| lane.join().unwrap_or_else(|_| bail!("a lane panicked"))).sum();
        rolled?;
        played
    })
}

#[test]
fn p3_edges_before_a_server_are_restarted_one_after_the_other_and_nobody_notices() -> Result<()> {
    let Site { mut cluster, servers: _servers } = Site::start(1, 2, &[PATH], &DRAIN)?;
    let [one, two] = [cluster.edges[0].sip, cluster.edges[1].sip];
    let before = Before::set_up([one, two])?;
    let edges = &mut cluster.edges;
    let played = during([[one, two], [two, one]], || edges.iter_mut().try_for_each(|edge| roll(&mut edge.service, || ())))?;
    before.go_on(one)?;
    cluster.wait_ended("connected", played + 1)?;
    cluster.wait_no_watch_keys()
}

#[test]
fn p3_edges_behind_one_address_before_a_server_are_restarted_one_after_the_other_and_nobody_notices() -> Result<()> {
    let seed = seed();
    let mut shared = Shared::start(Some(Kamailio::start(&[PATH])?), &Policy::default(), &DRAIN, seed)?;
    let service = shared.splitter.public;
    let before = Before::set_up([service; 2])?;
    let played = during([[service; 2]; 2], || {
        for n in 0..shared.edges.len() {
            let Shared { edges, splitter, .. } = &mut shared;
            roll(&mut edges[n].service, || splitter.retire(n))?;
            shared.wait_peers()?;
            shared.splitter.restore(n);
        }
        Ok(())
    });
    let played = played.with_context(|| format!("REDIAL_TEST_SEED={seed} plays it again; {}", shared.troubles()))?;
    before.go_on(service)?;
    let count = |name: &str, labels: &[(&str, &str)]| shared.coordinators(name, labels);
    let connected = || count("redial_watches_ended_total", &[("reason", "connected")]);
    until("every watch connected", PATIENCE, || Ok((connected()? == f64::from(played + 1)).then_some(())))
        .with_context(|| shared.troubles())?;
    until("no key of a watch in Redis", PATIENCE, || Ok(shared.redis.watch_keys()?.is_empty().then_some(())))
}
