//! The hot paths use the caller's buffers: after the first message of its kind nothing is allocated.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use sip_core::Header;
use sip_core::message::{Edit, Index, Message, ResponseSpec, validate_request};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const INVITE: &[u8] = b"INVITE sip:kai@harbor.example SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5062;branch=z9hG4bK-1;rport\r\n\
Max-Forwards: 70\r\nFrom: \"Mira\" <sip:mira@lakeside.example>;tag=1\r\nTo: <sip:kai@harbor.example>\r\nCall-ID: 1@lakeside.example\r\n\
CSeq: 1 INVITE\r\nContact: <sip:mira@198.51.100.7:5062;ob>;expires=60\r\nRoute: <sip:us;lr>\r\nSupported: path\r\nContent-Length: 0\r\n\r\n";

fn receive_answer_and_forward(index: &mut Index, out: &mut Vec<u8>) {
    let source = ([203, 0, 113, 9], 41_000).into();
    let message = Message::parse(INVITE, index).expect("message");
    validate_request(message).expect("valid");
    assert!(message.contacts().flatten().all(|c| c.expires() == Some(Some(60))));
    assert_eq!(message.tokens(Header::Supported).count(), 1);
    out.clear();
    ResponseSpec { code: 100, source: Some(source), ..ResponseSpec::default() }.write(message, out);
    out.clear();
    let mut edit = Edit::new(message);
    edit.received_from(source).push_front(Header::Via, "SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK0123456789abcdef");
    edit.push_front(Header::RecordRoute, "<sip:203.0.113.1;lr>").replace_first_value(Header::MaxForwards, "69");
    edit.request_uri("sip:kai@198.51.100.8:5066;ob").remove_first_value(Header::Route);
    edit.write(out);
}

#[test]
fn a_request_is_parsed_checked_answered_and_forwarded_without_allocating() {
    let (mut index, mut out) = (Index::default(), Vec::new());
    receive_answer_and_forward(&mut index, &mut out);
    let before = ALLOCATIONS.get();
    receive_answer_and_forward(&mut index, &mut out);
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
