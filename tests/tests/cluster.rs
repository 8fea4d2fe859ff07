//! Two edges, two coordinators, one real Redis.

use std::time::Duration;

use anyhow::{Result, ensure};
use redial_tests::stories::{self, End};
use redial_tests::wait::PATIENCE;
use redial_tests::{Cluster, Coordinator, Edge, Phone, Policy, Redis, ports, until};

#[test]
fn the_story_across_two_edges_and_two_coordinators() -> Result<()> {
    let cluster = Cluster::start(2, 2, &Policy::default())?;
    let (here, there) = (cluster.edges[0].sip, cluster.edges[1].sip);
    stories::by_sipp(End::new("alice", ports::free()?, here), End::new("bob", ports::free()?, there))?;
    cluster.wait_ended("connected", 1)?;
    cluster.wait_no_watch_keys()?;
    ensure!(cluster.recalls() == 1.0);
    Ok(())
}

/// P3: the callee registers at both edges in the same instant. The second edge spells the coordinators in its own way, so that for about half of
/// the callees the two REGISTERs go to different coordinators, and both see somebody come back who is waited for.
#[test]
fn p3_a_callee_seen_by_both_coordinators_is_recalled_for_once() -> Result<()> {
    let mut cluster = Cluster::start(2, 1, &Policy::default())?;
    let spelled: Vec<_> = cluster.coordinators.iter().map(|c| format!("http://localhost:{}", c.grpc.port())).collect();
    cluster.edges.push(Edge::attached(&spelled, &[])?);
    let registers =
        |c: &Coordinator| -> Result<f64> { Ok(c.service.metrics()?.sum("redial_coordinator_requests_total", &[("kind", "register")])) };
    let mut alice = Phone::registered("alice", cluster.edges[0].sip)?;
    let (mut rounds, mut seen_by_both) = (0, 0);
    while seen_by_both < 10 {
        ensure!(rounds < 120, "the coordinators never saw the same callee");
        let callee = format!("bob{rounds}");
        alice.miss(&callee)?;
        let before = cluster.coordinators.iter().map(registers).collect::<Result<Vec<_>>>()?;
        let phones = cluster.edges.iter().map(|edge| Phone::new(&callee, edge.sip)).collect::<Result<Vec<_>>>()?;
        let registering: Vec<_> =
            phones.into_iter().map(|mut phone| std::thread::spawn(move || phone.register(600).map(|()| phone))).collect();
        let mut phones = Vec::new();
        for thread in registering {
            let Ok(phone) = thread.join() else { anyhow::bail!("a phone failed") };
            phones.push(phone?);
        }
        let after = cluster.coordinators.iter().map(registers).collect::<Result<Vec<_>>>()?;
        seen_by_both += u32::from(before.iter().zip(&after).all(|(before, after)| after > before));
        rounds += 1;

        let refer = alice.expect("REFER")?;
        let mut answers = phones.remove(0);
        alice.reconnect(&refer, &mut answers)?;
        cluster.wait_ended("connected", rounds)?;
        ensure!(cluster.recalls() == f64::from(rounds), "round {rounds}: {} recalls", cluster.recalls());
        ensure!(alice.poll("REFER")?.is_none());
    }
    cluster.wait_no_watch_keys()
}

#[test]
fn without_notifications_a_watch_still_expires_in_time() -> Result<()> {
    let redis = Redis::with(&["--rename-command", "CONFIG", "", "--notify-keyspace-events", ""])?;
    let cluster = Cluster::on(redis, 2, 1, &Policy::default())?;
    let mut alice = Phone::registered("alice", cluster.edges[0].sip)?;
    let call = alice.invite("bob", "Redial-Period: 3\r\n")?;
    ensure!(call.is_remembered());
    // Three seconds of period and one sweep of a second, on a busy machine.
    until("the expiry", Duration::from_secs(8), || {
        Ok((cluster.sum("redial_watches_ended_total", &[("reason", "expired")]) >= 1.0).then_some(()))
    })?;
    cluster.wait_ended("expired", 1)?;
    cluster.wait_no_watch_keys()
}

#[test]
fn no_way_for_a_watch_to_end_leaves_a_key() -> Result<()> {
    let cluster = Cluster::start(2, 1, &Policy::default().set("maxAttempts", 1))?;
    let edge = cluster.edges[0].sip;
    let mut alice = Phone::registered("alice", edge)?;

    // Cancelled by the caller.
    alice.miss("bob")?;
    ensure!(!alice.invite("bob", "Expires: 0\r\n")?.is_remembered());
    cluster.wait_ended("cancelled", 1)?;
    cluster.wait_no_watch_keys()?;

    // Expired.
    ensure!(alice.invite("bob", "Redial-Period: 1\r\n")?.is_remembered());
    cluster.wait_ended("expired", 1)?;
    cluster.wait_no_watch_keys()?;

    // Failed: one attempt, and the callee declines.
    alice.miss("bob")?;
    let mut bob = Phone::registered("bob", edge)?;
    let refer = alice.expect("REFER")?;
    let declines = std::thread::spawn(move || -> Result<Phone> {
        let invite = bob.expect("INVITE")?;
        bob.answer(&invite, 603, "")?;
        bob.expect("ACK")?;
        Ok(bob)
    });
    alice.answer(&refer, 202, "")?;
    ensure!(alice.invite("bob", "")?.status() == 603);
    let Ok(bob) = declines.join() else { anyhow::bail!("bob's phone failed") };
    let mut bob = bob?;
    cluster.wait_ended("failed", 1)?;
    cluster.wait_no_watch_keys()?;

    // Connected.
    bob.register(0)?;
    alice.miss("bob")?;
    bob.register(600)?;
    let refer = alice.expect("REFER")?;
    alice.reconnect(&refer, &mut bob)?;
    cluster.wait_ended("connected", 1)?;
    cluster.wait_no_watch_keys()?;

    // And when both have gone, Redis has nothing but the rung that connected alice's kind of phone.
    bob.register(0)?;
    alice.register(0)?;
    until("one key in Redis", PATIENCE, || Ok((cluster.redis.dbsize()? == 1).then_some(())))
}
