//! What servers upstream answer, and what the coordinator is told of it.

use std::time::Instant;

use redial_core::link::{CallResult, Offline, Reply, Route, RouteStage, Routed};
use sip_core::Message;
use sip_core::message::{Edit, Header, Index, ResponseSpec};

use super::upward::{Told, What};
use crate::endpoint::core::Core;
use crate::endpoint::pending::Continuation;
use crate::endpoint::proxy::{Answer, Fork, State, with_challenges, without_our_via};
use crate::endpoint::table::Id;
use crate::endpoint::{Now, Outbox, reply};

impl Core {
    /// It rings: the server has let the caller in. He may be the one whom a recall has made call.
    pub(crate) fn ringing_upstream(&mut self, now: Now, server: Id, out: &mut Outbox) {
        let fork = self.servers.at(server).and_then(|s| s.fork.as_mut());
        let Some(upward) = fork.and_then(|fork| fork.upward.as_deref_mut()) else { return };
        upward.rang = true;
        let event = upward.event(RouteStage::Ringing);
        if let (Some(event), What::Call { told: told @ Told::No, .. }) = (event, &mut upward.what) {
            *told = Told::Asked;
            self.ask(now, event, Continuation::Ringing { server }, out);
        }
    }

    pub(crate) fn on_ringing(&mut self, server: Id, reply: Reply) {
        // Answered meanwhile: whoever did so has asked again.
        let Some(fork) = self.servers.at(server).and_then(|s| s.fork.as_mut()) else { return };
        if let (Reply::Routed(Routed::Online { report, .. }), Some(What::Call { told, .. })) =
            (reply, fork.upward.as_deref_mut().map(|upward| &mut upward.what))
        {
            *told = Told::Yes;
            fork.reports = report;
        }
    }

    /// A 2xx. A call's goes on at once.
    pub(crate) fn success_of_upstream(&mut self, now: Now, server: Id, fork: &Fork, code: u16, response: Message<'_>, out: &mut Outbox) {
        let Some(upward) = &fork.upward else { return };
        if matches!(upward.what, What::Register) {
            return self.registered_upstream(now, server, code, response, out);
        }
        self.settle_call(now, fork, CallResult::Established, out);
        if let Some(bytes) = without_our_via(response) {
            self.respond_with(now, server, code, bytes, out);
        }
    }

    /// Any other final answer, with no server left that may give a better one. One that says that the callee is away waits for the coordinator,
    /// which may remember the caller.
    pub(crate) fn answer_of_upstream(&mut self, now: Now, server: Id, mut fork: Box<Fork>, out: &mut Outbox) {
        let code = code_of(&fork);
        let Some(upward) = fork.upward.as_deref_mut() else { return };
        let What::Call { route, .. } = &upward.what else { return self.pass_on(now, server, *fork, None, out) };
        let challenge = matches!(code, 401 | 407);
        let offline = self.config.policies.load().for_callee(&route.callee).offline_codes.contains(&code);
        if upward.says_nothing_new(offline, challenge) {
            upward.back_to_first(&mut fork.best);
        } else if challenge {
            // No answer yet: the phone will call again, with credentials.
            self.report(now, &fork, CallResult::Challenged(code), out);
            return self.pass_on(now, server, *fork, None, out);
        } else if !offline {
            self.settle_call(now, &fork, CallResult::Failed(code), out);
            return self.pass_on(now, server, *fork, None, out);
        }
        if let Some(event) = fork.upward.as_ref().and_then(|upward| upward.event(RouteStage::Offline)) {
            self.ask(now, event, Continuation::Held { server, fork }, out);
        }
    }

    pub(crate) fn on_held(&mut self, now: Now, server: Id, mut fork: Box<Fork>, reply: Reply, out: &mut Outbox) {
        let Some(upward) = fork.upward.as_deref_mut() else { return };
        let What::Call { route, .. } = &upward.what else { return };
        match reply {
            Reply::Routed(routed) if !self.is_open(server) => {
                self.too_late(Route { stage: RouteStage::Offline, ..(**route).clone() }, routed, out);
            }
            _ if !self.is_open(server) => {}
            Reply::Routed(Routed::Offline(offline)) => self.pass_on(now, server, *fork, Some(&offline), out),
            Reply::Routed(Routed::Online { report, targets }) => {
                fork.reports = report;
                // He is registered, with another server perhaps: where one was away for a while, its users are with the others.
                if !upward.rang && upward.go_on(&mut fork.best) {
                    fork.state = State::Searching;
                    return self.search(now, server, fork, out);
                }
                // Or he has answered a probe, and nobody but us knows that he is there.
                if !upward.rang && !targets.is_empty() {
                    return self.search(now, server, fork.past_servers(targets), out);
                }
                self.report(now, &fork, CallResult::Failed(code_of(&fork)), out);
                self.pass_on(now, server, *fork, None, out);
            }
            // Nobody is told that he is remembered (P1), but the answer goes on (P6).
            Reply::Failed(_) | Reply::Registered(_) | Reply::Located(_) | Reply::Noted => self.pass_on(now, server, *fork, None, out),
        }
    }

    /// Tells what became of a call. Where the coordinator did not know of it, it is asked first which watches that concerns.
    pub(crate) fn settle_call(&mut self, now: Now, fork: &Fork, result: CallResult, out: &mut Outbox) {
        let Some(upward) = &fork.upward else { return };
        let What::Call { route, told } = &upward.what else { return };
        if *told == Told::Yes {
            return self.report(now, fork, result, out);
        }
        // Given up before it rang, and told to nobody: a server that is silent says so half a minute later, when the pair may wait anew.
        if *told == Told::No && result == CallResult::Cancelled {
            return;
        }
        if let Some(event) = upward.event(RouteStage::Ringing).filter(|_| route.caller.is_some()) {
            self.ask(now, event, Continuation::Settled { result, since: fork.since }, out);
        }
    }

    pub(crate) fn on_settled(&mut self, now: Now, since: Instant, result: CallResult, reply: Reply, out: &mut Outbox) {
        if let Reply::Routed(Routed::Online { report, .. }) = reply {
            self.report(now, &Fork::reporting(report, since), result, out);
        }
    }

    /// The server's own answer, with the grant added.
    fn pass_on(&mut self, now: Now, server: Id, mut fork: Fork, offline: Option<&Offline>, out: &mut Outbox) {
        let best = fork.best.take().unwrap_or(Answer { code: 503, bytes: Vec::new() });
        let code = best.code;
        let route = fork.upward.take().and_then(|upward| match upward.what {
            What::Call { route, .. } => Some(route),
            What::Register | What::Other => None,
        });
        let grant = route.zip(offline).map(|(route, offline)| self.grant(now, fork.since, code, &route, offline, out));
        let headers = grant.unwrap_or_default();
        if best.bytes.is_empty() {
            self.respond(now, server, ResponseSpec { headers: &headers, ..reply::plain(code) }, out);
        } else {
            let bytes = with_challenges(best, &fork.challenges);
            self.respond_with(now, server, code, with_grant(bytes, &headers), out);
        }
    }
}

fn code_of(fork: &Fork) -> u16 {
    fork.best.as_ref().map_or(503, |best| best.code)
}

/// The header lines, at the end of the response; its Expires goes, because ours says how long the caller is remembered.
fn with_grant(bytes: Vec<u8>, headers: &str) -> Vec<u8> {
    let mut index = Index::default();
    let Ok(response) = Message::parse(&bytes, &mut index) else { return bytes };
    if headers.is_empty() {
        return bytes;
    }
    let mut edit = Edit::new(response);
    edit.remove(Header::Expires);
    for (name, value) in headers.lines().filter_map(|line| line.split_once(": ")) {
        edit.append(name, value);
    }
    let mut granted = Vec::with_capacity(bytes.len() + headers.len());
    edit.write(&mut granted);
    granted
}
