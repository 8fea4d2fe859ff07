//! Several callers wait for one callee.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use redial_tests::{Phone, Policy, Sipp, Standalone, ports};

/// Two sipp callers and a sipp callee; who is recalled when is the policy's business.
fn two_callers(fanout: &str) -> Result<()> {
    let redial = Standalone::start(&Policy::default().set("fanout", format!("{fanout:?}")), &[])?;
    let callers = [("alice", ports::free()?), ("carol", ports::free()?)];
    for (who, addr) in callers {
        Sipp::new("register", who, addr, redial.sip).run()?;
        Sipp::new("invite_remembered", who, addr, redial.sip).to("bob").run()?;
    }
    let waiting = callers.map(|(who, addr)| Sipp::new("caller_recalled", who, addr, redial.sip).to("bob").start());
    let bob = ports::free()?;
    Sipp::new("register", "bob", bob, redial.sip).run()?;
    Sipp::new("callee_answers", "bob", bob, redial.sip).calls(2).run()?;
    for caller in waiting {
        caller?.wait()?;
    }
    redial.service.wait_ended("connected", 2)?;
    ensure!(redial.service.recalls()? == 2.0);
    Ok(())
}

#[test]
fn fifo_connects_both_callers() -> Result<()> {
    two_callers("fifo")
}

#[test]
fn all_connects_both_callers() -> Result<()> {
    two_callers("all")
}

#[test]
fn with_fanout_all_everybody_is_recalled_before_anybody_has_called() -> Result<()> {
    let redial = Standalone::start(&Policy::default().set("fanout", "\"all\""), &[])?;
    let mut callers = ["alice", "carol", "dave"].map(|who| Phone::registered(who, redial.sip)).into_iter().collect::<Result<Vec<_>>>()?;
    for caller in &mut callers {
        caller.miss("bob")?;
    }
    let _bob = Phone::registered("bob", redial.sip)?;
    for caller in &mut callers {
        caller.expect("REFER")?;
    }
    Ok(())
}

#[test]
fn with_fifo_the_next_caller_is_recalled_when_the_call_before_has_ended() -> Result<()> {
    let redial = Standalone::start(&Policy::default(), &[])?;
    let (mut alice, mut carol) = (Phone::registered("alice", redial.sip)?, Phone::registered("carol", redial.sip)?);
    alice.miss("bob")?;
    carol.miss("bob")?;
    let mut bob = Phone::registered("bob", redial.sip)?;
    let refer = alice.expect("REFER")?;
    let bob = std::thread::spawn(move || bob.serve_calls(2).map(|callers| (bob, callers)));
    alice.answer(&refer, 202, "")?;
    let call = alice.invite("bob", "")?;
    ensure!(call.status() == 200);
    // Alice talks. Her watch is over, yet it is not Carol's turn until the BYE.
    redial.service.wait_ended("connected", 1)?;
    ensure!(redial.service.recalls()? == 1.0, "carol was recalled while alice and bob talk");
    alice.hang_up(&call)?;
    let refer = carol.expect("REFER")?;
    carol.take_recall(&refer)?;
    let Ok(served) = bob.join() else { anyhow::bail!("bob's phone failed") };
    ensure!(served?.1 == ["alice", "carol"]);
    redial.service.wait_ended("connected", 2)
}

#[test]
fn twenty_callers_are_connected_once_each_in_the_order_of_their_calls() -> Result<()> {
    let redial = Standalone::start(&Policy::default(), &[])?;
    let names: Vec<_> = (1..=20).map(|n| format!("caller{n:02}")).collect();
    let mut callers = names.iter().map(|who| Phone::registered(who, redial.sip)).collect::<Result<Vec<_>>>()?;
    for caller in &mut callers {
        caller.miss("bob")?;
    }
    let mut bob = Phone::registered("bob", redial.sip)?;
    let (order, served) = std::thread::scope(|scope| {
        let bob = scope.spawn(move || bob.serve_calls(20));
        let mut order = Vec::new();
        let mut left: BTreeSet<usize> = (0..callers.len()).collect();
        while !left.is_empty() {
            let taken = redial_tests::until("the next REFER", redial_tests::wait::PATIENCE, || {
                for &n in &left {
                    if let Some(refer) = callers[n].poll("REFER")? {
                        return Ok(Some((n, refer)));
                    }
                }
                Ok(None)
            });
            let (n, refer) = match taken {
                Ok(taken) => taken,
                Err(e) => return (Err(e), Ok(Vec::new())),
            };
            if let Err(e) = callers[n].take_recall(&refer) {
                return (Err(e), Ok(Vec::new()));
            }
            left.remove(&n);
            order.push(callers[n].who.clone());
        }
        (Ok(order), bob.join().unwrap_or_else(|_| Err(anyhow::anyhow!("bob's phone failed"))))
    });
    ensure!(order? == names, "recalled in another order");
    ensure!(served? == names, "bob was called in another order");
    redial.service.wait_ended("connected", 20)?;
    ensure!(redial.service.recalls()? == 20.0, "somebody was recalled twice");
    for caller in &mut callers {
        ensure!(caller.poll("REFER")?.is_none(), "{} was recalled twice", caller.who);
    }
    Ok(())
}
