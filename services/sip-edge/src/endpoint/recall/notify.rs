//! NOTIFYs of the subscription that a REFER makes (RFC 3515 section 2.4.4, RFC 6665 section 4.1.3).

use redial_core::link::RecallResult;
use sip_core::dialog::Progress;
use sip_core::message::Message;

use super::{RecallContext, RecallId, Recalls, State, tag};
use crate::endpoint::Now;

/// How a NOTIFY is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotifyAnswer {
    pub code: u16,
    /// Empty: the standard phrase.
    pub reason: &'static str,
    /// Complete header lines.
    pub headers: &'static str,
}

impl NotifyAnswer {
    fn of(code: u16) -> Self {
        let (reason, headers) = match code {
            400 => ("Missing Event", ""),
            481 => ("Subscription Does Not Exist", ""),
            // RFC 6665 section 8.3.2.
            489 => ("Bad Event", "Allow-Events: refer\r\n"),
            500 => ("CSeq Out Of Order", ""),
            _ => ("", ""),
        };
        Self { code, reason, headers }
    }
}

impl Recalls {
    /// A NOTIFY whose To tag is one of this worker's (see [`super::owner_of_tag`]), once per server transaction.
    pub fn on_notify(&mut self, now: Now, request: Message<'_>, cx: &mut impl RecallContext) -> NotifyAnswer {
        let Some(number) = self.recall_of(request) else { return NotifyAnswer::of(481) };
        let Some(recall) = self.recalls.get_mut(&number) else { return NotifyAnswer::of(481) };
        let Some(subscription) = &mut recall.subscription else { return NotifyAnswer::of(481) };
        // Its end by time matters only when a NOTIFY comes, so it needs no timer.
        subscription.on_timer(now.instant);
        let (code, progress) = subscription.on_notify(now.instant, request);
        // A NOTIFY may overtake the 202: it is as good as the 202, which then tells nothing new.
        if code == 200 && matches!(recall.state, State::Trying(_)) {
            cx.stop(RecallId { recall: number, attempt: recall.attempt });
            self.finish(number, Some(RecallResult::Accepted), cx);
        }
        if let Some(Progress::Finished(Some(status))) = progress {
            self.report(number, RecallResult::Notified(status), cx);
        }
        // The phone has done what the call was for, or has failed to.
        if matches!(progress, Some(Progress::Finished(_))) {
            self.hang_up(number, cx);
        }
        NotifyAnswer::of(code)
    }

    /// By our tag, whole.
    pub(super) fn recall_of(&self, request: Message<'_>) -> Option<u64> {
        let to = request.to()?;
        let tag = to.tag()?;
        let (_, number) = tag::parts(tag)?;
        (self.recalls.get(&number)?.tag == tag).then_some(number)
    }
}
