//! Typed views of header values. All borrow from the message.

mod name_addr;
mod params;
mod via;

pub use name_addr::{Contact, NameAddr};
pub use params::Params;
pub use via::Via;

use super::grammar::{ascii, decimal, is_lws, is_token, trim};

/// A method token. Compared case-sensitively (RFC 3261 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[rustfmt::skip]
pub enum Method<'a> { Register, Invite, Ack, Cancel, Bye, Options, Refer, Notify, Subscribe, Message, Publish, Info, Update, Prack, Other(&'a str) }

impl<'a> Method<'a> {
    pub fn from_token(token: &'a str) -> Self {
        match token {
            "REGISTER" => Self::Register,
            "INVITE" => Self::Invite,
            "ACK" => Self::Ack,
            "CANCEL" => Self::Cancel,
            "BYE" => Self::Bye,
            "OPTIONS" => Self::Options,
            "REFER" => Self::Refer,
            "NOTIFY" => Self::Notify,
            "SUBSCRIBE" => Self::Subscribe,
            "MESSAGE" => Self::Message,
            "PUBLISH" => Self::Publish,
            "INFO" => Self::Info,
            "UPDATE" => Self::Update,
            "PRACK" => Self::Prack,
            other => Self::Other(other),
        }
    }
    pub fn as_str(&self) -> &'a str {
        match self {
            Self::Register => "REGISTER",
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Cancel => "CANCEL",
            Self::Bye => "BYE",
            Self::Options => "OPTIONS",
            Self::Refer => "REFER",
            Self::Notify => "NOTIFY",
            Self::Subscribe => "SUBSCRIBE",
            Self::Message => "MESSAGE",
            Self::Publish => "PUBLISH",
            Self::Info => "INFO",
            Self::Update => "UPDATE",
            Self::Prack => "PRACK",
            Self::Other(other) => other,
        }
    }
}

/// RFC 3261 section 20.16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    pub number: u32,
    pub method: Method<'a>,
}

impl<'a> CSeq<'a> {
    /// None: the number does not fit 32 bits or the rest is no method.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let end = value.iter().position(|&b| is_lws(b))?;
        let method = trim(&value[end..]);
        let number = decimal(&value[..end])?;
        is_token(method).then(|| ascii(method)).flatten().map(|m| Self { number, method: Method::from_token(m) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cseq_is_a_number_of_32_bits_and_a_method() {
        assert_eq!(CSeq::parse(b"0009\r\n  INVITE"), Some(CSeq { number: 9, method: Method::Invite }));
        assert_eq!(CSeq::parse(b"1 invite").map(|c| c.method), Some(Method::Other("invite")));
        for bad in [&b"4294967296 BYE"[..], b"1", b"BYE 1", b"1 BYE BYE", b"", b"-1 BYE", b"1INVITE"] {
            assert_eq!(CSeq::parse(bad), None, "{}", bad.escape_ascii());
        }
    }
}
