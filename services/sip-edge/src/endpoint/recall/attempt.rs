//! One request of a recall to one contact: a REFER, an INVITE or a MESSAGE, with answers to what the phone has asked of us so far.
//! Nothing in it comes from the INVITE that armed the watch (P7).

use redial_core::link::{Credentials, RecallResult};
use redial_core::policy::Policy;
use sip_core::dialog::Subscription;
use sip_core::message::{RequestMethod, RequestSpec};
use sip_core::{Method, digest};

use super::{LINGER, MIN_SHARE, Recall, RecallContext, RecallId, Recalls, State};
use crate::endpoint::Now;
use crate::endpoint::config::Listener;
use crate::endpoint::target::request_uri;

/// What a call of ours understands from the phone (RFC 3261 section 20.5).
pub(super) const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY, UPDATE, INFO";

/// A header of our making.
pub(super) type Line = (&'static str, String);

impl Recalls {
    /// Asks the next contact, or reports that none is left or no time is left.
    pub(super) fn try_next(&mut self, now: Now, number: u64, cx: &mut impl RecallContext) {
        loop {
            let Some(recall) = self.recalls.get_mut(&number) else { return };
            let end = recall.contacts_until();
            let State::Trying(targets) = &mut recall.state else { return };
            let left = end.saturating_duration_since(now.instant);
            let Some(target) = targets.pop_front().filter(|_| !left.is_zero()) else { break };
            let share = left / u32::try_from(targets.len() + 1).unwrap_or(u32::MAX);
            let wake = if targets.is_empty() { end } else { now.instant + share.max(MIN_SHARE).min(left) };
            recall.current = Some(target);
            recall.challenges = digest::Client::default();
            recall.call.next_phone();
            if self.ask(now, number, cx) {
                self.wake_at(number, wake);
                return;
            }
        }
        let result = match self.recalls.get(&number) {
            Some(recall) if recall.call.has_rung() => RecallResult::Unanswered,
            Some(recall) if recall.silent => RecallResult::Silent,
            _ => RecallResult::Unreachable,
        };
        self.finish(number, Some(result), cx);
    }

    /// Sends the current contact the rung's request. False: there is no way to it.
    pub(super) fn ask(&mut self, now: Now, number: u64, cx: &mut impl RecallContext) -> bool {
        let policies = self.config.policies.load();
        let Some(recall) = self.recalls.get_mut(&number) else { return false };
        let policy = policies.for_callee(&recall.pair.callee);
        let Some(target) = recall.current.clone() else { return false };
        let (Some(peer), Some(uri)) = (cx.peer(&target), request_uri(&target.uri)) else { return false };
        let Some(listener) = self.config.listener(peer) else { return false };
        let cseq = recall.cseq + 1;
        let (method, ours, mut lines, body) = match recall.rung {
            3 => (
                RequestMethod::Invite,
                Method::Invite,
                recall.invite_lines(policy, listener),
                recall.call.offer(listener.advertised.ip(), number),
            ),
            4 => {
                let (language, text) = recall.message(policy);
                let lines = vec![("Content-Language", language), ("Content-Type", "text/plain;charset=UTF-8".to_owned())];
                (RequestMethod::Message, Method::Message, lines, text.into_bytes())
            }
            _ => (RequestMethod::Refer, Method::Refer, recall.refer_lines(listener), Vec::new()),
        };
        lines.extend(recall.authorization(method, uri, &self.names.cnonce(now.unix, number, cseq)));
        let via = cx.via(peer);
        let headers: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (from, to) = (recall.from(policy), format!("<sip:{}>", recall.pair.caller));
        let request = RequestSpec {
            method,
            uri,
            via: &via,
            from: &from,
            to: &to,
            call_id: &recall.call_id,
            cseq,
            max_forwards: 70,
            routes: &target.path,
            headers: &headers,
            body: &body,
        };
        let bytes = request.compose();
        (recall.cseq, recall.attempt) = (cseq, cseq);
        recall.subscription = (ours == Method::Refer).then(|| {
            let limit = recall.deadline.saturating_duration_since(now.instant) + LINGER;
            Subscription::new(now.instant, &recall.call_id, &recall.tag, cseq, limit)
        });
        cx.send_request(peer, ours, bytes, RecallId { recall: number, attempt: cseq });
        true
    }
}

impl Recall {
    /// From of every request: the callee, so that a phone that shows who asks shows whom it is about; a call says so in words, too.
    pub(super) fn from(&self, policy: &Policy) -> String {
        let display = if self.rung == 3 { format!("\"{}\" ", quoted(&self.filled(&policy.display_text))) } else { String::new() };
        format!("{display}<sip:{}>;tag={}", self.pair.callee, self.tag)
    }

    /// Contact: where what belongs to this recall goes, whichever of our addresses the phone knew before.
    pub(super) fn contact(&self, at: &Listener) -> Line {
        ("Contact", format!("<sip:{}@{at}>", self.tag))
    }

    /// RFC 3515, RFC 3892; on the first rung RFC 4488, too.
    pub(super) fn refer_lines(&self, at: &Listener) -> Vec<Line> {
        let callee = format!("<sip:{}>", self.pair.callee);
        let mut lines = vec![self.contact(at), ("Refer-To", callee.clone()), ("Referred-By", callee)];
        if self.rung == 1 {
            lines.extend([("Refer-Sub", "false".to_owned()), ("Supported", "norefersub".to_owned())]);
        }
        lines
    }

    fn invite_lines(&self, policy: &Policy, at: &Listener) -> Vec<Line> {
        let mut lines = vec![self.contact(at), ("Allow", ALLOW.to_owned())];
        lines.extend(policy.alert_info.clone().map(|value| ("Alert-Info", value)));
        lines.extend(policy.answer_after.map(|seconds| ("Call-Info", format!("<sip:{}>;answer-after={seconds}", self.pair.callee))));
        if self.call.has_offer() {
            lines.push(("Content-Type", "application/sdp".to_owned()));
        }
        lines
    }

    /// Language and text of rung 4.
    fn message(&self, policy: &Policy) -> (String, String) {
        let text = policy.message.get(&policy.language).map(String::as_str).unwrap_or_default();
        (policy.language.clone(), self.filled(text))
    }

    /// Answers to the phone's challenges.
    pub(super) fn authorization(&mut self, method: RequestMethod, uri: &str, cnonce: &str) -> Vec<Line> {
        match &self.credentials {
            Some(Credentials { username, password }) => {
                self.challenges.headers(digest::Login { user: username, password }, &method.to_string(), uri, cnonce)
            }
            None => Vec::new(),
        }
    }

    fn filled(&self, template: &str) -> String {
        template.replace("{callee}", self.pair.callee.as_str()).replace("{caller}", self.pair.caller.as_str())
    }
}

/// Inside of a quoted string (RFC 3261 section 25.1).
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '"' || c == '\\' {
            out.push('\\');
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}
