//! Responses on their way upstream (RFC 3261 section 16.7).

use redial_core::link::CallResult;
use sip_core::Message;
use sip_core::message::{Edit, Header, Index};

use super::fork::{Answer, Fork, State};
use crate::endpoint::core::Core;
use crate::endpoint::table::Id;
use crate::endpoint::transactions::client::Heard;
use crate::endpoint::{Now, Outbox};

impl Core {
    /// A branch of the server transaction has heard something.
    pub(crate) fn branch_heard(&mut self, now: Now, server: Id, client: Id, heard: Heard<'_>, out: &mut Outbox) {
        let code = match heard {
            Heard::Response(response) => response.status().unwrap_or(500),
            Heard::Timeout => 408,
        };
        match (code, heard) {
            // Hop by hop: we have sent our own (section 16.7 step 5).
            (100, _) => {}
            (101..=199, Heard::Response(response)) => self.provisional(now, server, client, code, response, out),
            (200..=299, Heard::Response(response)) => self.success(now, server, client, code, response, out),
            _ => self.failure(now, server, client, code, heard, out),
        }
    }

    /// Of a branch that was given up it is not passed on: its CANCEL follows.
    fn provisional(&mut self, now: Now, server: Id, client: Id, code: u16, response: Message<'_>, out: &mut Outbox) {
        let is_tried = |fork: &Fork| fork.state != State::Cancelled && fork.open.contains(&client);
        let searching = self.servers.get(server).is_some_and(|s| s.is_invite() && s.fork.as_deref().is_some_and(is_tried));
        if searching {
            self.ringing_upstream(now, server, out);
        }
        if searching && let Some(bytes) = without_our_via(response) {
            self.respond_with(now, server, code, bytes, out);
        }
    }

    /// Goes upstream at once, every one of an INVITE's (step 10); the other branches are cancelled.
    fn success(&mut self, now: Now, server: Id, client: Id, code: u16, response: Message<'_>, out: &mut Outbox) {
        let Some(entry) = self.servers.at(server) else { return };
        if let Some(mut fork) = entry.fork.take() {
            fork.open.retain(|open| *open != client);
            self.cancel_branches(now, &fork, out);
            if fork.upward.is_some() {
                return self.success_of_upstream(now, server, &fork, code, response, out);
            }
            self.report(now, &fork, CallResult::Established, out);
        }
        if let Some(bytes) = without_our_via(response) {
            self.respond_with(now, server, code, bytes, out);
        }
    }

    fn failure(&mut self, now: Now, server: Id, client: Id, code: u16, heard: Heard<'_>, out: &mut Outbox) {
        let Some(mut fork) = self.servers.at(server).and_then(|s| s.fork.take_if(|fork| fork.open.contains(&client))) else {
            // Given up before, and another has taken its place: only its 2xx would still matter.
            return;
        };
        fork.open.retain(|open| *open != client);
        if code == 430 && fork.upward.is_none() {
            // The phone's connection is gone. That is between proxies; its caller hears that it is away (RFC 5626 section 11.5).
            fork.note(480, Vec::new);
        } else if let Heard::Response(response) = heard {
            if matches!(code, 401 | 407) {
                collect_challenges(&mut fork.challenges, response);
            }
            fork.note(code, || without_our_via(response).unwrap_or_default());
        } else {
            fork.note(code, Vec::new);
        }
        if let Some(upward) = &mut fork.upward {
            upward.heard(code, matches!(heard, Heard::Timeout));
        }
        if code >= 600 && fork.state == State::Searching {
            fork.state = State::Declined;
            self.cancel_branches(now, &fork, out);
        }
        if fork.open.is_empty() {
            self.search(now, server, fork, out);
        } else if let Some(entry) = self.servers.at(server) {
            entry.fork = Some(fork);
        }
    }
}

/// None: no other Via is below ours, so the response is for nobody.
pub(crate) fn without_our_via(response: Message<'_>) -> Option<Vec<u8>> {
    response.vias().nth(1)?;
    let mut bytes = Vec::with_capacity(response.bytes().len());
    Edit::new(response).remove_first_value(Header::Via).write(&mut bytes);
    Some(bytes)
}

/// Bounds what many branches with many challenges may add to one response.
const MAX_CHALLENGES: usize = 4096;

fn collect_challenges(lines: &mut String, response: Message<'_>) {
    for (header, name) in [(Header::WwwAuthenticate, "WWW-Authenticate"), (Header::ProxyAuthenticate, "Proxy-Authenticate")] {
        for value in response.fields(header).filter_map(|v| std::str::from_utf8(v).ok()) {
            // A folded value goes on one line.
            let value = value.replace(['\r', '\n'], " ");
            if lines.len() + value.len() <= MAX_CHALLENGES {
                lines.push_str(name);
                lines.push_str(": ");
                lines.push_str(&value);
                lines.push_str("\r\n");
            }
        }
    }
}

/// A 401 or 407 carries the challenges of all branches (step 7): the client answers them all at once.
pub(crate) fn with_challenges(answer: Answer, challenges: &str) -> Vec<u8> {
    if !matches!(answer.code, 401 | 407) || challenges.is_empty() {
        return answer.bytes;
    }
    let mut index = Index::default();
    let Ok(response) = Message::parse(&answer.bytes, &mut index) else { return answer.bytes };
    let mut edit = Edit::new(response);
    edit.remove(Header::WwwAuthenticate).remove(Header::ProxyAuthenticate);
    for (name, value) in challenges.lines().filter_map(|line| line.split_once(": ")) {
        edit.append(name, value);
    }
    let mut bytes = Vec::with_capacity(answer.bytes.len() + challenges.len());
    edit.write(&mut bytes);
    bytes
}
