//! A coordinator dies after it has claimed and before it hears what became of its recall.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use redial_tests::Phone;

use crate::load::{self, Outside};
use crate::release::CLUSTERED;

/// Callers who keep a recall waiting for its answer. Several, so that one coordinator has some of them for sure.
const HELD: usize = 6;
const STORIES: usize = 100;

struct Held {
    caller: Phone,
    callee: Phone,
    refer: redial_tests::phone::Received,
}

pub fn coordinator() -> Result<String> {
    let outside = Outside::facing(CLUSTERED.address()?)?;
    let ordered =
        |pod: &String| -> Result<f64> { Ok(CLUSTERED.metrics("coordinator", pod)?.sum("redial_recalls_total", &[("result", "ordered")])) };
    let pods = CLUSTERED.pods("coordinator")?;
    let before = pods.iter().map(ordered).collect::<Result<Vec<_>>>()?;
    let mut held = (0..HELD).map(|n| hold(&outside, n)).collect::<Result<Vec<_>>>()?;
    let claims = pods.iter().zip(&before).map(|(pod, before)| Ok(ordered(pod)? - before)).collect::<Result<Vec<_>>>()?;
    let (claimed, victim) =
        claims.iter().zip(&pods).max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(n, pod)| (*n, pod)).context("no coordinator")?;
    ensure!(claimed >= 1.0, "no coordinator counts a recall: {claims:?}");

    let told = load::during(&outside, "kill-coordinator", STORIES, || {
        CLUSTERED.namespace.kubectl(&["delete", "pod", victim, "--grace-period=0", "--force"])?;
        held.iter_mut().try_for_each(release)
    })?;
    // Every claim's lease has run out by now, had it been forgotten: a second recall would be here.
    for Held { caller, callee, .. } in &mut held {
        ensure!(caller.within(Duration::from_millis(200), "REFER")?.is_none(), "{} was recalled twice", caller.who);
        callee.register(0)?;
        caller.register(0)?;
    }
    let report = told.report()?;
    CLUSTERED.ensure_no_watch_is_left()?;
    CLUSTERED.wait_ready("coordinator")?;
    Ok(format!("{claimed} of {HELD} open recalls were of the one that was killed, and all were connected, once; meanwhile {report}"))
}

/// A caller whose recall has arrived and has no answer yet.
fn hold(outside: &Outside, n: usize) -> Result<Held> {
    let names = ["caller", "callee"].map(|role| format!("held-{role}-{n}-{}", std::process::id()));
    let mut caller = outside.phone(&names[0], 2 * n)?;
    caller.register(600)?;
    caller.miss(&names[1])?;
    let mut callee = outside.phone(&names[1], 2 * n + 1)?;
    callee.register(600)?;
    let refer = caller.expect("REFER")?;
    Ok(Held { caller, callee, refer })
}

/// The caller answers, calls, and is connected.
fn release(held: &mut Held) -> Result<()> {
    let Held { caller, callee, refer } = held;
    caller.reconnect(refer, callee)
}
