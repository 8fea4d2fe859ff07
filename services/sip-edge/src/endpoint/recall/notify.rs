//! NOTIFYs of the subscription that a REFER makes (RFC 3515 section 2.4.4, RFC 6665 section 4.1.3).

use redial_core::link::{RecallReport, RecallResult};
use sip_core::message::{Header, Message};
use sip_core::sipfrag;

use super::{RecallContext, RecallId, Recalls, State, tag};

/// How a NOTIFY is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotifyAnswer {
    pub code: u16,
    /// Empty: the standard phrase.
    pub reason: &'static str,
    /// Complete header lines.
    pub headers: &'static str,
}

const OK: NotifyAnswer = NotifyAnswer { code: 200, reason: "", headers: "" };
const NO_SUBSCRIPTION: NotifyAnswer = NotifyAnswer { code: 481, reason: "Subscription Does Not Exist", headers: "" };
const NO_EVENT: NotifyAnswer = NotifyAnswer { code: 400, reason: "Missing Event", headers: "" };
/// RFC 6665 section 8.3.2.
const BAD_EVENT: NotifyAnswer = NotifyAnswer { code: 489, reason: "Bad Event", headers: "Allow-Events: refer\r\n" };
const BAD_BODY: NotifyAnswer = NotifyAnswer { code: 400, reason: "Body Is No SIP Fragment", headers: "" };
const OLD_CSEQ: NotifyAnswer = NotifyAnswer { code: 500, reason: "CSeq Out Of Order", headers: "" };

/// What a NOTIFY says.
struct Word {
    /// Status line of the body.
    status: Option<u16>,
    terminated: bool,
}

impl Recalls {
    /// A NOTIFY whose To tag is one of this worker's (see [`super::worker_of_tag`]), once per server transaction.
    pub fn on_notify(&mut self, request: Message<'_>, cx: &mut impl RecallContext) -> NotifyAnswer {
        let Some(number) = self.recall_of(request) else { return NO_SUBSCRIPTION };
        let word = match read(request) {
            Ok(word) => word,
            Err(answer) => return answer,
        };
        if self.is_old(number, request) {
            return OLD_CSEQ;
        }
        self.take(number, word, cx);
        OK
    }

    /// The live recall that the NOTIFY belongs to: by our tag, whole, and by Call-ID.
    fn recall_of(&self, request: Message<'_>) -> Option<u64> {
        let to = request.to()?;
        let tag = to.tag()?;
        let (_, number) = tag::parts(tag)?;
        let recall = self.recalls.get(&number)?;
        let known = recall.tag == tag && request.call_id() == Some(recall.call_id.as_str()) && recall.attempt > 0;
        (known && !matches!(recall.state, State::Over)).then_some(number)
    }

    /// RFC 3261 section 12.2.2: a lower CSeq than the last one of the same dialog. Its retransmissions do not come here.
    fn is_old(&mut self, number: u64, request: Message<'_>) -> bool {
        let (Some(recall), Some(cseq)) = (self.recalls.get_mut(&number), request.cseq()) else { return false };
        let from = request.from().and_then(|f| f.tag()).unwrap_or_default();
        match &mut recall.last_notify {
            Some((tag, last)) if tag == from => {
                let old = cseq.number < *last;
                *last = cseq.number.max(*last);
                old
            }
            other => {
                *other = Some((from.to_owned(), cseq.number));
                false
            }
        }
    }

    fn take(&mut self, number: u64, word: Word, cx: &mut impl RecallContext) {
        // A NOTIFY may overtake the 202 (RFC 6665 section 4.1.2.4): it is as good as the 202, which then tells nothing new.
        if let Some(recall) = self.recalls.get(&number)
            && matches!(recall.state, State::Trying(_))
        {
            cx.stop(RecallId { recall: number, attempt: recall.attempt });
            self.finish(number, State::Accepted, Some(RecallResult::Accepted), cx);
        }
        let Some(recall) = self.recalls.get_mut(&number) else { return };
        let last = word.status.filter(|s| *s >= 200);
        if let Some(code) = last
            && !recall.notified
        {
            recall.notified = true;
            let (pair, fence, rung) = (recall.pair.clone(), recall.fence, recall.rung);
            cx.report(RecallReport { pair, fence, rung, result: RecallResult::Notified(code) });
        }
        recall.state = if word.terminated { State::Over } else { State::Accepted };
    }
}

fn read(request: Message<'_>) -> Result<Word, NotifyAnswer> {
    let event = token(request.first(Header::Event).ok_or(NO_EVENT)?);
    if !event.eq_ignore_ascii_case(b"refer") {
        return Err(if event.is_empty() { NO_EVENT } else { BAD_EVENT });
    }
    let body = request.body();
    let status = sipfrag::status(body);
    if status.is_none() && !body.trim_ascii().is_empty() {
        return Err(BAD_BODY);
    }
    // Without Subscription-State, which RFC 6665 demands and old phones forget, a final status ends it (RFC 3515 section 2.4.7).
    let terminated = match request.first(Header::SubscriptionState) {
        Some(value) => token(value).eq_ignore_ascii_case(b"terminated"),
        None => status.is_some_and(|s| s >= 200),
    };
    Ok(Word { status, terminated })
}

/// The part before parameters.
fn token(value: &[u8]) -> &[u8] {
    let end = value.iter().position(|b| *b == b';').unwrap_or(value.len());
    value[..end].trim_ascii()
}
