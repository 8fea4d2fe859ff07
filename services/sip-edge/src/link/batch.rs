//! When a frame leaves, and what goes into it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use redial_core::link::{BindingChange, ContactChange, Event, Request};

/// Batching is what makes a request cheap: one frame is one system call, one decode and one store round trip for all in it.
#[derive(Clone, Copy, Debug)]
pub struct BatchRules {
    /// Under load, frames leave at most this often. The first request after an idle time never waits.
    pub linger: Duration,
    /// This many waiting requests do not linger, when something else wakes the link.
    pub full: usize,
    /// Frames under way per replica; more requests wait and share the next frame.
    pub unanswered: usize,
}

impl Default for BatchRules {
    fn default() -> Self {
        Self { linger: Duration::from_millis(4), full: 256, unanswered: 4 }
    }
}

/// Most requests in a frame: one Redis pipeline of this many is still short.
const FRAME_REQUESTS: usize = 1024;
/// Most bytes in a frame, roughly; well under the 4 MiB that gRPC servers accept by default.
const FRAME_BYTES: usize = 1 << 20;

/// Requests for one replica that have not left yet, and the frames that have.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    queue: VecDeque<Request>,
    frames: Vec<Frame>,
    last_left: Option<Instant>,
    /// The stream had no room the last time; not even a full queue leaves before the linger is over.
    held: bool,
}

#[derive(Debug)]
struct Frame {
    number: u64,
    /// Requests without reply.
    open: usize,
}

impl Outgoing {
    pub(super) fn push(&mut self, request: Request) {
        self.queue.push_back(request);
    }

    /// Forgets frames and takes back what has not left: the stream is lost.
    pub(super) fn reset(&mut self) -> VecDeque<Request> {
        self.frames.clear();
        self.last_left = None;
        self.held = false;
        std::mem::take(&mut self.queue)
    }

    /// Takes back what has not left; frames under way stay.
    pub(super) fn take_waiting(&mut self) -> VecDeque<Request> {
        std::mem::take(&mut self.queue)
    }

    /// Nothing waits and every frame was answered.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.frames.is_empty()
    }

    /// When the next frame may leave; None while nothing waits or too many frames are unanswered.
    pub(super) fn next_departure(&self, now: Instant, rules: &BatchRules) -> Option<Instant> {
        if self.queue.is_empty() || self.frames.len() >= rules.unanswered {
            return None;
        }
        match self.last_left {
            Some(last) if self.held || self.queue.len() < rules.full => Some(now.max(last + rules.linger)),
            _ => Some(now),
        }
    }

    /// Until when nothing can leave, whatever comes.
    pub(super) fn closed_until(&self, rules: &BatchRules) -> Option<Instant> {
        self.last_left.map(|last| last + rules.linger)
    }

    /// The requests of the next frame, in order.
    pub(super) fn take(&mut self, still_wanted: impl Fn(&Request) -> bool) -> Vec<Request> {
        let mut bytes = 0;
        let mut frame = Vec::with_capacity(self.queue.len().min(FRAME_REQUESTS));
        while let Some(request) = self.queue.front() {
            let size = size(&request.event);
            if frame.len() == FRAME_REQUESTS || (!frame.is_empty() && bytes + size > FRAME_BYTES) {
                break;
            }
            if let Some(request) = self.queue.pop_front().filter(&still_wanted) {
                bytes += size;
                frame.push(request);
            }
        }
        frame
    }

    /// The stream took none of it: the requests wait again, in their old place.
    pub(super) fn put_back(&mut self, requests: Vec<Request>) {
        for request in requests.into_iter().rev() {
            self.queue.push_front(request);
        }
    }

    /// The stream had no room: try again after a linger.
    pub(super) fn wait(&mut self, now: Instant) {
        self.last_left = Some(now);
        self.held = true;
    }

    pub(super) fn left(&mut self, now: Instant, number: u64, requests: usize) {
        self.last_left = Some(now);
        self.held = false;
        self.frames.push(Frame { number, open: requests });
    }

    /// One request of a frame is done with, answered or given up.
    pub(super) fn settle(&mut self, number: u64) {
        if let Some(at) = self.frames.iter().position(|frame| frame.number == number) {
            let frame = &mut self.frames[at];
            frame.open -= 1;
            if frame.open == 0 {
                self.frames.swap_remove(at);
            }
        }
    }
}

/// Roughly the bytes of an event in a frame. Only what a phone can make long matters.
fn size(event: &Event) -> usize {
    const FIXED: usize = 256;
    FIXED
        + match event {
            Event::Register(register) => register.call_id.len() + change_size(&register.change),
            Event::Route(route) => route.callee.as_str().len() + route.caller.as_ref().map_or(0, |caller| caller.as_str().len()),
            Event::Locate(locate) => locate.aor.as_str().len(),
            Event::RecallReport(report) => report.pair.callee.as_str().len() + report.pair.caller.as_str().len(),
            Event::ProbeReport(report) => report.aor.as_str().len() + report.binding.0.len(),
            Event::CallReport(report) => report.pair.callee.as_str().len() + report.pair.caller.as_str().len(),
        }
}

fn change_size(change: &BindingChange) -> usize {
    let BindingChange::Each(changes) = change else { return 0 };
    let contact = |change: &ContactChange| match change {
        ContactChange::Put(b) => {
            let path: usize = b.path.iter().map(String::len).sum();
            128 + b.id.0.len() + b.uri.len() + b.params.len() + b.call_id.len() + b.user_agent.len() + path
        }
        ContactChange::Remove(id) => 16 + id.0.len(),
    };
    changes.iter().map(contact).sum()
}

#[cfg(test)]
mod tests {
    use redial_core::Aor;
    use redial_core::link::Locate;

    use super::*;

    fn request(id: u64, user: usize) -> Request {
        let aor = Aor::new(format!("{}@example.com", "u".repeat(user)));
        Request { id, timeout: Duration::from_secs(1), event: Event::Locate(Locate { aor }), trace: None }
    }

    #[test]
    fn the_first_request_after_idle_leaves_at_once_and_the_next_lingers() {
        let (rules, now) = (BatchRules::default(), redial_runtime::clock::instant());
        let mut out = Outgoing::default();
        assert_eq!(out.next_departure(now, &rules), None);
        out.push(request(1, 1));
        assert_eq!(out.next_departure(now, &rules), Some(now));
        assert_eq!(out.take(|_| true).len(), 1);
        out.left(now, 1, 1);
        out.push(request(2, 1));
        assert_eq!(out.next_departure(now, &rules), Some(now + rules.linger));
        let idle = now + Duration::from_secs(1);
        assert_eq!(out.next_departure(idle, &rules), Some(idle));
    }

    #[test]
    fn a_full_queue_does_not_linger_but_waits_for_answers() {
        let (rules, now) = (BatchRules::default(), redial_runtime::clock::instant());
        let mut out = Outgoing::default();
        for number in 0..rules.unanswered as u64 {
            out.left(now, number, 2);
        }
        (0..rules.full as u64).for_each(|id| out.push(request(id, 1)));
        assert_eq!(out.next_departure(now, &rules), None);
        out.settle(2);
        assert_eq!(out.next_departure(now, &rules), None, "half of the frame is still open");
        out.settle(2);
        assert_eq!(out.next_departure(now, &rules), Some(now));
    }

    #[test]
    fn a_frame_is_bounded_in_bytes_and_keeps_order() {
        let mut out = Outgoing::default();
        (0..5).for_each(|id| out.push(request(id, FRAME_BYTES / 2)));
        let ids = |frame: Vec<Request>| frame.iter().map(|r| r.id).collect::<Vec<_>>();
        assert_eq!(ids(out.take(|_| true)), [0]);
        let second = out.take(|r| r.id != 1);
        out.put_back(second);
        assert_eq!(ids(out.take(|_| true)), [2]);
        assert_eq!(ids(out.take(|_| true)), [3]);
    }

    #[test]
    fn one_giant_still_leaves_alone() {
        let mut out = Outgoing::default();
        out.push(request(1, FRAME_BYTES * 2));
        assert_eq!(out.take(|_| true).len(), 1);
    }
}
