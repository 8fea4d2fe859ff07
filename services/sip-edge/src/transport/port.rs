//! What one worker has of connections.

use std::borrow::Cow;
use std::sync::Arc;

use sip_core::message::{Edit, Header};
use sip_core::{Index, Message};
use tokio::sync::mpsc::Receiver;

use super::connections::Connections;
use crate::endpoint::{Outbox, Peer};
use crate::worker::Handover;

/// Messages of all connections that wait for one worker. When it is full, connections read no further.
pub(crate) const RECEIVED: usize = 1024;

#[derive(Debug)]
pub(crate) struct StreamPort {
    pub(crate) connections: Arc<Connections>,
    pub(crate) received: Receiver<Handover>,
    /// Bit per listener that is one for connections.
    pub(crate) listeners: u64,
}

impl StreamPort {
    /// Sends what goes by a connection; what finds none is added to `unreachable`.
    pub(crate) fn send(&self, out: &Outbox, unreachable: &mut Vec<Handover>) {
        for transmit in out.transmits.iter().filter(|t| self.listeners >> (t.to.listener & 63) & 1 == 1) {
            let Some(bytes) = out.buffer.get(transmit.bytes.clone()) else { continue };
            self.send_one(transmit.to, bytes, unreachable);
        }
    }

    fn send_one(&self, to: Peer, bytes: &[u8], unreachable: &mut Vec<Handover>) {
        if !self.connections.send(to, with_length(bytes).into_owned()) {
            unreachable.push((to, bytes.to_vec()));
        }
    }
}

/// What came in a datagram may say nothing about its length, which a stream needs (RFC 3261 section 18.3).
fn with_length(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut index = Index::default();
    match Message::parse(bytes, &mut index) {
        Ok(message) if !message.has(Header::ContentLength) => {
            let (length, mut whole) = (message.body().len().to_string(), Vec::with_capacity(bytes.len() + 32));
            Edit::new(message).append("Content-Length", &length).write(&mut whole);
            Cow::Owned(whole)
        }
        _ => Cow::Borrowed(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_needs_the_length() {
        let with = |line: &str, body: &str| format!("MESSAGE sip:b@c SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\n{line}\r\n{body}");
        let text = |bytes: &str| String::from_utf8(with_length(bytes.as_bytes()).into_owned()).unwrap();
        assert_eq!(text(&with("", "hello")), with("Content-Length: 5\r\n", "hello"));
        assert_eq!(text(&with("", "")), with("Content-Length: 0\r\n", ""));
        assert_eq!(text(&with("l : 5\r\n", "hello")), with("l : 5\r\n", "hello"));
    }
}
