//! What an object's status should say, and what of it is news. Pure.

use std::fmt::Write as _;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::{Event, EventType};
use redial_crd::{RedialPolicyStatus, WatchCounts};

use super::set::{Accepted, Object, Verdict};

/// The policy as it is written now is taken.
const ACCEPTED: &str = "Accepted";

/// It, or what it was when it was last accepted, is in force.
const READY: &str = "Ready";

/// Bytes of an event's note that the API server takes.
const NOTE: usize = 1024;

/// The status for `verdict`. Counts that are not known yet leave those that are there. A condition's time changes when the condition does.
#[must_use]
pub fn next(object: &Object, verdict: &Verdict, counts: Option<WatchCounts>, now: Timestamp) -> RedialPolicyStatus {
    let (is_accepted, reason, message) = accepted(&verdict.accepted);
    let ready = match (&verdict.in_force, is_accepted) {
        (Some(_), true) => (true, "InForce", "the policy is in force".to_owned()),
        (Some(last), false) => (true, "LastGoodInForce", format!("generation {} stays in force", last.generation)),
        (None, _) => (false, "NotInForce", "the policy has no effect".to_owned()),
    };
    let condition = |kind: &str, (holds, reason, message): (bool, &str, String)| {
        let status = if holds { "True" } else { "False" };
        let before = object.status.conditions.iter().find(|condition| condition.type_ == kind && condition.status == status);
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: Some(object.generation),
            last_transition_time: before.map_or(Time(now), |condition| condition.last_transition_time.clone()),
        }
    };
    RedialPolicyStatus {
        observed_generation: Some(object.generation),
        conditions: vec![condition(ACCEPTED, (is_accepted, reason, message)), condition(READY, ready)],
        // What has no effect is for nobody.
        watches: verdict.in_force.as_ref().and(counts.or(object.status.watches)),
        in_force: verdict.in_force.clone(),
    }
}

/// What somebody who watches events should hear of the change from `before` to `after`: another outcome, or other faults. None when it is
/// nothing new.
#[must_use]
pub fn news(before: &RedialPolicyStatus, after: &RedialPolicyStatus) -> Option<Event> {
    let of = |status: &RedialPolicyStatus| {
        let accepted = status.conditions.iter().find(|condition| condition.type_ == ACCEPTED)?;
        Some((accepted.reason.clone(), accepted.message.clone()))
    };
    let (reason, message) = of(after)?;
    if of(before).as_ref() == Some(&(reason.clone(), message.clone())) {
        return None;
    }
    let type_ = if reason == ACCEPTED { EventType::Normal } else { EventType::Warning };
    Some(Event { type_, reason, note: Some(cut(message)), action: "Judge".to_owned(), secondary: None })
}

fn accepted(accepted: &Accepted) -> (bool, &'static str, String) {
    match accepted {
        Accepted::Yes => (true, ACCEPTED, "the policy is valid".to_owned()),
        Accepted::Invalid(errors) => {
            let mut message = String::new();
            for error in errors {
                let separator = if message.is_empty() { "" } else { "; " };
                // Writing to a String cannot fail.
                _ = write!(message, "{separator}{error}");
            }
            (false, "InvalidSpec", message)
        }
        Accepted::Conflict(with) => (false, "Conflict", format!("{with}, which is older, is for the same callees with the same priority")),
    }
}

fn cut(mut text: String) -> String {
    if text.len() > NOTE {
        text.truncate(text.floor_char_boundary(NOTE - 3));
        text.push_str("...");
    }
    text
}
