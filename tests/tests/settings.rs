//! What an operator gets wrong is said, one line for each key, before anything is started.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use redial_tests::authority::Authority;
use redial_tests::metrics::http_get;
use redial_tests::process::{Process, Scratch, workspace_binary};
use redial_tests::wait::PATIENCE;
use redial_tests::{Redis, ports, until};

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
fn policies_are_a_file_or_objects() -> Result<()> {
    for (args, word) in [
        (["--policy", "/nowhere.toml", "--policy-namespace", "redial"].as_slice(), "together"),
        (&["--policy-namespace", "No Namespace"], "no namespace"),
    ] {
        let said = refused("redial-coordinator", args)?;
        ensure!(said.lines().filter(|line| line.contains("policy-namespace") && line.contains(word)).count() == 1, "{word}:\n{said}");
    }
    Ok(())
}

#[test]
fn certificates_for_redis_are_read_before_anything_starts() -> Result<()> {
    let (authority, scratch) = (Authority::new()?, Scratch::new("certificates")?);
    let (ours, others) = (authority.issue("ours")?, authority.issue("others")?);
    let (ca, empty) = (authority.ca(), scratch.file("empty.pem", "nothing\n")?);
    let tls = "--redis=rediss://localhost:1/";
    let cases: [(&[&str], &str); 7] = [
        (&[tls, "--redis-ca", "/nowhere.pem"], "redis-ca: /nowhere.pem: "),
        (&[tls, "--redis-ca", &empty], "redis-ca: "),
        (&[tls, "--redis-ca", &ours.key], "redis-ca: "),
        (&["--redis=redis://localhost:1/", "--redis-ca", &ca], "redis-ca: counts only"),
        (&["--redis-ca", &ca], "redis-ca: counts only"),
        (&[tls, "--redis-cert", &ours.cert], "redis-cert: redis-cert and redis-key"),
        (&[tls, "--redis-cert", &ours.cert, "--redis-key", &others.key], "redis-key: does not fit redis-cert"),
    ];
    for (args, line) in cases {
        let said = refused("redial-coordinator", args)?;
        ensure!(said.lines().filter(|l| l.starts_with(line)).count() == 1 && said.matches("redis-").count() <= 3, "{args:?}:\n{said}");
        let standalone = ["standalone", "--listen", "udp:127.0.0.1:0", "--domain", "example.com"];
        ensure!(refused("redial", &[&standalone, args].concat())? == said);
    }
    Ok(())
}

#[test]
fn certificates_for_a_collector_are_read_before_anything_starts() -> Result<()> {
    let scratch = Scratch::new("collector")?;
    let empty = scratch.file("empty.pem", "nothing\n")?;
    for name in ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"].map(|name| format!("OTEL_EXPORTER_OTLP_{name}")) {
        let args = ["--otlp-endpoint", "https://localhost:1"];
        let log = scratch.path().join("log");
        let mut process = Process::spawn_in(&[(&name, &empty)], &workspace_binary("redial-coordinator")?, args, scratch.path(), log)?;
        ensure!(process.wait(PATIENCE)?.code() == Some(USAGE));
        ensure!(process.log().lines().count() == 1 && process.log().starts_with(&format!("{name}: ")), "{name}:\n{}", process.log());
    }
    Ok(())
}

/// Every setting of a binary, with its variable and what it is for.
#[test]
fn help_names_every_setting_with_its_variable() -> Result<()> {
    const SIP: &[&str] = &[
        "listen",
        "tls-cert",
        "tls-key",
        "max-connections",
        "connections-per-ip",
        "connection-idle",
        "connection-message",
        "advertise",
        "domain",
        "mode",
        "upstream",
        "upstream-path",
        "upstream-check",
        "upstream-timeout",
        "dns",
        "users",
        "open",
        "workers",
        "edge-id",
        "secret-file",
        "register-min",
        "register-max",
        "register-default",
        "coordinator-timeout",
        "batch-linger",
        "max-requests",
        "max-transactions",
        "max-known",
        "timer-c",
    ];
    const ALL: &[&str] = &["admin", "grace", "log", "log-format", "config"];
    let standalone =
        [SIP, ALL, &["redis", "redis-ca", "redis-cert", "redis-key", "policy", "settle", "control", "sweep-interval"]].concat();
    let edge =
        [SIP, ALL, &["coordinator", "coordinator-service", "advertise-service", "drain-delay", "peer-listen", "peer", "peer-service"]]
            .concat();
    let coordinator = [
        ALL,
        &[
            "listen",
            "redis",
            "redis-ca",
            "redis-cert",
            "redis-key",
            "policy",
            "policy-namespace",
            "sweep-interval",
            "replica-name",
            "peer-service",
            "drain-delay",
        ],
    ]
    .concat();
    for (binary, command, settings) in
        [("sip-edge", None, edge), ("redial-coordinator", None, coordinator), ("redial", Some("standalone"), standalone)]
    {
        let output = run(&workspace_binary(binary)?, &command.into_iter().chain(["--help"]).collect::<Vec<_>>())?;
        ensure!(output.status.success());
        let text = String::from_utf8(output.stdout)?;
        let lines: Vec<_> = text.lines().map(str::trim).filter(|line| line.starts_with("--")).collect();
        let missing: Vec<_> =
            settings.iter().filter(|name| !lines.iter().any(|line| line.split(' ').next() == Some(&format!("--{name}")))).collect();
        ensure!(missing.is_empty(), "{binary}: {missing:?} not in:\n{text}");
        for line in lines {
            let name = line.trim_start_matches("--").split(' ').next().unwrap_or_default();
            let variable = format!("[env: REDIAL_{}]", name.to_uppercase().replace('-', "_"));
            ensure!(line.contains(&variable), "{binary}: {line}");
        }
    }
    Ok(())
}

/// The same key in three places; where the admin server answers, there the process took its address from.
#[test]
fn a_flag_beats_the_environment_beats_the_file() -> Result<()> {
    let redis = Redis::start()?;
    let places = [ports::free()?, ports::free()?, ports::free()?];
    let [file, environment, flag] = places.map(|addr| addr.to_string());
    for (binary, command) in [("redial", Some("standalone")), ("sip-edge", None), ("redial-coordinator", None)] {
        let scratch = Scratch::new("order")?;
        let mut text = format!("admin = \"{file}\"\nlog = \"warn\"\n");
        text += &match binary {
            "redial" => format!("listen = [\"udp:{}\"]\ndomain = \"example.com\"\ncontrol = \"{}\"\n", ports::free()?, ports::free()?),
            "sip-edge" => format!("listen = \"udp:{}\"\ndomain = [\"example.com\"]\n", ports::free()?),
            _ => format!("listen = \"{}\"\nredis = \"{}\"\n", ports::free()?, redis.url()),
        };
        let config = scratch.file("settings.toml", &text)?;
        for count in 1..=places.len() {
            let variables: &[(&str, &str)] = if count >= 2 { &[("REDIAL_ADMIN", &environment)] } else { &[] };
            let flags: &[&str] = if count >= 3 { &["--admin", &flag] } else { &[] };
            let args: Vec<&str> = command.into_iter().chain(["--config", &config]).chain(flags.iter().copied()).collect();
            let mut process = Process::spawn_in(
                variables,
                &workspace_binary(binary)?,
                &args,
                scratch.path(),
                scratch.path().join(format!("log{count}")),
            )?;
            let answering = until("the admin server", PATIENCE, || {
                process.ensure_alive()?;
                Ok(places.iter().position(|addr| http_get(*addr, "/live").is_ok()))
            })?;
            ensure!(answering == count - 1, "{binary} with {count} sources took number {answering}");
            process.kill()?;
        }
    }
    Ok(())
}

#[test]
fn a_bad_key_in_the_file_is_refused_by_every_binary() -> Result<()> {
    let scratch = Scratch::new("bad-file")?;
    let file = scratch.file("settings.toml", "admin = \"nowhere\"\ngrace = \"soon\"\nlisen = \"udp:127.0.0.1:5060\"\n")?;
    for (binary, command) in [("redial", Some("standalone")), ("sip-edge", None), ("redial-coordinator", None)] {
        let args: Vec<&str> = command.into_iter().chain(["--config", &file]).collect();
        let said = refused(binary, &args)?;
        for key in ["admin:", "grace:", "lisen:"] {
            ensure!(said.lines().filter(|line| line.starts_with(key)).count() == 1, "{binary}, {key}\n{said}");
        }
    }
    Ok(())
}

/// An address that is taken is no usage error, and no success.
#[test]
fn an_address_that_is_taken_fails_the_start() -> Result<()> {
    let taken = ports::free()?;
    let _holder = std::net::UdpSocket::bind(taken)?;
    let scratch = Scratch::new("taken")?;
    let (listen, admin, control) = (format!("udp:{taken}"), ports::free()?.to_string(), ports::free()?.to_string());
    let args = ["standalone", "--listen", &listen, "--domain", "example.com", "--admin", &admin, "--control", &control];
    let mut process = Process::spawn(&workspace_binary("redial")?, args, scratch.path(), scratch.path().join("log"))?;
    let status = process.wait(PATIENCE)?;
    ensure!(status.code() == Some(69), "{status}");
    ensure!(process.log().contains(&taken.to_string()), "{}", process.log());
    Ok(())
}

#[test]
fn a_tls_listener_needs_a_certificate_and_its_own_key() -> Result<()> {
    let authority = Authority::new()?;
    let (ours, others) = (authority.issue("ours")?, authority.issue("others")?);
    let listen = "--listen=tls:127.0.0.1:0";
    let cases: [(&[&str], &[&str]); 5] = [
        (&[listen], &["tls-cert: is needed", "tls-key: is needed"]),
        (&[listen, "--tls-cert", "/nowhere.pem", "--tls-key", &ours.key], &["tls-cert: /nowhere.pem: "]),
        (&[listen, "--tls-cert", &ours.cert, "--tls-key", &ours.cert], &["tls-key: "]),
        (&[listen, "--tls-cert", &ours.cert, "--tls-key", &others.key], &["tls-cert: certificate and key"]),
        (&["--tls-cert", &ours.cert, "--tls-key", &ours.key], &["tls-cert: is for nobody", "tls-key: is for nobody"]),
    ];
    for (args, lines) in cases {
        let said = refused("sip-edge", &[&["--domain", "example.com"], args].concat())?;
        for line in lines {
            ensure!(said.lines().filter(|said| said.starts_with(line)).count() == 1, "{line}:\n{said}");
        }
    }
    Ok(())
}
