//! Rung 3, a call that is transferred, and rung 4, a message.

use super::*;
use RecallResult::{Declined, Unanswered};

const OFFER: &str = "v=0\r\no=a 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 7078 RTP/AVP 0\r\na=sendonly\r\n";
const CONTACT: &str = "Contact: <sip:alice@192.0.2.10:6000>\r\n";

impl Story {
    fn called(phones: &[Phone]) -> Self {
        let mut story = Self::new();
        story.recalls.on_order(story.now, order(1, 3, phones), &mut story.wire);
        story
    }

    /// The phone has taken the call and has the REFER.
    fn answered() -> Self {
        let mut story = Self::called(&[Phone::Silent]);
        let (_, invite, id) = story.sent(0);
        story.respond(&invite, id, 180, "");
        story.respond(&invite, id, 200, CONTACT);
        story
    }

    fn sent(&self, n: usize) -> (Peer, String, RecallId) {
        self.wire.sent.get(n).cloned().unwrap_or_else(|| panic!("{n} of {:?}", self.methods()))
    }

    fn methods(&self) -> Vec<&str> {
        self.wire.sent.iter().map(|(_, text, _)| text.split(' ').next().unwrap()).collect()
    }

    /// A request of the phone inside the call.
    fn asks(&mut self, method: &str, cseq: u32, body: &str) -> CallAnswer {
        let (_, invite, _) = self.sent(0);
        let text = format!(
            "{method} sip:x@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKp{cseq}\r\nFrom: {};tag=phone\r\nTo: {}\r\nCall-ID: {}\r\n\
             CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            header(&invite, "To"),
            header(&invite, "From"),
            header(&invite, "Call-ID"),
            body.len()
        );
        let mut index = Index::default();
        self.recalls.on_call_request(Message::parse(text.as_bytes(), &mut index).unwrap(), &mut self.wire)
    }
}

#[test]
fn a_call_that_is_answered_is_transferred_and_hung_up_when_the_phone_has_called() {
    let mut story = Story::answered();
    let (_, invite, _) = story.sent(0);
    assert!(header(&invite, "From").starts_with("\"bob@example.com is back\" <sip:bob@example.com>;tag=rr"), "{invite}");
    assert!(invite.contains("a=recvonly\r\n") && header(&invite, "Content-Type") == "application/sdp");
    assert_eq!(story.wire.acks.len(), 1);
    assert!(story.wire.acks[0].starts_with("ACK sip:alice@192.0.2.10:6000 SIP/2.0\r\n") && header(&story.wire.acks[0], "CSeq") == "1 ACK");
    let (_, refer, id) = story.sent(1);
    assert!(refer.starts_with("REFER sip:alice@192.0.2.10:6000 SIP/2.0\r\n"), "{refer}");
    assert_eq!((header(&refer, "Refer-To"), header(&refer, "Call-ID")), ("<sip:bob@example.com>", header(&invite, "Call-ID")));
    assert!(header(&refer, "To").ends_with(";tag=phone") && header(&refer, "From") == header(&invite, "From"));
    story.respond(&refer, id, 202, "");
    assert!(!story.recalls.is_idle(), "the call is up");
    let notify = |cseq, state, body| notify(&refer, cseq, state, body).replace(";tag=phone;tag=phone", ";tag=phone");
    assert_eq!(story.notify(&notify(1, "active;expires=60", "SIP/2.0 100 Trying\r\n")).code, 200);
    assert_eq!(story.notify(&notify(2, "terminated;reason=noresource", "SIP/2.0 200 OK\r\n")).code, 200);
    assert_eq!(story.results(), [Accepted, Notified(200)]);
    assert_eq!(story.methods(), ["INVITE", "REFER", "BYE"]);
    assert!(story.recalls.is_idle());
    assert_eq!(story.asks("INFO", 9, "").code, 481, "it is over");
}

#[test]
fn p3_the_same_order_twice_is_one_call() {
    let mut story = Story::answered();
    story.recalls.on_order(story.now, order(1, 3, &[Phone::Silent]), &mut story.wire);
    assert_eq!((story.methods(), story.dropped("repeated")), (vec!["INVITE", "REFER"], 1));
}

#[test]
fn a_2xx_that_comes_again_is_acknowledged_again_and_another_phones_is_hung_up() {
    let mut story = Story::answered();
    let (_, invite, id) = story.sent(0);
    story.respond(&invite, id, 200, CONTACT);
    assert_eq!(story.wire.acks.len(), 2);
    assert_eq!(story.wire.acks[0], story.wire.acks[1]);
    story.respond(&invite.replace("<sip:alice@example.com>", "<sip:alice@example.com>;tag=fork"), id, 200, CONTACT);
    assert_eq!((story.methods(), story.wire.acks.len()), (vec!["INVITE", "REFER", "BYE"], 3));
    assert!(header(&story.sent(2).1, "To").ends_with(";tag=fork"));
    let (_, refer, id) = story.sent(1);
    story.respond(&refer, id, 202, "");
    assert_eq!(story.results(), [Accepted], "the first call goes on");
}

#[test]
fn each_answer_to_the_call_has_its_outcome() {
    use Phone::*;
    for (phones, results, asked) in [
        (&[Answers(486)][..], &[Declined(486)][..], 1),
        (&[Answers(603), Phone::Silent], &[Declined(603)], 1),
        (&[Answers(600)], &[Declined(600)], 1),
        (&[Answers(405)], &[Refused(405)], 1),
        (&[Answers(480), Answers(603)], &[Declined(603)], 2),
        (&[Answers(488)], &[Refused(488)], 2),
        (&[Answers(606)], &[Refused(606)], 2),
        (&[Phone::Silent], &[RecallResult::Silent], 1),
        (&[TimesOut], &[RecallResult::Silent], 1),
        (&[Answers(408)], &[RecallResult::Silent], 1),
        (&[Answers(480), Answers(430)], &[Unreachable], 2),
        (&[Elsewhere], &[Unreachable], 0),
    ] {
        let story = Story::play(3, phones);
        assert_eq!((story.results().as_slice(), story.wire.sent.len()), (results, asked), "{phones:?}");
        assert!(story.recalls.is_idle());
    }
}

#[test]
fn a_phone_that_rings_and_is_not_answered_is_cancelled_before_the_orders_end() {
    let mut story = Story::called(&[Phone::Silent, Phone::Silent]);
    let (_, invite, id) = story.sent(0);
    story.respond(&invite, id, 180, "");
    story.wait(TIMEOUT - TRANSFER);
    assert_eq!(story.wire.stopped, [id], "it rang for as long as it could, and no other phone was tried");
    assert_eq!((story.results(), story.wire.sent.len()), (vec![Unanswered], 1));
    // Picked up in that instant.
    story.respond(&invite, id, 200, CONTACT);
    assert_eq!((story.methods(), story.wire.acks.len()), (vec!["INVITE", "BYE"], 1));
    assert!(story.recalls.is_idle());
}

#[test]
fn what_is_not_wanted_any_more_stops_ringing_and_is_not_reported() {
    let mut story = Story::called(&[Phone::Silent]);
    let (_, invite, id) = story.sent(0);
    story.respond(&invite, id, 180, "");
    story.recalls.on_stop(&StopOrder { pair: pair(), fence: Fence(2) }, &mut story.wire);
    assert!(story.wire.stopped.is_empty(), "another fence");
    story.recalls.on_stop(&StopOrder { pair: pair(), fence: Fence(1) }, &mut story.wire);
    assert_eq!((story.wire.stopped.as_slice(), story.results()), (&[id][..], vec![]));
    let mut answered = Story::answered();
    answered.recalls.on_stop(&StopOrder { pair: pair(), fence: Fence(1) }, &mut answered.wire);
    assert_eq!(answered.methods(), ["INVITE", "REFER"], "the phone is about to call");
}

#[test]
fn a_phone_that_takes_no_offer_makes_one_and_has_its_answer_in_the_ack() {
    let mut story = Story::called(&[Phone::Silent]);
    let (_, invite, id) = story.sent(0);
    story.respond(&invite, id, 488, "");
    let (_, again, id) = story.sent(1);
    assert!(again.starts_with("INVITE ") && again.ends_with("Content-Length: 0\r\n\r\n") && header(&again, "CSeq") == "2 INVITE");
    let text = format!("{CONTACT}Content-Type: application/sdp\r\n");
    let ok = format!(
        "SIP/2.0 200 X\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=phone\r\nCall-ID: {}\r\nCSeq: 2 INVITE\r\n{text}Content-Length: {}\r\n\r\n{OFFER}",
        header(&again, "Via"),
        header(&again, "From"),
        header(&again, "To"),
        header(&again, "Call-ID"),
        OFFER.len()
    );
    let mut index = Index::default();
    story.recalls.on_response(story.now, id, Message::parse(ok.as_bytes(), &mut index).unwrap(), &mut story.wire);
    assert!(story.wire.acks[0].contains("m=audio 9 RTP/AVP 0\r\na=recvonly\r\n"), "{}", story.wire.acks[0]);
    assert_eq!(story.methods(), ["INVITE", "INVITE", "REFER"]);
}

#[test]
fn a_hold_is_answered_at_any_time_and_a_phone_that_leaves_has_declined() {
    let mut story = Story::answered();
    let held = story.asks("INVITE", 1, OFFER);
    assert!(held.code == 200 && held.headers.contains("Contact: <sip:rr") && held.headers.contains("Content-Type: application/sdp"));
    assert!(String::from_utf8(held.body).unwrap().contains("a=recvonly"));
    assert_eq!(story.asks("UPDATE", 2, OFFER.replace("sendonly", "inactive").as_str()).code, 200);
    assert_eq!(story.asks("INVITE", 2, OFFER).code, 500, "out of order");
    assert!(String::from_utf8(story.asks("INVITE", 3, "").body).unwrap().contains("a=recvonly"), "our offer");
    assert_eq!(story.asks("INVITE", 4, "nonsense").code, 488);
    assert_eq!((story.asks("INFO", 5, "").code, story.asks("MESSAGE", 6, "").code), (200, 405));
    assert!(story.results().is_empty());
    assert_eq!(story.asks("BYE", 7, "").code, 200);
    assert_eq!((story.results(), story.methods()), (vec![Declined(603)], vec!["INVITE", "REFER"]));
    assert!(story.recalls.is_idle());
}

#[test]
fn a_phone_that_does_not_transfer_is_hung_up() {
    let mut story = Story::answered();
    let (_, refer, id) = story.sent(1);
    story.respond(&refer, id, 501, "");
    assert_eq!((story.results(), story.methods()), (vec![Refused(501)], vec!["INVITE", "REFER", "BYE"]));
    let mut silent = Story::answered();
    silent.wait(TIMEOUT);
    assert_eq!((silent.results(), silent.methods()), (vec![Refused(408)], vec!["INVITE", "REFER", "BYE"]));
    let mut idle = Story::answered();
    let (_, refer, id) = idle.sent(1);
    idle.respond(&refer, id, 202, "");
    idle.wait(TIMEOUT + LINGER);
    assert_eq!((idle.results(), idle.methods()), (vec![Accepted], vec!["INVITE", "REFER", "BYE"]), "nothing was heard of the new call");
    assert!(idle.recalls.is_idle() && idle.recalls.is_empty());
}

#[test]
fn a_challenged_call_and_its_transfer_are_answered_with_credentials() {
    let mut story = Story::new();
    let order = RecallOrder { credentials: order_with_credentials().credentials, ..order(1, 3, &[Phone::Silent]) };
    story.recalls.on_order(story.now, order, &mut story.wire);
    let (_, invite, id) = story.sent(0);
    story.respond(&invite, id, 407, "Proxy-Authenticate: Digest realm=\"phone\", nonce=\"n\", qop=\"auth\"\r\n");
    let (_, invite, id) = story.sent(1);
    assert!(header(&invite, "Proxy-Authorization").contains("nc=00000001"), "{invite}");
    story.respond(&invite, id, 200, CONTACT);
    assert!(header(&story.sent(2).1, "Proxy-Authorization").contains("nc=00000002"));
}

#[test]
fn the_message_of_rung_four_says_who_is_back() {
    for (phone, result) in [(Phone::Answers(200), Accepted), (Phone::Answers(405), Refused(405)), (Phone::Silent, RecallResult::Silent)] {
        let story = Story::play(4, &[phone]);
        let message = story.refer();
        assert!(message.starts_with("MESSAGE sip:alice@192.0.2.10:5060;ob SIP/2.0\r\n"), "{message}");
        assert_eq!((header(message, "Content-Language"), header(message, "CSeq")), ("en", "1 MESSAGE"));
        assert!(message.ends_with("\r\n\r\nbob@example.com can be reached again."), "{message}");
        assert_eq!(story.results(), [result]);
    }
}
