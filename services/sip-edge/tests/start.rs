//! The binary refuses to start on bad settings, with a line for each and exit code 64, and says no word else; what it can start with and should not
//! have, it says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

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

/// Started by a shell that lowers its own limits first; killed when dropped.
struct Started {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Started {
    fn by(shell: &str, args: &[&str]) -> Self {
        let command = format!("{shell} exec \"$0\" \"$@\"");
        let binary = env!("CARGO_BIN_EXE_sip-edge");
        let mut child = Command::new("sh").args(["-c", &command, binary]).args(args).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines }
    }

    /// What it logs until it serves.
    fn log(&mut self) -> Vec<String> {
        let mut log = Vec::new();
        for line in self.lines.by_ref().map(Result::unwrap) {
            let done = line.contains("admin http");
            log.push(line);
            if done {
                return log;
            }
        }
        panic!("ended: {log:#?}");
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SERVE: [&str; 3] = ["--domain=example.com", "--admin=127.0.0.1:0", "--listen=tcp:127.0.0.1:0"];

#[test]
fn the_limit_of_file_descriptors_is_raised_and_said_where_it_stays_too_low() {
    let mut raised = Started::by("ulimit -Sn 300; ulimit -Hn 700;", &[&SERVE[..], &["--max-connections=100"]].concat());
    let log = raised.log();
    assert!(!log.iter().any(|line| line.contains("file descriptors")), "{log:#?}");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", raised.child.id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["700", "700"], "{files}");

    let log = Started::by("ulimit -n 700;", &[&SERVE[..], &["--max-connections=1000"]].concat()).log();
    let lines: Vec<_> = log.iter().filter(|line| line.contains("file descriptors")).collect();
    assert!(lines.len() == 1 && lines[0].contains("limit=700") && lines[0].contains("needed=1512"), "{log:#?}");
}

#[test]
fn an_address_that_phones_cannot_reach_is_said_in_one_line() {
    let doubts = |advertise: &[&str]| {
        let log = Started::by("", &[&SERVE[..], advertise].concat()).log();
        log.into_iter().filter(|line| line.contains("phones cannot reach the advertised address")).collect::<Vec<_>>()
    };
    let said = doubts(&["--advertise=169.254.7.7"]);
    let [line] = said.as_slice() else { panic!("{said:#?}") };
    assert!(line.contains("WARN") && line.contains("it is a link-local address") && line.contains("advertised=169.254.7.7:"), "{line}");
    assert!(doubts(&["--advertise=192.0.2.1"]).is_empty() && doubts(&[]).is_empty());
}
