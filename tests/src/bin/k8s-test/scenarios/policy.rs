//! A RedialPolicy, from its first version to its end, and two that want the same. Seen where it matters: in what a phone is granted.

use std::sync::atomic::{AtomicU32, Ordering};
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
    apply("test", CALLEES, "periodDefault: 30m")?;
    wait_granted(&mut phone, 1800)?;
    wait_condition("test", "Accepted", "True")?;
    apply("test", CALLEES, "periodDefault: 20m")?;
    wait_granted(&mut phone, 1200)?;

    apply("test", CALLEES, INVALID)?;
    let why = wait_condition("test", "Accepted", "False")?.1;
    ensure!(granted(&mut phone)? == 1200, "the last good policy did not stay");

    release.namespace.kubectl(&["delete", "redialpolicy", "test"])?;
    wait_granted(&mut phone, DEFAULT)?;
    phone.register(0)?;
    Ok(format!("granted 3600, 1800, 1200, 1200 while invalid ({why}), 3600 s"))
}

/// The schema lets it pass: only with the periodMax that is inherited does it contradict itself.
const INVALID: &str = "periodMin: 25h";

/// Two objects for the same callees: the older one counts, whatever their names, until it is gone.
pub fn conflict() -> Result<String> {
    let release = &CLUSTERED;
    let outside = Outside::facing(release.address()?)?;
    let mut phone = outside.phone(&format!("policy-conflict-{}", std::process::id()), 0)?;
    phone.register(600)?;
    let made = |name| Ok::<_, anyhow::Error>(release.namespace.get(&["redialpolicy", name])?["metadata"]["creationTimestamp"].to_string());

    apply("z-older", CALLEES, "periodDefault: 30m")?;
    let older = made("z-older")?;
    // An object's age is told in seconds.
    until("an object of another second", HEARD, || {
        apply("a-newer", CALLEES, "periodDefault: 20m")?;
        if made("a-newer")? != older {
            return Ok(Some(()));
        }
        release.namespace.kubectl(&["delete", "redialpolicy", "a-newer"])?;
        Ok(None)
    })?;
    let (reason, message) = wait_condition("a-newer", "Accepted", "False")?;
    ensure!(reason == "Conflict" && message.contains("z-older"), "{reason}: {message}");
    wait_condition("a-newer", "Ready", "False")?;
    wait_condition("z-older", "Accepted", "True")?;
    wait_condition("z-older", "Ready", "True")?;
    wait_granted(&mut phone, 1800)?;

    release.namespace.kubectl(&["delete", "redialpolicy", "z-older"])?;
    wait_granted(&mut phone, 1200)?;
    wait_condition("a-newer", "Ready", "True")?;
    release.namespace.kubectl(&["delete", "redialpolicy", "a-newer"])?;
    wait_granted(&mut phone, DEFAULT)?;
    phone.register(0)?;
    Ok(format!("the newer: {message}; granted 1800 s by the older, 1200 s when it was gone"))
}

/// `spec` beside the selector is `keys`, in YAML's flow style.
pub(super) fn apply(name: &str, callees: &str, keys: &str) -> Result<()> {
    let manifest = format!(
        "apiVersion: redial.dev/v1alpha1\nkind: RedialPolicy\nmetadata: {{name: {name}}}\n\
         spec: {{selector: {{domain: example.com, user: \"{callees}\"}}, {keys}}}\n"
    );
    CLUSTERED.namespace.apply(&manifest)?;
    Ok(())
}

/// Seconds that a missed call is granted. Every question is about another callee, and takes its watch back.
fn granted(phone: &mut Phone) -> Result<u32> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let callee = format!("policy-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
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

/// Waits for a condition of the policy as it is now; returns its reason and message.
pub(super) fn wait_condition(name: &str, condition: &str, status: &str) -> Result<(String, String)> {
    until(&format!("{condition}={status} of {name}"), HEARD, || {
        let policy = CLUSTERED.namespace.get(&["redialpolicy", name])?;
        let current = policy["status"]["observedGeneration"] == policy["metadata"]["generation"];
        let conditions = policy["status"]["conditions"].as_array();
        let found = conditions.into_iter().flatten().find(|c| c["type"] == condition && c["status"] == status);
        let text = |c: &Value, key: &str| c[key].as_str().unwrap_or_default().to_owned();
        Ok(found.filter(|_| current).map(|c| (text(c, "reason"), text(c, "message"))))
    })
}
