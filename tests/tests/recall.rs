//! Recalls in an order of messages that sipp cannot play.

use anyhow::{Result, anyhow, ensure};
use redial_tests::{Phone, Policy, Scratch, Sipp, Standalone, ports};
use sip_core::digest::{Algorithm, Credentials, Ha1, verify};
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
        alice.reconnect(&refer, &mut bob)?;
        alice.notify(&refer, 2, 200)?;
        redial.service.wait_ended("connected", 1)?;
        for (rung, result) in [("1", "refused"), ("2", "accepted"), ("2", "notified")] {
            redial.service.wait_metric("redial_recalls_total", &[("rung", rung), ("result", result)], 1.0)?;
        }
        ensure!(redial.service.recalls()? == 2.0, "{refusal}: once for each rung");
    }
    Ok(())
}

fn credentials(text: &str) -> Result<(Scratch, String)> {
    let scratch = Scratch::new("credentials")?;
    let path = scratch.file("credentials.toml", text)?;
    Ok((scratch, path))
}

#[test]
fn a_phone_that_challenges_the_recall_gets_the_policys_credentials() -> Result<()> {
    let (_scratch, file) = credentials("[ours]\nusername = 'redial'\npassword = 'secret'\n")?;
    let policy = Policy::default().set("credentials", "\"ours\"");
    let redial = Standalone::start(&policy, &["--credentials", &file])?;
    let (alice, bob) = (ports::free()?, ports::free()?);
    let sipp = |scenario: &'static str| Sipp::new(scenario, "alice", alice, redial.sip).to("bob");
    sipp("register").run()?;
    sipp("invite_remembered").run()?;
    let recalled = sipp("caller_challenges_recall").start()?;
    Sipp::new("register", "bob", bob, redial.sip).run()?;
    Sipp::new("callee_answers", "bob", bob, redial.sip).run()?;
    recalled.wait()?;
    redial.service.wait_ended("connected", 1)?;
    ensure!(redial.service.recalls()? == 1.0, "a challenge is no refusal");
    Ok(())
}

#[test]
fn changed_credentials_are_taken_over_and_bad_ones_are_not() -> Result<()> {
    let (scratch, file) = credentials("[ours]\nusername = 'redial'\npassword = 'old'\n")?;
    let policy = Policy::default().set("credentials", "\"ours\"").set("ladder", "[1]");
    let redial = Standalone::start(&policy, &["--credentials", &file])?;
    scratch.file("credentials.toml", "[ours]\nusername = 'redial'\npassword = 'hunter7'\n")?;
    redial.service.wait_log("credentials read")?;
    scratch.file("credentials.toml", "[ours]\nusername = 'redial'\n")?;
    redial.service.wait_log("credentials not read")?;
    let mut alice = Phone::registered("alice", redial.sip)?;
    alice.miss("bob")?;
    let _bob = Phone::registered("bob", redial.sip)?;
    let refer = alice.expect("REFER")?;
    alice.answer(&refer, 401, "WWW-Authenticate: Digest realm=\"phone\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256\r\n")?;
    let again = alice.expect("REFER")?;
    let proof = again.header(Header::Authorization);
    let proof = Credentials::parse(proof.as_bytes()).map_err(|error| anyhow!("{error}: {proof}"))?;
    ensure!(verify(&proof, "REFER", &Ha1::new(Algorithm::Sha256, "redial", "phone", "hunter7")), "the last good password");
    ensure!(!redial.service.process.log().contains("hunter7"), "a password is in the log");
    Ok(())
}

#[test]
fn a_failure_in_a_notify_before_the_202_brings_the_watch_back() -> Result<()> {
    let (redial, mut alice, mut bob) = recalled(&Policy::default().set("ladder", "[2]").set("recallTimeout", "\"20s\""))?;
    let refer = alice.expect("REFER")?;
    alice.notify(&refer, 1, 486)?;
    alice.answer(&refer, 202, "")?;
    let again = alice.expect("REFER")?;
    alice.reconnect(&again, &mut bob)?;
    redial.service.wait_ended("connected", 1)
}

#[test]
fn a_notify_that_overtakes_its_202_is_taken() -> Result<()> {
    let (redial, mut alice, mut bob) = recalled(&Policy::default().set("ladder", "[2]"))?;
    let refer = alice.expect("REFER")?;
    ensure!(refer.header(Header::ReferSub).is_empty(), "rung 2 subscribes");
    alice.notify(&refer, 1, 100)?;
    alice.reconnect(&refer, &mut bob)?;
    alice.notify(&refer, 2, 200)?;
    redial.service.wait_ended("connected", 1)
}

#[test]
fn a_notify_of_failure_brings_the_watch_back() -> Result<()> {
    let (redial, mut alice, mut bob) = recalled(&Policy::default().set("ladder", "[2]").set("recallTimeout", "\"20s\""))?;
    let refer = alice.expect("REFER")?;
    alice.answer(&refer, 202, "")?;
    alice.notify(&refer, 1, 503)?;
    let again = alice.expect("REFER")?;
    alice.reconnect(&again, &mut bob)?;
    redial.service.wait_ended("connected", 1)
}

#[test]
fn a_phone_that_accepts_and_does_nothing_is_asked_in_another_way() -> Result<()> {
    let (redial, mut alice, mut bob) = recalled(&Policy::default().set("recallTimeout", "\"1s\""))?;
    let refer = alice.expect("REFER")?;
    alice.answer(&refer, 202, "")?;
    let subscribing = alice.expect("REFER")?;
    ensure!(subscribing.header(Header::ReferSub).is_empty(), "the second rung");
    alice.reconnect(&subscribing, &mut bob)?;
    redial.service.wait_ended("connected", 1)
}

/// Alice's phone, or something before it, drops REFERs that come outside of a call.
fn deaf_to_refers() -> Result<(Standalone, Phone, Phone)> {
    recalled(&Policy::default().set("ladder", "[1, 2, 3]").set("recallTimeout", "\"3s\""))
}

#[test]
fn a_phone_that_ignores_refers_is_called_and_transferred() -> Result<()> {
    let (redial, mut alice, mut bob) = deaf_to_refers()?;
    alice.expect("REFER")?;
    let call = alice.expect("INVITE")?;
    ensure!(alice.poll("REFER")?.is_none(), "another REFER would be ignored as well");
    alice.pick_up(&call)?;
    let transfer = alice.expect("REFER")?;
    let bob = std::thread::spawn(move || bob.serve_calls(1));
    alice.take_recall(&transfer)?;
    alice.notify(&transfer, 1, 200)?;
    let bye = alice.expect("BYE")?;
    alice.answer(&bye, 200, "")?;
    ensure!(bob.join().is_ok_and(|served| served.is_ok()));
    redial.service.wait_ended("connected", 1)?;
    for (rung, result) in [("1", "silent"), ("3", "accepted")] {
        redial.service.wait_metric("redial_recalls_total", &[("rung", rung), ("result", result)], 1.0)?;
    }
    ensure!(redial.service.recalls()? == 2.0);
    Ok(())
}

#[test]
fn a_phone_that_is_off_is_asked_on_two_rungs_and_again_when_it_registers() -> Result<()> {
    let (redial, mut alice, mut bob) = deaf_to_refers()?;
    alice.expect("REFER")?;
    alice.expect("INVITE")?;
    for rung in ["1", "3"] {
        redial.service.wait_metric("redial_recalls_total", &[("rung", rung), ("result", "silent")], 1.0)?;
    }
    ensure!(redial.service.recalls()? == 2.0 && redial.service.ended()? == 0.0);
    alice.register(600)?;
    let refer = alice.expect("REFER")?;
    let bob = std::thread::spawn(move || bob.serve_calls(1));
    alice.take_recall(&refer)?;
    ensure!(bob.join().is_ok_and(|served| served.is_ok()));
    redial.service.wait_ended("connected", 1)
}

#[test]
fn p3_a_phone_that_takes_its_refer_late_stops_ringing_and_calls_once() -> Result<()> {
    let (redial, mut alice, mut bob) = deaf_to_refers()?;
    let refer = alice.expect("REFER")?;
    let call = alice.expect("INVITE")?;
    alice.answer(&call, 180, "")?;
    let bob = std::thread::spawn(move || bob.serve_calls(1));
    alice.take_recall(&refer)?;
    let cancel = alice.expect("CANCEL")?;
    alice.answer(&cancel, 200, "")?;
    alice.answer(&call, 487, "")?;
    alice.expect("ACK")?;
    ensure!(bob.join().is_ok_and(|served| served.is_ok_and(|callers| callers == ["alice"])));
    redial.service.wait_ended("connected", 1)?;
    ensure!(redial.service.recalls()? == 2.0 && redial.service.ended()? == 1.0);
    Ok(())
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
    alice.reconnect(&refer, &mut bob)?;
    redial.service.wait_ended("connected", 1)?;
    ensure!(redial.service.armed()? == 1.0, "the same watch all along");
    Ok(())
}

#[test]
fn a_call_in_the_other_direction_ends_the_watch() -> Result<()> {
    let (redial, mut alice, mut bob) = recalled(&Policy::default().set("settle", "\"30s\""))?;
    bob.talk_to(&mut alice)?;
    redial.service.wait_ended("connected", 1)?;
    ensure!(redial.service.recalls()? == 0.0);
    Ok(())
}

#[test]
fn the_recalled_call_forks_to_every_contact_of_the_callee() -> Result<()> {
    let (redial, mut alice, mut bob) = recalled(&Policy::default())?;
    let refer = alice.expect("REFER")?;
    let mut desk = Phone::registered("bob", redial.sip)?;
    let rings = std::thread::spawn(move || desk.ring_in_vain());
    alice.reconnect(&refer, &mut bob)?;
    ensure!(rings.join().is_ok_and(|rang| rang.is_ok()));
    redial.service.wait_ended("connected", 1)
}
