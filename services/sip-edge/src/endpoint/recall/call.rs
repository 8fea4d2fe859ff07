//! Rung 3: a call of ours to the caller's phone (RFC 3725), in which it is asked to call the callee (RFC 3515) and which ends when it
//! has (RFC 5589). No media flows: the description says that we only listen, and nobody does.

use std::net::IpAddr;

use redial_core::link::RecallResult;
use sip_core::dialog::{Dialog, Progress, Refused, Subscription};
use sip_core::message::RequestMethod;
use sip_core::sdp::Silence;
use sip_core::{Message, Method};

use super::attempt::ALLOW;
use super::{LINGER, Recall, RecallContext, RecallId, Recalls, State};
use crate::endpoint::{Now, Peer};

/// How far the call of one recall is.
#[derive(Debug, Default)]
pub(super) struct Call {
    /// Some phone of the caller's has rung.
    rung: bool,
    /// The present phone took no offer, so that it has to make one.
    without_offer: bool,
    /// Descriptions made.
    version: u32,
    established: Option<Established>,
}

#[derive(Debug)]
struct Established {
    dialog: Dialog,
    peer: Peer,
    /// Sent again for every 2xx that comes again (RFC 3261 section 13.2.2.4).
    ack: Vec<u8>,
    /// A BYE went either way.
    over: bool,
}

/// How a request inside the call is answered; `body` comes with its Content-Type among `headers`.
#[derive(Debug, Default)]
pub struct CallAnswer {
    pub code: u16,
    pub headers: String,
    pub body: Vec<u8>,
}

impl From<u16> for CallAnswer {
    fn from(code: u16) -> Self {
        Self { code, ..Self::default() }
    }
}

impl Call {
    pub(super) fn next_phone(&mut self) {
        self.without_offer = false;
    }

    pub(super) fn has_rung(&self) -> bool {
        self.rung
    }

    pub(super) fn has_offer(&self) -> bool {
        !self.without_offer
    }

    /// Answered and not hung up.
    pub(super) fn is_up(&self) -> bool {
        self.established.as_ref().is_some_and(|e| !e.over)
    }

    /// Body of the INVITE.
    pub(super) fn offer(&mut self, addr: IpAddr, id: u64) -> Vec<u8> {
        if self.without_offer { Vec::new() } else { self.description(addr, id).offer() }
    }

    fn description(&mut self, addr: IpAddr, id: u64) -> Silence {
        self.version += 1;
        Silence { addr, id, version: self.version }
    }
}

impl Recalls {
    /// A provisional answer to the INVITE: whoever rings has the rest of the time.
    pub(super) fn ringing(&mut self, number: u64) {
        if let Some(recall) = self.recalls.get_mut(&number).filter(|r| !r.call.rung) {
            recall.call.rung = true;
            let until = recall.contacts_until();
            self.wake_at(number, until);
        }
    }

    /// The INVITE was refused with `code`.
    pub(super) fn not_answered(&mut self, now: Now, number: u64, code: u16, cx: &mut impl RecallContext) {
        let Some(recall) = self.recalls.get_mut(&number) else { return };
        match code {
            488 | 606 if !recall.call.without_offer => {
                recall.call.without_offer = true;
                if !self.ask(now, number, cx) {
                    self.try_next(now, number, cx);
                }
            }
            408 => self.unanswered(now, number, cx),
            430 | 480 => self.try_next(now, number, cx),
            486 | 600 | 603 | 607 => self.finish(number, Some(RecallResult::Declined(code)), cx),
            code => self.finish(number, Some(RecallResult::Refused(code)), cx),
        }
    }

    /// A 2xx to an INVITE of ours, the first or the same again, in time or not: every one is acknowledged, and what we have no use for is
    /// hung up (RFC 3261 section 13.2.2.4).
    pub(super) fn answered(&mut self, now: Now, id: RecallId, response: Message<'_>, cx: &mut impl RecallContext) {
        let wanted = self.is_current(id);
        let policies = self.config.policies.load();
        let Some(recall) = self.recalls.get_mut(&id.recall) else { return };
        let tag = response.to().and_then(|to| to.tag());
        if let Some(established) = recall.call.established.as_ref().filter(|e| Some(e.dialog.remote_tag()) == tag) {
            return cx.send_ack(established.peer, &established.ack);
        }
        let Some(target) = recall.current.clone() else { return };
        let Some(peer) = cx.peer(&target) else { return };
        let Some(listener) = self.config.listener(peer) else { return };
        let from = recall.from(policies.for_callee(&recall.pair.callee));
        let Some(dialog) = Dialog::established(&from, &recall.tag, &target.uri, response) else { return };
        let answer = match recall.call.without_offer {
            true => recall.call.description(listener.advertised.ip(), id.recall).answer(response.body()),
            false => None,
        };
        let via = cx.ack_via(peer, &recall.call_id, id.attempt);
        let (headers, body) = match &answer {
            Some(body) => (&[("Content-Type", "application/sdp")][..], body.as_slice()),
            None => (&[][..], &[][..]),
        };
        let ack = dialog.request(RequestMethod::Ack, id.attempt, &via, headers, body);
        cx.send_ack(peer, &ack);
        let established = Established { dialog, peer, ack, over: false };
        if !wanted || recall.call.established.is_some() {
            return recall.bye(&established.dialog, peer, id.recall, cx);
        }
        recall.call.established = Some(established);
        self.open_calls += 1;
        // Someone has answered: no other phone is asked, and the phone has what is left of the order to take the transfer.
        if let State::Trying(targets) = &mut recall.state {
            targets.clear();
        }
        let until = recall.deadline;
        self.wake_at(id.recall, until);
        if !self.transfer(now, id.recall, cx) {
            self.hang_up(id.recall, cx);
            self.finish(id.recall, Some(RecallResult::Refused(500)), cx);
        }
    }

    /// Sends the REFER inside the call.
    pub(super) fn transfer(&mut self, now: Now, number: u64, cx: &mut impl RecallContext) -> bool {
        let Some(recall) = self.recalls.get_mut(&number) else { return false };
        let Some(Established { dialog, peer, .. }) = &recall.call.established else { return false };
        let Some(listener) = self.config.listener(*peer) else { return false };
        let (peer, cseq, uri) = (*peer, recall.cseq + 1, dialog.target().to_owned());
        let mut lines = recall.refer_lines(listener);
        lines.extend(recall.authorization(RequestMethod::Refer, &uri, &self.names.cnonce(now.unix, number, cseq)));
        let headers: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let Some(Established { dialog, .. }) = &recall.call.established else { return false };
        let bytes = dialog.request(RequestMethod::Refer, cseq, &cx.via(peer), &headers, &[]);
        let limit = recall.deadline.saturating_duration_since(now.instant) + LINGER;
        let subscription = Subscription::new(now.instant, &recall.call_id, &recall.tag, cseq, limit);
        recall.subscription = Some(subscription.within(dialog.remote_tag(), dialog.remote_cseq()));
        (recall.cseq, recall.attempt) = (cseq, cseq);
        cx.send_request(peer, Method::Refer, bytes, RecallId { recall: number, attempt: cseq });
        true
    }

    /// The final answer to that REFER.
    pub(super) fn transferred(&mut self, now: Now, number: u64, response: Message<'_>, cx: &mut impl RecallContext) {
        let subscription = self.recalls.get_mut(&number).and_then(|r| r.subscription.as_mut());
        match subscription.and_then(|s| s.on_response(now.instant, response)) {
            Some(Progress::Accepted) => self.finish(number, Some(RecallResult::Accepted), cx),
            Some(Progress::Refused(code)) => {
                self.hang_up(number, cx);
                self.finish(number, Some(RecallResult::Refused(code)), cx);
            }
            _ => {}
        }
    }

    /// Ends the call with a BYE if it is up.
    pub(super) fn hang_up(&mut self, number: u64, cx: &mut impl RecallContext) {
        let Some(recall) = self.recalls.get_mut(&number).filter(|r| r.call.is_up()) else { return };
        let Some(mut established) = recall.call.established.take() else { return };
        recall.bye(&established.dialog, established.peer, number, cx);
        established.over = true;
        recall.call.established = Some(established);
        self.open_calls -= 1;
    }

    /// A request inside our call, once per server transaction. NOTIFY has its own way in.
    pub fn on_call_request(&mut self, request: Message<'_>, cx: &mut impl RecallContext) -> CallAnswer {
        let Some(number) = self.recall_of(request) else { return 481.into() };
        let Some(recall) = self.recalls.get_mut(&number) else { return 481.into() };
        let Some(established) = recall.call.established.as_mut().filter(|e| !e.over) else { return 481.into() };
        match established.dialog.on_request(request) {
            Ok(()) => {}
            Err(Refused::Foreign) => return 481.into(),
            Err(Refused::OutOfOrder) => return 500.into(),
        }
        match request.method() {
            Method::Bye => {
                established.over = true;
                self.open_calls -= 1;
                self.left(number, cx);
                200.into()
            }
            // At any time: phones put a call on hold before they transfer it.
            Method::Invite | Method::Update => self.described(number, request),
            Method::Info | Method::Options => CallAnswer { code: 200, headers: format!("Allow: {ALLOW}\r\n"), ..CallAnswer::default() },
            _ => CallAnswer { code: 405, headers: format!("Allow: {ALLOW}\r\n"), ..CallAnswer::default() },
        }
    }

    /// The phone has hung up. Before it took the transfer that is a refusal by hand.
    fn left(&mut self, number: u64, cx: &mut impl RecallContext) {
        let Some(recall) = self.recalls.get(&number) else { return };
        if matches!(recall.state, State::Trying(_)) {
            cx.stop(RecallId { recall: number, attempt: recall.attempt });
            self.finish(number, Some(RecallResult::Declined(603)), cx);
        }
    }

    /// Answer to an offer (RFC 3264), or our own offer where an INVITE brings none.
    fn described(&mut self, number: u64, request: Message<'_>) -> CallAnswer {
        let Some(recall) = self.recalls.get_mut(&number) else { return 481.into() };
        let Some(peer) = recall.call.established.as_ref().map(|e| e.peer) else { return 481.into() };
        let Some(listener) = self.config.listener(peer) else { return 500.into() };
        let description = recall.call.description(listener.advertised.ip(), number);
        let body = match (request.body().is_empty(), request.method()) {
            (false, _) => description.answer(request.body()),
            (true, Method::Invite) => Some(description.offer()),
            (true, _) => Some(Vec::new()),
        };
        let Some(body) = body else { return 488.into() };
        let (name, contact) = recall.contact(listener);
        let typed = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        CallAnswer { code: 200, headers: format!("{name}: {contact}\r\nAllow: {ALLOW}\r\n{typed}"), body }
    }
}

impl Recall {
    /// A BYE in `dialog`. Its answer changes nothing.
    fn bye(&mut self, dialog: &Dialog, peer: Peer, number: u64, cx: &mut impl RecallContext) {
        self.cseq += 1;
        let id = RecallId { recall: number, attempt: self.cseq };
        let bytes = dialog.request(RequestMethod::Bye, id.attempt, &cx.via(peer), &[], &[]);
        cx.send_request(peer, Method::Bye, bytes, id);
    }
}
