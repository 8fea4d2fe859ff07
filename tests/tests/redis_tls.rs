//! Redis by TLS, with certificates of a private authority.

use anyhow::{Result, ensure};
use redial_tests::authority::Authority;
use redial_tests::metrics::http_get;
use redial_tests::process::{Process, Scratch, workspace_binary};
use redial_tests::wait::PATIENCE;
use redial_tests::{Coordinator, Edge, Phone, Policy, Redis, Standalone, ports, until};

#[test]
fn a_private_authority_is_trusted_where_it_is_named() -> Result<()> {
    let authority = Authority::new()?;
    let redis = Redis::with_tls(&authority, &["--tls-auth-clients", "no"])?;
    let coordinator = Coordinator::start(&redis, &Policy::default(), &["--redis-ca", &authority.ca()])?;
    // The other connection of a coordinator.
    coordinator.service.wait_log("expired-key notifications switched on")?;
    let edge = Edge::start(&[&coordinator], &[])?;
    Phone::registered("alice", edge.sip)?.miss("bob")?;
    ensure!(redis.watch_keys()?.iter().any(|key| key.starts_with("redial:watch:")), "{:?}", redis.watch_keys());
    Ok(())
}

/// By the public authorities, and by another private one.
#[test]
fn whoever_else_signed_it_is_not_trusted() -> Result<()> {
    let (authority, other) = (Authority::new()?, Authority::new()?);
    let redis = Redis::with_tls(&authority, &["--tls-auth-clients", "no"])?;
    let ca = other.ca();
    for more in [&[][..], &["--redis-ca", &ca]] {
        let (scratch, admin) = (Scratch::new("untrusting")?, ports::free()?);
        let (listen, url, admin_text) = (ports::free()?.to_string(), redis.url(), admin.to_string());
        let args = [&["--listen", &listen, "--redis", &url, "--admin", &admin_text], more].concat();
        let mut process = Process::spawn(&workspace_binary("redial-coordinator")?, args, scratch.path(), scratch.path().join("log"))?;
        until("the reason in the log", PATIENCE, || {
            process.ensure_alive()?;
            Ok(process
                .log()
                .lines()
                .any(|line| line.contains("waiting for the store") && line.contains("invalid peer certificate"))
                .then_some(()))
        })?;
        ensure!(http_get(admin, "/ready")?.0 == 503);
        ensure!(http_get(admin, "/live")?.0 == 200);
    }
    Ok(())
}

#[test]
fn a_redis_that_asks_for_a_certificate_gets_it() -> Result<()> {
    let authority = Authority::new()?;
    let redis = Redis::with_tls(&authority, &["--tls-auth-clients", "yes"])?;
    let (url, ca, ours) = (redis.url(), authority.ca(), authority.issue("redial")?);
    let more = ["--redis", &url, "--redis-ca", &ca, "--redis-cert", &ours.cert, "--redis-key", &ours.key];
    let server = Standalone::start(&Policy::default(), &more)?;
    Phone::registered("alice", server.sip)?.miss("bob")?;
    ensure!(!redis.watch_keys()?.is_empty());
    Ok(())
}
