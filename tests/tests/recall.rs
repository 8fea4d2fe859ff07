//! Recalls in an order of messages that sipp cannot play.

use anyhow::{Result, ensure};
use redial_tests::{Phone, Policy, Standalone};
use sip_core::message::Header;

/// Alice has missed Bob, and both are back: the REFER is on its way.
fn recalled(policy: &Policy) -> Result<(Standalone, Phone, Phone)> {
    let redial = Standalone::start(policy, &[])?;
    let mut alice = Phone::registered("alice", redial.sip)?;
    alice.miss("bob")?;
    let bob = Phone::registered("bob", redial.sip)?;
    Ok((redial, alice, bob))
}

#[test]
fn the_recall_is_a_refer_without_subscription_to_an_address_of_ours() -> Result<()> {
    let (_redial, mut alice, _bob) = recalled(&Policy::default())?;
    let refer = alice.expect("REFER")?;
    ensure!(refer.header(Header::ReferSub).eq_ignore_ascii_case("false"), "RFC 4488");
    let target = refer.header(Header::ReferTo);
    ensure!(target.contains("sip:bob@example.com") && !target.contains('?'), "Refer-To: {target}");
    ensure!(
        String::from_utf8_lossy(refer.message().request_uri()).contains(&alice.local.to_string()),
        "to the contact that alice registered"
    );
    Ok(())
}

/// What phones answer to a REFER outside a dialog: JsSIP and pjsua 405, Twinkle 403, baresip 501, others 603.
#[test]
fn a_phone_that_refuses_the_first_rung_is_asked_on_the_second_and_its_notify_is_read() -> Result<()> {
    for refusal in [403, 405, 501, 603] {
        let (redial, mut alice, mut bob) = recalled(&Policy::default())?;
        let refer = alice.expect("REFER")?;
        ensure!(!refer.header(Header::ReferSub).is_empty(), "{refusal}: rung 1 makes no subscription");
        alice.answer(&refer, refusal, "")?;
        let refer = alice.expect("REFER")?;
        ensure!(refer.header(Header::ReferSub).is_empty(), "{refusal}: rung 2 subscribes");
        // The NOTIFY overtakes the 202.
        alice.notify(&refer, 1, 100)?;
        let bob = std::thread::spawn(move || bob.serve_calls(1));
        alice.take_recall(&refer)?;
        alice.notify(&refer, 2, 200)?;
        ensure!(bob.join().is_ok_and(|served| served.is_ok()));
        redial.service.wait_ended("connected", 1)?;
        for (rung, result) in [("1", "refused"), ("2", "accepted"), ("2", "notified")] {
            redial.service.wait_metric("redial_recalls_total", &[("rung", rung), ("result", result)], 1.0)?;
        }
        ensure!(redial.service.recalls()? == 2.0, "{refusal}: once for each rung");
    }
    Ok(())
}

#[test]
fn a_failure_in_a_notify_before_the_202_brings_the_watch_back() -> Result<()> {
    let (redial, mut alice, mut bob) = recalled(&Policy::default().set("ladder", "[2]").set("recallTimeout", "\"20s\""))?;
    let refer = alice.expect("REFER")?;
    alice.notify(&refer, 1, 486)?;
    alice.answer(&refer, 202, "")?;
    let again = alice.expect("REFER")?;
    let bob = std::thread::spawn(move || bob.serve_calls(1));
    alice.take_recall(&again)?;
    ensure!(bob.join().is_ok_and(|served| served.is_ok()));
    redial.service.wait_ended("connected", 1)
}

#[test]
fn a_notify_that_overtakes_its_202_is_taken() -> Result<()> {
    let (redial, mut alice, mut bob) = recalled(&Policy::default().set("ladder", "[2]"))?;
    let refer = alice.expect("REFER")?;
    ensure!(refer.header(Header::ReferSub).is_empty(), "rung 2 subscribes");
    alice.notify(&refer, 1, 100)?;
    let bob = std::thread::spawn(move || bob.serve_calls(1));
    alice.take_recall(&refer)?;
    alice.notify(&refer, 2, 200)?;
    ensure!(bob.join().is_ok_and(|served| served.is_ok()));
    redial.service.wait_ended("connected", 1)
}

#[test]
fn a_notify_of_failure_brings_the_watch_back() -> Result<()> {
    let (redial, mut alice, mut bob) = recalled(&Policy::default().set("ladder", "[2]").set("recallTimeout", "\"20s\""))?;
    let refer = alice.expect("REFER")?;
    alice.answer(&refer, 202, "")?;
    alice.notify(&refer, 1, 503)?;
    let again = alice.expect("REFER")?;
    let bob = std::thread::spawn(move || bob.serve_calls(1));
    alice.take_recall(&again)?;
    ensure!(bob.join().is_ok_and(|served| served.is_ok()));
    redial.service.wait_ended("connected", 1)
}

#[test]
fn a_phone_that_accepts_and_does_nothing_is_asked_in_another_way() -> Result<()> {
    let (redial, mut alice, mut bob) = recalled(&Policy::default().set("recallTimeout", "\"1s\""))?;
    let refer = alice.expect("REFER")?;
    alice.answer(&refer, 202, "")?;
    let subscribing = alice.expect("REFER")?;
    ensure!(subscribing.header(Header::ReferSub).is_empty(), "the second rung");
    let bob = std::thread::spawn(move || bob.serve_calls(1));
    alice.take_recall(&subscribing)?;
    ensure!(bob.join().is_ok_and(|served| served.is_ok()));
    redial.service.wait_ended("connected", 1)
}

#[test]
fn a_callee_gone_again_before_the_new_call_keeps_the_watch() -> Result<()> {
    let (redial, mut alice, mut bob) = recalled(&Policy::default())?;
    let refer = alice.expect("REFER")?;
    bob.register(0)?;
    alice.answer(&refer, 202, "")?;
    alice.miss("bob")?;
    ensure!(redial.service.ended()? == 0.0);
    bob.register(600)?;
    let refer = alice.expect("REFER")?;
    let bob = std::thread::spawn(move || bob.serve_calls(1));
    alice.take_recall(&refer)?;
    ensure!(bob.join().is_ok_and(|served| served.is_ok()));
    redial.service.wait_ended("connected", 1)?;
    ensure!(redial.service.armed()? == 1.0, "the same watch all along");
    Ok(())
}

#[test]
fn a_call_in_the_other_direction_ends_the_watch() -> Result<()> {
    let (redial, mut alice, mut bob) = recalled(&Policy::default().set("settle", "\"30s\""))?;
    let alice = std::thread::spawn(move || alice.serve_calls(1));
    let call = bob.invite("alice", "")?;
    ensure!(call.status() == 200);
    bob.hang_up(&call)?;
    ensure!(alice.join().is_ok_and(|served| served.is_ok()));
    redial.service.wait_ended("connected", 1)?;
    ensure!(redial.service.recalls()? == 0.0);
    Ok(())
}

#[test]
fn the_recalled_call_forks_to_every_contact_of_the_callee() -> Result<()> {
    let (redial, mut alice, mut bob) = recalled(&Policy::default())?;
    let refer = alice.expect("REFER")?;
    let mut desk = Phone::registered("bob", redial.sip)?;
    let rings = std::thread::spawn(move || -> Result<()> {
        let invite = desk.expect("INVITE")?;
        desk.answer(&invite, 180, "")?;
        let cancel = desk.expect("CANCEL")?;
        desk.answer(&cancel, 200, "")?;
        desk.answer(&invite, 487, "")?;
        desk.expect("ACK")?;
        Ok(())
    });
    let bob = std::thread::spawn(move || bob.serve_calls(1));
    alice.take_recall(&refer)?;
    ensure!(bob.join().is_ok_and(|served| served.is_ok()) && rings.join().is_ok_and(|rang| rang.is_ok()));
    redial.service.wait_ended("connected", 1)
}
