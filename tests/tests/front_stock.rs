//! In front of Kamailio with the configuration that Debian's package installs, not a line of it changed: it keeps Path as it is, and needs
//! nothing where Contact is rewritten.

use anyhow::{Result, ensure};
use redial_tests::front::Site;
use redial_tests::kamailio::{Kamailio, user};
use redial_tests::{Phone, Policy};

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

fn site(users: &[&str], edges: usize, way: &str) -> Result<Site> {
    Site::before(vec![Kamailio::stock(users)?], edges, &Policy::default(), &["--upstream-path", way])
}

/// One edge, and two.
fn stories(users: &[&str], way: &str) -> Result<()> {
    for edges in [1, 2] {
        let site = site(users, edges, way)?;
        site.story(["alice", "bob"], [0, edges - 1], 404)?;
        site.story(["carol", "dave"], [edges - 1, 0], 404)?;
        site.over(2)?;
    }
    Ok(())
}

#[test]
fn the_whole_story_by_path() -> Result<()> {
    stories(&[], "path")
}

#[test]
fn the_whole_story_by_contact() -> Result<()> {
    stories(&[], "contact")
}

#[test]
fn the_whole_story_with_passwords_by_path() -> Result<()> {
    stories(&USERS, "path")
}

#[test]
fn the_whole_story_with_passwords_by_contact() -> Result<()> {
    stories(&USERS, "contact")
}

/// Its users and its passwords decide, ours are none.
#[test]
fn p7_who_has_no_password_is_neither_registered_nor_remembered() -> Result<()> {
    let site = site(&USERS, 1, "path")?;
    let edge = site.edge(0);
    ensure!(Phone::new("alice", edge)?.try_register(600)?.status() == 401);
    ensure!(user("mallory", edge)?.try_register(600)?.status() == 401, "no such user");
    user("alice", edge)?.register(600)?;
    let call = Phone::new("alice", edge)?.invite("bob", "")?;
    ensure!((call.status(), call.is_remembered()) == (407, false), "{}", call.status());
    ensure!(site.watched()? == 0.0);
    user("alice", edge)?.miss_with("bob", 404)
}
