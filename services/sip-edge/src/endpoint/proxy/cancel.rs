//! CANCEL (RFC 3261 sections 9.2 and 16.10).

use sip_core::Message;
use sip_core::transaction::TransactionKey;

use super::Fork;
use super::fork::State;
use crate::endpoint::core::Core;
use crate::endpoint::table::Id;
use crate::endpoint::{Now, Outbox, Peer, reply};

impl Core {
    /// 200 and the INVITE's branches are cancelled, or 481 when there is no such INVITE. Nothing is kept of a CANCEL: sent again, it is answered
    /// the same.
    pub(crate) fn on_cancel(&mut self, now: Now, from: Peer, cancel: Message<'_>, out: &mut Outbox) {
        let invite = TransactionKey::server_for_cancel(cancel).and_then(|key| self.find_server(key));
        // Another edge may see the same phone at another address.
        let is_from = |invite: Peer| invite.edge != from.edge || invite.addr.ip() == from.addr.ip();
        let Some(server) = invite.filter(|id| self.servers.get(*id).is_some_and(|s| is_from(s.from))) else {
            return self.respond_statelessly(from, cancel, reply::plain(481), out);
        };
        self.respond_statelessly(from, cancel, reply::plain(200), out);
        self.cancel_server(now, server, out);
    }

    fn cancel_server(&mut self, now: Now, server: Id, out: &mut Outbox) {
        let Some(entry) = self.servers.at(server) else { return };
        match entry.fork.take() {
            Some(mut fork) => {
                fork.state = State::Cancelled;
                self.cancel_branches(now, &fork, out);
                if let Some(entry) = self.servers.at(server) {
                    entry.fork = Some(fork);
                }
            }
            // The coordinator is still being asked; when it answers, the transaction is found closed.
            None if entry.request.is_some() => {
                self.respond(now, server, reply::plain(487), out);
            }
            // It has its final response: too late (section 9.2).
            None => {}
        }
    }

    pub(crate) fn cancel_branches(&mut self, now: Now, fork: &Fork, out: &mut Outbox) {
        for client in &fork.open {
            self.cancel_client(now, *client, out);
        }
    }
}
