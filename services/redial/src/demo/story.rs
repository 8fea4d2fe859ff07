//! The story: a miss, a watch, a return, a recall, a call.

use std::net::SocketAddr;

use anyhow::{Result, bail, ensure};
use sip_core::{Header, Method};

use super::ladder::Ladder;
use super::phone::{Phone, header};
use crate::output::print;

/// What the two phones saw.
#[derive(Debug)]
pub struct Outcome {
    /// True only when the second INVITE was answered 200 by the callee and acknowledged.
    pub connected: bool,
}

/// Plays alice and bob against the server. An error says which step did not happen.
pub async fn play(server: SocketAddr, domain: &'static str, ladder: &Ladder) -> Result<Outcome> {
    let alice = Phone::new("alice", domain, server, ladder).await?;
    let bob = Phone::new("bob", domain, server, ladder).await?;

    chapter("alice's phone registers");
    alice.register().await?;

    chapter("alice calls bob, whose phone is switched off");
    let missed = alice.call(&bob.aor(), "missed").await?;
    ensure!(missed.view().status() == Some(480), "the INVITE to an absent callee was not answered 480");
    let Some(Some(granted)) = missed.view().expires() else { bail!("the 480 grants no watch") };
    ensure!(header(&missed, Header::CallInfo)?.contains("purpose=call-completion"), "the 480 has no call-completion Call-Info");

    chapter(&format!("redial remembers the two for {granted} s; bob's phone comes back"));
    bob.register().await?;

    chapter("the server asks alice's phone to call again");
    let refer = alice.wait_for(Method::Refer).await?;
    alice.answer(&refer, 202, "Accepted", "Refer-Sub: false\r\n").await?;
    let Some(target) = refer.view().refer_to() else { bail!("the REFER has no Refer-To") };
    let target = String::from_utf8_lossy(target.uri.raw).into_owned();
    ensure!(target == bob.aor(), "the REFER points to {target}");

    chapter("alice's phone does so, and bob answers");
    let answering = async {
        let invite = bob.wait_for(Method::Invite).await?;
        bob.answer(&invite, 180, "Ringing", "").await?;
        bob.answer(&invite, 200, "OK", "").await?;
        bob.wait_for(Method::Ack).await
    };
    let (answer, acknowledged) = tokio::join!(alice.call(&target, "recalled"), answering);
    let (answer, _) = (answer?, acknowledged?);

    chapter("they talk, then alice hangs up");
    let hanging_up = async {
        let bye = bob.wait_for(Method::Bye).await?;
        bob.answer(&bye, 200, "OK", "").await
    };
    let (hung_up, ended) = tokio::join!(alice.hang_up(&answer, "recalled"), hanging_up);
    hung_up?;
    ended?;
    Ok(Outcome { connected: answer.view().status() == Some(200) })
}

fn chapter(text: &str) {
    print(&format!("\n  {text}\n"));
}
