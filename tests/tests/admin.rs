//! Admin HTTP of every process.

use anyhow::{Result, ensure};
use redial_tests::metrics::http_get;
use redial_tests::wait::PATIENCE;
use redial_tests::{Cluster, Phone, Policy, Standalone, until};

#[test]
fn metrics_add_up_with_what_the_phones_did() -> Result<()> {
    let cluster = Cluster::start(1, 1, &Policy::default())?;
    let edge = &cluster.edges[0];
    let mut alice = Phone::registered("alice", edge.sip)?;
    for callee in ["bob", "carol", "dave"] {
        alice.miss(callee)?;
    }
    let mut bob = Phone::registered("bob", edge.sip)?;
    let refer = alice.expect("REFER")?;
    alice.reconnect(&refer, &mut bob)?;
    cluster.wait_ended("connected", 1)?;

    let metrics = edge.service.metrics()?;
    let received = |method| metrics.sum("sip_requests_received_total", &[("method", method)]);
    let answered = |method, status| metrics.sum("sip_responses_sent_total", &[("method", method), ("status", status)]);
    ensure!(received("REGISTER") == 2.0 && answered("REGISTER", "200") == 2.0);
    ensure!(received("INVITE") == 4.0 && answered("INVITE", "480") == 3.0 && answered("INVITE", "200") == 1.0);
    ensure!(received("BYE") == 1.0 && answered("BYE", "200") == 1.0);
    ensure!(metrics.sum("sip_requests_sent_total", &[("method", "REFER")]) == 1.0);
    ensure!(metrics.sum("redial_watches_granted_total", &[]) == 3.0);
    ensure!(metrics.has("redial_link_latency_seconds_bucket"), "latencies are histograms");

    let metrics = cluster.coordinators[0].service.metrics()?;
    ensure!(metrics.sum("redial_watches_armed_total", &[]) == 3.0);
    ensure!(metrics.sum("redial_watches_ended_total", &[]) == 1.0);
    for result in ["ordered", "accepted"] {
        ensure!(metrics.sum("redial_recalls_total", &[("rung", "1"), ("result", result)]) == 1.0, "{result}");
    }
    Ok(())
}

#[test]
fn readiness_follows_the_coordinator_and_liveness_does_not() -> Result<()> {
    let mut cluster = Cluster::start(1, 1, &Policy::default())?;
    let admin = cluster.edges[0].service.admin;
    ensure!(http_get(admin, "/ready")?.0 == 200 && http_get(admin, "/live")?.0 == 200);
    cluster.coordinators[0].service.process.kill()?;
    until("the edge to say that it is not ready", PATIENCE, || Ok((http_get(admin, "/ready")?.0 == 503).then_some(())))?;
    ensure!(http_get(admin, "/live")?.0 == 200);
    Ok(())
}

#[test]
fn sigterm_ends_every_process_with_success() -> Result<()> {
    let mut cluster = Cluster::start(1, 1, &Policy::default())?;
    let mut standalone = Standalone::start(&Policy::default(), &[])?;
    let edge = &mut cluster.edges[0].service.process;
    let coordinator = &mut cluster.coordinators[0].service.process;
    for process in [edge, coordinator, &mut standalone.service.process] {
        process.terminate()?;
        let status = process.wait(PATIENCE)?;
        ensure!(status.success(), "{status}");
    }
    Ok(())
}

/// A call that was set up through one edge and one coordinator outlives both: its in-dialog requests pass by the other edge, in both
/// directions, and the processes that were told to go end with success.
#[test]
fn a_call_outlives_the_edge_and_the_coordinator_that_set_it_up() -> Result<()> {
    let mut cluster = Cluster::start_with(2, 2, &Policy::default(), &["--grace", "1s"])?;
    let (here, there) = (cluster.edges[0].sip, cluster.edges[1].sip);
    for hangs_up in ["caller", "callee"] {
        let mut alice = Phone::registered("alice", here)?;
        let mut bob = Phone::registered("bob", here)?;
        let callee = std::thread::spawn(move || -> Result<_> {
            let invite = bob.expect("INVITE")?;
            bob.pick_up(&invite)?;
            Ok((bob, invite))
        });
        let call = alice.invite("bob", "")?;
        ensure!(call.status() == 200);
        let Ok(called) = callee.join() else { anyhow::bail!("bob's phone failed") };
        let (mut bob, invite) = called?;
        for process in [&mut cluster.edges[0].service.process, &mut cluster.coordinators[0].service.process] {
            process.terminate()?;
            let status = process.wait(PATIENCE)?;
            ensure!(status.success(), "{status}");
        }
        // Where DNS or a load balancer finds another edge, the phones find it, too.
        alice.turn_to(there);
        bob.turn_to(there);
        let (mut leaves, mut stays) = if hangs_up == "caller" { (alice, bob) } else { (bob, alice) };
        let stays = std::thread::spawn(move || -> Result<()> {
            let bye = stays.expect("BYE")?;
            stays.answer(&bye, 200, "")
        });
        if hangs_up == "caller" {
            leaves.hang_up(&call)?
        } else {
            leaves.end(&invite)?
        }
        ensure!(stays.join().is_ok_and(|ended| ended.is_ok()), "the BYE of the {hangs_up}");
        cluster.edges[0].service.restart()?;
        cluster.coordinators[0].service.restart()?;
    }
    Ok(())
}
