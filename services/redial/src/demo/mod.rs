//! `redial demo`: the whole story between real UDP sockets, as a ladder with timestamps.

mod cost;
mod front;
mod kamailio;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::output::print;
use crate::phone::{Ladder, User};
use crate::standalone::Parts;
use crate::story;

const DOMAIN: &str = "example.com";

/// How long the story may take. Far above every timer that plays in it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Options of the demo.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Play against a server that runs already (open on loopback, domain example.com) instead of one of our own
    #[arg(long, value_name = "ADDR")]
    server: Option<SocketAddr>,
    /// Play in front of a Kamailio, which is started for it (`apt-get install kamailio`) and asks both phones for their passwords
    #[arg(long, conflicts_with = "server")]
    front: bool,
}

/// Plays the story and prints it. Fails unless the call was really connected.
pub async fn run(options: Options) -> Result<()> {
    if options.front {
        return front::run().await;
    }
    let stop = CancellationToken::new();
    let (server, running) = match options.server {
        Some(server) => (server, None),
        None => {
            let parts = Parts::for_demo(DOMAIN).await?;
            let server = parts.edge.listeners().first().context("no listener")?.bound;
            (server, Some(tokio::spawn(parts.run(stop.clone()))))
        }
    };
    print(&format!("alice and bob are two phones on UDP sockets; redial listens on udp:{server}\n\n"));
    let ladder = Ladder::new("alice", "redial", "bob");
    let user = |name: &str| User { name: name.to_owned(), domain: DOMAIN.to_owned(), password: None };
    let outcome = story::play(server, [user("alice"), user("bob")], &ladder, PATIENCE).await;
    stop.cancel();
    if let Some(running) = running {
        running.abort();
    }
    outcome?;
    tell_cost(&ladder)
}

/// The end of a story that went well.
fn tell_cost(ladder: &Ladder) -> Result<()> {
    let lines = ladder.lines();
    let spent = cost::spent(&lines);
    print(&format!("\n  {} messages on the wire, {spent} of them for the recall\n\n", lines.len()));
    print(&(cost::table(spent) + "\n"));
    ensure!(spent > 0, "no recall was seen");
    print("connected\n");
    Ok(())
}
