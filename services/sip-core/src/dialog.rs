//! Dialogs that recalls make: [`Dialog`] of an INVITE, and REFER's implicit subscription (RFC 3515, RFC 4488, RFC 6665, RFC 7647).

mod call;
#[cfg(test)]
mod tests;

pub use call::{Dialog, Refused};

use std::time::{Duration, Instant};

use crate::message::{Header, Message, Params};
use crate::sipfrag;

/// Timer N (RFC 6665 section 4.1.2.4): how long the first NOTIFY may take after the 2xx, 64*T1.
pub const TIMER_N: Duration = Duration::from_secs(32);

/// How far the peer is with what it was asked to do. `Calling` and `Finished` imply `Accepted`, which may never come when a NOTIFY overtakes the 202.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// 2xx to the REFER. It proves nothing yet.
    Accepted,
    /// Any other final answer to the REFER.
    Refused(u16),
    /// The new call has this provisional status.
    Calling(u16),
    /// The new call has this final status; None: the subscription ended before one was told. Reported once.
    Finished(Option<u16>),
    /// Timer N, the subscription's expiry or our own limit passed without a final status.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No final answer to the REFER and no NOTIFY.
    Referring,
    /// 2xx, but no NOTIFY.
    Waiting,
    Active,
    Over,
}

/// The subscription of one REFER that we sent, from the moment it is sent. It needs no refresh and no unsubscription: it ends by the peer's
/// `terminated` or by time, and costs no message of ours.
#[derive(Debug)]
pub struct Subscription {
    state: State,
    call_id: String,
    local_tag: String,
    /// Of the first 2xx or NOTIFY; another fork's NOTIFYs do not belong here (RFC 7647 section 4).
    remote_tag: Option<String>,
    refer_cseq: u32,
    last_cseq: Option<u32>,
    /// `Finished` was reported.
    finished: bool,
    /// Our own limit.
    limit: Instant,
    deadline: Instant,
}

impl Subscription {
    /// For a REFER outside of a dialog. `cseq` is its CSeq number, `limit` the longest life of the subscription whatever the peer says.
    #[must_use]
    pub fn new(now: Instant, call_id: &str, local_tag: &str, cseq: u32, limit: Duration) -> Self {
        let limit = now + limit;
        Self {
            state: State::Referring,
            call_id: call_id.to_owned(),
            local_tag: local_tag.to_owned(),
            remote_tag: None,
            refer_cseq: cseq,
            last_cseq: None,
            finished: false,
            limit,
            deadline: limit,
        }
    }

    /// For a REFER inside a dialog: its remote tag is known, and NOTIFYs continue the peer's CSeq count.
    #[must_use]
    pub fn within(self, remote_tag: &str, last_remote_cseq: Option<u32>) -> Self {
        Self { remote_tag: Some(remote_tag.to_owned()), last_cseq: last_remote_cseq, ..self }
    }

    /// The REFER's response. After `Refer-Sub: false` in a 2xx there is no subscription (RFC 4488 section 4): it is over at once.
    pub fn on_response(&mut self, now: Instant, response: Message<'_>) -> Option<Progress> {
        let code = response.status()?;
        // A NOTIFY that came first has already told more than any answer can.
        if self.state != State::Referring || code < 200 {
            return None;
        }
        if code >= 300 {
            self.state = State::Over;
            return Some(Progress::Refused(code));
        }
        if response.first(Header::ReferSub).is_some_and(|v| before_params(v).0.eq_ignore_ascii_case(b"false")) {
            self.state = State::Over;
        } else {
            self.state = State::Waiting;
            self.deadline = self.limit.min(now + TIMER_N);
            if self.remote_tag.is_none() {
                self.remote_tag = response.to().and_then(|to| to.tag()).map(str::to_owned);
            }
        }
        Some(Progress::Accepted)
    }

    /// Whether a NOTIFY belongs to this live subscription: Call-ID, both tags as far as known, and the Event's id, which is the REFER's CSeq number
    /// (RFC 3515 section 2.4.6).
    #[must_use]
    pub fn matches(&self, notify: Message<'_>) -> bool {
        let from = notify.from().and_then(|from| from.tag());
        let id = notify.first(Header::Event).and_then(|event| before_params(event).1.text("id"));
        self.state != State::Over
            && notify.call_id() == Some(&self.call_id)
            && notify.to().and_then(|to| to.tag()) == Some(&self.local_tag)
            && from.is_some()
            && (self.remote_tag.is_none() || self.remote_tag.as_deref() == from)
            && id.is_none_or(|id| id.parse() == Ok(self.refer_cseq))
    }

    /// The status code to answer a NOTIFY with, and what it tells. Retransmissions are the server transaction's matter and do not come here.
    pub fn on_notify(&mut self, now: Instant, notify: Message<'_>) -> (u16, Option<Progress>) {
        let Some(event) = notify.first(Header::Event) else { return (400, None) };
        if !before_params(event).0.eq_ignore_ascii_case(b"refer") {
            return (489, None);
        }
        if !self.matches(notify) {
            return (481, None);
        }
        let Some(cseq) = notify.cseq() else { return (400, None) };
        // RFC 3261 section 12.2.2: what arrives out of order is old news.
        if self.last_cseq.is_some_and(|last| cseq.number <= last) {
            return (500, None);
        }
        self.last_cseq = Some(cseq.number);
        if self.remote_tag.is_none() {
            self.remote_tag = notify.from().and_then(|from| from.tag()).map(str::to_owned);
        }
        let status = sipfrag::status(notify.body());
        self.follow(now, notify.first(Header::SubscriptionState), status);
        (200, self.told(status))
    }

    /// Subscription-State. RFC 6665 demands it and old phones forget it: then a final status ends the subscription (RFC 3515 section 2.4.7).
    fn follow(&mut self, now: Instant, header: Option<&[u8]>, status: Option<u16>) {
        self.state = State::Active;
        self.deadline = self.limit;
        let Some((state, params)) = header.map(before_params) else {
            if status.is_some_and(|code| code >= 200) {
                self.state = State::Over;
            }
            return;
        };
        if state.eq_ignore_ascii_case(b"terminated") {
            self.state = State::Over;
        } else if let Some(seconds) = params.text("expires").and_then(|s| s.parse::<u32>().ok()) {
            self.deadline = self.limit.min(now + Duration::from_secs(seconds.into()));
        }
    }

    fn told(&mut self, status: Option<u16>) -> Option<Progress> {
        let ended = self.state == State::Over;
        match status {
            _ if self.finished => None,
            Some(code) if code < 200 && !ended => Some(Progress::Calling(code)),
            None if !ended => None,
            last => {
                self.finished = true;
                Some(Progress::Finished(last.filter(|code| *code >= 200)))
            }
        }
    }

    /// Ends the subscription when its time is up.
    pub fn on_timer(&mut self, now: Instant) -> Option<Progress> {
        if self.state == State::Over || now < self.deadline {
            return None;
        }
        self.state = State::Over;
        (!self.finished).then_some(Progress::Silent)
    }

    /// None: it is over, forget it.
    #[must_use]
    pub fn next_timer(&self) -> Option<Instant> {
        (self.state != State::Over).then_some(self.deadline)
    }
}

/// A header value that is a token with parameters.
fn before_params(value: &[u8]) -> (&[u8], Params<'_>) {
    let (token, params) = value.split_at(value.iter().position(|b| *b == b';').unwrap_or(value.len()));
    (token.trim_ascii(), Params(params))
}
