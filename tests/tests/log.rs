//! What the log tells an operator who asks why a call was not remembered.

use anyhow::{Result, ensure};
use redial_tests::kamailio::{self, Kamailio, PATH, user};
use redial_tests::{Phone, Policy, Standalone};

const ASKED: &str = "--log=info,sip_edge=debug,redial_coordinator=debug";

/// The lines with all of these words.
fn lines(redial: &Standalone, words: &[&str]) -> Vec<String> {
    let log = redial.service.process.log();
    log.lines().filter(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned).collect()
}

#[test]
fn each_request_has_a_line_and_who_is_not_remembered_has_a_reason() -> Result<()> {
    let policy = Policy::default().set("maxPerCaller", 1);
    let redial = Standalone::start(&policy, &[ASKED])?;
    let stranger = Phone::new("alice", redial.sip)?.invite("bob", "")?;
    let mut alice = Phone::registered("alice", redial.sip)?;
    alice.miss("bob")?;
    for (call, callee, why) in [
        (stranger, "bob", "caller_not_registered"),
        (alice.invite("carol", "")?, "carol", "caller_limit"),
        (alice.invite("bob", "Redial-Period: 0\r\n")?, "bob", "opted_out"),
    ] {
        ensure!((call.status(), call.is_remembered()) == (480, false), "{why}");
        let pair = [format!("callee=\"{callee}@example.com\""), "caller=\"alice@example.com\"".to_owned(), format!("why=\"{why}\"")];
        let said = lines(&redial, &["DEBUG", "not remembered", &pair[0], &pair[1], &pair[2]]);
        ensure!(said.len() == 1, "{why}: {said:?}\n{}", redial.service.process.log());
    }
    let from = format!("from={}", alice.local);
    let registered = lines(&redial, &["DEBUG", "request", "method=\"REGISTER\"", "call_id=\"register-alice", &from]);
    ensure!(registered.len() == 1, "{registered:?}\n{}", redial.service.process.log());
    ensure!(lines(&redial, &["method=\"INVITE\"", "call_id=\"call-alice", &from]).len() == 3);
    Ok(())
}

#[test]
fn nobody_is_named_who_was_not_asked_about() -> Result<()> {
    let redial = Standalone::start(&Policy::default(), &[])?;
    ensure!(Phone::new("alice", redial.sip)?.invite("bob", "")?.status() == 480);
    ensure!(!redial.service.process.log().contains("alice"), "{}", redial.service.process.log());
    Ok(())
}

#[test]
fn in_front_a_registered_callee_is_no_missed_call() -> Result<()> {
    let servers = [Kamailio::start(&[PATH])?];
    let options = [&kamailio::before(&servers)[..], &[ASKED.to_owned()]].concat();
    let redial = Standalone::start(&Policy::default(), &options.iter().map(String::as_str).collect::<Vec<_>>())?;
    let (mut alice, mut bob) = (user("alice", redial.sip)?, user("bob", redial.sip)?);
    alice.register(600)?;
    bob.register(600)?;
    let serve = std::thread::spawn(move || -> Result<()> {
        let invite = bob.expect("INVITE")?;
        bob.answer(&invite, 480, "")
    });
    ensure!(!alice.invite("bob", "")?.is_remembered());
    ensure!(serve.join().is_ok_and(|served| served.is_ok()));
    redial.service.wait_log("not remembered callee=\"bob@example.com\" caller=\"alice@example.com\" why=\"callee_registered\"")
}
