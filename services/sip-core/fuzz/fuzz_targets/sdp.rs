//! What a phone that we call says about media.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use sip_core::sdp::Silence;

const US: Silence = Silence { addr: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), id: 7, version: 2 };

fn streams(description: &[u8]) -> usize {
    description.split(|b| *b == b'\n').filter(|line| line.starts_with(b"m=")).count()
}

libfuzzer_sys::fuzz_target!(|offer: &[u8]| {
    let Some(answer) = US.answer(offer) else { return };
    // An answer has all streams of its offer (RFC 3264 section 6); so has the answer to it.
    if let Some(again) = US.answer(&answer) {
        assert_eq!(streams(&again), streams(&answer), "{}", String::from_utf8_lossy(&answer));
    }
});
