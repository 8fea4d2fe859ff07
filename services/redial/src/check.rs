//! `redial check`: the whole story against a deployment that runs, for operators and for `helm test`.

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::TypedValueParser;

use crate::output::print;
use crate::phone::{Ladder, User};
use crate::story;

/// Options of the check.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Where the deployment takes SIP; a name is resolved
    #[arg(long, value_name = "udp:HOST:PORT", value_parser = clap::builder::StringValueParser::new().try_map(host_and_port))]
    server: String,
    /// A domain that it serves
    #[arg(long)]
    domain: String,
    /// Caller, and given again callee, where users have passwords; they must be nobody's who uses them. Default: names of this run alone
    #[arg(long, value_name = "NAME:PASSWORD", value_parser = name_and_password)]
    user: Vec<(String, String)>,
    /// How long it may take; more than the policy's `settle`
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Plays the story and prints it. Fails unless the call was really connected.
pub async fn run(options: Options) -> Result<()> {
    let users = users(&options)?;
    let resolve = async {
        let mut found = tokio::net::lookup_host(&options.server).await?;
        found.next().ok_or_else(|| std::io::Error::other("no address"))
    };
    let server: SocketAddr = tokio::time::timeout(options.timeout, resolve)
        .await
        .context("not resolved in time")
        .and_then(|found| Ok(found?))
        .with_context(|| options.server.clone())?;
    let [caller, callee] = &users;
    print(&format!("{} calls {} by udp:{server}\n\n", caller.aor(), callee.aor()));
    let ladder = Ladder::new("caller", "redial", "callee");
    story::play(server, users, &ladder, options.timeout).await?;
    print("\nconnected\n");
    Ok(())
}

/// Caller and callee.
fn users(options: &Options) -> Result<[User; 2]> {
    let user = |name: String, password| User { name, domain: options.domain.clone(), password };
    match options.user.as_slice() {
        [] => {
            // Nobody else's, so that two checks at once do not meet.
            let run = RandomState::new().hash_one(std::process::id());
            Ok(["caller", "callee"].map(|role| user(format!("check-{role}-{run:016x}"), None)))
        }
        [caller, callee] => Ok([caller, callee].map(|(name, password)| user(name.clone(), Some(password.clone())))),
        _ => anyhow::bail!("--user: give none, or caller and callee"),
    }
}

fn host_and_port(text: String) -> Result<String, &'static str> {
    const SHAPE: &str = "not of the form udp:HOST:PORT";
    let server = text.strip_prefix("udp:").ok_or(SHAPE)?;
    match server.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(server.to_owned()),
        _ => Err(SHAPE),
    }
}

fn name_and_password(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once(':') {
        Some((name, password)) if !name.is_empty() => Ok((name.to_owned(), password.to_owned())),
        _ => Err("not of the form NAME:PASSWORD"),
    }
}
