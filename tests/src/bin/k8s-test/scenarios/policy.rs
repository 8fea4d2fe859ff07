//! A RedialPolicy, from its first version to its end. Seen where it matters: in what a phone is granted.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use redial_tests::{Phone, until};
use serde_json::Value;

use crate::load::Outside;
use crate::release::CLUSTERED;

/// From `kubectl apply` to the pods.
const HEARD: Duration = Duration::from_secs(15);
/// Nobody's: no story of another scenario goes by this policy.
const CALLEES: &str = "policy-*";
/// Without any policy (an hour).
const DEFAULT: u32 = 3600;

pub fn policy() -> Result<String> {
    let release = &CLUSTERED;
    let outside = Outside::facing(release.address()?)?;
    let caller = format!("policy-caller-{}", std::process::id());
    let mut phone = outside.phone(&caller, 0)?;
    phone.register(600)?;

    ensure!(granted(&mut phone)? == DEFAULT, "another policy is in force");
    apply("periodDefault: 30m")?;
    wait_granted(&mut phone, 1800)?;
    wait_accepted("True")?;
    apply("periodDefault: 20m")?;
    wait_granted(&mut phone, 1200)?;

    apply(INVALID)?;
    let why = wait_accepted("False")?;
    ensure!(granted(&mut phone)? == 1200, "the last good policy did not stay");

    release.namespace.kubectl(&["delete", "redialpolicy", "test"])?;
    wait_granted(&mut phone, DEFAULT)?;
    phone.register(0)?;
    Ok(format!("granted 3600, 1800, 1200, 1200 while invalid ({why}), 3600 s"))
}

/// The schema lets it pass: only with the periodMax that is inherited does it contradict itself.
const INVALID: &str = "periodMin: 25h";

fn apply(keys: &str) -> Result<()> {
    let manifest = format!(
        "apiVersion: redial.dev/v1alpha1\nkind: RedialPolicy\nmetadata: {{name: test}}\n\
         spec: {{selector: {{domain: example.com, user: \"{CALLEES}\"}}, {keys}}}\n"
    );
    CLUSTERED.namespace.apply(&manifest)?;
    Ok(())
}

/// Seconds that a missed call is granted. Every question is about another callee, and takes its watch back.
fn granted(phone: &mut Phone) -> Result<u32> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let callee = format!("policy-{}-{}", std::process::id(), NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let call = phone.invite(&callee, "")?;
    ensure!(call.is_remembered(), "not remembered: {}", call.status());
    phone.invite(&callee, "Expires: 0\r\n")?;
    call.answer.message().expires().flatten().context("a grant without its period")
}

fn wait_granted(phone: &mut Phone, seconds: u32) -> Result<()> {
    // Whichever coordinator is asked: several times in a row the same answer.
    until(&format!("a grant of {seconds} s by every pod"), HEARD, || {
        for _ in 0..6 {
            if granted(phone)? != seconds {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}

/// Waits for the condition Accepted of the policy as it is now; returns its message.
fn wait_accepted(status: &str) -> Result<String> {
    until(&format!("Accepted={status}"), HEARD, || {
        let policy = CLUSTERED.namespace.get(&["redialpolicy", "test"])?;
        let current = policy["status"]["observedGeneration"] == policy["metadata"]["generation"];
        let conditions = policy["status"]["conditions"].as_array();
        let accepted = conditions.into_iter().flatten().find(|c| c["type"] == "Accepted" && c["status"] == status);
        Ok(accepted.filter(|_| current).map(|c: &Value| c["message"].as_str().unwrap_or_default().to_owned()))
    })
}
