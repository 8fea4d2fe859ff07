//! The story: a miss, a watch, a return, a recall, a call.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sip_core::{Header, Method};

use crate::output::print;
use crate::phone::{Ladder, Lane, Phone, User};

/// How long either phone may take to leave when the story is over.
const TIDYING: Duration = Duration::from_secs(3);

/// Plays caller and callee against the server, for `limit` at most, and leaves no registration and no watch behind.
/// Succeeds only when the second INVITE was answered 200 by the callee and acknowledged; an error says which step did not happen.
pub async fn play(server: SocketAddr, [caller, callee]: [User; 2], ladder: &Ladder, limit: Duration) -> Result<()> {
    let mut alice = Phone::new(caller, server, Lane::Left, ladder, limit).await?;
    let mut bob = Phone::new(callee, server, Lane::Right, ladder, limit).await?;
    let told = tell(&mut alice, &mut bob).await;
    let tidied = tidy(&mut alice, &mut bob, told.is_err()).await;
    told.and(tidied.context("the phones could not leave"))
}

async fn tell(alice: &mut Phone<'_>, bob: &mut Phone<'_>) -> Result<()> {
    let (caller, callee) = (alice.user.clone(), bob.user.clone());

    chapter("is anybody there?");
    alice.ask_options().await?;

    chapter(&format!("{}'s phone registers", caller.name));
    alice.register(3600).await?;

    chapter(&format!("{} calls {}, whose phone is switched off", caller.name, callee.name));
    let missed = alice.call(&callee.aor(), "missed", "").await?.answer;
    // 480 is ours; a server behind an edge has its own word for it.
    ensure!(missed.status() >= 400, "the INVITE to an absent callee was answered {}", missed.status());
    let Some(Some(granted)) = missed.message.view().expires() else { bail!("the {} grants no watch", missed.status()) };
    ensure!(missed.header(Header::CallInfo)?.contains("purpose=call-completion"), "the answer has no call-completion Call-Info");

    chapter(&format!("redial remembers the two for {granted} s; {}'s phone comes back", callee.name));
    bob.register(3600).await?;

    chapter(&format!("the server asks {}'s phone to call again", caller.name));
    let refer = alice.wait_for(Method::Refer).await?;
    alice.answer(&refer, 202, "Accepted", "Refer-Sub: false\r\n").await?;
    let Some(target) = refer.message.view().refer_to() else { bail!("the REFER has no Refer-To") };
    let target = String::from_utf8_lossy(target.uri.raw).into_owned();
    ensure!(target == callee.aor(), "the REFER points to {target}");

    chapter(&format!("{}'s phone does so, and {} answers", caller.name, callee.name));
    let answering = async {
        let invite = bob.wait_for(Method::Invite).await?;
        bob.answer(&invite, 180, "Ringing", "").await?;
        bob.pick_up(&invite).await
    };
    let (call, answered) = tokio::join!(alice.call(&target, "recalled", ""), answering);
    let call = call?;
    ensure!(call.answer.status() == 200, "the recalled call was answered {}", call.answer.status());
    answered?;

    chapter(&format!("they talk, then {} hangs up", caller.name));
    let hanging_up = async {
        let bye = bob.wait_for(Method::Bye).await?;
        bob.answer(&bye, 200, "OK", "").await
    };
    let (hung_up, ended) = tokio::join!(alice.hang_up(&call), hanging_up);
    hung_up?;
    ended
}

/// Both phones leave. After a story that broke off, the watch is forgotten as well: `Expires: 0` asks for that.
async fn tidy(alice: &mut Phone<'_>, bob: &mut Phone<'_>, broke_off: bool) -> Result<()> {
    chapter("both phones leave");
    alice.extend(TIDYING);
    bob.extend(TIDYING);
    let callee = bob.user.aor();
    bob.register(0).await?;
    if broke_off {
        alice.call(&callee, "forget", "Expires: 0\r\n").await?;
    }
    alice.register(0).await
}

fn chapter(text: &str) {
    print(&format!("\n  {text}\n"));
}
