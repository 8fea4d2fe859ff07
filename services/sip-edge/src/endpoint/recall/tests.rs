//! Recalls against phones that behave in the ways that phones do.

use proptest::prelude::*;
use redial_core::{Aor, EdgeId, Flow, TraceContext, UnixMillis};
use sip_core::{Index, Method};

mod calls;

use super::*;
use crate::endpoint::fixture;
use crate::metrics::Sample;

const TIMEOUT: Duration = Duration::from_secs(20);

/// How the phone behind a contact behaves.
#[derive(Clone, Copy, Debug)]
enum Phone {
    /// Answers the REFER with this.
    Answers(u16),
    /// 202 with `Refer-Sub: false`: RFC 4488.
    AcceptsQuietly,
    /// 202, then NOTIFYs: 100, and at last this.
    AcceptsAndNotifies(u16),
    /// The NOTIFYs overtake the 202.
    NotifiesFirst(u16),
    Silent,
    /// Silent for so long that Timer B or F ends its transaction.
    TimesOut,
    /// The contact came by an edge that is not this one.
    Elsewhere,
}

/// Stands in for the endpoint: transactions that are answered by hand.
#[derive(Default)]
struct Wire {
    sent: Vec<(Peer, String, RecallId)>,
    acks: Vec<String>,
    stopped: Vec<RecallId>,
    reports: Vec<RecallReport>,
    branches: u32,
}

impl RecallContext for Wire {
    fn peer(&self, target: &Target) -> Option<Peer> {
        let addr = target.flow.as_str().strip_prefix("udp/0/")?.parse().ok()?;
        Some(Peer { edge: sip_core::routing::EdgeTag::HERE, listener: 0, addr })
    }
    fn via(&mut self, _peer: Peer) -> String {
        self.branches += 1;
        format!("SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK{}", self.branches)
    }
    fn ack_via(&mut self, _peer: Peer, call_id: &str, cseq: u32) -> String {
        format!("SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bKack{call_id}{cseq}")
    }
    fn send_ack(&mut self, _peer: Peer, bytes: &[u8]) {
        self.acks.push(String::from_utf8(bytes.to_vec()).unwrap());
    }
    fn send_request(&mut self, peer: Peer, _method: Method<'static>, bytes: Vec<u8>, owner: RecallId) {
        self.sent.push((peer, String::from_utf8(bytes).unwrap(), owner));
    }
    fn stop(&mut self, owner: RecallId) {
        self.stopped.push(owner);
    }
    fn report(&mut self, report: RecallReport, _: Now, _: Option<TraceContext>) {
        self.reports.push(report);
    }
}

struct Story {
    recalls: Recalls,
    wire: Wire,
    now: Now,
}

fn pair() -> Pair {
    Pair { callee: Aor::new("bob@example.com"), caller: Aor::new("alice@example.com") }
}

fn order(fence: u64, rung: u8, phones: &[Phone]) -> RecallOrder {
    let target = |(n, phone): (usize, &Phone)| Target {
        uri: format!("sip:alice@192.0.2.{}:5060;ob", 10 + n),
        q: 1000,
        path: Vec::new(),
        edge: EdgeId::new("edge-a"),
        flow: if matches!(phone, Phone::Elsewhere) { Flow::new("tcp/9") } else { Flow::new(format!("udp/0/192.0.2.{}:5060", 10 + n)) },
    };
    RecallOrder {
        pair: pair(),
        fence: Fence(fence),
        rung,
        targets: phones.iter().enumerate().map(target).collect(),
        timeout: TIMEOUT,
        credentials: None,
        trace: None,
    }
}

impl Story {
    fn new() -> Self {
        let now = Now { instant: fixture::start(), unix: UnixMillis(1_700_000_000_000) };
        Self { recalls: Recalls::new(Arc::new(fixture::config(None)), 3), wire: Wire::default(), now }
    }

    /// Gives the order and lets the phones behave until nothing more happens within the order's time.
    fn play(rung: u8, phones: &[Phone]) -> Self {
        let mut story = Self::new();
        story.recalls.on_order(story.now, order(1, rung, phones), &mut story.wire);
        let mut answered = 0;
        let end = story.now.instant + TIMEOUT;
        loop {
            if let Some((peer, request, id)) = story.wire.sent.get(answered).cloned() {
                answered += 1;
                let std::net::IpAddr::V4(ip) = peer.addr.ip() else { panic!("not v4") };
                let silent = story.behave(phones[usize::from(ip.octets()[3]) - 10], &request, id);
                if !silent {
                    continue;
                }
            }
            match story.recalls.next_timer().filter(|at| *at <= end) {
                Some(at) => {
                    story.now.instant = at;
                    story.recalls.on_timer(story.now, &mut story.wire);
                }
                None => return story,
            }
        }
    }

    /// True: it does nothing.
    fn behave(&mut self, phone: Phone, request: &str, id: RecallId) -> bool {
        match phone {
            Phone::Answers(code) => self.respond(request, id, code, ""),
            Phone::AcceptsQuietly => self.respond(request, id, 202, "Refer-Sub: false\r\n"),
            Phone::AcceptsAndNotifies(last) => {
                self.respond(request, id, 202, "");
                self.notifies(request, last);
            }
            Phone::NotifiesFirst(last) => {
                self.notifies(request, last);
                self.respond(request, id, 202, "");
            }
            Phone::Silent => return true,
            Phone::TimesOut => self.recalls.on_failure(self.now, id, &mut self.wire),
            Phone::Elsewhere => unreachable!("nothing is sent to it"),
        }
        false
    }

    fn respond(&mut self, request: &str, id: RecallId, code: u16, lines: &str) {
        let to = header(request, "To");
        let tag = if to.contains("tag=") { "" } else { ";tag=phone" };
        let text = format!(
            "SIP/2.0 {code} X\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n{lines}Content-Length: 0\r\n\r\n",
            header(request, "Via"),
            header(request, "From"),
            header(request, "Call-ID"),
            header(request, "CSeq")
        );
        let mut index = Index::default();
        let message = Message::parse(text.as_bytes(), &mut index).unwrap();
        self.recalls.on_response(self.now, id, message, &mut self.wire);
    }

    fn notifies(&mut self, request: &str, last: u16) {
        assert_eq!(self.notify(&notify(request, 1, "active;expires=60", "SIP/2.0 100 Trying\r\n")).code, 200);
        assert_eq!(self.notify(&notify(request, 2, "terminated;reason=noresource", &format!("SIP/2.0 {last} X\r\n"))).code, 200);
    }

    fn notify(&mut self, text: &str) -> NotifyAnswer {
        let mut index = Index::default();
        let message = Message::parse(text.as_bytes(), &mut index).unwrap();
        assert_eq!(message.method(), Method::Notify);
        self.recalls.on_notify(self.now, message, &mut self.wire)
    }

    fn results(&self) -> Vec<RecallResult> {
        self.wire.reports.iter().map(|r| r.result).collect()
    }

    fn dropped(&self, why: &str) -> u64 {
        let counted = |s: &Sample| s.name == "redial_orders_dropped_total" && s.labels.iter().any(|(_, v)| v == why);
        self.recalls.config.metrics.samples().filter(counted).map(|s| s.value).sum()
    }

    fn refer(&self) -> &str {
        &self.wire.sent[0].1
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now.instant + time;
        while let Some(at) = self.recalls.next_timer().filter(|at| *at <= until) {
            self.now.instant = at;
            self.recalls.on_timer(self.now, &mut self.wire);
        }
        self.now.instant = until;
    }
}

fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let line = message.lines().find(|l| l.split(':').next().is_some_and(|n| n.eq_ignore_ascii_case(name)));
    line.unwrap_or_else(|| panic!("no {name} in {message}")).split_once(':').unwrap().1.trim()
}

fn notify(refer: &str, cseq: u32, state: &str, body: &str) -> String {
    format!(
        "NOTIFY {} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKn{cseq}\r\nFrom: {};tag=phone\r\nTo: {}\r\nCall-ID: {}\r\n\
         CSeq: {cseq} NOTIFY\r\nMax-Forwards: 70\r\nContact: <sip:alice@192.0.2.10>\r\nEvent: refer\r\nSubscription-State: {state}\r\n\
         Content-Type: message/sipfrag\r\nContent-Length: {}\r\n\r\n{body}",
        header(refer, "Contact").trim_matches(['<', '>']),
        header(refer, "To"),
        header(refer, "From"),
        header(refer, "Call-ID"),
        body.len()
    )
}

use RecallResult::{Accepted, Notified, Refused, Unreachable};

#[test]
fn each_kind_of_phone_has_its_outcome() {
    use Phone::*;
    for (phones, results, asked) in [
        (&[AcceptsQuietly][..], &[Accepted][..], 1),
        (&[Answers(202)], &[Accepted], 1),
        (&[Answers(200)], &[Accepted], 1),
        (&[AcceptsAndNotifies(200)], &[Accepted, Notified(200)], 1),
        (&[AcceptsAndNotifies(486)], &[Accepted, Notified(486)], 1),
        (&[NotifiesFirst(200)], &[Accepted, Notified(200)], 1),
        (&[Answers(603)], &[Refused(603)], 1),
        (&[Answers(405), AcceptsQuietly], &[Refused(405)], 1),
        (&[Answers(401)], &[Refused(401)], 1),
        (&[Answers(407)], &[Refused(407)], 1),
        (&[Answers(302)], &[Refused(302)], 1),
        (&[Answers(480), AcceptsQuietly], &[Accepted], 2),
        (&[Answers(408), Answers(430), AcceptsAndNotifies(180), Phone::Silent], &[Accepted], 3),
        (&[TimesOut, AcceptsQuietly], &[Accepted], 2),
        (&[Phone::Silent, AcceptsQuietly], &[Accepted], 2),
        (&[Elsewhere, AcceptsQuietly], &[Accepted], 1),
        (&[Phone::Silent, Phone::Silent, Phone::Silent], &[RecallResult::Silent], 3),
        (&[Phone::Silent; 9], &[RecallResult::Silent], 5),
        (&[TimesOut], &[RecallResult::Silent], 1),
        (&[Answers(480), Phone::Silent], &[RecallResult::Silent], 2),
        (&[Phone::Silent, Answers(480), Elsewhere], &[RecallResult::Silent], 2),
        (&[Answers(408), Answers(430)], &[RecallResult::Silent], 2),
        (&[Answers(430), Answers(480), Elsewhere], &[Unreachable], 2),
        (&[Elsewhere], &[Unreachable], 0),
        (&[], &[Unreachable], 0),
    ] {
        for rung in [1, 2] {
            let story = Story::play(rung, phones);
            assert_eq!(story.results(), results, "rung {rung}: {phones:?}");
            assert_eq!(story.wire.sent.len(), asked, "rung {rung}: {phones:?}");
            assert!(story.recalls.is_idle());
            assert!(story.wire.reports.iter().all(|r| r.pair == pair() && r.fence == Fence(1) && r.rung == rung));
        }
    }
}

/// The table above has phones that ask when we have none.
fn order_with_credentials() -> RecallOrder {
    let credentials = Credentials { username: "redial".to_owned(), password: "s3cret".to_owned() };
    RecallOrder { credentials: Some(credentials), ..order(1, 2, &[Phone::Answers(401), Phone::AcceptsQuietly]) }
}

#[test]
fn a_phone_that_asks_is_answered_once_and_its_subscription_is_that_of_the_second_refer() {
    let mut story = Story::new();
    story.recalls.on_order(story.now, order_with_credentials(), &mut story.wire);
    let (_, first, id) = story.wire.sent[0].clone();
    assert!(!first.contains("Authorization"), "nothing is given to who has not asked");
    story.respond(&first, id, 401, "WWW-Authenticate: Digest realm=\"phone\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"\r\n");
    let (_, second, id) = story.wire.sent[1].clone();
    assert_eq!((header(&first, "Call-ID"), header(&second, "CSeq")), (header(&second, "Call-ID"), "2 REFER"));
    let credentials = digest::Credentials::parse(header(&second, "Authorization").as_bytes()).unwrap();
    let ha1 = digest::Ha1::new(digest::Algorithm::Sha256, "redial", "phone", "s3cret");
    assert!(digest::verify(&credentials, "REFER", &ha1) && credentials.is_for(b"sip:alice@192.0.2.10:5060;ob"));
    story.respond(&second, id, 202, "");
    story.notifies(&second, 200);
    assert_eq!(story.results(), [Accepted, Notified(200)]);
    assert_eq!(story.wire.sent.len(), 2);
}

#[test]
fn a_phone_that_refuses_the_answer_has_refused_and_an_order_does_not_print_its_password() {
    let mut story = Story::new();
    assert!(!format!("{:?}", order_with_credentials()).contains("s3cret"));
    story.recalls.on_order(story.now, order_with_credentials(), &mut story.wire);
    for asked in 0..2 {
        let (_, request, id) = story.wire.sent[asked].clone();
        story.respond(&request, id, 407, "Proxy-Authenticate: Digest realm=\"phone\", nonce=\"n\"\r\n");
    }
    assert_eq!((story.results(), story.wire.sent.len()), (vec![Refused(407)], 2));
    assert!(!format!("{:?}", story.recalls).contains("s3cret"));
}

#[test]
fn the_refer_of_rung_one_asks_for_no_subscription() {
    let story = Story::play(1, &[Phone::AcceptsQuietly]);
    let refer = story.refer();
    assert!(refer.starts_with("REFER sip:alice@192.0.2.10:5060;ob SIP/2.0\r\n"), "{refer}");
    assert_eq!(header(refer, "Refer-To"), "<sip:bob@example.com>");
    assert_eq!(header(refer, "Referred-By"), "<sip:bob@example.com>");
    assert_eq!(header(refer, "To"), "<sip:alice@example.com>");
    assert!(header(refer, "From").starts_with("<sip:bob@example.com>;tag="));
    assert_eq!(header(refer, "Refer-Sub"), "false");
    assert_eq!(header(refer, "Supported"), "norefersub");
    assert_eq!(header(refer, "Max-Forwards"), "70");
    assert_eq!(header(refer, "CSeq"), "1 REFER");
    assert!(header(refer, "Contact").ends_with("@192.0.2.1:5060>"));
    assert_eq!(owner_of_tag(header(refer, "From").split_once(";tag=").unwrap().1).map(|(_, worker)| worker), Some(3));
    let mut index = Index::default();
    let message = Message::parse(refer.as_bytes(), &mut index).unwrap();
    assert_eq!(sip_core::message::validate_request(message), Ok(()));
}

#[test]
fn the_refer_of_rung_two_leaves_the_subscription_implicit() {
    let story = Story::play(2, &[Phone::AcceptsAndNotifies(200)]);
    assert!(!story.refer().contains("Refer-Sub") && !story.refer().contains("norefersub"));
}

#[test]
fn a_path_becomes_the_route_set() {
    let mut story = Story::new();
    let mut order = order(1, 1, &[Phone::Silent]);
    order.targets[0].path = vec!["<sip:p1.example.com;lr>".to_owned(), "<sip:p2.example.com;lr>".to_owned()];
    story.recalls.on_order(story.now, order, &mut story.wire);
    let mut index = Index::default();
    let message = Message::parse(story.refer().as_bytes(), &mut index).unwrap();
    let routes: Vec<_> = message.routes().map(|r| r.unwrap().uri.host).collect();
    assert_eq!(routes, ["p1.example.com", "p2.example.com"]);
}

/// P3: one order is executed once, and an older one not at all.
#[test]
fn p3_an_order_is_executed_once_and_an_older_one_never() {
    let mut story = Story::play(1, &[Phone::AcceptsQuietly]);
    for fence in [1, 0] {
        story.recalls.on_order(story.now, order(fence, 1, &[Phone::AcceptsQuietly]), &mut story.wire);
    }
    assert_eq!(story.wire.sent.len(), 1);
    assert_eq!((story.dropped("repeated"), story.dropped("outdated")), (1, 1));
    story.recalls.on_order(story.now, order(2, 1, &[Phone::AcceptsQuietly]), &mut story.wire);
    assert_eq!(story.wire.sent.len(), 2);
}

#[test]
fn a_newer_order_stops_the_older_one() {
    let mut story = Story::new();
    for fence in [1, 2] {
        story.recalls.on_order(story.now, order(fence, 1, &[Phone::Silent, Phone::Silent]), &mut story.wire);
    }
    let (first, second) = (story.wire.sent[0].clone(), story.wire.sent[1].clone());
    assert_eq!(story.wire.stopped, [first.2]);
    story.respond(&first.1, first.2, 202, "");
    assert!(story.wire.reports.is_empty(), "the old order has nothing to say any more");
    story.respond(&second.1, second.2, 202, "");
    assert_eq!((story.wire.reports[0].fence, story.wire.reports[0].result), (Fence(2), Accepted));
}

/// P4: nothing of an order is sent after its time, not even a retransmission.
#[test]
fn p4_a_silent_phone_is_left_alone_after_the_order() {
    let story = Story::play(1, &[Phone::Silent, Phone::Silent]);
    assert_eq!(story.now.instant, fixture::start() + TIMEOUT);
    let sent: Vec<RecallId> = story.wire.sent.iter().map(|s| s.2).collect();
    assert_eq!(story.wire.stopped, sent);
    assert_eq!(story.results(), [RecallResult::Silent]);
}

/// The phone hears the REFER only when its order is over, and is being called by then. What it does about the REFER shows in the caller's own
/// INVITE, upon which the coordinator stops the call; here it changes nothing.
#[test]
fn p3_a_late_202_of_a_silent_phone_changes_nothing_of_the_call_that_followed() {
    let mut story = Story::play(1, &[Phone::Silent]);
    let (_, refer, id) = story.wire.sent[0].clone();
    story.recalls.on_order(story.now, order(2, 3, &[Phone::Silent]), &mut story.wire);
    let (_, invite, ringing) = story.wire.sent[1].clone();
    assert!(invite.starts_with("INVITE "), "{invite}");
    story.respond(&invite, ringing, 180, "");
    story.respond(&refer, id, 202, "");
    assert_eq!(story.notify(&notify(&refer, 1, "active", "SIP/2.0 100 Trying\r\n")).code, 481);
    assert_eq!((story.results(), story.wire.sent.len()), (vec![RecallResult::Silent], 2));
    story.recalls.on_stop(&StopOrder { pair: pair(), fence: Fence(2) }, &mut story.wire);
    assert_eq!(story.wire.stopped.last(), Some(&ringing), "it stops ringing when the phone calls");
    assert!(story.recalls.is_idle());
}

#[test]
fn a_late_answer_of_an_earlier_contact_changes_nothing() {
    let mut story = Story::play(1, &[Phone::Silent, Phone::AcceptsQuietly]);
    let (_, request, id) = story.wire.sent[0].clone();
    story.respond(&request, id, 603, "");
    story.recalls.on_failure(story.now, id, &mut story.wire);
    assert_eq!(story.results(), [Accepted]);
}

#[test]
fn a_provisional_answer_is_no_answer() {
    let mut story = Story::new();
    story.recalls.on_order(story.now, order(1, 1, &[Phone::Silent]), &mut story.wire);
    let (_, request, id) = story.wire.sent[0].clone();
    story.respond(&request, id, 100, "");
    assert!(story.results().is_empty() && !story.recalls.is_idle());
}

#[test]
fn a_notify_of_nobody_is_481() {
    let mut story = Story::play(2, &[Phone::Answers(202)]);
    let good = notify(story.refer(), 1, "active", "SIP/2.0 100 Trying\r\n");
    let call_id = header(story.refer(), "Call-ID").to_owned();
    let tag = header(story.refer(), "From").split_once(";tag=").unwrap().1.to_owned();
    let forged = format!("{}{}", &tag[..tag.len() - 1], if tag.ends_with('0') { '1' } else { '0' });
    assert_eq!(story.notify(&good.replace(&call_id, "another")).code, 481);
    assert_eq!(story.notify(&good.replace(&format!(";tag={tag}"), &format!(";tag={forged}"))).code, 481);
    assert_eq!(story.notify(&good.replace(&format!(";tag={tag}"), "")).code, 481);
    assert_eq!(story.notify(&good).code, 200);
}

#[test]
fn a_notify_must_be_about_a_refer() {
    let mut story = Story::play(2, &[Phone::Answers(202)]);
    let good = notify(story.refer(), 1, "active", "SIP/2.0 100 Trying\r\n");
    assert_eq!(story.notify(&good.replace("Event: refer\r\n", "")).code, 400);
    let wrong = story.notify(&good.replace("Event: refer", "Event: presence"));
    assert_eq!((wrong.code, wrong.headers), (489, "Allow-Events: refer\r\n"));
    assert_eq!(story.notify(&good.replace("Event: refer", "o: Refer;id=1")).code, 200);
    assert_eq!(story.results(), [Accepted]);
}

/// RFC 4488 section 4.
#[test]
fn without_a_subscription_there_is_nothing_to_notify() {
    let mut story = Story::play(1, &[Phone::AcceptsQuietly]);
    assert_eq!(story.notify(&notify(story.refer(), 1, "active", "SIP/2.0 100 Trying\r\n")).code, 481);
    let mut story = Story::play(1, &[Phone::AcceptsAndNotifies(200)]);
    assert_eq!(story.results(), [Accepted, Notified(200)], "a phone that does not know Refer-Sub");
    assert_eq!(story.notify(&notify(story.refer(), 3, "active", "SIP/2.0 100 Trying\r\n")).code, 481);
}

#[test]
fn a_final_status_is_reported_once_and_the_end_is_the_end() {
    let mut story = Story::play(2, &[Phone::Answers(202)]);
    let refer = story.refer().to_owned();
    for cseq in [1, 2] {
        assert_eq!(story.notify(&notify(&refer, cseq, "active", "SIP/2.0 486 Busy\r\n")).code, 200);
    }
    assert_eq!(story.notify(&notify(&refer, 1, "active", "SIP/2.0 486 Busy\r\n")).code, 500, "older than the last");
    assert_eq!(story.notify(&notify(&refer, 3, "terminated", "")).code, 200);
    assert_eq!(story.notify(&notify(&refer, 4, "terminated", "")).code, 481);
    assert_eq!(story.results(), [Accepted, Notified(486)]);
}

#[test]
fn a_phone_without_subscription_state_ends_with_a_final_status() {
    let mut story = Story::play(2, &[Phone::Answers(202)]);
    let text = notify(story.refer(), 1, "active", "SIP/2.0 200 OK\r\n").replace("Subscription-State: active\r\n", "");
    assert_eq!(story.notify(&text).code, 200);
    assert_eq!(story.notify(&text).code, 481);
}

#[test]
fn after_a_refusal_there_is_no_subscription() {
    let mut story = Story::play(2, &[Phone::Answers(603)]);
    assert_eq!(story.notify(&notify(story.refer(), 1, "active", "SIP/2.0 100 Trying\r\n")).code, 481);
}

#[test]
fn a_subscription_lives_a_minute_beyond_the_order() {
    let mut story = Story::play(2, &[Phone::Answers(202)]);
    let refer = story.refer().to_owned();
    let notified = |story: &mut Story, cseq| story.notify(&notify(&refer, cseq, "active", "SIP/2.0 100 Trying\r\n")).code;
    assert_eq!(notified(&mut story, 1), 200);
    story.wait(TIMEOUT + LINGER - Duration::from_secs(1));
    assert_eq!(notified(&mut story, 2), 200);
    story.wait(Duration::from_secs(1));
    assert_eq!(notified(&mut story, 3), 481);
    assert!(story.recalls.is_empty() && story.recalls.next_timer().is_none(), "nothing is left of it");
    story.recalls.on_order(story.now, order(1, 1, &[Phone::Silent]), &mut story.wire);
    assert_eq!(story.wire.sent.len(), 2, "the fence is forgotten with it");
}

/// RFC 6665 section 4.1.2.4, Timer N.
#[test]
fn a_subscription_without_a_first_notify_ends_after_timer_n() {
    let mut story = Story::play(2, &[Phone::Answers(202)]);
    let text = notify(story.refer(), 1, "active", "SIP/2.0 100 Trying\r\n");
    story.wait(sip_core::dialog::TIMER_N);
    assert_eq!(story.notify(&text).code, 481);
}

/// P7: contacts are the order's, in order; where to call comes from the pair and nothing else.
#[test]
fn p7_a_recall_goes_to_the_ordered_contacts_and_names_the_callee() {
    let story = Story::play(1, &[Phone::Answers(480), Phone::Silent, Phone::AcceptsQuietly]);
    for (n, (peer, refer, _)) in story.wire.sent.iter().enumerate() {
        assert_eq!(peer.addr, format!("192.0.2.{}:5060", 10 + n).parse().unwrap());
        assert!(refer.starts_with(&format!("REFER sip:alice@192.0.2.{}:5060;ob SIP/2.0\r\n", 10 + n)));
        assert_eq!(header(refer, "Refer-To"), "<sip:bob@example.com>");
        assert_eq!(header(refer, "CSeq"), format!("{} REFER", n + 1));
    }
    assert_eq!(story.wire.sent.len(), 3);
}

fn phones() -> impl Strategy<Value = Phone> {
    use Phone::*;
    prop_oneof![
        (200_u16..700).prop_map(Answers),
        Just(AcceptsQuietly),
        (100_u16..700).prop_map(AcceptsAndNotifies),
        (100_u16..700).prop_map(NotifiesFirst),
        Just(Phone::Silent),
        Just(TimesOut),
        Just(Elsewhere),
    ]
}

proptest! {
    /// Whatever the phones do: one outcome, told first and once; nobody is asked after somebody accepted or refused, or after the time.
    #[test]
    fn every_order_has_one_outcome(rung in 1_u8..3, phones in prop::collection::vec(phones(), 0..6)) {
        let mut story = Story::play(rung, &phones);
        let results = story.results();
        prop_assert!(matches!(results[0], Accepted | Refused(_) | Unreachable | RecallResult::Silent), "{:?}", results);
        prop_assert!(results[1..].iter().all(|r| matches!(r, Notified(_))) && results.len() <= 2, "{:?}", results);
        prop_assert!(story.recalls.is_idle());
        let sent = story.wire.sent.len();
        story.wait(TIMEOUT + LINGER);
        prop_assert_eq!(story.wire.sent.len(), sent);
        prop_assert_eq!(story.results(), results);
        prop_assert!(story.recalls.is_empty() && story.recalls.next_timer().is_none());
    }
}

#[test]
fn the_table_is_bounded() {
    let mut story = Story::new();
    for n in 0..=MAX_RECALLS {
        let mut order = order(1, 1, &[Phone::Silent]);
        order.pair.caller = Aor::new(format!("{n}@example.com"));
        story.recalls.on_order(story.now, order, &mut story.wire);
    }
    assert_eq!((story.recalls.len(), story.dropped("table_full")), (MAX_RECALLS, 1));
    assert!(story.wire.reports.is_empty(), "an order that was not taken says nothing about the caller");
    story.wait(TIMEOUT + LINGER);
    assert!(story.recalls.is_empty());
}

#[test]
fn absurd_times_do_no_harm() {
    let mut story = Story::new();
    for (fence, timeout) in [(1, Duration::MAX), (2, Duration::ZERO)] {
        story.recalls.on_order(story.now, RecallOrder { timeout, ..order(fence, 1, &[Phone::Silent]) }, &mut story.wire);
    }
    assert_eq!(story.results(), [Unreachable]);
}
