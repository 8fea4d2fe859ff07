//! Asks the servers upstream by OPTIONS whether they are there (RFC 3261 section 11).

use std::sync::Arc;

use sip_core::Method;
use sip_core::message::{RequestMethod, RequestSpec};

use crate::endpoint::core::Core;
use crate::endpoint::table::Id;
use crate::endpoint::target::by_any_listener;
use crate::endpoint::transactions::ClientOwner;
use crate::endpoint::transactions::client::Heard;
use crate::endpoint::{Now, Outbox, identity};
use crate::upstream::{Fault, Upstream};

impl Core {
    /// One worker of the edge does so, at the interval; whoever has not answered yet is not asked again.
    pub(crate) fn check_upstreams(&mut self, now: Now, out: &mut Outbox) {
        if self.next_check.is_none_or(|due| due > now.instant) {
            return;
        }
        if self.draining {
            self.next_check = None;
            return;
        }
        let config = Arc::clone(&self.config);
        let Some(front) = &config.front else { return };
        self.next_check = Some(now.instant + front.check);
        for server in front.upstreams.all() {
            if self.checks.values().all(|asked| asked.addr != server.addr) {
                self.check_upstream(now, server, front.timeout, out);
            }
        }
    }

    fn check_upstream(&mut self, now: Now, server: Arc<Upstream>, timeout: std::time::Duration, out: &mut Outbox) {
        let Some(peer) = by_any_listener(&self.config, server.addr) else { return };
        let (Some(via), Some(listener)) = (self.via(peer, None, 0), self.config.listener(peer)) else { return };
        let tag = identity::tag(&self.config, &[via.as_bytes(), server.name.as_bytes()]);
        let uri = format!("sip:{}", server.name);
        let request = RequestSpec {
            method: RequestMethod::Options,
            uri: &uri,
            via: &via,
            from: &format!("<sip:{listener}>;tag={tag}"),
            to: &format!("<{uri}>"),
            call_id: &format!("{tag}{}", now.unix.0),
            cseq: 1,
            max_forwards: 70,
            routes: &[],
            headers: &[("Contact", &format!("<sip:{listener}>")), ("Accept", "application/sdp")],
            body: &[],
        };
        let bytes = request.compose();
        let id = self.open_client(now, Method::Options, peer, ClientOwner::Check, bytes, out);
        self.expect_answer(id, now.instant + timeout);
        self.checks.insert(id, server);
    }

    /// Any answer but 503 is a sign of life, a 404 or 483 as well.
    pub(crate) fn check_heard(&mut self, client: Id, heard: Heard<'_>) {
        let code = match heard {
            Heard::Response(response) => response.status().unwrap_or_default(),
            Heard::Timeout => 0,
        };
        if (100..200).contains(&code) {
            return;
        }
        let Some(server) = self.checks.remove(&client) else { return };
        match code {
            0 => server.failed(Fault::Timeout),
            503 => server.failed(Fault::Unavailable),
            _ => server.answered(),
        }
    }
}
