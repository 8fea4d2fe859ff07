//! What a RedialPolicy's status says while nobody changes the policy: how many watches it has, whoever writes it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use redial_tests::until;
use redial_tests::wait::now;

use super::policy::{apply, wait_condition};
use crate::load::Outside;
use crate::release::CLUSTERED;

/// Watches are counted every 8 s, and a status is written every 10 s at most.
const COUNTED: Duration = Duration::from_secs(45);
/// A replica that ends gives the lead back; the others look every 5 s.
const LED: Duration = Duration::from_secs(30);

/// One watch, from the missed call to the answered one.
pub fn counts() -> Result<String> {
    let outside = Outside::facing(CLUSTERED.address()?)?;
    let [caller, callee] = ["caller", "callee"].map(|role| format!("counted-{role}-{}", std::process::id()));
    let mut alice = outside.phone(&caller, 0)?;
    alice.register(600)?;
    // So long that the recall is counted while it goes on.
    apply("counted", "counted-callee-*", "settle: 0s, recallTimeout: 5m")?;
    wait_condition("counted", "Ready", "True")?;
    alice.miss(&callee)?;
    wait_watches(1, 0)?;

    let mut bob = outside.phone(&callee, 1)?;
    bob.register(600)?;
    let refer = alice.expect("REFER")?;
    wait_watches(0, 1)?;
    alice.reconnect(&refer, &mut bob)?;
    wait_watches(0, 0)?;
    bob.register(0)?;
    alice.register(0)?;
    CLUSTERED.namespace.kubectl(&["delete", "redialpolicy", "counted"])?;
    Ok("armed and active went 1 0, 0 1, 0 0".to_owned())
}

fn wait_watches(armed: u64, active: u64) -> Result<()> {
    let said = || Ok::<_, anyhow::Error>(CLUSTERED.namespace.get(&["redialpolicy", "counted"])?["status"]["watches"].clone());
    until(&format!("{armed} armed and {active} active"), COUNTED, || {
        let said = said()?;
        Ok((said["armed"] == armed && said["active"] == active).then_some(()))
    })
    .with_context(|| format!("the status says {:?}", said()))
}

/// The replica that writes statuses is deleted: another one takes its place, and writes.
pub fn leader() -> Result<String> {
    let before = holder()?;
    let pod = before.split('_').next().context("a holder without a name")?;
    ensure!(CLUSTERED.pods("coordinator")?.iter().any(|known| known == pod), "{pod} holds the lead and is no pod");
    apply("led", "nobody", "periodDefault: 30m")?;
    wait_condition("led", "Accepted", "True")?;

    let began = now();
    CLUSTERED.namespace.kubectl(&["delete", "pod", pod, "--wait=false"])?;
    let after = until("another leader", LED, || Ok(holder().ok().filter(|holder| !holder.is_empty() && *holder != before)))?;
    let led = began.elapsed();
    ensure!(!after.starts_with(pod), "the pod that was deleted leads again");
    // Only now, so that no other can have written it.
    apply("led", "nobody", "periodDefault: 20m")?;
    wait_condition("led", "Accepted", "True")?;
    let written = began.elapsed();

    // Without its Lease, somebody leads all the same.
    CLUSTERED.namespace.kubectl(&["delete", "lease", LEASE])?;
    until("a new Lease", LED, || Ok(holder().ok().filter(|holder| !holder.is_empty())))?;
    apply("led", "nobody", "periodDefault: 10m")?;
    wait_condition("led", "Accepted", "True")?;
    CLUSTERED.namespace.kubectl(&["delete", "redialpolicy", "led"])?;
    CLUSTERED.wait_ready("coordinator")?;
    let seconds = [led, written].map(|time| time.as_secs_f64());
    Ok(format!("another one led after {:.1} s and had written after {:.1} s; the Lease was made anew, too", seconds[0], seconds[1]))
}

const LEASE: &str = "redial-policy-status";

fn holder() -> Result<String> {
    let lease = CLUSTERED.namespace.get(&["lease", LEASE])?;
    Ok(lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned())
}
