//! Policy `offlineCodes` in front of an existing server: which of its answers say that a callee is away.

use anyhow::{Result, ensure};
use redial_tests::front::Site;
use redial_tests::kamailio::{Kamailio, PATH, UNAVAILABLE, user};
use redial_tests::phone::Call;
use redial_tests::{Phone, Policy};

/// Before a server that says 480.
fn site(policy: &Policy) -> Result<(Site, Phone)> {
    let site = Site::with(1, 1, &[PATH, UNAVAILABLE], policy, &[])?;
    let mut alice = user("alice", site.edge(0))?;
    alice.register(600)?;
    Ok((site, alice))
}

fn said(call: &Call) -> (u16, bool) {
    (call.status(), call.is_remembered())
}

/// Each of the default ones, in the server's own words.
#[test]
fn every_code_of_the_default_list_is_a_reason() -> Result<()> {
    for code in [404, 408, 410, 430, 480, 503] {
        let away = format!("AWAY=\"{code}\"");
        let site = Site::start(1, 1, &[PATH, &away], &[])?;
        site.story(["alice", "bob"], [0, 0], code)?;
        site.over(1)?;
    }
    Ok(())
}

#[test]
fn what_is_not_in_the_list_is_no_reason() -> Result<()> {
    let server = Kamailio::start(&[PATH, "AWAY=\"403\""])?;
    let site = Site::before(vec![server], 1, &Policy::default(), &[])?;
    let mut alice = user("alice", site.edge(0))?;
    alice.register(600)?;
    ensure!(said(&alice.invite("bob", "")?) == (403, false));
    ensure!(site.watched()? == 0.0);

    for codes in ["[404]", "[]"] {
        let (site, mut alice) = self::site(&Policy::default().set("offlineCodes", codes))?;
        ensure!(said(&alice.invite("bob", "")?) == (480, false), "{codes}");
        ensure!(site.watched()? == 0.0);
        site.cluster.wait_no_watch_keys()?;
    }
    Ok(())
}

/// A code of the list's own is a reason as good as any other.
#[test]
fn a_code_that_the_policy_adds_is_a_reason() -> Result<()> {
    let site = Site::with(1, 1, &[PATH, "AWAY=\"604\""], &Policy::default().set("offlineCodes", "[604]"), &[])?;
    site.story(["alice", "bob"], [0, 0], 604)?;
    site.over(1)
}

/// By rule, for some callees and not for others; the story of who is remembered goes on to its end.
#[test]
fn a_rule_has_a_list_of_its_own() -> Result<()> {
    let policy = Policy::default().set("offlineCodes", "[404]").rule("user = \"support-*\"\nofflineCodes = [480]");
    let (site, mut alice) = site(&policy)?;
    ensure!(said(&alice.invite("bob", "")?) == (480, false));
    alice.register(0)?;
    site.story(["alice", "support-1"], [0, 0], 480)?;
    site.over(1)
}
