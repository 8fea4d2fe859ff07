//! Rung 3 by sipp: callers who do not take the call.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use redial_tests::{Policy, Sipp, Standalone, ports, redial};

/// Alice has missed Bob, her phone plays `scenario`, and Bob is back.
fn called(scenario: &'static str, policy: &Policy) -> Result<(Standalone, SocketAddr, redial_tests::sipp::Running)> {
    let redial = Standalone::start(policy, &[])?;
    let (alice, bob) = (ports::free()?, ports::free()?);
    let sipp = |scenario: &'static str| Sipp::new(scenario, "alice", alice, redial.sip).to("bob");
    sipp("register").run()?;
    sipp("invite_remembered").run()?;
    let phone = sipp(scenario).start()?;
    Sipp::new("register", "bob", bob, redial.sip).run()?;
    Ok((redial, alice, phone))
}

fn policy() -> Policy {
    Policy::default().set("ladder", "[3]").set("recallTimeout", "\"20s\"")
}

#[test]
fn a_caller_who_is_busy_is_left_alone() -> Result<()> {
    let (redial, _, phone) = called("caller_called_busy", &policy())?;
    phone.wait()?;
    redial.service.wait_ended("cancelled", 1)?;
    redial.service.wait_metric("redial_recalls_total", &[("rung", "3"), ("result", "declined")], 1.0)?;
    ensure!(redial.service.recalls()? == 1.0, "an INVITE without an offer is the same recall");
    Ok(())
}

#[test]
fn a_caller_who_declines_is_tried_again_where_the_policy_says_so() -> Result<()> {
    let (redial, alice, phone) = called("caller_called_busy", &policy().set("onDecline", "\"retry\""))?;
    phone.wait()?;
    Sipp::new("caller_called_busy", "alice", alice, redial.sip).run()?;
    ensure!(redial.service.recalls()? >= 2.0 && redial.service.ended()? == 0.0);
    Ok(())
}

#[test]
fn a_phone_that_rings_stops_when_the_watch_is_cancelled() -> Result<()> {
    let (redial, _, phone) = called("caller_called_rings", &policy())?;
    redial.service.wait_metric("sip_responses_received_total", &[("method", "INVITE"), ("status", "180")], 1.0)?;
    let control = format!("http://{}", redial.control);
    let cancelled = self::redial(&["watch", "cancel", "alice@example.com", "bob@example.com", "--coordinator", &control])?;
    ensure!(cancelled.status.success(), "{cancelled:?}");
    phone.wait()?;
    redial.service.wait_ended("cancelled", 1)
}

#[test]
fn p4_a_phone_that_is_not_answered_stops_ringing_in_time() -> Result<()> {
    let (redial, _, phone) = called("caller_called_rings", &policy().set("recallTimeout", "\"2s\"").set("maxAttempts", "1"))?;
    phone.wait()?;
    redial.service.wait_ended("failed", 1)?;
    redial.service.wait_metric("redial_recalls_total", &[("rung", "3"), ("result", "unanswered")], 1.0)
}
