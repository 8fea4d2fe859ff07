//! What an operator gets wrong is said, one line for each key, before anything is started.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use redial_tests::process::{Process, Scratch, workspace_binary};
use redial_tests::wait::PATIENCE;

/// EX_USAGE of sysexits.h.
const USAGE: i32 = 64;

/// Runs a binary that is expected to refuse; returns what it said.
fn refused(binary: &str, args: &[&str]) -> Result<String> {
    let scratch = Scratch::new("refused")?;
    let mut process = Process::spawn(&workspace_binary(binary)?, args, scratch.path(), scratch.path().join("log"))?;
    let status = process.wait(PATIENCE)?;
    ensure!(status.code() == Some(USAGE), "{binary} {args:?}: {status}\n{}", process.log());
    Ok(process.log())
}

fn run(binary: &Path, args: &[&str]) -> Result<Output> {
    Ok(Command::new(binary).args(args).output()?)
}

#[test]
fn every_bad_key_has_its_line() -> Result<()> {
    let cases: [(&str, &[&str], &[&str]); 3] = [
        (
            "sip-edge",
            &["--listen", "carrier-pigeon:1", "--domain", "example.com", "--admin", "nowhere", "--grace", "soon"],
            &["listen", "admin", "grace"],
        ),
        ("redial-coordinator", &["--listen", "nowhere", "--sweep-interval", "often"], &["listen", "sweep-interval"]),
        ("redial", &["standalone", "--listen", "udp:127.0.0.1:99999", "--settle", "later"], &["listen", "settle"]),
    ];
    for (binary, args, keys) in cases {
        let said = refused(binary, args)?;
        for key in keys {
            let lines = said.lines().filter(|line| line.contains(key)).count();
            ensure!(lines == 1, "{binary}: {lines} lines about {key}:\n{said}");
        }
    }
    Ok(())
}

#[test]
fn an_address_that_others_can_reach_needs_users_or_a_plain_word() -> Result<()> {
    let args = ["--listen", "udp:0.0.0.0:0", "--domain", "example.com"];
    for (binary, command) in [("sip-edge", None), ("redial", Some("standalone"))] {
        let args: Vec<&str> = command.into_iter().chain(args).collect();
        let said = refused(binary, &args)?;
        ensure!(said.contains("users") && said.contains("open"), "{said}");
    }
    Ok(())
}

#[test]
fn a_bad_policy_file_is_refused_with_every_key() -> Result<()> {
    let scratch = Scratch::new("policy")?;
    let file = scratch.file("policy.toml", "[default]\nsettle = \"soon\"\nfanout = \"some\"\nladder = [7]\ntypo = 1\n")?;
    let said = refused("redial", &["standalone", "--listen", "udp:127.0.0.1:0", "--domain", "example.com", "--policy", &file])?;
    for key in ["settle", "fanout", "ladder", "typo"] {
        ensure!(said.lines().filter(|line| line.contains(key)).count() == 1, "{key}:\n{said}");
    }
    Ok(())
}

#[test]
fn help_names_every_setting() -> Result<()> {
    let edge = run(&workspace_binary("sip-edge")?, &["--help"])?;
    let coordinator = run(&workspace_binary("redial-coordinator")?, &["--help"])?;
    let standalone = run(&workspace_binary("redial")?, &["standalone", "--help"])?;
    for (output, flags) in [
        (edge, &["--listen", "--domain", "--coordinator", "--admin", "--users", "--open", "--secret-file"][..]),
        (coordinator, &["--listen", "--redis", "--policy", "--admin", "--sweep-interval"][..]),
        (standalone, &["--listen", "--domain", "--policy", "--admin", "--settle", "--users", "--redis", "--open"][..]),
    ] {
        ensure!(output.status.success());
        let text = String::from_utf8(output.stdout)?;
        let missing: Vec<_> = flags.iter().filter(|flag| !text.contains(**flag)).collect();
        ensure!(missing.is_empty(), "{missing:?} not in:\n{text}");
    }
    Ok(())
}
