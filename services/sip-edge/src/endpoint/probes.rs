//! Asks phones whose registration has run out whether they are there (RFC 3261 section 11).

use redial_core::link::{Event, ProbeOrder, ProbeReport};
use sip_core::Method;
use sip_core::message::{RequestMethod, RequestSpec};

use super::core::Core;
use super::table::Id;
use super::target::{request_uri, resolve};
use super::transactions::ClientOwner;
use super::transactions::client::Heard;
use super::{Now, Outbox, identity};

/// Most probes of one worker that wait for their answer: each lasts at most 32 s. What does not fit is probed at the next interval.
pub(crate) const MAX_PROBES: usize = 4096;

impl Core {
    /// A probe that cannot be sent is as good as one that stays unanswered; one that is under way already is not sent twice.
    pub(crate) fn probe(&mut self, now: Now, order: ProbeOrder, out: &mut Outbox) {
        if self.probes.values().any(|p| p.aor == order.aor && p.binding == order.binding) {
            return;
        }
        if self.probes.len() >= MAX_PROBES {
            return self.config.metrics.order_dropped(crate::metrics::OrderDrop::TableFull);
        }
        let (Some(peer), Some(uri)) = (resolve(&self.config, &order.target), request_uri(&order.target.uri)) else { return };
        let (Some(via), Some(listener)) = (self.via(peer, None, 0), self.config.listener(peer)) else { return };
        let tag = identity::tag(&self.config, &[via.as_bytes(), order.aor.as_str().as_bytes()]);
        let (from, to) = (format!("<sip:{}>;tag={tag}", order.aor.domain()), format!("<sip:{}>", order.aor));
        let contact = format!("<sip:{listener}>");
        let request = RequestSpec {
            method: RequestMethod::Options,
            uri,
            via: &via,
            from: &from,
            to: &to,
            call_id: &format!("{tag}{}", now.unix.0),
            cseq: 1,
            max_forwards: 70,
            routes: &order.target.path,
            headers: &[("Contact", &contact), ("Accept", "application/sdp")],
            body: &[],
        };
        let bytes = request.compose();
        let id = self.open_client(now, Method::Options, peer, ClientOwner::Probe, bytes, out);
        self.probes.insert(id, order);
    }

    pub(crate) fn probe_heard(&mut self, client: Id, heard: Heard<'_>, out: &mut Outbox) {
        let code = match heard {
            Heard::Response(response) => response.status().unwrap_or_default(),
            Heard::Timeout => 408,
        };
        if code < 200 {
            return;
        }
        if let Some(ProbeOrder { aor, binding, .. }) = self.probes.remove(&client).filter(|_| code < 300) {
            self.tell(Event::ProbeReport(ProbeReport { aor, binding }), None, out);
        }
    }
}
