//! Server transactions.

use std::time::Instant;

use sip_core::message::{MessageBuf, ResponseSpec};
use sip_core::transaction::{Action, Actions, InviteServer, NonInviteServer, TransactionKey};
use sip_core::{Message, Method};

use crate::endpoint::core::Core;
use crate::endpoint::proxy::Fork;
use crate::endpoint::table::Id;
use crate::endpoint::timers::{Armed, Owner};
use crate::endpoint::{Now, Outbox, Peer, reply};
use crate::metrics::Origin;

#[derive(Debug)]
enum Machine {
    Invite(InviteServer),
    Other(NonInviteServer),
}

/// One request and our answer to it.
#[derive(Debug)]
pub(crate) struct Server {
    key: TransactionKey,
    machine: Machine,
    /// Where the request came from, and where its responses go (RFC 3261 section 18.2.2, RFC 3581).
    pub(crate) from: Peer,
    reply_to: Peer,
    /// The last response, for retransmissions.
    last: Box<[u8]>,
    /// Kept until the final response is made of it.
    pub(crate) request: Option<MessageBuf>,
    pub(crate) fork: Option<Box<Fork>>,
    /// The 2xx is our own, so that nobody behind us repeats it.
    repeats: bool,
    armed: Armed,
}

impl Server {
    pub(crate) fn is_invite(&self) -> bool {
        matches!(self.machine, Machine::Invite(_))
    }

    fn next_timer(&self) -> Option<Instant> {
        let machine = match &self.machine {
            Machine::Invite(m) => m.next_timer(),
            Machine::Other(m) => m.next_timer(),
        };
        [machine, self.trying_due()].into_iter().flatten().min()
    }

    /// When the sender must hear that the request is being worked on.
    fn trying_due(&self) -> Option<Instant> {
        match &self.machine {
            Machine::Invite(m) => m.trying_due(),
            Machine::Other(m) => m.trying_due().filter(|_| self.fork.is_some()),
        }
    }
}

impl Core {
    pub(crate) fn find_server(&self, key: TransactionKey) -> Option<Id> {
        self.by_key.get(&key).copied()
    }

    /// The request stays with the transaction until its final response. The caller has made sure that there is room.
    pub(crate) fn open_server(&mut self, now: Now, key: TransactionKey, from: Peer, request: Message<'_>) -> Id {
        let timers = self.config.transport(from).timers();
        let machine = match request.method() {
            Method::Invite => Machine::Invite(InviteServer::new(now.instant, timers)),
            _ => Machine::Other(NonInviteServer::new(now.instant, timers)),
        };
        let server = Server {
            key,
            machine,
            from,
            reply_to: reply::destination(&self.config, request, from),
            last: Box::default(),
            request: Some(MessageBuf::from(request)),
            fork: None,
            repeats: false,
            armed: Armed::default(),
        };
        let id = self.servers.insert(server);
        self.by_key.insert(key, id);
        self.config.metrics.server_opened();
        self.arm_server(id);
        id
    }

    /// The same request again.
    pub(crate) fn server_retransmission(&mut self, now: Now, id: Id, out: &mut Outbox) {
        let Some(server) = self.servers.at(id) else { return };
        let mut actions = Actions::new();
        match &mut server.machine {
            Machine::Invite(m) => m.on_retransmission(now.instant, &mut actions),
            Machine::Other(m) => m.on_retransmission(now.instant, &mut actions),
        }
        if server.repeats && actions.is_empty() {
            actions.push(Action::Transmit);
        }
        self.carry_out_server(id, &actions, true, out);
    }

    /// An ACK with the INVITE's branch. True: it is for a 2xx and must be forwarded.
    pub(crate) fn server_ack(&mut self, now: Now, id: Id, out: &mut Outbox) -> bool {
        let Some(Server { machine: Machine::Invite(m), .. }) = self.servers.at(id) else { return false };
        let mut actions = Actions::new();
        m.on_ack(now.instant, &mut actions);
        self.carry_out_server(id, &actions, true, out);
        actions.contains(&Action::Deliver)
    }

    /// Answers with a response of our own making. False: it is too late for one.
    pub(crate) fn respond(&mut self, now: Now, id: Id, spec: ResponseSpec<'_>, out: &mut Outbox) -> bool {
        let Some(server) = self.servers.at(id) else { return false };
        let Some(request) = server.request.take() else { return false };
        // A 100 has no tag of its own.
        let tag = if spec.code == 100 { String::new() } else { reply::to_tag(&self.config, request.view()) };
        let spec = ResponseSpec { to_tag: &tag, source: Some(server.from.addr), ..spec };
        let mut bytes = Vec::new();
        spec.write(request.view(), &mut bytes);
        server.request = Some(request);
        self.send_response(now, id, Origin::Edge, spec.code, bytes, out)
    }

    /// The answer is sent again for every retransmission of the request. A 2xx to an INVITE of which we are the user agent server needs no more:
    /// the peer has heard no 1xx and repeats its INVITE until it has the answer.
    pub(crate) fn repeat_answer(&mut self, id: Id) {
        if let Some(server) = self.servers.at(id) {
            server.repeats = true;
        }
    }

    /// Answers with these bytes: a forwarded response, its top Via already gone.
    pub(crate) fn respond_with(&mut self, now: Now, id: Id, code: u16, bytes: Vec<u8>, out: &mut Outbox) -> bool {
        self.send_response(now, id, Origin::Forwarded, code, bytes, out)
    }

    fn send_response(&mut self, now: Now, id: Id, origin: Origin, code: u16, bytes: Vec<u8>, out: &mut Outbox) -> bool {
        let Some(server) = self.servers.at(id) else { return false };
        let mut actions = Actions::new();
        let accepted = match &mut server.machine {
            Machine::Invite(m) => m.respond(now.instant, code, &mut actions),
            Machine::Other(m) => m.respond(now.instant, code, &mut actions),
        };
        if accepted {
            // Exactly as long as it is: it is kept for 32 s.
            server.last = bytes.as_slice().into();
            match (&server.request, &server.machine) {
                (_, Machine::Invite(_)) => self.config.metrics.response_out(origin, Method::Invite, code),
                (Some(request), Machine::Other(_)) => self.config.metrics.response_out(origin, request.view().method(), code),
                (None, Machine::Other(_)) => {}
            }
        }
        if code >= 200 {
            server.request = None;
            server.fork = None;
        }
        self.carry_out_server(id, &actions, false, out);
        accepted
    }

    pub(crate) fn server_timer(&mut self, now: Now, at: Instant, id: Id, out: &mut Outbox) {
        let Some(server) = self.servers.at(id) else { return };
        server.armed.fired(at);
        let mut actions = Actions::new();
        let trying = server.trying_due().is_some_and(|due| due <= now.instant);
        match &mut server.machine {
            Machine::Invite(m) => m.on_timer(now.instant, &mut actions),
            Machine::Other(m) => m.on_timer(now.instant, &mut actions),
        }
        if actions.contains(&Action::Terminate) {
            self.abandon(now, id, out);
        } else if trying {
            self.respond(now, id, ResponseSpec { code: 100, ..ResponseSpec::default() }, out);
        }
        self.carry_out_server(id, &actions, true, out);
    }

    /// Timer F of the client upstream has fired without an answer of ours: nobody waits for the branches any more.
    fn abandon(&mut self, now: Now, id: Id, out: &mut Outbox) {
        if let Some(fork) = self.servers.at(id).and_then(|s| s.fork.take()) {
            self.cancel_branches(now, &fork, out);
        }
    }

    fn carry_out_server(&mut self, id: Id, actions: &Actions, again: bool, out: &mut Outbox) {
        for action in actions {
            let Some(server) = self.servers.at(id) else { return };
            match action {
                Action::Transmit if !server.last.is_empty() => {
                    out.send(server.reply_to, &server.last);
                    if again {
                        self.config.metrics.retransmission_out();
                    }
                }
                Action::Terminate => {
                    self.by_key.remove(&server.key);
                    self.servers.remove(id);
                    self.config.metrics.server_closed();
                    return;
                }
                // Without an ACK the caller is gone; nothing is left to be done (RFC 3261 section 17.2.1).
                Action::Transmit | Action::TransmitAck | Action::Deliver | Action::Timeout => {}
            }
        }
        self.arm_server(id);
    }

    pub(crate) fn arm_server(&mut self, id: Id) {
        if let Some(server) = self.servers.at(id) {
            let at = server.next_timer();
            self.timers.arm(&mut server.armed, Owner::Server(id), at);
        }
    }

    /// Answers without keeping anything: retransmissions are answered again, with the same tag (RFC 3261 section 8.2.7).
    pub(crate) fn respond_statelessly(&self, from: Peer, request: Message<'_>, spec: ResponseSpec<'_>, out: &mut Outbox) {
        let tag = reply::to_tag(&self.config, request);
        let spec = ResponseSpec { to_tag: &tag, source: Some(from.addr), ..spec };
        out.send_with(reply::destination(&self.config, request, from), |buffer| spec.write(request, buffer));
        self.config.metrics.response_out(Origin::Edge, request.method(), spec.code);
    }
}
