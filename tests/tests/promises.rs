//! The numbered promises of ARCHITECTURE.md, end to end.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use redial_tests::metrics::http_get;
use redial_tests::wait::{PATIENCE, now};
use redial_tests::{Cluster, Phone, Policy, Sipp, Standalone, ports, until};
use sip_core::message::Header;

/// P1: a watch is stored before the 480 that grants it leaves, a binding before its 200: whatever was acknowledged survives the SIGKILL
/// of everything but Redis in the very next moment.
#[test]
fn p1_what_was_acknowledged_survives_a_crash_of_everything_but_redis() -> Result<()> {
    let mut cluster = Cluster::start(1, 1, &Policy::default())?;
    let mut alice = Phone::registered("alice", cluster.edges[0].sip)?;
    alice.miss("bob")?;
    cluster.edges[0].service.process.kill()?;
    cluster.coordinators[0].service.process.kill()?;

    let keys: Vec<String> = redis::cmd("KEYS").arg("redial:*").query(&mut cluster.redis.client()?)?;
    ensure!(keys.iter().any(|k| k.starts_with("redial:bind:") && k.ends_with(":alice@example.com")), "no binding in {keys:?}");
    ensure!(
        keys.iter().any(|k| k.starts_with("redial:watch:") && k.ends_with(":bob@example.com|alice@example.com")),
        "no watch in {keys:?}"
    );

    // New processes take the story up where it was; the phones notice nothing but another address.
    let cluster = Cluster::on(cluster.redis, 1, 1, &Policy::default())?;
    let edge = cluster.edges[0].sip;
    let _bob = Phone::registered("bob", edge)?;
    alice.turn_to(edge);
    alice.register(600)?;
    alice.expect("REFER")?;
    Ok(())
}

/// P1: while Redis answers reads but acknowledges no write, nothing is acknowledged to a phone either.
#[test]
fn p1_nothing_is_granted_that_redis_has_not_acknowledged() -> Result<()> {
    let cluster = Cluster::start(1, 1, &Policy::default())?;
    let edge = cluster.edges[0].sip;
    let mut alice = Phone::registered("alice", edge)?;
    let mut bob = Phone::new("bob", edge)?;
    let mut redis = cluster.redis.client()?;
    redis::cmd("CLIENT").arg("PAUSE").arg(600_000).arg("WRITE").exec(&mut redis)?;
    let missed = alice.invite("carol", "")?;
    ensure!(missed.status() == 480 && !missed.is_remembered(), "a watch that nobody stored was granted: {}", missed.status());
    let status = bob.try_register(600)?.status();
    ensure!(status == 503, "a binding that nobody stored was answered {status}");
    redis::cmd("CLIENT").arg("UNPAUSE").exec(&mut redis)?;
    until("a watch to be granted again", PATIENCE, || Ok(alice.invite("carol", "")?.is_remembered().then_some(())))?;
    until("a registration to be taken again", PATIENCE, || Ok((bob.try_register(600)?.status() == 200).then_some(())))
}

/// P2: every watch ends exactly once, and no key is left.
#[test]
fn p2_every_watch_ends_once_and_leaves_no_key() -> Result<()> {
    let cluster = Cluster::start(2, 2, &Policy::default().set("fanout", "\"all\""))?;
    let mut callers = (0..10).map(|n| Phone::registered(&format!("caller{n}"), cluster.edges[n % 2].sip)).collect::<Result<Vec<_>>>()?;
    for (n, caller) in callers.iter_mut().enumerate() {
        // Every other watch runs out while the recalls of the rest go on.
        let period = if n % 2 == 0 { "Redial-Period: 2\r\n" } else { "Redial-Period: 600\r\n" };
        ensure!(caller.invite("bob", period)?.is_remembered());
    }
    cluster.wait_ended("expired", 5)?;
    let mut bob = Phone::registered("bob", cluster.edges[0].sip)?;
    let serve = std::thread::spawn(move || bob.serve_calls(5));
    for caller in callers.iter_mut().skip(1).step_by(2) {
        let refer = caller.expect("REFER")?;
        caller.take_recall(&refer)?;
    }
    ensure!(serve.join().is_ok_and(|s| s.is_ok()));
    cluster.wait_ended("connected", 5)?;
    cluster.wait_ended("expired", 5)?;
    cluster.wait_no_watch_keys()?;
    ensure!(cluster.sum("redial_watches_ended_total", &[]) == 10.0, "a watch ended twice");
    Ok(())
}

/// P3: a coordinator that dies with a claim in its hands, together with the edge that was making the recall, so that nobody can say what
/// became of it. The other coordinator takes the claim over when the lease has run out.
#[test]
fn p3_a_claim_outlives_its_coordinator_by_its_lease_and_no_longer() -> Result<()> {
    let mut cluster = Cluster::start(2, 1, &Policy::default().set("recallTimeout", "\"2s\""))?;
    let edge = cluster.edges[0].sip;
    let mut alice = Phone::registered("alice", edge)?;
    alice.miss("bob")?;
    let mut bob = Phone::registered("bob", edge)?;
    let _claimed = alice.expect("REFER")?;
    let holder = holder(&cluster)?;
    cluster.edges[0].service.process.kill()?;
    cluster.coordinators[holder].service.process.kill()?;
    let killed = now();
    cluster.edges[0].service.restart()?;
    let again = alice.expect("REFER")?;
    ensure!(now() - killed < Duration::from_secs(20), "the lease is 4 seconds, the sweep 1");
    ensure!(cluster.recalls() == 1.0, "the survivor made one recall");
    alice.reconnect(&again, &mut bob)?;
    cluster.wait_ended("connected", 1)?;
    cluster.wait_no_watch_keys()
}

/// P3: only the coordinator dies. What its recall came to is heard by the other one: the phone kept silent, so the caller counts as gone,
/// and is recalled when it registers.
#[test]
fn p3_a_recall_outlives_the_coordinator_that_ordered_it() -> Result<()> {
    let mut cluster = Cluster::start(2, 1, &Policy::default().set("recallTimeout", "\"2s\""))?;
    let edge = cluster.edges[0].sip;
    let mut alice = Phone::registered("alice", edge)?;
    alice.miss("bob")?;
    let mut bob = Phone::registered("bob", edge)?;
    let _silent = alice.expect("REFER")?;
    let holder = holder(&cluster)?;
    cluster.coordinators[holder].service.process.kill()?;
    let silent = || cluster.sum("redial_recalls_total", &[("result", "silent")]);
    until("the survivor to hear of the recall", PATIENCE, || Ok((silent() == 1.0).then_some(())))?;
    alice.register(600)?;
    let again = alice.expect("REFER")?;
    ensure!(cluster.recalls() == 1.0, "the survivor made one recall");
    alice.reconnect(&again, &mut bob)?;
    cluster.wait_ended("connected", 1)?;
    cluster.wait_no_watch_keys()
}

/// The coordinator that ordered the one recall.
fn holder(cluster: &Cluster) -> Result<usize> {
    until("the coordinator that ordered the recall to count it", PATIENCE, || {
        let ordered = |c: &redial_tests::Coordinator| c.service.recalls().is_ok_and(|n| n > 0.0);
        Ok(cluster.coordinators.iter().position(ordered))
    })
}

/// P4: no recall after the deadline, and an expired watch is gone within two seconds.
#[test]
fn p4_an_expired_watch_is_gone_within_two_seconds_and_recalls_nobody() -> Result<()> {
    let cluster = Cluster::start(2, 1, &Policy::default())?;
    let edge = cluster.edges[0].sip;
    let mut alice = Phone::registered("alice", edge)?;
    let armed = now();
    ensure!(alice.invite("bob", "Redial-Period: 3\r\n")?.is_remembered());
    let watch = || Ok::<_, anyhow::Error>(cluster.redis.watch_keys()?.is_empty());
    ensure!(!watch()?, "gone before its time");
    cluster.wait_ended("expired", 1)?;
    let lived = now() - armed;
    ensure!(lived >= Duration::from_secs(3) && lived < Duration::from_millis(5500), "lived {lived:?}");
    cluster.wait_no_watch_keys()?;
    let mut bob = Phone::registered("bob", edge)?;
    alice.talk_to(&mut bob)?;
    ensure!(alice.poll("REFER")?.is_none() && cluster.recalls() == 0.0);
    Ok(())
}

/// P5: a REGISTER is answered before any recall that it causes, and the REGISTERs of others do not wait for recalls either. One socket is
/// all the phones, so the order in which it receives is the order in which the edge sent.
#[test]
fn p5_a_register_is_not_delayed_by_the_recalls_it_causes() -> Result<()> {
    const WAITING: usize = 100;
    const OTHERS: usize = 50;
    let redial = Standalone::start(&Policy::default().set("fanout", "\"all\"").set("recallTimeout", "\"30s\""), &["--workers", "1"])?;
    let mut phones = Phone::new("caller", redial.sip)?;
    for n in 0..WAITING {
        phones.who = format!("caller{n}");
        phones.register(600)?;
        phones.miss("bob")?;
    }
    phones.who = "bob".to_owned();
    let mut unanswered = vec![phones.start_register()?];
    for n in 0..OTHERS {
        phones.who = format!("other{n}");
        unanswered.push(phones.start_register()?);
    }
    // Nobody answers a REFER: were a 200 to wait for a recall, it would not come.
    let mut recalled = 0;
    while !unanswered.is_empty() || recalled < WAITING {
        let message = phones.any(PATIENCE)?.with_context(|| format!("{unanswered:?} unanswered, {recalled} recalled"))?;
        if message.is_request("REFER") {
            ensure!(!unanswered.iter().any(|id| id.contains("-bob-")), "a recall left before the 200 that it must not delay");
            recalled += 1;
        } else if message.status() == 200 {
            unanswered.retain(|id| message.message().call_id() != Some(id.as_str()));
        }
    }
    ensure!(recalled == WAITING);
    let metrics = redial.service.metrics()?;
    for result in ["accepted", "refused", "unreachable", "silent"] {
        ensure!(metrics.sum("redial_recalls_total", &[("result", result)]) == 0.0, "no recall is over yet");
    }
    Ok(())
}

/// P6: Redis away. Registered phones call each other, in-dialog requests pass in both directions, the missed call is not remembered and
/// counted, nothing is restarted, and everything works again when Redis is back.
#[test]
fn p6_calls_go_on_while_redis_is_away() -> Result<()> {
    let mut cluster = Cluster::start(1, 1, &Policy::default())?;
    let edge = cluster.edges[0].sip;
    let (mut alice, mut bob) = (Phone::registered("alice", edge)?, Phone::registered("bob", edge)?);
    alice.miss("carol")?;
    let callee = std::thread::spawn(move || -> Result<_> {
        let invite = bob.expect("INVITE")?;
        bob.pick_up(&invite)?;
        Ok((bob, invite))
    });
    ensure!(alice.invite("bob", "")?.status() == 200);
    let Ok(called) = callee.join() else { anyhow::bail!("bob's phone failed") };
    let (mut bob, in_progress) = called?;

    cluster.redis.kill()?;
    // The call in progress ends from the callee's side, the new one from the caller's.
    let alice = std::thread::spawn(move || -> Result<Phone> {
        let bye = alice.expect("BYE")?;
        alice.answer(&bye, 200, "")?;
        Ok(alice)
    });
    bob.end(&in_progress)?;
    let Ok(alice) = alice.join() else { anyhow::bail!("alice's phone failed") };
    let mut alice = alice?;
    alice.talk_to(&mut bob)?;
    let missed = alice.invite("dave", "")?;
    ensure!(missed.status() == 480 && !missed.is_remembered(), "nothing can be remembered now: {}", missed.status());
    ensure!(missed.answer.header(Header::CallInfo).is_empty(), "a plain 480");
    let metrics = cluster.edges[0].service.metrics()?;
    for (what, count) in [("from_memory", 1.0), ("refused", 1.0)] {
        ensure!(metrics.sum("sip_routed_total", &[("outcome", what)]) == count, "{what} is counted");
    }
    for (name, admin) in [("edge", cluster.edges[0].service.admin), ("coordinator", cluster.coordinators[0].service.admin)] {
        ensure!(http_get(admin, "/live")?.0 == 200, "{name} is not alive without Redis");
    }

    cluster.redis.restart()?;
    // The watch from before the outage is there, and new ones are taken again.
    until("a watch to be granted again", PATIENCE, || Ok(alice.invite("dave", "")?.is_remembered().then_some(())))?;
    let _carol = until("a registration to be taken again", PATIENCE, || Ok(Phone::registered("carol", edge).ok()))?;
    alice.expect("REFER")?;
    cluster.edges[0].service.process.ensure_alive()?;
    cluster.coordinators[0].service.process.ensure_alive()
}

/// P6, the outage that no closed connection announces: Redis keeps its sockets open and answers nothing.
#[test]
fn p6_calls_go_on_while_redis_hangs() -> Result<()> {
    let mut cluster = Cluster::start(1, 1, &Policy::default())?;
    let edge = cluster.edges[0].sip;
    let (mut alice, mut bob) = (Phone::registered("alice", edge)?, Phone::registered("bob", edge)?);
    cluster.redis.pause()?;
    alice.talk_to(&mut bob)?;
    let missed = alice.invite("carol", "")?;
    ensure!(missed.status() == 480 && !missed.is_remembered(), "{}", missed.status());
    let status = Phone::new("carol", edge)?.try_register(600)?.status();
    ensure!(status == 503, "a binding that nobody stored was answered {status}");
    cluster.redis.resume()?;
    until("a watch to be granted again", PATIENCE, || Ok(alice.invite("dave", "")?.is_remembered().then_some(())))?;
    cluster.coordinators[0].service.process.ensure_alive()
}

/// P6, the other outage: the only coordinator dies and comes back. The edge serves what it knows meanwhile and needs no restart.
#[test]
fn p6_calls_go_on_while_the_coordinator_is_away() -> Result<()> {
    let mut cluster = Cluster::start(1, 1, &Policy::default())?;
    let edge = cluster.edges[0].sip;
    let (mut alice, mut bob) = (Phone::registered("alice", edge)?, Phone::registered("bob", edge)?);
    alice.miss("carol")?;
    let serve = std::thread::spawn(move || bob.serve_calls(2));
    let in_progress = alice.invite("bob", "")?;
    ensure!(in_progress.status() == 200);

    cluster.coordinators[0].service.process.kill()?;
    alice.hang_up(&in_progress)?;
    let call = alice.invite("bob", "")?;
    ensure!(call.status() == 200, "a call between registered phones: {}", call.status());
    alice.hang_up(&call)?;
    ensure!(serve.join().is_ok_and(|served| served.is_ok()));
    let missed = alice.invite("dave", "")?;
    ensure!(missed.status() == 480 && !missed.is_remembered(), "nothing can be remembered now: {}", missed.status());
    ensure!(http_get(cluster.edges[0].service.admin, "/live")?.0 == 200);

    cluster.coordinators[0].service.restart()?;
    until("a watch to be granted again", PATIENCE, || Ok(alice.invite("dave", "")?.is_remembered().then_some(())))?;
    let _carol = until("a registration to be taken again", PATIENCE, || Ok(Phone::registered("carol", edge).ok()))?;
    alice.expect("REFER")?;
    cluster.edges[0].service.process.ensure_alive()
}

/// P6 with data at stake: Redis is killed by SIGKILL and started again on its append-only file. Every watch is still there, and every
/// caller is recalled.
#[test]
fn p6_watches_survive_the_death_of_redis_and_are_recalled() -> Result<()> {
    let mut cluster = Cluster::start(2, 1, &Policy::default().set("fanout", "\"all\""))?;
    let edge = cluster.edges[0].sip;
    let mut callers = ["alice", "carol", "dave"].map(|who| Phone::registered(who, edge)).into_iter().collect::<Result<Vec<_>>>()?;
    for caller in &mut callers {
        caller.miss("bob")?;
    }
    let mut before = cluster.redis.watch_keys()?;
    cluster.redis.kill()?;
    cluster.redis.restart()?;
    let mut after = cluster.redis.watch_keys()?;
    before.sort();
    after.sort();
    ensure!(before == after && before.iter().filter(|key| key.starts_with("redial:watch:")).count() == 3, "{before:?}, then {after:?}");
    let mut bob = until("a registration to be taken again", PATIENCE, || Ok(Phone::registered("bob", edge).ok()))?;
    let serve = std::thread::spawn(move || bob.serve_calls(3));
    for caller in &mut callers {
        let refer = caller.expect("REFER")?;
        caller.take_recall(&refer)?;
    }
    ensure!(serve.join().is_ok_and(|served| served.is_ok()));
    cluster.wait_ended("connected", 3)?;
    cluster.wait_no_watch_keys()
}

/// P7: only a registered caller is remembered, only up to the caps, and a recall goes only to a contact which that caller registered.
#[test]
fn p7_only_who_may_is_remembered_and_recalled() -> Result<()> {
    let policy = Policy::default().set("maxPerCaller", 2).set("maxPerCallee", 2);
    let redial = Standalone::start(&policy, &[])?;
    let mut mallory = Phone::new("alice", redial.sip)?;
    ensure!(!mallory.invite("bob", "")?.is_remembered(), "alice is not registered at all");
    let mut alice = Phone::registered("alice", redial.sip)?;
    ensure!(!mallory.invite("bob", "")?.is_remembered(), "alice is registered, but from another address");

    for callee in ["bob", "carol"] {
        alice.miss(callee)?;
    }
    ensure!(!alice.invite("dave", "")?.is_remembered(), "more than maxPerCaller");
    let mut second = Phone::registered("second", redial.sip)?;
    second.miss("bob")?;
    let mut third = Phone::registered("third", redial.sip)?;
    ensure!(!third.invite("bob", "")?.is_remembered(), "more than maxPerCallee");
    ensure!(redial.service.armed()? >= 3.0);

    // The contact to recall is the one that was registered, whatever the INVITE's own Contact said.
    let _bob = Phone::registered("bob", redial.sip)?;
    let refer = alice.expect("REFER")?;
    ensure!(String::from_utf8_lossy(refer.message().request_uri()).contains(&alice.local.to_string()));
    ensure!(mallory.poll("REFER")?.is_none());
    Ok(())
}

/// P8: whatever arrives, the next caller is served.
#[test]
fn p8_bad_input_never_stops_the_service() -> Result<()> {
    let mut redial = Standalone::start(&Policy::default(), &[])?;
    let mut stranger = Phone::new("stranger", redial.sip)?;
    let whole = "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx\r\nMax-Forwards: 70\r\n\
                 From: <sip:a@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: bad\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
    // Every prefix of a message, every byte of it replaced, and things that are no message at all.
    for end in 0..whole.len() {
        stranger.send(&whole.as_bytes()[..end])?;
    }
    for at in 0..whole.len() {
        for byte in [0, b':', b'"', 0xff] {
            let mut changed = whole.as_bytes().to_vec();
            changed[at] = byte;
            stranger.send(&changed)?;
        }
    }
    for bytes in [vec![0; 65_000], vec![b','; 65_000], b"SIP/2.0 200 OK\r\nVia: ,,,,\r\n\r\n".to_vec(), b"\r\n\r\n".to_vec()] {
        stranger.send(&bytes)?;
    }
    let mut alice = Phone::registered("alice", redial.sip)?;
    alice.miss("bob")?;
    redial.service.process.ensure_alive()
}

/// P6 under load: REGISTERs and calls keep coming while Redis dies and comes back. Every REGISTER gets a final answer, every call between
/// registered phones is answered by the callee, and the processes are the same.
#[test]
fn p6_redis_killed_and_restarted_under_load() -> Result<()> {
    let mut cluster = Cluster::start(2, 2, &Policy::default())?;
    let load = |edge: &redial_tests::Edge| -> Result<_> {
        Sipp::new("register_taken_or_refused", "load", ports::free()?, edge.sip).calls(1500).args(["-r", "150"]).start()
    };
    let edge = cluster.edges[0].sip;
    let (caller, callee) = (ports::free()?, ports::free()?);
    Sipp::new("register", "caller", caller, edge).run()?;
    Sipp::new("register", "callee", callee, edge).run()?;
    let answers = Sipp::new("callee_answers", "callee", callee, edge).calls(200).start()?;
    let loads = cluster.edges.iter().map(load).collect::<Result<Vec<_>>>()?;
    let calls = Sipp::new("invite_answered", "caller", caller, edge).to("callee").calls(200).args(["-r", "20"]).start()?;
    let answered = |cluster: &Cluster, status: &str| -> f64 {
        let labels = [("method", "REGISTER"), ("status", status)];
        cluster.edges.iter().filter_map(|e| e.service.metrics().ok()).map(|m| m.sum("sip_responses_sent_total", &labels)).sum()
    };
    let more_than = |cluster: &Cluster, status: &str, n: f64| {
        until(&format!("more than {n} REGISTERs answered {status}"), PATIENCE, || Ok((answered(cluster, status) > n).then_some(())))
    };
    more_than(&cluster, "200", 100.0)?;
    cluster.redis.kill()?;
    more_than(&cluster, "503", 20.0)?;
    let before = answered(&cluster, "200");
    cluster.redis.restart()?;
    more_than(&cluster, "200", before + 100.0)?;
    for load in loads {
        ensure!(load.wait()?.successful == 1500);
    }
    calls.wait()?;
    answers.wait()?;
    let mut alice = Phone::registered("alice", edge)?;
    alice.miss("bob")?;
    let _bob = Phone::registered("bob", cluster.edges[1].sip)?;
    alice.expect("REFER")?;
    for process in cluster.edges.iter_mut().map(|e| &mut e.service).chain(cluster.coordinators.iter_mut().map(|c| &mut c.service)) {
        process.process.ensure_alive()?;
    }
    Ok(())
}
