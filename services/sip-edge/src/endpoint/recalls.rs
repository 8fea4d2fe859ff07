//! What recalls need of the endpoint, and what it tells them.

use std::time::Duration;

use redial_core::TraceContext;
use redial_core::link::{Event, Order, RecallReport, RecallResult, Target};
use redial_core::trace::{Span, SpanKind};
use sip_core::message::ResponseSpec;
use sip_core::transaction::TransactionKey;
use sip_core::{Message, Method};

use super::core::Core;
use super::recall::{RecallContext, RecallId};
use super::target::resolve;
use super::transactions::ClientOwner;
use super::transactions::client::Heard;
use super::{Endpoint, Now, Outbox, Peer, reply};

/// The endpoint as recalls see it.
struct Context<'a> {
    core: &'a mut Core,
    now: Now,
    out: &'a mut Outbox,
}

impl RecallContext for Context<'_> {
    fn peer(&self, target: &Target) -> Option<Peer> {
        resolve(&self.core.config, target)
    }

    fn via(&mut self, peer: Peer) -> String {
        // A peer without a listener is refused by `resolve`.
        self.core.via(peer, None, 0).unwrap_or_default()
    }

    fn ack_via(&mut self, peer: Peer, call_id: &str, cseq: u32) -> String {
        self.core.via_of_ack(peer, call_id, cseq).unwrap_or_default()
    }

    fn send_request(&mut self, peer: Peer, method: Method<'static>, bytes: Vec<u8>, owner: RecallId) {
        let id = self.core.open_client(self.now, method, peer, ClientOwner::Recall(owner), bytes, self.out);
        self.core.recalls.insert(owner, id);
    }

    fn send_ack(&mut self, peer: Peer, bytes: &[u8]) {
        self.out.send(peer, bytes);
        self.core.config.metrics.request_out(Method::Ack);
    }

    fn stop(&mut self, owner: RecallId) {
        if let Some(id) = self.core.recalls.remove(&owner) {
            self.core.give_up_client(self.now, id, self.out);
        }
    }

    fn report(&mut self, report: RecallReport, began: Now, trace: Option<TraceContext>) {
        self.core.config.metrics.recall(report.rung, report.result);
        let span = trace.map(|trace| span(self.now, &report, began, trace));
        self.core.tell(Event::RecallReport(report), span.as_ref().map(|span| span.context), self.out);
        self.out.spans.extend(span);
    }
}

/// The REFER of a traced watch until its final answer, or the NOTIFY that came later.
fn span(now: Now, report: &RecallReport, began: Now, parent: TraceContext) -> Span {
    let RecallReport { pair, fence, rung, result } = report;
    let refer = Span::new("REFER", SpanKind::Client, parent.child("REFER", fence.0), Some(parent), pair);
    let refer = refer.at(began.unix, now.since(began.instant)).number("redial.rung", *rung);
    match *result {
        RecallResult::Accepted => refer.word("redial.result", "accepted"),
        RecallResult::Refused(code) => {
            Span { failed: true, ..refer.word("redial.result", "refused").number("sip.response.status_code", code) }
        }
        RecallResult::Unanswered => Span { failed: true, ..refer.word("redial.result", "unanswered") },
        RecallResult::Declined(code) => {
            Span { failed: true, ..refer.word("redial.result", "declined").number("sip.response.status_code", code) }
        }
        RecallResult::Unreachable => Span { failed: true, ..refer.word("redial.result", "unreachable") },
        RecallResult::Silent => Span { failed: true, ..refer.word("redial.result", "silent") },
        RecallResult::Notified(code) => {
            let notify = Span::new("NOTIFY", SpanKind::Server, parent.child("NOTIFY", fence.0), Some(refer.context), pair);
            notify.at(now.unix, Duration::ZERO).number("redial.rung", *rung).number("sip.response.status_code", code)
        }
    }
}

impl Endpoint {
    pub(super) fn order(&mut self, now: Now, order: Order, out: &mut Outbox) {
        match order {
            Order::Recall(order) => self.recalls.on_order(now, order, &mut Context { core: &mut self.core, now, out }),
            Order::Probe(probe) => self.core.probe(now, probe, out),
            Order::Stop(stop) => self.recalls.on_stop(&stop, &mut Context { core: &mut self.core, now, out }),
        }
    }

    pub(super) fn recall_timer(&mut self, now: Now, out: &mut Outbox) {
        self.recalls.on_timer(now, &mut Context { core: &mut self.core, now, out });
    }

    pub(super) fn recall_heard(&mut self, now: Now, recall: RecallId, heard: Heard<'_>, out: &mut Outbox) {
        let is_final = match heard {
            Heard::Response(response) => response.status().is_some_and(|code| code >= 200),
            Heard::Timeout => true,
        };
        if is_final {
            self.core.recalls.remove(&recall);
        }
        let mut cx = Context { core: &mut self.core, now, out };
        match heard {
            Heard::Response(response) => self.recalls.on_response(now, recall, response, &mut cx),
            Heard::Timeout => self.recalls.on_failure(now, recall, &mut cx),
        }
    }

    /// A request inside the dialog that a REFER or an INVITE of ours made.
    pub(super) fn on_recall_request(&mut self, now: Now, from: Peer, key: TransactionKey, request: Message<'_>, out: &mut Outbox) {
        let method = request.method();
        if !matches!(method, Method::Notify | Method::Invite | Method::Update | Method::Bye | Method::Info | Method::Options) {
            return self.core.respond_statelessly(from, request, reply::plain(481), out);
        }
        let server = self.core.open_server(now, key, from, request);
        if method != Method::Notify {
            let answer = self.recalls.on_call_request(request, &mut Context { core: &mut self.core, now, out });
            let spec = ResponseSpec { headers: &answer.headers, body: &answer.body, ..reply::plain(answer.code) };
            self.core.respond(now, server, spec, out);
            return self.core.repeat_answer(server);
        }
        let answer = self.recalls.on_notify(now, request, &mut Context { core: &mut self.core, now, out });
        let spec = ResponseSpec { reason: answer.reason, headers: answer.headers, ..reply::plain(answer.code) };
        self.core.respond(now, server, spec, out);
    }
}
