//! `redial demo --front`: the story before a Kamailio, which stays registrar and proxy.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use sip_core::MessageBuf;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::kamailio::{Kamailio, PASSWORD};
use super::{DOMAIN, PATIENCE, tell_cost};
use crate::output::print;
use crate::phone::{Arrow, Ladder, Lane, User};
use crate::standalone::Parts;
use crate::story;

/// Two listeners: one for phones, and one for the server. Edge and server know each other by the two faces of a tap between them.
pub async fn run() -> Result<()> {
    let tap = Tap::new().await.context("a tap needs two UDP ports")?;
    let (as_server, as_edge) = (tap.as_server.local_addr()?, tap.as_edge.local_addr()?);
    let kamailio = Kamailio::start(as_server, PATIENCE).await?;
    // The port of the phones' listener is known only when it is bound, but its advertised address must be given when the other's is.
    let phones = UdpSocket::bind("127.0.0.1:0").await?.local_addr()?;
    let parts = Parts::with(&[
        "--mode=front",
        &format!("--upstream={DOMAIN}={as_server}"),
        "--listen=udp:127.0.0.1:0",
        &format!("--advertise={as_edge}"),
        &format!("--listen=udp:{phones}"),
        &format!("--advertise={phones}"),
    ])?;
    let inner = parts.edge.listeners().first().context("no listener")?.bound;
    print(&format!(
        "alice and bob are two phones on UDP sockets; redial listens on udp:{phones}, in front of kamailio on udp:{}, which is their registrar\n\n",
        kamailio.addr
    ));
    let ladder = Arc::new(Ladder::with_far("alice", "redial", "bob", "kamailio"));
    let stop = CancellationToken::new();
    let passing = tokio::spawn(tap.pass(inner, kamailio.addr, Arc::clone(&ladder)));
    let running = tokio::spawn(parts.run(stop.clone()));
    let user = |name: &str| User { name: name.to_owned(), domain: DOMAIN.to_owned(), password: Some(PASSWORD.to_owned()) };
    let outcome = story::play(phones, [user("alice"), user("bob")], &ladder, PATIENCE).await;
    stop.cancel();
    running.abort();
    passing.abort();
    outcome.with_context(|| format!("kamailio said: {}", kamailio.log()))?;
    tell_cost(&ladder)
}

/// Stands between the edge and the server.
struct Tap {
    /// What the edge sends to.
    as_server: UdpSocket,
    /// What the server sends to.
    as_edge: UdpSocket,
}

impl Tap {
    async fn new() -> std::io::Result<Self> {
        Ok(Self { as_server: UdpSocket::bind("127.0.0.1:0").await?, as_edge: UdpSocket::bind("127.0.0.1:0").await? })
    }

    /// Passes datagrams on and notes them.
    async fn pass(self, edge: SocketAddr, server: SocketAddr, ladder: Arc<Ladder>) -> std::io::Result<()> {
        let (mut up, mut down) = (vec![0; 65_535], vec![0; 65_535]);
        loop {
            let (arrow, datagram, by, to) = tokio::select! {
                got = self.as_server.recv(&mut up) => (Arrow::FromServer, &up[..got?], &self.as_edge, server),
                got = self.as_edge.recv(&mut down) => (Arrow::ToServer, &down[..got?], &self.as_server, edge),
            };
            if !is_check(datagram) {
                ladder.note(Lane::Far, arrow, datagram);
            }
            by.send_to(datagram, to).await?;
        }
    }
}

/// The edge's own OPTIONS, by which it knows that the server is there, and their answers: no part of the story.
fn is_check(datagram: &[u8]) -> bool {
    let message = MessageBuf::parse(datagram.to_vec());
    message.is_ok_and(|message| message.view().from().is_some_and(|from| from.uri.user.is_empty()))
}
