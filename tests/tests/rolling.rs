//! A rolling restart: every process is told to stop, ends by itself and is started again, one after the other, while phones go on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use redial_tests::metrics::http_get;
use redial_tests::services::Service;
use redial_tests::wait::PATIENCE;
use redial_tests::{Cluster, Phone, Policy, Sipp, ports, until};

/// Lanes of stories that run side by side.
const LANES: usize = 4;

/// Missed calls, recalls and new calls of one caller, one after the other. A phone that is told 503 tries again, as phones do. Returns how
/// many stories were played; each has exactly one recall.
fn stories(lane: usize, edges: [SocketAddr; 2], over: &AtomicBool) -> Result<u32> {
    let register = |phone: &mut Phone, seconds| {
        until("a REGISTER to be taken", PATIENCE, || Ok((phone.try_register(seconds)?.status() == 200).then_some(())))
    };
    let mut alice = Phone::new(&format!("alice{lane}"), edges[lane % 2])?;
    register(&mut alice, 600)?;
    let mut played = 0;
    while !over.load(Relaxed) || played == 0 {
        let callee = format!("bob{lane}x{played}");
        let story = format!("story {played} of lane {lane}");
        until("a watch to be granted", PATIENCE, || Ok(alice.invite(&callee, "")?.is_remembered().then_some(())))?;
        let mut bob = Phone::new(&callee, edges[(lane + played as usize) % 2])?;
        register(&mut bob, 600)?;
        let serve = thread::spawn(move || bob.serve_calls(1).map(|_| bob));
        let refer = alice.expect("REFER").with_context(|| story.clone())?;
        let target = refer.message().refer_to().map(|to| String::from_utf8_lossy(to.uri.user).into_owned());
        ensure!(target.as_deref() == Some(&*callee), "{story}: recalled for {target:?}, once more");
        alice.answer(&refer, 202, "")?;
        let call = until("the new call", PATIENCE, || {
            let call = alice.invite(&callee, "")?;
            Ok((call.status() == 200).then_some(call))
        })?;
        alice.hang_up(&call)?;
        let Ok(bob) = serve.join() else { anyhow::bail!("{story}: bob's phone failed") };
        register(&mut bob.with_context(|| story.clone())?, 0)?;
        ensure!(alice.poll("REFER")?.is_none(), "{story}: recalled twice");
        played += 1;
    }
    Ok(played)
}

/// SIGTERM: not ready while it still runs, ends with 0 by itself, and is started again.
fn roll(service: &mut Service, not_ready_first: bool) -> Result<()> {
    service.process.terminate()?;
    if not_ready_first {
        let admin = service.admin;
        until("not ready", PATIENCE, || Ok(http_get(admin, "/ready").is_ok_and(|(status, _)| status == 503).then_some(())))?;
        service.process.ensure_alive()?;
    }
    let status = service.process.wait(PATIENCE)?;
    ensure!(status.code() == Some(0), "{status}\n{}", service.process.log());
    service.restart()
}

/// A call that is up, and both its phones.
struct Up {
    caller: Phone,
    call: redial_tests::phone::Call,
    callee: thread::JoinHandle<Result<()>>,
}

fn call_up(name: &str, from: SocketAddr, to: SocketAddr) -> Result<Up> {
    let (caller_name, callee_name) = (format!("{name}-caller"), format!("{name}-callee"));
    let (mut caller, mut callee) = (Phone::registered(&caller_name, from)?, Phone::registered(&callee_name, to)?);
    let callee = thread::spawn(move || {
        let invite = callee.expect("INVITE")?;
        callee.pick_up(&invite)?;
        let bye = until("the BYE", PATIENCE * 3, || callee.poll("BYE"))?;
        callee.answer(&bye, 200, "")
    });
    let call = caller.invite(&callee_name, "")?;
    ensure!(call.status() == 200, "{}", call.status());
    Ok(Up { caller, call, callee })
}

#[test]
fn p3_a_rolling_restart_loses_no_watch_repeats_no_recall_and_ends_no_call() -> Result<()> {
    // Transactions of phones that answered are kept for 32 s; nobody here sends again what was answered.
    let mut cluster = Cluster::start_with(2, 2, &Policy::default(), &["--grace", "2s", "--drain-delay", "300ms"])?;
    let edges = [cluster.edges[0].sip, cluster.edges[1].sip];
    let up = [call_up("one", edges[0], edges[1])?, call_up("two", edges[1], edges[0])?];
    let mut waiting = Phone::registered("waiting", edges[0])?;
    waiting.miss("away")?;

    let over = Arc::new(AtomicBool::new(false));
    let lanes: Vec<_> =
        (0..LANES).map(|lane| (lane, over.clone())).map(|(lane, over)| thread::spawn(move || stories(lane, edges, &over))).collect();
    let load =
        |edge: SocketAddr| Sipp::new("register_taken_or_refused", "load", ports::free()?, edge).calls(300).args(["-r", "30"]).start();
    let loads = [load(edges[0])?, load(edges[1])?];
    let rolled = (|| -> Result<()> {
        for coordinator in &mut cluster.coordinators {
            roll(&mut coordinator.service, false)?;
        }
        for edge in &mut cluster.edges {
            roll(&mut edge.service, true)?;
        }
        Ok(())
    })();
    over.store(true, Relaxed);
    let mut played = 0;
    for lane in lanes {
        let Ok(count) = lane.join() else { anyhow::bail!("a lane failed") };
        played += count?;
    }
    rolled?;
    for load in loads {
        ensure!(load.wait()?.failed == 0);
    }

    for Up { mut caller, call, callee } in up {
        caller.hang_up(&call).context("a call that was up before")?;
        ensure!(callee.join().is_ok_and(|served| served.is_ok()));
    }
    // The watch from before all of it.
    let mut away = Phone::registered("away", edges[1])?;
    let refer = waiting.expect("REFER")?;
    waiting.reconnect(&refer, &mut away)?;
    cluster.wait_no_watch_keys()?;
    ensure!(cluster.sum("redial_watches_unsure_total", &[]) == 0.0 && cluster.sum("redial_coordinator_dropped_total", &[]) == 0.0);
    // Since their restart: no more than one for each story, and one for the watch from before.
    ensure!(cluster.recalls() >= 1.0 && cluster.recalls() <= f64::from(played + 1), "{} recalls in {played} stories", cluster.recalls());
    Ok(())
}
