//! What an edge reads that came to its peer address.
#![no_main]

use sip_edge::peers::{Beat, wire};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(opened) = wire::read(bytes) else { return };
    let _ = Beat::read(opened.content);
    let mut again = Vec::new();
    wire::begin(&mut again, opened.kind, opened.phone);
    again.extend_from_slice(opened.content);
    let key = wire::Key::new(&[7; 32]);
    key.seal(opened.sender, &mut again);
    assert_eq!(key.open(&again), Ok(opened));
});
