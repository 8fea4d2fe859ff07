//! What the index costs next to the least that could be done (splitting lines and names) and next to rsip.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sip_core::Header;
use sip_core::message::{Edit, Index, Message, ResponseSpec, validate_request};

/// About 700 bytes, as a phone behind a NAT sends it.
const REGISTER: &[u8] = b"REGISTER sip:harbor.example SIP/2.0\r\n\
Via: SIP/2.0/UDP 198.51.100.7:5062;branch=z9hG4bK-524287-1---a9f2c1d4e5b60718;rport\r\n\
Max-Forwards: 70\r\n\
Contact: <sip:kai@198.51.100.7:5062;transport=udp;ob>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>\";reg-id=1\r\n\
To: \"Kai\" <sip:kai@harbor.example>\r\n\
From: \"Kai\" <sip:kai@harbor.example>;tag=8f3a6c51\r\n\
Call-ID: 91764YjM0ZTI5NzY5ZDQ4ZjQ1MWE0MDEx@198.51.100.7\r\n\
CSeq: 27 REGISTER\r\n\
Expires: 3600\r\n\
Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO\r\n\
Supported: replaces, outbound, path\r\n\
User-Agent: Deskphone 900 rel 12.4.1 stamp 57281\r\n\
Content-Length: 0\r\n\
\r\n";

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    let mut lines = Vec::new();
    group.bench_function("line split", |b| {
        b.iter(|| {
            lines.clear();
            let mut start = 0;
            for end in memchr::memchr_iter(b'\n', black_box(REGISTER)) {
                lines.push((start, end, memchr::memchr(b':', &REGISTER[start..end])));
                start = end + 1;
            }
            lines.len()
        });
    });
    let mut index = Index::default();
    group.bench_function("index", |b| b.iter(|| Message::parse(black_box(REGISTER), &mut index).is_ok()));
    group.bench_function("index and validation", |b| {
        b.iter(|| Message::parse(black_box(REGISTER), &mut index).is_ok_and(|m| validate_request(m).is_ok()));
    });
    group.bench_function("rsip", |b| b.iter(|| rsip::Request::try_from(black_box(REGISTER)).is_ok()));
    group.finish();
}

fn typed(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse and read Via, From, To, CSeq, Contact");
    let mut index = Index::default();
    group.bench_function("index", |b| {
        b.iter(|| {
            let Ok(m) = Message::parse(black_box(REGISTER), &mut index) else { return };
            black_box((m.top_via(), m.from(), m.to(), m.cseq(), m.contacts().next()));
        });
    });
    group.bench_function("rsip", |b| {
        use rsip::prelude::{HeadersExt, ToTypedHeader};
        b.iter(|| {
            let Ok(m) = rsip::Request::try_from(black_box(REGISTER)) else { return };
            black_box((
                m.via_header().map(|h| h.typed().is_ok()).is_ok(),
                m.from_header().map(|h| h.typed().is_ok()).is_ok(),
                m.to_header().map(|h| h.typed().is_ok()).is_ok(),
                m.cseq_header().map(|h| h.typed().is_ok()).is_ok(),
                m.contact_header().map(|h| h.typed().is_ok()).is_ok(),
            ));
        });
    });
    group.finish();
}

fn write(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse and write");
    let mut index = Index::default();
    let mut out = Vec::with_capacity(4096);
    group.bench_function("forward", |b| {
        b.iter(|| {
            out.clear();
            let Ok(m) = Message::parse(black_box(REGISTER), &mut index) else { return };
            let mut edit = Edit::new(m);
            edit.push_front(Header::Via, "SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK0123456789abcdef")
                .replace_first_value(Header::MaxForwards, "69");
            edit.write(&mut out);
        });
    });
    let source = ([203, 0, 113, 9], 41_000).into();
    group.bench_function("response", |b| {
        b.iter(|| {
            out.clear();
            let Ok(m) = Message::parse(black_box(REGISTER), &mut index) else { return };
            ResponseSpec { code: 200, to_tag: "4f1d2c3b", source: Some(source), ..ResponseSpec::default() }.write(m, &mut out);
        });
    });
    group.bench_function("forward by rsip", |b| {
        b.iter(|| {
            let Ok(mut m) = rsip::Request::try_from(black_box(REGISTER)) else { return };
            m.headers.push(rsip::Header::Via("SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK0123456789abcdef".into()));
            black_box(String::from(m));
        });
    });
    group.finish();
}

criterion_group!(benches, parse, typed, write);
criterion_main!(benches);
