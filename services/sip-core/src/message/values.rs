//! Typed views of header values. All borrow from the message.

use crate::uri::Uri;

/// A method token. Compared case-sensitively (RFC 3261 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[rustfmt::skip]
pub enum Method<'a> { Register, Invite, Ack, Cancel, Bye, Options, Refer, Notify, Subscribe, Message, Publish, Info, Update, Prack, Other(&'a str) }

impl<'a> Method<'a> {
    pub fn from_token(token: &'a str) -> Self {
        todo!()
    }
    pub fn as_str(&self) -> &'a str {
        todo!()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    pub number: u32,
    pub method: Method<'a>,
}

/// `;name=value` parameters, as received. Names compare case-insensitively; quoted values are returned without their quotes' backslashes undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Params<'a>(pub &'a [u8]);

impl<'a> Params<'a> {
    /// None: absent. `Some(b"")`: present without a value.
    pub fn value(&self, name: &str) -> Option<&'a [u8]> {
        todo!()
    }
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        std::iter::empty()
    }
}

/// RFC 3261 section 20.42, with received and rport (RFC 3581).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP`... as spelled.
    pub transport: &'a str,
    /// Host as spelled, brackets of an IPv6 reference included.
    pub host: &'a str,
    pub port: Option<u16>,
    pub params: Params<'a>,
    /// The whole value's bytes.
    pub raw: &'a [u8],
}

impl<'a> Via<'a> {
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        todo!()
    }
    pub fn branch(&self) -> Option<&'a str> {
        todo!()
    }
    /// Host and port as the transaction key wants them: lower case, default port left out.
    pub fn sent_by_is(&self, other: &Via<'_>) -> bool {
        todo!()
    }
}

/// name-addr or addr-spec with parameters: From, To, Route, Record-Route, Refer-To.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    pub display: &'a [u8],
    pub uri: Uri<'a>,
    /// Header parameters (after `>`, or after the first `;` of a bare addr-spec).
    pub params: Params<'a>,
    pub raw: &'a [u8],
}

impl<'a> NameAddr<'a> {
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        todo!()
    }
    pub fn tag(&self) -> Option<&'a str> {
        todo!()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact<'a> {
    Star,
    Addr(NameAddr<'a>),
}

impl Contact<'_> {
    /// `q` in thousandths; None: absent. Some(None): malformed.
    pub fn q(&self) -> Option<Option<u16>> {
        todo!()
    }
    pub fn expires(&self) -> Option<Option<u32>> {
        todo!()
    }
}
