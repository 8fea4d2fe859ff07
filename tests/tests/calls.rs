//! Rungs 3 and 4: what the caller's phone is told, and by sipp, callers who do not take the call.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use redial_tests::phone::Received;
use redial_tests::{Phone, Policy, Sipp, Standalone, ports, redial};

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

/// The first request of that method that Alice gets when Bob is back.
fn asked(policy: &Policy, method: &str) -> Result<Received> {
    let redial = Standalone::start(policy, &[])?;
    let mut alice = Phone::registered("alice", redial.sip)?;
    alice.miss("bob")?;
    let _bob = Phone::registered("bob", redial.sip)?;
    alice.expect(method)
}

fn field(request: &Received, name: &str) -> Option<String> {
    request.message().fields_named(name).next().map(|value| String::from_utf8_lossy(value).into_owned())
}

#[test]
fn the_call_shows_and_rings_as_the_policy_says() -> Result<()> {
    let plain = asked(&policy(), "INVITE")?;
    ensure!(field(&plain, "From").is_some_and(|from| from.starts_with("\"bob@example.com is back\" <sip:bob@example.com>;tag=")));
    ensure!((field(&plain, "Alert-Info"), field(&plain, "Call-Info")) == (None, None), "nothing that nobody asked for");
    let told = policy()
        .set("displayText", r#"'{caller}: "{callee}" ist zurück'"#)
        .set("alertInfo", "'<http://127.0.0.1/>;info=alert-autoanswer'")
        .set("answerAfter", "'2s'");
    let invite = asked(&told, "INVITE")?;
    let from = field(&invite, "From").unwrap_or_default();
    ensure!(from.starts_with(r#""alice@example.com: \"bob@example.com\" ist zurück" <sip:bob@example.com>;tag="#), "{from}");
    ensure!(field(&invite, "Alert-Info").as_deref() == Some("<http://127.0.0.1/>;info=alert-autoanswer"));
    ensure!(field(&invite, "Call-Info").as_deref() == Some("<sip:bob@example.com>;answer-after=2"));
    Ok(())
}

#[test]
fn the_message_is_in_the_language_of_the_policy() -> Result<()> {
    let texts = r#"{ en = "{callee} is here.", de = "{callee} ist für {caller} wieder da." }"#;
    for (language, text) in [("de", "bob@example.com ist für alice@example.com wieder da."), ("en", "bob@example.com is here.")] {
        let policy = policy().set("ladder", "[4]").set("message", texts).set("language", format!("'{language}'"));
        let message = asked(&policy, "MESSAGE")?;
        ensure!(field(&message, "Content-Language").as_deref() == Some(language));
        ensure!(field(&message, "Content-Type").as_deref() == Some("text/plain;charset=UTF-8"));
        ensure!(message.message().body() == text.as_bytes(), "{:?}", String::from_utf8_lossy(message.message().body()));
    }
    Ok(())
}
