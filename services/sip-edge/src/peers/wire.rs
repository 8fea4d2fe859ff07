//! What edges send each other: a header, then a SIP datagram as it came from a phone or as it is to go to one.
//!
//! | octets | |
//! |---|---|
//! | 1 | version |
//! | 1 | [`Kind`] |
//! | 1 | listener that the phone is reached by, an index into the configuration that all share |
//! | 1 | 1: the address is IPv6, 0: IPv4 in the first four octets of the address |
//! | 4 | tag of the sending edge |
//! | 16 | address of the phone |
//! | 2 | its port |
//! | 4 | its scope |
//! | 12 | HMAC-SHA-256 of all of this and the datagram, cut |
//!
//! Only edges with the same secret are listened to. To repeat such a datagram does what repeating the SIP datagram in it does, and what came by a peer
//! is never passed on again, so nothing goes round.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sip_core::routing::EdgeTag;

const VERSION: u8 = 1;
/// Octets before the SIP datagram.
pub const HEADER: usize = SIGNED + MAC;
const SIGNED: usize = 30;
const MAC: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request that came from the phone at this address, for the edge that handles it.
    Request = 1,
    /// The same of a response.
    Response = 2,
    /// To be sent to the phone at this address, by the edge that it came to.
    Send = 3,
    /// A [`super::Beat`]; no phone is meant.
    Beat = 4,
}

/// A phone as one edge sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phone {
    pub listener: u8,
    pub addr: SocketAddr,
}

/// A datagram whose signature is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    pub kind: Kind,
    pub sender: EdgeTag,
    pub phone: Phone,
    pub content: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Not of this version, or cut.
    Malformed,
    /// Not signed with our secret.
    Forged,
}

/// Begins a datagram at the end of `buffer`; the content follows, then [`Key::seal`].
pub fn begin(buffer: &mut Vec<u8>, kind: Kind, phone: Phone) {
    let mut header = [0; HEADER];
    header[0] = VERSION;
    header[1] = kind as u8;
    header[2] = phone.listener;
    match phone.addr {
        SocketAddr::V4(addr) => header[8..12].copy_from_slice(&addr.ip().octets()),
        SocketAddr::V6(addr) => {
            header[3] = 1;
            header[8..24].copy_from_slice(&addr.ip().octets());
            header[26..30].copy_from_slice(&addr.scope_id().to_be_bytes());
        }
    }
    header[24..26].copy_from_slice(&phone.addr.port().to_be_bytes());
    buffer.extend_from_slice(&header);
}

/// Reads without judging the signature. None: malformed.
#[must_use]
pub fn read(datagram: &[u8]) -> Option<Opened<'_>> {
    let (header, content) = datagram.split_first_chunk::<HEADER>()?;
    let kind = match (header[0], header[1]) {
        (VERSION, 1) => Kind::Request,
        (VERSION, 2) => Kind::Response,
        (VERSION, 3) => Kind::Send,
        (VERSION, 4) => Kind::Beat,
        _ => return None,
    };
    let (ip, _) = header[8..].split_first_chunk::<16>()?;
    let port = u16::from_be_bytes([header[24], header[25]]);
    let scope = u32::from_be_bytes([header[26], header[27], header[28], header[29]]);
    let addr = match header[3] {
        0 if ip[4..] == [0; 12] && scope == 0 => SocketAddr::new(IpAddr::from([ip[0], ip[1], ip[2], ip[3]]), port),
        1 => SocketAddrV6::new(Ipv6Addr::from(*ip), port, 0, scope).into(),
        _ => return None,
    };
    let sender = EdgeTag(u32::from_be_bytes([header[4], header[5], header[6], header[7]]));
    Some(Opened { kind, sender, phone: Phone { listener: header[2], addr }, content })
}

/// Derived from the secret that all edges share.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        let mut derive = keyed(secret);
        derive.update(b"redial peers 1");
        Self(keyed(&derive.finalize().into_bytes().into()))
    }

    /// Names the sender and signs a datagram that [`begin`] began.
    pub fn seal(&self, sender: EdgeTag, datagram: &mut [u8]) {
        let Some((header, content)) = datagram.split_first_chunk_mut::<HEADER>() else { return };
        header[4..8].copy_from_slice(&sender.0.to_be_bytes());
        let (signed, mac) = header.split_at_mut(SIGNED);
        mac.copy_from_slice(&self.mac(signed, content).finalize().into_bytes()[..MAC]);
    }

    /// # Errors
    /// What is wrong with it.
    pub fn open<'a>(&self, datagram: &'a [u8]) -> Result<Opened<'a>, Unreadable> {
        let opened = read(datagram).ok_or(Unreadable::Malformed)?;
        let mac = &datagram[SIGNED..HEADER];
        self.mac(&datagram[..SIGNED], opened.content).verify_truncated_left(mac).map_err(|_| Unreadable::Forged)?;
        Ok(opened)
    }

    fn mac(&self, signed: &[u8], content: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(signed);
        mac.update(content);
        mac
    }
}

/// A key shorter than SHA-256's block of 64 octets is filled up with zeros (RFC 2104 section 2).
fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    Hmac::new(&block.into())
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OWN: EdgeTag = EdgeTag(7);

    fn sealed(kind: Kind, phone: Phone, content: &[u8]) -> Vec<u8> {
        let mut datagram = Vec::new();
        begin(&mut datagram, kind, phone);
        datagram.extend_from_slice(content);
        Key::new(&[1; 32]).seal(OWN, &mut datagram);
        datagram
    }

    fn phones() -> impl Strategy<Value = Phone> {
        let v6 = (any::<[u8; 16]>(), any::<u16>(), any::<u32>())
            .prop_map(|(ip, port, scope)| SocketAddr::from(SocketAddrV6::new(ip.into(), port, 0, scope)));
        let v4 = (any::<[u8; 4]>(), any::<u16>()).prop_map(SocketAddr::from);
        (any::<u8>(), prop_oneof![v4, v6]).prop_map(|(listener, addr)| Phone { listener, addr })
    }

    fn kinds() -> impl Strategy<Value = Kind> {
        prop_oneof![Just(Kind::Request), Just(Kind::Response), Just(Kind::Send), Just(Kind::Beat)]
    }

    proptest! {
        #[test]
        fn sealed_and_opened_it_is_the_same(kind in kinds(), phone in phones(), content in prop::collection::vec(any::<u8>(), 0..80)) {
            let datagram = sealed(kind, phone, &content);
            prop_assert_eq!(Key::new(&[1; 32]).open(&datagram), Ok(Opened { kind, sender: OWN, phone, content: &content }));
            prop_assert_eq!(Key::new(&[2; 32]).open(&datagram), Err(Unreadable::Forged));
        }

        #[test]
        fn any_changed_or_cut_datagram_is_refused(
            kind in kinds(), phone in phones(), content in prop::collection::vec(any::<u8>(), 0..80), at: prop::sample::Index, with in 1_u8..
        ) {
            let mut datagram = sealed(kind, phone, &content);
            let at = at.index(datagram.len());
            prop_assert!(Key::new(&[1; 32]).open(&datagram[..at]).is_err());
            datagram[at] ^= with;
            prop_assert!(Key::new(&[1; 32]).open(&datagram).is_err());
        }

        #[test]
        fn anything_is_read_without_harm_and_only_in_its_one_spelling(bytes in prop::collection::vec(any::<u8>(), 0..80), head in prop::bool::ANY) {
            let mut bytes = bytes;
            if head && bytes.len() > 4 {
                let head = [VERSION, bytes[1] % 5, 0, bytes[3] % 2];
                bytes[..4].copy_from_slice(&head);
            }
            if let Some(opened) = read(&bytes) {
                let mut again = Vec::new();
                begin(&mut again, opened.kind, opened.phone);
                prop_assert_eq!(&again[..4], &bytes[..4]);
                prop_assert_eq!(&again[8..SIGNED], &bytes[8..SIGNED]);
            }
        }
    }
}
