//! The story as sipp's phones tell it, from outside.

use anyhow::{Result, ensure};
use redial_tests::{Sipp, ports};

use crate::load::Outside;
use crate::release::{CLUSTERED, ON_NODES, Release};

/// Alice misses bob, bob comes back, alice is recalled and they talk.
pub fn by_sipp(release: &Release) -> Result<()> {
    let outside = Outside::facing(release.address()?)?;
    // Apart, so that edges may differ.
    let (alice, bob) = (ports::free_at(outside.address(0))?, ports::free_at(outside.address(1))?);
    let run = alice.port();
    let (caller, callee) = (format!("alice{run}"), format!("bob{run}"));
    let phone = |scenario, who: &str, local| Sipp::new(scenario, who, local, outside.server).to(&callee);
    phone("register", &caller, alice).run()?;
    phone("invite_remembered", &caller, alice).run()?;
    let recalled = phone("caller_recalled", &caller, alice).start()?;
    phone("register", &callee, bob).run()?;
    phone("callee_answers", &callee, bob).run()?;
    recalled.wait()?;
    phone("register", &callee, bob).key("ttl", 0).run()?;
    phone("register", &caller, alice).key("ttl", 0).run()?;
    Ok(())
}

pub fn through_a_node_port() -> Result<String> {
    by_sipp(&CLUSTERED)?;
    CLUSTERED.ensure_no_watch_is_left()?;
    Ok(format!("by udp:{}", CLUSTERED.address()?))
}

pub fn on_nodes() -> Result<String> {
    let release = &ON_NODES;
    if release.is_installed() {
        release.uninstall()?;
    }
    release.install()?;
    ensure!(!release.pods("edge")?.is_empty());
    by_sipp(release)?;
    release.namespace.helm(&["test", release.name, "--timeout", "90s"])?;
    release.ensure_no_watch_is_left()?;
    release.uninstall()?;
    release.namespace.kubectl(&["delete", "namespace", release.namespace.0, "--timeout=120s"])?;
    Ok(format!("by udp:{}, then uninstalled", release.address()?))
}
