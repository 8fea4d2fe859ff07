use clap::Command;
use redial_runtime::settings::{Problem, Sources, Stop, read_from};

use super::*;

fn settings(args: &[&str]) -> Result<EdgeSettings, Stop> {
    let sources = Sources { args: args.iter().map(Into::into).collect(), ..Sources::default() };
    read_from(Command::new("sip-edge"), &sources)
}

fn problems(args: &[&str]) -> Vec<Problem> {
    settings(args).unwrap().config().unwrap_err()
}

fn keys(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|problem| problem.key.as_str()).collect()
}

#[test]
fn loopback_is_served_without_users() {
    let config = settings(&["--domain=Example.COM", "--listen=udp:127.0.0.1:0", "--listen=udp:[::1]:0"]).unwrap().config().unwrap();
    assert_eq!(config.domains, ["example.com"]);
    assert_eq!(config.listeners.len(), 2);
    assert!(!config.secret_is_shared);
}

#[test]
fn other_addresses_need_users_or_open() {
    let args = ["--domain=example.com", "--listen=udp:192.0.2.1:5060"];
    assert_eq!(keys(&problems(&args)), ["users"]);
    assert!(settings(&[&args[..], &["--open"]].concat()).unwrap().config().is_ok());
}

#[test]
fn a_listener_on_every_address_needs_to_be_told_which_phones_reach() {
    let args = ["--domain=example.com", "--listen=udp:0.0.0.0:5060", "--open"];
    assert_eq!(keys(&problems(&args)), ["advertise"]);
    let config = settings(&[&args[..], &["--advertise=192.0.2.1"]].concat()).unwrap().config().unwrap();
    let listener = &config.listeners[0];
    assert_eq!(listener.advertised.unwrap().with_port_of("0.0.0.0:5062".parse().unwrap()), "192.0.2.1:5062".parse().unwrap());
    assert_eq!(keys(&problems(&[&args[..], &["--advertise=2001:db8::1"]].concat())), ["advertise"]);
}

#[test]
fn every_problem_is_named() {
    let found = problems(&[
        "--listen=udp:192.0.2.1:5060",
        "--listen=udp:192.0.2.1:5060",
        "--advertise=192.0.2.1:5060",
        "--register-min=2h",
        "--register-max=1h",
        "--timer-c=1m",
        "--edge-id=a b",
        "--batch-linger=5s",
        "--receive-linger=1s",
        "--secret-file=/nonexistent",
    ]);
    let expected =
        ["advertise", "listen", "domain", "register-min", "batch-linger", "receive-linger", "timer-c", "users", "edge-id", "secret-file"];
    assert_eq!(keys(&found), expected, "{found:?}");
}

#[test]
fn an_edge_with_peers_must_be_reachable_by_them_and_share_a_secret() {
    let base = ["--domain=example.com"];
    let with = |more: &[&'static str]| [&base[..], more].concat();
    assert!(settings(&base).unwrap().config().unwrap().peers.is_none());
    assert_eq!(keys(&problems(&with(&["--peer=b=127.0.0.1:5070"]))), ["peer"]);
    assert_eq!(keys(&problems(&with(&["--peer-listen=127.0.0.1:0"]))), ["peer-listen", "peer-listen"]);
    let twice = ["--peer-listen=127.0.0.1:0", "--peer=b=127.0.0.1:1", "--peer=b=127.0.0.1:2", "--secret-file=/nonexistent"];
    assert_eq!(keys(&problems(&with(&twice))), ["peer", "secret-file"]);
    let both = ["--peer-listen=127.0.0.1:0", "--peer=b=127.0.0.1:1", "--peer-service=tel/edges:5070"];
    assert_eq!(keys(&problems(&with(&both))), ["peer-service", "peer-service", "peer-listen"]);
    assert_eq!(keys(&problems(&with(&["--peer-service=edges:5070"]))), ["peer-service"]);
    for bad in ["--peer=127.0.0.1:5070", "--peer==127.0.0.1:5070", "--peer=b=edge-b:5070"] {
        assert!(settings(&with(&[bad])).is_err(), "{bad}");
    }
}

#[test]
fn a_front_has_servers_and_no_users() {
    let front =
        ["--mode=front", "--listen=udp:192.0.2.1:5060", "--upstream=example.com=192.0.2.5", "--upstream=Example.org=sip.example.net"];
    let config = settings(&front).unwrap().config().unwrap();
    assert_eq!(config.domains, ["example.com", "example.org"]);
    assert!(config.front.unwrap().front.upstreams.has_names());
    assert_eq!(keys(&problems(&["--mode=front"])), ["upstream"]);
    assert_eq!(keys(&problems(&["--domain=example.com", "--upstream=example.com=192.0.2.5"])), ["upstream"]);
    let more = ["--users=/nonexistent", "--domain=example.net", "--upstream-check=0s", "--upstream-timeout=0s"];
    assert_eq!(keys(&problems(&[&front[..], &more].concat())), ["users", "upstream-check", "upstream-timeout", "domain", "users"]);
    assert!(settings(&["--upstream=example.com"]).is_err());
}

#[test]
fn a_service_takes_the_place_of_a_list_and_not_both() {
    let args = ["--domain=example.com", "--coordinator-service=tel/coordinator:7070"];
    assert!(settings(&args).unwrap().config().unwrap().coordinators.is_empty());
    assert_eq!(settings(&["--domain=example.com"]).unwrap().config().unwrap().coordinators.len(), 1);
    let both = ["--coordinator=http://c:7070", "--advertise=192.0.2.1", "--advertise-service=edge", "--listen=udp:0.0.0.0:5060", "--open"];
    assert_eq!(keys(&problems(&[&args[..], &both].concat())), ["coordinator-service", "advertise-service"]);
    let exposed = ["--domain=example.com", "--listen=udp:0.0.0.0:5060", "--open", "--advertise-service=edge"];
    assert!(settings(&exposed).unwrap().config().unwrap().listeners[0].advertised.is_none());
}

#[test]
fn unserved_transports_and_bad_addresses_are_refused() {
    let Err(Stop::Problems(found)) =
        settings(&["--listen=sctp:127.0.0.1:5060", "--listen=udp:here", "--coordinator=ftp://x", "--workers=0"])
    else {
        panic!("accepted");
    };
    assert_eq!(keys(&found), ["coordinator", "listen", "listen", "workers"], "{found:?}");
}
