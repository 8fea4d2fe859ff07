//! Digest with SHA-256 (RFC 7616, RFC 8760), nonces that every edge knows, and a users file that changes. MD5 is sipp's part in `story`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use redial_runtime::clock;
use redial_tests::process::Scratch;
use redial_tests::wait::PATIENCE;
use redial_tests::{Cluster, Coordinator, DOMAIN, Edge, Phone, Policy, Redis, Standalone, until};
use sha2::{Digest as _, Sha256};
use sip_core::digest::{Algorithm, Answer, Ha1, OfferedChallenge, nonce};
use sip_core::message::Header;

const SHA_256: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/users-sha256");
const BOTH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/users-both");
const SECRET: &str = "shared by the edges and by this test";

fn phone(who: &str, edge: SocketAddr, password: &str) -> Result<Phone> {
    let mut phone = Phone::new(who, edge)?;
    phone.password = Some(password.to_owned());
    Ok(phone)
}

/// An Authorization line of a phone that knows its password and keeps a nonce from somewhere.
fn authorization(phone: &Phone, nonce: &str) -> Result<String> {
    let uri = format!("sip:{DOMAIN}");
    let value = format!("Digest realm=\"{DOMAIN}\", nonce=\"{nonce}\", algorithm=SHA-256, qop=\"auth\"");
    let challenge = OfferedChallenge::parse(value.as_bytes()).context("a challenge")?;
    let ha1 = Ha1::new(Algorithm::Sha256, &phone.who, DOMAIN, "secret");
    let answer = Answer { user: &phone.who, ha1: &ha1, method: "REGISTER", uri: &uri, cnonce: "c", nc: 1 };
    Ok(format!("Authorization: {}\r\n", answer.header(&challenge)))
}

#[test]
fn the_whole_story_with_sha_256_passwords() -> Result<()> {
    let redial = Standalone::start(&Policy::default(), &["--users", SHA_256])?;
    let (mut alice, mut bob) = (phone("alice", redial.sip, "secret")?, phone("bob", redial.sip, "secret")?);
    alice.register(600)?;
    alice.miss("bob")?;
    bob.register(600)?;
    let refer = alice.expect("REFER")?;
    alice.reconnect(&refer, &mut bob)?;
    redial.service.wait_ended("connected", 1)
}

#[test]
fn a_wrong_sha_256_password_neither_registers_nor_is_remembered() -> Result<()> {
    let redial = Standalone::start(&Policy::default(), &["--users", SHA_256])?;
    let mut alice = phone("alice", redial.sip, "guessed")?;
    let answer = alice.try_register(600)?;
    ensure!(answer.status() == 401 && !answer.header(Header::WwwAuthenticate).contains("stale"), "{}", answer.status());
    alice.password = Some("secret".to_owned());
    alice.register(600)?;
    alice.password = Some("guessed".to_owned());
    ensure!(alice.invite("bob", "")?.status() == 407);
    // Bob's password is right, but it is not Alice's.
    let mut bob = phone("bob", redial.sip, "secret")?;
    bob.register(600)?;
    ensure!(redial.service.armed()? == 0.0);
    alice.password = Some("secret".to_owned());
    bob.register(0)?;
    alice.miss("bob")?;
    ensure!(redial.service.armed()? == 1.0);
    Ok(())
}

#[test]
fn the_stronger_algorithm_is_offered_first() -> Result<()> {
    let redial = Standalone::start(&Policy::default(), &["--users", BOTH])?;
    let mut alice = Phone::new("alice", redial.sip)?;
    let answer = alice.try_register(600)?;
    let offered: Vec<_> = answer.message().fields(Header::WwwAuthenticate).filter_map(OfferedChallenge::parse).collect();
    ensure!(offered.iter().map(|c| c.algorithm).eq([Algorithm::Sha256, Algorithm::Md5]), "{offered:?}");
    alice.password = Some("secret".to_owned());
    alice.register(600)
}

/// A nonce of ten minutes ago, as this installation would have made it then: the phone is told that only the nonce is wrong, so that it
/// does not ask its user for the password.
#[test]
fn an_old_nonce_is_answered_stale_and_the_new_one_is_taken() -> Result<()> {
    let scratch = Scratch::new("secret")?;
    let file = scratch.file("secret", SECRET)?;
    let redial = Standalone::start(&Policy::default(), &["--users", SHA_256, "--secret-file", &file])?;
    let mut alice = Phone::new("alice", redial.sip)?;
    let ten_minutes_ago = clock::unix().0 - Duration::from_secs(600).as_millis() as u64;
    let key = Sha256::digest(SECRET);
    let old = nonce::issue(&key, ten_minutes_ago, alice.local.ip());
    let header = authorization(&alice, &old)?;
    let answer = alice.register_with(&header)?;
    ensure!(answer.status() == 401);
    let value = answer.header(Header::WwwAuthenticate);
    let challenge = OfferedChallenge::parse(value.as_bytes()).context("no challenge")?;
    ensure!(challenge.stale, "{value}");
    let header = authorization(&alice, challenge.nonce)?;
    ensure!(alice.register_with(&header)?.status() == 200);
    // The same nonce, were it made now: it is its age that made it stale.
    let header = authorization(&alice, &nonce::issue(&key, clock::unix().0, alice.local.ip()))?;
    ensure!(alice.register_with(&header)?.status() == 200);
    Ok(())
}

#[test]
fn a_nonce_of_one_edge_is_good_at_the_other() -> Result<()> {
    let redis = Redis::start()?;
    let coordinator = Coordinator::start(&redis, &Policy::default(), &[])?;
    let scratch = Scratch::new("secret")?;
    let file = scratch.file("secret", SECRET)?;
    let edge = || Edge::start(&[&coordinator], &["--users", SHA_256, "--secret-file", &file]);
    let (here, there) = (edge()?, edge()?);
    let mut alice = Phone::new("alice", here.sip)?;
    let answer = alice.try_register(600)?;
    ensure!(answer.status() == 401);
    let value = answer.header(Header::WwwAuthenticate);
    let header = authorization(&alice, OfferedChallenge::parse(value.as_bytes()).context("no challenge")?.nonce)?;
    alice.turn_to(there.sip);
    let answer = alice.register_with(&header)?;
    ensure!(answer.status() == 200, "{}", answer.status());
    Ok(())
}

#[test]
fn a_user_who_is_added_to_the_file_can_register_without_a_restart() -> Result<()> {
    let scratch = Scratch::new("users")?;
    let all = std::fs::read_to_string(SHA_256)?;
    let (first, _) = all.split_once('\n').context("two lines")?;
    let file = scratch.file("users", first)?;
    let redial = Standalone::start(&Policy::default(), &["--users", &file])?;
    phone("alice", redial.sip, "secret")?.register(600)?;
    let mut bob = phone("bob", redial.sip, "secret")?;
    ensure!(bob.try_register(600)?.status() == 401);
    scratch.file("users", &all)?;
    until("the new user to be let in", PATIENCE, || Ok((bob.try_register(600)?.status() == 200).then_some(())))
}

/// The recall of a clustered installation whose edges ask for passwords.
#[test]
fn the_story_with_passwords_across_two_edges() -> Result<()> {
    let cluster = Cluster::start_with(2, 2, &Policy::default(), &["--users", SHA_256])?;
    let mut alice = phone("alice", cluster.edges[0].sip, "secret")?;
    let mut bob = phone("bob", cluster.edges[1].sip, "secret")?;
    alice.register(600)?;
    alice.miss("bob")?;
    bob.register(600)?;
    let refer = alice.expect("REFER")?;
    alice.reconnect(&refer, &mut bob)?;
    cluster.wait_ended("connected", 1)
}
