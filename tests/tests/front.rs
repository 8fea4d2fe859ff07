//! In front of existing servers that ask for passwords: before one that keeps Path, before one that knows of none, before two, and two edges before
//! one. What the edges learn from answers, and whom they believe.

use anyhow::{Context as _, Result, ensure};
use redial_tests::front::Site;
use redial_tests::kamailio::{GRANTS, Kamailio, PATH, TRUSTING, UNAVAILABLE, user};
use redial_tests::{Phone, redial};
use sip_core::message::Header;

/// Without anything in front: what the other tests take for granted.
#[test]
fn the_server_behind_is_an_ordinary_registrar_and_proxy() -> Result<()> {
    let mut server = Kamailio::start(&[UNAVAILABLE])?;
    let (mut alice, mut bob) = (user("alice", server.sip)?, user("bob", server.sip)?);
    ensure!(Phone::new("alice", server.sip)?.try_register(600)?.status() == 401);
    ensure!(Phone::new("alice", server.sip)?.invite("bob", "")?.status() == 407);
    alice.register(600)?;
    ensure!(alice.invite("bob", "")?.status() == 480);
    bob.register(600)?;
    alice.talk_to(&mut bob)?;
    server.kill()?;
    server.start_again()?;
    ensure!(alice.invite("bob", "")?.status() == 480, "what it had registered is forgotten");
    server.pause()?;
    server.resume()?;
    ensure!(alice.invite("bob", "")?.status() == 480);
    Ok(())
}

#[test]
fn one_server_that_keeps_path() -> Result<()> {
    let site = Site::start(1, 1, &[PATH], &[])?;
    site.story(["alice", "bob"], [0, 0], 404)?;
    site.story(["carol", "dave"], [0, 0], 404)?;
    site.over(2)
}

#[test]
fn one_server_that_knows_no_path() -> Result<()> {
    let site = Site::start(1, 1, &[UNAVAILABLE], &["--upstream-path=contact"])?;
    site.story(["alice", "bob"], [0, 0], 480)?;
    site.story(["carol", "dave"], [0, 0], 480)?;
    site.over(2)
}

/// 1:N. REGISTER and INVITE of a user meet at the same server, and both servers have users.
#[test]
fn one_edge_before_two_servers() -> Result<()> {
    let site = Site::start(2, 1, &[PATH, UNAVAILABLE], &[])?;
    for n in 0..6 {
        site.story([&format!("alice{n}"), &format!("bob{n}")], [0, 0], 480)?;
    }
    let mut at = [0, 0];
    for n in 0..12 {
        let who = format!("user{n}");
        user(&who, site.edge(0))?.register(600)?;
        let mut found = [0, 0];
        for (found, server) in found.iter_mut().zip(&site.servers) {
            *found = user(&who, server.sip)?.contacts()?;
        }
        ensure!(found.iter().sum::<usize>() == 1, "{who} is registered {found:?} times");
        at = [at[0] + found[0], at[1] + found[1]];
    }
    ensure!(at[0] > 0 && at[1] > 0, "{at:?}");
    site.over(6)
}

/// N:1. The caller's edge is not the callee's; its phones are reached by each.
#[test]
fn two_edges_before_one_server() -> Result<()> {
    for (defines, way) in [(vec![PATH], "path"), (vec![], "contact")] {
        let site = Site::start(1, 2, &defines, &["--upstream-path", way])?;
        site.story(["alice", "bob"], [0, 1], 404)?;
        site.story(["carol", "dave"], [1, 0], 404)?;
        site.over(2)?;
    }
    Ok(())
}

/// Seconds until a binding runs out, and how many of `who` there are.
fn bindings(site: &Site, who: &str) -> Result<Vec<u64>> {
    let control = format!("http://{}", site.cluster.coordinators[0].grpc);
    let aor = format!("{who}@example.com");
    let said = redial(&["binding", "list", &aor, "--coordinator", &control, "--output", "json"])?;
    let rows: serde_json::Value =
        serde_json::from_slice(&said.stdout).with_context(|| String::from_utf8_lossy(&said.stderr).into_owned())?;
    let seconds = |row: &serde_json::Value| row["expires_in_ms"].as_u64().map(|ms| ms.div_ceil(1000));
    rows.as_array().context("a list")?.iter().map(|row| seconds(row).context("expiry")).collect()
}

#[test]
fn what_the_server_grants_and_ends_is_what_is_stored() -> Result<()> {
    for (define, way) in [(vec![PATH], "path"), (vec![], "contact")] {
        let site = Site::start(1, 1, &define, &["--upstream-path", way])?;
        let (mut alice, mut bob) = (user("alice", site.edge(0))?, user("bob", site.edge(0))?);
        alice.register(600)?;
        let answer = bob.try_register(600)?;
        // The phone sees its own Contact, or it would not know that it is registered.
        ensure!(answer.header(Header::Contact).contains(&format!("sip:bob@{}", bob.local)), "{}", answer.header(Header::Contact));
        let granted = bindings(&site, "bob")?;
        ensure!(granted.len() == 1 && (u64::from(GRANTS) - 5..=u64::from(GRANTS)).contains(&granted[0]), "asked 600: {granted:?}");
        bob.register(0)?;
        ensure!(bindings(&site, "bob")?.is_empty());
        alice.miss_with("bob", 404)?;
        // Refused, so not stored.
        let mut mallory = Phone::new("mallory", site.edge(0))?;
        mallory.password = Some("guessed".to_owned());
        ensure!(mallory.try_register(600)?.status() == 401 && bindings(&site, "mallory")?.is_empty());
    }
    Ok(())
}

#[test]
fn a_registered_callee_who_says_480_is_not_away() -> Result<()> {
    let site = Site::start(1, 1, &[PATH], &[])?;
    let (mut alice, mut bob) = (user("alice", site.edge(0))?, user("bob", site.edge(0))?);
    alice.register(600)?;
    bob.register(600)?;
    let serve = std::thread::spawn(move || -> Result<()> {
        let invite = bob.expect("INVITE")?;
        bob.answer(&invite, 480, "")
    });
    let call = alice.invite("bob", "")?;
    ensure!((call.status(), call.is_remembered()) == (480, false), "{}", call.status());
    ensure!(serve.join().is_ok_and(|served| served.is_ok()));
    ensure!(site.watched()? == 0.0);
    site.cluster.wait_no_watch_keys()
}

#[test]
fn p7_a_challenge_passes_untouched_and_arms_nothing() -> Result<()> {
    let site = Site::start(1, 1, &[PATH], &[])?;
    user("alice", site.edge(0))?.register(600)?;
    let call = Phone::new("alice", site.edge(0))?.invite("bob", "")?;
    let here = call.answer.header(Header::ProxyAuthenticate);
    let there = Phone::new("alice", site.servers[0].sip)?.invite("bob", "")?.answer.header(Header::ProxyAuthenticate);
    let but_nonce = |value: &str| value.split(',').filter(|part| !part.contains("nonce=")).map(str::to_owned).collect::<Vec<_>>();
    ensure!(call.status() == 407 && !here.is_empty() && but_nonce(&here) == but_nonce(&there), "{here}\n{there}");
    ensure!(!call.is_remembered() && site.watched()? == 0.0);
    site.cluster.wait_no_watch_keys()
}

#[test]
fn p7_a_name_without_its_password_is_remembered_for_nothing() -> Result<()> {
    let site = Site::start(1, 1, &[PATH], &[])?;
    let mut alice = user("alice", site.edge(0))?;
    alice.register(600)?;
    // From another address: without a password, with a wrong one, and with his own for her name.
    for password in [None, Some("guessed")] {
        let mut mallory = Phone::new("alice", site.edge(0))?;
        mallory.password = password.map(str::to_owned);
        let call = mallory.invite("bob", "")?;
        ensure!((call.status(), call.is_remembered()) == (407, false), "{}", call.status());
    }
    ensure!(site.watched()? == 0.0);
    alice.miss_with("bob", 404)?;
    ensure!(site.watched()? == 1.0);
    Ok(())
}

/// Where the server lets anybody call, a name proves nothing, and nor do credentials that nobody has looked at: the caller must be registered by
/// the address that he calls from.
#[test]
fn p7_before_a_server_that_trusts_callers_the_address_is_the_proof() -> Result<()> {
    let site = Site::start(1, 1, &[PATH, TRUSTING], &[])?;
    let mut alice = user("alice", site.edge(0))?;
    alice.register(600)?;
    let mut mallory = Phone::new("alice", site.edge(0))?;
    let forged = "Proxy-Authorization: Digest username=\"alice\", realm=\"example.com\", nonce=\"n\", uri=\"sip:bob@example.com\", \
                  response=\"00000000000000000000000000000000\"\r\n";
    for headers in ["", forged] {
        let call = mallory.invite("bob", headers)?;
        ensure!((call.status(), call.is_remembered()) == (404, false), "{}", call.status());
    }
    ensure!(site.watched()? == 0.0);
    alice.miss_with("bob", 404)
}
