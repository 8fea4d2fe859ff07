use proptest::prelude::*;

use super::*;
use crate::MessageBuf;

const LIMIT: Duration = Duration::from_secs(300);

#[allow(clippy::disallowed_methods, reason = "a test needs some first instant; all others are counted from it")]
fn start() -> Instant {
    Instant::now()
}

fn message(text: String) -> MessageBuf {
    MessageBuf::parse(text.into_bytes()).unwrap()
}

fn response(code: u16, headers: &str) -> MessageBuf {
    message(format!(
        "SIP/2.0 {code} x\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\nFrom: <sip:us@example.com>;tag=us\r\n\
         To: <sip:phone@example.com>;tag=phone\r\nCall-ID: c1\r\nCSeq: 5 REFER\r\n{headers}Content-Length: 0\r\n\r\n"
    ))
}

fn notify(cseq: u32, state: &str, body: &str) -> String {
    format!(
        "NOTIFY sip:us@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{cseq}\r\nFrom: <sip:phone@example.com>;tag=phone\r\n\
         To: <sip:us@example.com>;tag=us\r\nCall-ID: c1\r\nCSeq: {cseq} NOTIFY\r\nEvent: refer;id=5\r\n{state}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

const ACTIVE: &str = "Subscription-State: active;expires=60\r\n";
const TERMINATED: &str = "subscription-state: Terminated ; reason=noresource\r\n";
const TRYING: &str = "SIP/2.0 100 Trying\r\n";
const OK: &str = "SIP/2.0 200 OK\r\n";

fn subscription(now: Instant) -> Subscription {
    Subscription::new(now, "c1", "us", 5, LIMIT)
}

fn told(s: &mut Subscription, now: Instant, text: &str) -> (u16, Option<Progress>) {
    s.on_notify(now, message(text.to_owned()).view())
}

#[test]
fn the_whole_story_of_rfc_3515() {
    let t0 = start();
    let mut s = subscription(t0);
    assert_eq!(s.on_response(t0, response(100, "").view()), None);
    assert_eq!(s.on_response(t0, response(202, "").view()), Some(Progress::Accepted));
    assert_eq!(s.next_timer(), Some(t0 + TIMER_N));
    assert_eq!(told(&mut s, t0, &notify(1, ACTIVE, TRYING)), (200, Some(Progress::Calling(100))));
    assert_eq!(s.next_timer(), Some(t0 + Duration::from_secs(60)), "the peer's expiry");
    assert_eq!(told(&mut s, t0, &notify(2, TERMINATED, OK)), (200, Some(Progress::Finished(Some(200)))));
    assert_eq!(s.next_timer(), None);
    assert_eq!(told(&mut s, t0, &notify(3, TERMINATED, OK)), (481, None));
}

#[test]
fn a_notify_that_overtakes_its_202_is_as_good() {
    let t0 = start();
    let mut s = subscription(t0);
    assert_eq!(told(&mut s, t0, &notify(1, ACTIVE, TRYING)), (200, Some(Progress::Calling(100))));
    assert_eq!(s.on_response(t0, response(202, "").view()), None, "it tells nothing new");
    assert_eq!(s.next_timer(), Some(t0 + Duration::from_secs(60)), "and does not shorten the subscription");
    assert_eq!(told(&mut s, t0, &notify(2, TERMINATED, "SIP/2.0 486 Busy Here")), (200, Some(Progress::Finished(Some(486)))));
}

#[test]
fn an_older_notify_is_refused_with_500() {
    let t0 = start();
    let mut s = subscription(t0);
    assert_eq!(told(&mut s, t0, &notify(7, ACTIVE, TRYING)).0, 200);
    assert_eq!(told(&mut s, t0, &notify(6, TERMINATED, OK)), (500, None));
    assert_eq!(told(&mut s, t0, &notify(7, TERMINATED, OK)), (500, None));
    assert_eq!(told(&mut s, t0, &notify(9, TERMINATED, OK)), (200, Some(Progress::Finished(Some(200)))));
}

#[test]
fn a_final_status_is_told_once_though_the_subscription_goes_on() {
    let t0 = start();
    let mut s = subscription(t0);
    assert_eq!(told(&mut s, t0, &notify(1, ACTIVE, OK)), (200, Some(Progress::Finished(Some(200)))));
    assert_eq!(told(&mut s, t0, &notify(2, TERMINATED, OK)), (200, None));
    let mut s = subscription(t0);
    assert_eq!(told(&mut s, t0, &notify(1, ACTIVE, OK)), (200, Some(Progress::Finished(Some(200)))));
    assert_eq!(s.on_timer(t0 + LIMIT), None, "nothing is missing when it expires");
}

#[test]
fn an_end_without_a_final_status_is_an_end() {
    let t0 = start();
    for body in ["", TRYING] {
        assert_eq!(told(&mut subscription(t0), t0, &notify(1, TERMINATED, body)), (200, Some(Progress::Finished(None))));
    }
    assert_eq!(told(&mut subscription(t0), t0, &notify(1, ACTIVE, "")), (200, None));
}

#[test]
fn without_subscription_state_a_final_status_ends_it() {
    let t0 = start();
    let mut s = subscription(t0);
    assert_eq!(told(&mut s, t0, &notify(1, "", TRYING)), (200, Some(Progress::Calling(100))));
    assert_eq!(s.next_timer(), Some(t0 + LIMIT));
    assert_eq!(told(&mut s, t0, &notify(2, "", OK)), (200, Some(Progress::Finished(Some(200)))));
    assert_eq!(s.next_timer(), None);
}

#[test]
fn a_refer_without_subscription_is_over_with_its_2xx() {
    let t0 = start();
    for value in ["false", "False;x=1"] {
        let mut s = subscription(t0);
        assert_eq!(s.on_response(t0, response(202, &format!("Refer-Sub: {value}\r\n")).view()), Some(Progress::Accepted));
        assert_eq!(s.next_timer(), None);
    }
    let mut s = subscription(t0);
    assert_eq!(s.on_response(t0, response(200, "Refer-Sub: true\r\n").view()), Some(Progress::Accepted));
    assert!(s.next_timer().is_some());
}

#[test]
fn a_refused_refer_is_over() {
    let t0 = start();
    let mut s = subscription(t0);
    assert_eq!(s.on_response(t0, response(405, "").view()), Some(Progress::Refused(405)));
    assert_eq!(s.next_timer(), None);
    assert_eq!(told(&mut s, t0, &notify(1, ACTIVE, TRYING)), (481, None));
    assert_eq!(s.on_timer(t0 + LIMIT), None);
}

#[test]
fn other_dialogs_other_refers_and_other_events_do_not_belong() {
    let t0 = start();
    let good = notify(1, ACTIVE, TRYING);
    for (from, to, code) in [
        ("Call-ID: c1", "Call-ID: c2", 481),
        ("tag=us", "tag=them", 481),
        (";tag=us", "", 481),
        (";tag=phone", "", 481),
        ("id=5", "id=6", 481),
        ("id=5", "id=x", 481),
        ("refer;", "presence;", 489),
        ("Event:", "X-Event:", 400),
        ("CSeq: 1", "CSeq: x", 400),
    ] {
        assert_eq!(told(&mut subscription(t0), t0, &good.replace(from, to)), (code, None), "{from} -> {to}");
    }
    assert_eq!(told(&mut subscription(t0), t0, &good.replace("Event: refer;id=5", "o: Refer")).0, 200, "the id may be left out");
    let mut answered = subscription(t0);
    answered.on_response(t0, response(202, "").view());
    assert_eq!(told(&mut answered, t0, &good.replace("tag=phone", "tag=fork")), (481, None));
}

#[test]
fn inside_a_dialog_its_tag_and_count_go_on() {
    let t0 = start();
    let inside = || subscription(t0).within("phone", Some(10));
    assert_eq!(told(&mut inside(), t0, &notify(10, ACTIVE, TRYING)).0, 500);
    assert_eq!(told(&mut inside(), t0, &notify(11, ACTIVE, TRYING)).0, 200);
    assert_eq!(told(&mut inside(), t0, &notify(11, ACTIVE, TRYING).replace("tag=phone", "tag=other")).0, 481);
}

#[test]
fn silence_ends_it_in_every_state() {
    let t0 = start();
    let second = Duration::from_secs(1);
    let mut s = subscription(t0);
    assert_eq!((s.on_timer(t0 + LIMIT - second), s.on_timer(t0 + LIMIT)), (None, Some(Progress::Silent)), "no answer to the REFER");
    let mut s = subscription(t0);
    s.on_response(t0, response(202, "").view());
    assert_eq!((s.on_timer(t0 + TIMER_N - second), s.on_timer(t0 + TIMER_N)), (None, Some(Progress::Silent)), "no NOTIFY");
    let mut s = subscription(t0);
    told(&mut s, t0, &notify(1, ACTIVE, TRYING));
    assert_eq!(s.on_timer(t0 + Duration::from_secs(60)), Some(Progress::Silent), "no last NOTIFY");
    let mut s = subscription(t0);
    told(&mut s, t0, &notify(1, "Subscription-State: active;expires=4294967295\r\n", TRYING));
    assert_eq!(s.next_timer(), Some(t0 + LIMIT), "never longer than our own limit");
    assert_eq!((s.on_timer(t0 + LIMIT), s.on_timer(t0 + LIMIT)), (Some(Progress::Silent), None));
}

#[derive(Clone, Debug)]
enum Event {
    Response(u16),
    Notify(u32, usize, usize),
    Timer,
}

fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let event = prop_oneof![
        prop_oneof![Just(100_u16), Just(200), Just(202), Just(405)].prop_map(Event::Response),
        (0_u32..6, 0..3_usize, 0..4_usize).prop_map(|(cseq, state, body)| Event::Notify(cseq, state, body)),
        Just(Event::Timer),
    ];
    prop::collection::vec((0_u64..40, event), 0..20)
}

proptest! {
    #[test]
    fn any_story_ends_within_the_limit_and_tells_one_end(story in events()) {
        let t0 = start();
        let mut now = t0;
        let mut s = subscription(t0);
        let mut ends = 0;
        for (gap, event) in story {
            now += Duration::from_secs(gap);
            let was_over = s.next_timer().is_none();
            let progress = match event {
                Event::Response(code) => s.on_response(now, response(code, "").view()),
                Event::Notify(cseq, state, body) => {
                    let text = notify(cseq, ["", ACTIVE, TERMINATED][state], ["", TRYING, OK, "SIP/2.0 603 No"][body]);
                    let (code, progress) = told(&mut s, now, &text);
                    prop_assert_eq!(was_over, code == 481);
                    progress
                }
                Event::Timer => s.on_timer(now),
            };
            prop_assert!(!was_over || progress.is_none(), "{:?} after the end", progress);
            ends += usize::from(matches!(progress, Some(Progress::Refused(_) | Progress::Finished(_) | Progress::Silent)));
            prop_assert!(s.next_timer().is_none_or(|due| due <= t0 + LIMIT));
        }
        ends += usize::from(s.on_timer(t0 + LIMIT).is_some());
        prop_assert_eq!(ends, 1);
        prop_assert_eq!(s.next_timer(), None);
    }
}
