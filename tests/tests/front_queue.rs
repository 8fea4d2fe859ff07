//! Two callers wait for one callee behind two edges, in front of an existing server: whose turn it is.

use std::thread;

use anyhow::{Context as _, Result, ensure};
use redial_tests::kamailio::{Kamailio, PATH, user};
use redial_tests::shared::{Shared, seed};
use redial_tests::wait::PATIENCE;
use redial_tests::{Policy, until};

/// Each has another pair of edges for INVITE and BYE, as chance has it.
const ROUNDS: u32 = 12;

/// Whatever edge the REGISTER, the INVITE and the BYE of a caller reach, it is the BYE that gives the turn to the next one, and not `turnMax`.
#[test]
fn with_fifo_the_second_caller_is_recalled_when_the_first_has_hung_up() -> Result<()> {
    let seed = seed();
    let shared = Shared::start(Some(Kamailio::start(&[PATH])?), &Policy::default(), &[], seed)?;
    let service = shared.splitter.public;
    let (mut alice, mut carol, mut bob) = (user("alice", service)?, user("carol", service)?, user("bob", service)?);
    alice.register(600)?;
    carol.register(600)?;
    let count = |name: &str, labels: &[(&str, &str)]| shared.coordinators(name, labels);
    let recalled = || count("redial_recalls_total", &[("result", "ordered")]);
    let connected = |watches: u32| {
        until("the watch to end", PATIENCE, || {
            Ok((count("redial_watches_ended_total", &[("reason", "connected")])? >= f64::from(watches)).then_some(()))
        })
    };
    let mut round = |n: u32| -> Result<()> {
        alice.miss_with("bob", 404)?;
        carol.miss_with("bob", 404)?;
        bob.register(600)?;
        let refer = alice.expect("REFER")?;
        alice.answer(&refer, 202, "")?;
        thread::scope(|scope| -> Result<()> {
            let served = scope.spawn(|| bob.serve_calls(2));
            let call = alice.invite("bob", "")?;
            ensure!(call.status() == 200, "{}", call.status());
            connected(2 * n + 1)?;
            ensure!(recalled()? == f64::from(2 * n + 1), "carol is recalled while alice and bob talk");
            alice.hang_up(&call)?;
            let refer = carol.expect("REFER").context("alice's BYE gave nobody the turn")?;
            carol.take_recall(&refer)?;
            ensure!(served.join().is_ok_and(|served| served.is_ok_and(|callers| callers == ["alice", "carol"])), "bob's phone");
            Ok(())
        })?;
        connected(2 * n + 2)?;
        ensure!(alice.poll("REFER")?.is_none() && carol.poll("REFER")?.is_none(), "recalled twice");
        bob.register(0)
    };
    for n in 0..ROUNDS {
        round(n).with_context(|| format!("round {n}; REDIAL_TEST_SEED={seed} plays it again; {}", shared.troubles()))?;
    }
    until("no key of a watch in Redis", PATIENCE, || Ok(shared.redis.watch_keys()?.is_empty().then_some(())))
}
