use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::*;

#[derive(Debug, clap::Args)]
struct Example {
    /// Address to serve on
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    /// Number of workers
    #[arg(long, default_value_t = 2)]
    workers: u8,
    /// How long to wait
    #[arg(long, default_value = "1s", value_parser = duration)]
    settle: Duration,
    /// Serve anybody
    #[arg(long)]
    open: bool,
    /// Who we are
    #[arg(long, required = true)]
    domain: String,
}

fn sources(args: &[&str], environment: &[(&str, &str)]) -> Sources {
    Sources {
        args: args.iter().map(OsString::from).collect(),
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect::<BTreeMap<_, _>>(),
    }
}

fn read_example(args: &[&str], environment: &[(&str, &str)]) -> Result<Example, Stop> {
    read_from(Command::new("example"), &sources(args, environment))
}

fn file(name: &str, text: &str) -> String {
    let path = std::env::temp_dir().join(format!("redial-settings-{}-{name}.toml", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

fn problems(outcome: Result<Example, Stop>) -> Vec<String> {
    match outcome {
        Err(Stop::Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("expected problems, got {other:?}"),
    }
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let path =
        file("order", "workers = 7\nsettle = \"3s\"\ndomain = \"file.test\"\nlisten = [\"127.0.0.1:1\", \"[::1]:1\"]\nopen = true\n");
    let read = read_example(&["--config", &path, "--workers=9"], &[("REDIAL_WORKERS", "8"), ("REDIAL_SETTLE", "500ms")]).unwrap();
    assert_eq!((read.workers, read.settle, read.domain.as_str(), read.open), (9, Duration::from_millis(500), "file.test", true));
    assert_eq!(read.listen.len(), 2);
    let read =
        read_example(&["--domain", "d", "--listen", "127.0.0.1:1"], &[("REDIAL_LISTEN", "127.0.0.1:2,127.0.0.1:3"), ("REDIAL_OPEN", "0")])
            .unwrap();
    assert_eq!((read.workers, read.settle, read.open, read.listen.len()), (2, Duration::from_secs(1), false, 1));
    let read = read_example(&["--domain", "d"], &[("REDIAL_LISTEN", "127.0.0.1:2, 127.0.0.1:3")]).unwrap();
    assert_eq!(read.listen.len(), 2);
}

#[test]
fn every_bad_key_is_reported_once_with_its_reason() {
    let path = file("bad", "workers = 300\nsettel = \"1s\"\nopen = \"perhaps\"\n[listen]\nx = 1\n");
    let found = problems(read_example(&["--config", &path, "--settle", "soon", "--wrokers", "4", "stray"], &[("REDIAL_LISTEN", "here")]));
    let joined = found.join("\n");
    for expected in [
        "wrokers: unknown setting",
        "stray: unexpected",
        "settel: unknown setting",
        "settle: `soon` is no duration",
        "domain: is required",
        "workers: 300",
        "open: `perhaps`",
    ] {
        assert!(joined.contains(expected), "{expected} in\n{joined}");
    }
    assert_eq!(found.iter().filter(|line| line.starts_with("listen:")).count(), 2, "{joined}");
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_a_problem_of_config() {
    assert!(problems(read_example(&["--domain=d", "--config=/nonexistent"], &[]))[0].starts_with("config: /nonexistent"));
    let path = file("broken", "workers = 1\nworkers = = 2\n");
    let found = problems(read_example(&["--domain=d"], &[("REDIAL_CONFIG", path.as_str())]));
    assert!(found[0].contains("line 2"), "{found:?}");
}

#[test]
fn help_shows_default_and_variable_of_each() {
    let Err(Stop::Help(text)) = read_example(&["--bogus", "--help"], &[]) else { panic!("no help") };
    for expected in ["--workers", "[env: REDIAL_WORKERS]", "[default: 2]", "REDIAL_CONFIG", "[default: 1s]"] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
}

#[test]
fn a_value_may_not_be_missing_or_doubled() {
    let found = problems(read_example(&["--domain=d", "--workers", "--open", "--settle=1s", "--settle=2s"], &[]));
    assert_eq!(found, ["workers: needs a value", "settle: given more than once"]);
}
