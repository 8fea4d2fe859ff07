//! A stream gives the same frames however it is cut, and each is a message.
#![no_main]

use sip_core::framing::{Frame, Framer, Unframed};
use sip_core::{Index, Message};

fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<Unframed>) {
    let (mut framer, mut frames) = (Framer::default(), Vec::new());
    for piece in pieces {
        framer.buffer().extend_from_slice(piece);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(why) => return (frames, Some(why)),
            }
        }
    }
    (frames, None)
}

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| {
    let (cut, stream) = input;
    let whole = frames(std::iter::once(stream));
    assert_eq!(frames(stream.chunks(usize::from(cut).max(1))), whole);
    for frame in &whole.0 {
        if let Frame::Message(bytes) = frame {
            let mut index = Index::default();
            let message = Message::parse(bytes, &mut index).expect("what is framed is a message");
            assert_eq!(message.bytes().len(), bytes.len());
        }
    }
});
