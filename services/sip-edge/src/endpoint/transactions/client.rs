//! Client transactions. The branch in our Via is the transaction's id, so a response finds it without a search.

use std::time::Instant;

use sip_core::message::Index;
use sip_core::message::compose::{ack_for, cancel_for};
use sip_core::transaction::{Action, Actions, InviteClient, NonInviteClient};
use sip_core::{Message, Method};

use crate::endpoint::core::Core;
use crate::endpoint::recall::RecallId;
use crate::endpoint::table::Id;
use crate::endpoint::timers::{Armed, Owner};
use crate::endpoint::{Now, Outbox, Peer};

/// Who wants to know what becomes of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientOwner {
    /// A branch of the request that this server transaction received.
    Branch { server: Id },
    /// A request of a recall.
    Recall(RecallId),
    /// An OPTIONS to somebody whose registration has run out.
    Probe,
    /// An OPTIONS to a server upstream.
    Check,
}

#[derive(Debug)]
enum Machine {
    Invite(InviteClient),
    Other(NonInviteClient),
}

/// One request that we sent.
#[derive(Debug)]
pub(crate) struct Client {
    machine: Machine,
    to: Peer,
    /// As sent; empty once the final response is there.
    request: Vec<u8>,
    ack: Vec<u8>,
    pub(crate) owner: ClientOwner,
    /// RFC 3261 section 16.6 step 11; INVITE only.
    timer_c: Option<Instant>,
    /// A 1xx has arrived: only then may a CANCEL be sent (section 9.1).
    provisional: bool,
    cancel: Cancel,
    /// The request is not sent again.
    quiet: bool,
    /// Until then something must have come back.
    patience: Option<Instant>,
    armed: Armed,
}

#[derive(Debug)]
enum Cancel {
    No,
    /// As soon as a 1xx arrives.
    Wanted,
    /// The CANCEL's own transaction; it has the branch of the INVITE.
    Sent(Box<(NonInviteClient, Vec<u8>)>),
    Done,
}

impl Client {
    fn next_timer(&self) -> Option<Instant> {
        let machine = match &self.machine {
            Machine::Invite(m) => m.next_timer(),
            Machine::Other(m) => m.next_timer(),
        };
        let cancel = match &self.cancel {
            Cancel::Sent(cancel) => cancel.0.next_timer(),
            Cancel::No | Cancel::Wanted | Cancel::Done => None,
        };
        [machine, cancel, self.timer_c, self.patience].into_iter().flatten().min()
    }

    fn is_final(&self) -> bool {
        self.request.is_empty()
    }
}

/// What the owner of a client transaction is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Heard<'a> {
    Response(Message<'a>),
    /// No final answer came: as a 408 (RFC 3261 section 8.1.3.1).
    Timeout,
}

impl Core {
    /// Sends `request`, which carries the branch of [`Core::next_client`].
    pub(crate) fn open_client(
        &mut self,
        now: Now,
        method: Method<'_>,
        to: Peer,
        owner: ClientOwner,
        request: Vec<u8>,
        out: &mut Outbox,
    ) -> Id {
        let mut actions = Actions::new();
        let timers = self.config.transport(to).timers();
        let (machine, timer_c) = match method {
            Method::Invite => {
                (Machine::Invite(InviteClient::new(now.instant, timers, &mut actions)), Some(now.instant + self.config.timer_c))
            }
            _ => (Machine::Other(NonInviteClient::new(now.instant, timers, &mut actions)), None),
        };
        let (ack, cancel, armed) = (Vec::new(), Cancel::No, Armed::default());
        let id = self.clients.insert(Client {
            machine,
            to,
            request,
            ack,
            owner,
            timer_c,
            provisional: false,
            cancel,
            quiet: false,
            patience: None,
            armed,
        });
        self.config.metrics.client_opened();
        self.config.metrics.request_out(method);
        self.carry_out_client(id, &actions, false, out);
        id
    }

    /// Until then the first response must be there, or it is too late: as if none would come.
    pub(crate) fn expect_answer(&mut self, id: Id, until: Instant) {
        if let Some(client) = self.clients.at(id) {
            client.patience = Some(until);
            self.arm_client(id);
        }
    }

    /// Feeds in a response to the transaction `id`. The owner, when it must be told.
    pub(crate) fn client_response(
        &mut self,
        now: Now,
        id: Id,
        response: Message<'_>,
        out: &mut Outbox,
    ) -> Result<Option<ClientOwner>, NoTransaction> {
        let client = self.clients.at(id).ok_or(NoTransaction)?;
        let code = response.status().ok_or(NoTransaction)?;
        let mut actions = Actions::new();
        match (&mut client.machine, response.method()) {
            (Machine::Invite(_), Method::Cancel) => {
                self.cancel_response(now, id, code);
                return Ok(None);
            }
            (Machine::Invite(m), Method::Invite) => m.on_response(now.instant, code, &mut actions),
            (Machine::Other(m), method) if !matches!(method, Method::Invite | Method::Cancel) => {
                m.on_response(now.instant, code, &mut actions)
            }
            _ => return Err(NoTransaction),
        }
        client.patience = None;
        if code < 200 {
            client.provisional = true;
            if code > 100 && client.timer_c.is_some() {
                client.timer_c = Some(now.instant + self.config.timer_c);
            }
        } else {
            client.timer_c = None;
            if code >= 300 && client.ack.is_empty() && matches!(client.machine, Machine::Invite(_)) {
                let mut index = Index::default();
                if let Ok(invite) = Message::parse(&client.request, &mut index) {
                    client.ack = ack_for(invite, response);
                }
            }
            client.request = Vec::new();
        }
        let owner = actions.contains(&Action::Deliver).then_some(client.owner);
        let cancel = code < 200 && matches!(client.cancel, Cancel::Wanted);
        self.carry_out_client(id, &actions, true, out);
        if cancel {
            self.cancel_client(now, id, out);
        }
        Ok(owner)
    }

    /// Stops a request that has no final answer yet: with a CANCEL, now or when the first 1xx is there (RFC 3261 section 9.1).
    pub(crate) fn cancel_client(&mut self, now: Now, id: Id, out: &mut Outbox) {
        let Some(client) = self.clients.at(id) else { return };
        let Machine::Invite(machine) = &mut client.machine else { return };
        if client.request.is_empty() || matches!(client.cancel, Cancel::Sent(_) | Cancel::Done) {
            return;
        }
        if !client.provisional {
            client.cancel = Cancel::Wanted;
            return;
        }
        let mut index = Index::default();
        let Ok(invite) = Message::parse(&client.request, &mut index) else { return };
        let bytes = cancel_for(invite);
        machine.cancelled(now.instant);
        client.timer_c = None;
        out.send(client.to, &bytes);
        self.config.metrics.request_out(Method::Cancel);
        let timers = self.config.transport(client.to).timers();
        client.cancel = Cancel::Sent(Box::new((NonInviteClient::new(now.instant, timers, &mut Actions::new()), bytes)));
        self.arm_client(id);
    }

    fn cancel_response(&mut self, now: Now, id: Id, code: u16) {
        if let Some(client) = self.clients.at(id)
            && let Cancel::Sent(cancel) = &mut client.cancel
        {
            cancel.0.on_response(now.instant, code, &mut Actions::new());
            if code >= 200 {
                client.cancel = Cancel::Done;
            }
        }
    }

    /// The owner, when it must be told that no answer came.
    pub(crate) fn client_timer(&mut self, now: Now, at: Instant, id: Id, out: &mut Outbox) -> Option<ClientOwner> {
        let client = self.clients.at(id)?;
        client.armed.fired(at);
        let mut actions = Actions::new();
        match &mut client.machine {
            Machine::Invite(m) => m.on_timer(now.instant, &mut actions),
            Machine::Other(m) => m.on_timer(now.instant, &mut actions),
        }
        if let Cancel::Sent(cancel) = &mut client.cancel {
            let mut wants = Actions::new();
            cancel.0.on_timer(now.instant, &mut wants);
            if wants.contains(&Action::Transmit) {
                out.send(client.to, &cancel.1);
                self.config.metrics.retransmission_out();
            }
            if wants.contains(&Action::Terminate) {
                client.cancel = Cancel::Done;
            }
        }
        let timer_c = client.timer_c.is_some_and(|due| due <= now.instant) && !client.is_final();
        if timer_c {
            client.timer_c = None;
        }
        let impatient = client.patience.take_if(|until| *until <= now.instant).is_some();
        let owner = (impatient || actions.contains(&Action::Timeout)).then_some(client.owner);
        self.carry_out_client(id, &actions, true, out);
        if impatient {
            self.give_up_client(now, id, out);
        }
        if timer_c && owner.is_none() {
            self.cancel_client(now, id, out);
        }
        owner
    }

    /// Ends a request of our own that nobody waits for any more: nothing of it is sent again. A phone may still ring, so an INVITE is cancelled as
    /// soon as that is allowed (RFC 3261 section 9.1), and a 2xx that is quicker is delivered.
    pub(crate) fn give_up_client(&mut self, now: Now, id: Id, out: &mut Outbox) {
        let Some(client) = self.clients.at(id) else { return };
        if matches!(client.machine, Machine::Invite(_)) {
            client.quiet = true;
            self.cancel_client(now, id, out);
        } else {
            self.drop_client(id);
        }
    }

    /// Forgets a transaction: nothing of it is sent again, and its answer finds nobody.
    pub(crate) fn drop_client(&mut self, id: Id) {
        if self.clients.remove(id).is_some() {
            self.config.metrics.client_closed();
        }
    }

    fn carry_out_client(&mut self, id: Id, actions: &Actions, again: bool, out: &mut Outbox) {
        for action in actions {
            let Some(client) = self.clients.at(id) else { return };
            match action {
                Action::Transmit if client.quiet => {}
                Action::Transmit => {
                    out.send(client.to, &client.request);
                    if again {
                        self.config.metrics.retransmission_out();
                    }
                }
                Action::TransmitAck => {
                    out.send(client.to, &client.ack);
                    self.config.metrics.request_out(Method::Ack);
                }
                Action::Terminate => {
                    self.drop_client(id);
                    return;
                }
                // Both are told to the owner by the caller of this function.
                Action::Deliver | Action::Timeout => {}
            }
        }
        self.arm_client(id);
    }

    fn arm_client(&mut self, id: Id) {
        if let Some(client) = self.clients.at(id) {
            let at = client.next_timer();
            self.timers.arm(&mut client.armed, Owner::Client(id), at);
        }
    }
}

/// The response answers nothing that is open here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoTransaction;
