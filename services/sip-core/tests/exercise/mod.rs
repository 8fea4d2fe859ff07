//! Everything that can be asked of a message, on bytes that anybody may have sent. Shared by the property tests and the fuzz target.

use sip_core::message::compose::{ack_for, cancel_for};
use sip_core::message::{Contact, Edit, MessageBuf, NameAddr, Params, ResponseSpec, Via, validate_request, validate_response};
use sip_core::uri::Uri;
use sip_core::{Header, sipfrag};

const SOURCE: std::net::SocketAddr = std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9)), 5071);

/// Panics when a promise does not hold: nothing read is outside of the bytes, edits are exact, answers can be read.
pub fn exercise(bytes: &[u8]) {
    loose(bytes);
    let Ok(message) = MessageBuf::parse(bytes.to_vec()) else { return };
    let view = message.view();
    let _ = (view.start_line(), view.method(), view.status(), view.request_uri(), view.cseq(), view.call_id(), view.refer_to());
    let _ = (view.max_forwards(), view.expires(), view.from().map(|a| a.tag()), view.to().map(|a| a.tag()));
    let inside = |part: &[u8]| {
        let (whole, part) = (view.bytes().as_ptr_range(), part.as_ptr_range());
        assert!(part.start == part.end || (whole.start <= part.start && part.end <= whole.end));
    };
    inside(view.body());
    view.all_fields().for_each(|(name, value)| [name, value].into_iter().for_each(inside));
    for &header in Header::ALL {
        view.values(header).for_each(inside);
        view.tokens(header).for_each(|token| inside(token.as_bytes()));
        view.values(header).for_each(loose);
        assert_eq!(view.fields_named(header.name()).count(), view.fields(header).count());
    }
    for via in view.vias().flatten() {
        let _ = (via.branch(), via.received(), via.rport(), via.sent_by_is(&via));
    }
    for contact in view.contacts().flatten() {
        let _ = (contact.q(), contact.expires());
    }
    edits(&message);
    answers(&message);
}

/// Values on their own.
fn loose(value: &[u8]) {
    Params(value).iter().for_each(|_| ());
    let _ = (Via::parse(value), Contact::parse(value), sipfrag::status(value));
    for uri in [Uri::parse(value), NameAddr::parse(value).map(|a| a.uri)].into_iter().flatten() {
        assert!(uri.equivalent(&uri));
        if let Some(aor) = uri.aor() {
            let again = format!("sip:{aor}");
            assert_eq!(Uri::parse(again.as_bytes()).and_then(|u| u.aor()), Some(aor));
        }
    }
}

fn written(edit: &Edit<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    edit.write(&mut out);
    out
}

fn edits(message: &MessageBuf) {
    let view = message.view();
    assert_eq!(written(&Edit::new(view)), view.bytes());
    for header in [Header::Via, Header::Route, Header::RecordRoute] {
        let pushed =
            MessageBuf::parse(written(Edit::new(view).push_front(header, "SIP/2.0/UDP us;branch=z9hG4bKus"))).expect("one more line");
        assert_eq!(pushed.view().values(header).next(), Some(&b"SIP/2.0/UDP us;branch=z9hG4bKus"[..]));
        assert_eq!(written(Edit::new(pushed.view()).remove_first_value(header)), view.bytes());
        let popped = written(Edit::new(view).remove_first_value(header));
        let popped = MessageBuf::parse(popped).expect("one value fewer");
        assert!(popped.view().values(header).eq(view.values(header).skip(1)));
    }
    let mut all = Edit::new(view);
    all.request_uri("sip:x@y").received_from(SOURCE).replace_first_value(Header::MaxForwards, "69").remove(Header::Contact);
    all.remove_named("x").append("X", "1").push_front(Header::Path, "<sip:p>").remove_first_value(Header::Route);
    let all = written(&all);
    if let Ok(edited) = MessageBuf::parse(all) {
        assert_eq!(edited.view().max_forwards(), Some(Some(69)));
        assert_eq!(edited.view().first(Header::Contact), None);
        assert_eq!(edited.view().body(), view.body());
    }
}

fn answers(message: &MessageBuf) {
    let view = message.view();
    let (request, response) = (validate_request(view), validate_response(view));
    let mut out = Vec::new();
    let spec = ResponseSpec { code: 400, to_tag: "t", source: Some(SOURCE), record_route: true, ..ResponseSpec::default() };
    spec.write(view, &mut out);
    let Ok(answer) = MessageBuf::parse(out) else { panic!("an answer that cannot be read") };
    if view.is_request() && request.is_ok() {
        assert_eq!(validate_response(answer.view()), Ok(()));
        assert!(answer.view().to().is_some_and(|to| to.params.value("tag").is_some()));
        assert_eq!(answer.view().call_id(), view.call_id());
        assert_eq!(answer.view().vias().count(), view.vias().count());
        for follow in [cancel_for(view), ack_for(view, answer.view())] {
            let follow = MessageBuf::parse(follow).expect("CANCEL or ACK");
            assert_eq!(validate_request(follow.view()), Ok(()));
            assert_eq!(follow.view().values(Header::Route).count(), view.values(Header::Route).count());
        }
    }
    let _ = response;
}
