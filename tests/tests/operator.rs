//! The operator's command against running services: tables for people, JSON for programs, and exit codes for scripts.

use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use redial_tests::{Cluster, DOMAIN, Phone, Policy, Standalone, ports, redial};
use serde_json::Value;

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs `redial ARGS --coordinator URL`, which must succeed.
fn ask(coordinator: &str, args: &[&str]) -> Result<String> {
    let output = redial(&[args, &["--coordinator", coordinator]].concat())?;
    ensure!(output.status.success(), "{args:?}: {}\n{}", output.status, text(&output));
    Ok(String::from_utf8(output.stdout)?)
}

fn rows(coordinator: &str, args: &[&str]) -> Result<Vec<Value>> {
    let said = ask(coordinator, &[args, &["--output", "json"]].concat())?;
    let rows: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    rows.as_array().cloned().with_context(|| format!("not a list: {said}"))
}

fn refused(coordinator: &str, args: &[&str]) -> Result<String> {
    let output = redial(&[args, &["--coordinator", coordinator]].concat())?;
    ensure!(output.status.code() == Some(1), "{args:?}: {}\n{}", output.status, text(&output));
    Ok(text(&output))
}

/// Everything that an operator can ask, of whichever process holds the watches. `alice` and `carol` are registered and miss `bob`.
fn tour(coordinator: &str, edge: std::net::SocketAddr, store: &str) -> Result<()> {
    ensure!(rows(coordinator, &["watch", "list"])?.is_empty());
    let (mut alice, mut carol) = (Phone::registered("alice", edge)?, Phone::registered("carol", edge)?);
    alice.miss("bob")?;
    carol.miss("bob")?;
    alice.miss("dave")?;

    let watches = rows(coordinator, &["watch", "list"])?;
    ensure!(watches.len() == 3, "{watches:?}");
    for row in &watches {
        ensure!(row["state"] == "armed" && row["attempts"] == 0, "{row}");
        ensure!(row["remaining_ms"].as_u64().is_some_and(|ms| ms > 3_000_000 && ms <= 3_600_000), "{row}");
    }
    ensure!(rows(coordinator, &["watch", "list", "--callee", "bob@example.com"])?.len() == 2);
    ensure!(rows(coordinator, &["watch", "list", "--caller", "alice@example.com"])?.len() == 2);
    ensure!(rows(coordinator, &["watch", "list", "--domain", "example.org"])?.is_empty());
    let table = ask(coordinator, &["watch", "list"])?;
    ensure!(table.lines().count() == 4 && table.starts_with("CALLER") && table.contains("carol@example.com"), "{table}");
    ensure!(ask(coordinator, &["watch", "list", "--limit", "1"])?.lines().count() == 2);

    let pair = ["alice@example.com", "bob@example.com"];
    let table = ask(coordinator, &["watch", "show", pair[0], pair[1]])?;
    ensure!(table.contains(pair[0]) && table.contains("armed"), "{table}");
    ensure!(ask(coordinator, &["watch", "cancel", pair[0], pair[1]])?.contains("cancelled"));
    ensure!(refused(coordinator, &["watch", "cancel", pair[0], pair[1]])?.contains("does not watch"));
    ensure!(refused(coordinator, &["watch", "show", pair[0], pair[1]])?.contains("does not watch"));
    ensure!(rows(coordinator, &["watch", "list"])?.len() == 2);

    let bindings = rows(coordinator, &["binding", "list", pair[0]])?;
    ensure!(bindings.len() == 1 && bindings[0]["contact"].as_str().is_some_and(|c| c.contains(&alice.local.to_string())), "{bindings:?}");
    ensure!(ask(coordinator, &["binding", "list", pair[0]])?.contains("scripted phone"));
    ensure!(rows(coordinator, &["binding", "list", pair[1]])?.is_empty());

    let findings = rows(coordinator, &["doctor"])?;
    ensure!(findings.iter().all(|f| f["verdict"] != "bad"), "{findings:?}");
    let detail = |check: &str| findings.iter().find(|f| f["check"] == check).and_then(|f| f["detail"].as_str()).unwrap_or_default();
    ensure!(detail("store").starts_with(store), "{}", detail("store"));
    ensure!(detail("watches") == "2" && !detail("edges").is_empty(), "{findings:?}");
    let table = ask(coordinator, &["doctor"])?;
    ensure!(table.starts_with("CHECK") && table.lines().count() == findings.len() + 1, "{table}");
    Ok(())
}

#[test]
fn an_operator_sees_and_ends_the_watches_of_a_standalone() -> Result<()> {
    let redial = Standalone::start(&Policy::default(), &[])?;
    tour(&format!("http://{}", redial.control), redial.sip, "memory")?;
    redial.service.wait_ended("cancelled", 1)
}

#[test]
fn an_operator_sees_and_ends_the_watches_of_a_cluster() -> Result<()> {
    let mut cluster = Cluster::start(1, 1, &Policy::default())?;
    let coordinator = format!("http://{}", cluster.coordinators[0].grpc);
    tour(&coordinator, cluster.edges[0].sip, "redis")?;
    cluster.wait_ended("cancelled", 1)?;
    // The doctor finds what is missing, and a script sees it.
    cluster.redis.kill()?;
    let said = refused(&coordinator, &["doctor"])?;
    ensure!(said.contains("BAD"), "{said}");
    Ok(())
}

#[test]
fn an_operator_who_asks_where_nobody_is_gets_a_failure() -> Result<()> {
    let nobody = format!("http://{}", ports::free()?);
    for args in [&["doctor"][..], &["watch", "list"], &["binding", "list", "alice@example.com"]] {
        ensure!(refused(&nobody, args)?.contains("no coordinator answers"));
    }
    Ok(())
}

#[test]
fn the_demo_succeeds_only_when_the_call_was_connected() -> Result<()> {
    let demo = redial(&["demo"])?;
    let said = text(&demo);
    ensure!(demo.status.success() && said.trim_end().ends_with("connected"), "{said}");
    for message in ["REGISTER", "480", "REFER", "202", "INVITE", "ACK", "BYE"] {
        ensure!(said.contains(message), "{message} is missing in the ladder:\n{said}");
    }
    Ok(())
}

#[test]
fn the_demo_in_front_of_kamailio_shows_both_legs() -> Result<()> {
    let demo = redial(&["demo", "--front"])?;
    let said = text(&demo);
    ensure!(demo.status.success() && said.trim_end().ends_with("connected"), "{said}");
    for message in ["407 Proxy Auth", "404 Not Found", "REFER", "INVITE", "BYE", "kamailio"] {
        ensure!(said.contains(message), "{message} is missing in the ladder:\n{said}");
    }
    Ok(())
}

#[test]
fn the_demo_fails_against_a_server_that_remembers_nothing() -> Result<()> {
    let server = Standalone::start(&Policy::default().set("enabled", "false"), &[])?;
    let demo = redial(&["demo", "--server", &server.sip.to_string()])?;
    ensure!(demo.status.code() == Some(1), "{}\n{}", demo.status, text(&demo));
    Ok(())
}

/// The watch is granted, but its recall is an hour away.
#[test]
fn the_demo_fails_against_a_server_that_does_not_recall() -> Result<()> {
    let server = Standalone::start(&Policy::default(), &["--settle", "1h"])?;
    let demo = redial(&["demo", "--server", &server.sip.to_string()])?;
    ensure!(demo.status.code() == Some(1), "{}\n{}", demo.status, text(&demo));
    ensure!(text(&demo).contains("REFER"), "it says what did not come:\n{}", text(&demo));
    Ok(())
}

fn check(server: &Standalone, more: &[&str]) -> Result<Output> {
    // By name, as in a cluster.
    let address = format!("udp:localhost:{}", server.sip.port());
    redial(&[&["check", "--server", &address, "--domain", DOMAIN], more].concat())
}

#[test]
fn a_check_succeeds_only_when_the_call_was_connected_and_leaves_nothing() -> Result<()> {
    let server = Standalone::start(&Policy::default(), &[])?;
    let checked = check(&server, &[])?;
    let said = text(&checked);
    ensure!(checked.status.success() && said.trim_end().ends_with("connected"), "{said}");
    for message in ["OPTIONS", "REGISTER", "480", "REFER", "202", "INVITE", "ACK", "BYE"] {
        ensure!(said.contains(message), "{message} is missing in the ladder:\n{said}");
    }
    server.service.wait_ended("connected", 1)?;
    let coordinator = format!("http://{}", server.control);
    let callee = said.split_whitespace().nth(2).and_then(|aor| aor.strip_prefix("sip:")).context("no callee")?;
    ensure!(callee.starts_with("check-callee-"), "{callee}");
    ensure!(rows(&coordinator, &["binding", "list", callee])?.is_empty());
    ensure!(rows(&coordinator, &["watch", "list"])?.is_empty());
    Ok(())
}

#[test]
fn a_check_with_passwords_answers_every_challenge() -> Result<()> {
    let users = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/users");
    let server = Standalone::start(&Policy::default(), &["--users", users])?;
    let checked = check(&server, &["--user", "alice:secret", "--user", "bob:secret"])?;
    ensure!(checked.status.success(), "{}", text(&checked));
    let refused = check(&server, &["--user", "alice:secret", "--user", "bob:wrong", "--timeout", "5s"])?;
    ensure!(refused.status.code() == Some(1) && text(&refused).contains("bob"), "{}", text(&refused));
    Ok(())
}

/// The watch is granted, but its recall is an hour away: the check gives up in time, and takes its watch with it.
#[test]
fn a_check_without_a_recall_fails_and_leaves_nothing() -> Result<()> {
    let server = Standalone::start(&Policy::default(), &["--settle", "1h"])?;
    let checked = check(&server, &["--timeout", "3s"])?;
    ensure!(checked.status.code() == Some(1) && text(&checked).contains("REFER"), "{}", text(&checked));
    server.service.wait_ended("cancelled", 1)?;
    ensure!(rows(&format!("http://{}", server.control), &["watch", "list"])?.is_empty());
    Ok(())
}

#[test]
fn a_check_of_nobody_fails_in_time() -> Result<()> {
    let nobody = format!("udp:{}", ports::free()?);
    let checked = redial(&["check", "--server", &nobody, "--domain", DOMAIN, "--timeout", "2s"])?;
    ensure!(checked.status.code() == Some(1) && text(&checked).contains("OPTIONS"), "{}", text(&checked));
    let usage = redial(&["check", "--server", "tcp:localhost:5060", "--domain", DOMAIN])?;
    ensure!(usage.status.code() == Some(64), "{}", text(&usage));
    Ok(())
}
