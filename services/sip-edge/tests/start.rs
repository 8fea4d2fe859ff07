//! The binary refuses to start on bad settings, with a line for each and exit code 64, and says no word else.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::process::{Command, Output};

fn sip_edge(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sip-edge"));
    command.env_clear().args(args).output().unwrap()
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8(output.stderr.clone()).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn every_bad_key_has_a_line_and_the_exit_code_is_64() {
    let path = std::env::temp_dir().join(format!("sip-edge-start-{}.toml", std::process::id()));
    std::fs::write(&path, "domian = \"example.com\"\nbatch-linger = \"soon\"\n").unwrap();
    let output = sip_edge(&["--config", path.to_str().unwrap(), "--listen=sctp:127.0.0.1:5060", "--worker=3", "--admin=nowhere"]);
    assert_eq!(output.status.code(), Some(64));
    let lines = lines(&output);
    for key in ["domian", "batch-linger", "listen", "worker", "admin"] {
        assert_eq!(lines.iter().filter(|line| line.starts_with(&format!("{key}: "))).count(), 1, "{key} in {lines:?}");
    }
    assert_eq!(lines.len(), 5, "{lines:?}");
}

#[test]
fn an_open_door_must_be_asked_for() {
    let output = sip_edge(&["--domain=example.com", "--listen=udp:0.0.0.0:0", "--advertise=192.0.2.1"]);
    assert_eq!(output.status.code(), Some(64));
    let lines = lines(&output);
    assert!(lines.len() == 1 && lines[0].contains("--users FILE") && lines[0].contains("--open"), "{lines:?}");
}

#[test]
fn help_names_flag_variable_and_default_of_each() {
    let output = sip_edge(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for word in [
        "--listen <TRANSPORT:ADDR>",
        "[env: REDIAL_LISTEN]",
        "[default: udp:127.0.0.1:5060]",
        "REDIAL_COORDINATOR",
        "--config <FILE>",
        "[default: 35s]",
    ] {
        assert!(text.contains(word), "{word} in\n{text}");
    }
}

#[test]
fn a_port_in_use_ends_the_start_with_69() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let listen = format!("--listen=udp:{}", taken.local_addr().unwrap());
    let output = sip_edge(&["--domain=example.com", &listen]);
    assert_eq!(output.status.code(), Some(69));
}
