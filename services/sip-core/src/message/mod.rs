//! A message is the received bytes plus an [`Index`] of where its headers are. Nothing is copied or normalised on receive.

pub mod compose;
pub mod edit;
pub(crate) mod grammar;
pub mod header;
pub mod index;
pub mod reason;
pub mod validate;
pub mod values;

pub use compose::{RequestMethod, RequestSpec, ResponseSpec};
pub use edit::Edit;
pub use header::Header;
pub use index::{Index, ParseError};
pub use validate::{Reject, validate_request, validate_response};
pub use values::{CSeq, Contact, Method, NameAddr, Params, Via};

use grammar::{Elements, ascii, decimal};
use index::{Field, Start};

/// Largest message that is looked at at all, in bytes (a UDP datagram cannot be larger).
pub const MAX_MESSAGE: usize = 65_535;
/// Most header fields (after unfolding) that are indexed; more is a parse error.
pub const MAX_HEADERS: usize = 256;

/// A parsed message: a view that is free to copy.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    index: &'a Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine<'a> {
    Request { method: Method<'a>, uri: &'a [u8] },
    Response { code: u16, reason: &'a [u8] },
}

/// An owned message, for what must be kept while a transaction lives.
#[derive(Clone, Debug)]
pub struct MessageBuf {
    bytes: Vec<u8>,
    index: Index,
}

impl MessageBuf {
    /// # Errors
    /// When the bytes are no SIP message; see [`ParseError`].
    pub fn parse(bytes: Vec<u8>) -> Result<Self, ParseError> {
        let mut index = Index::default();
        index.parse(&bytes)?;
        Ok(Self { bytes, index })
    }
    #[must_use]
    pub fn view(&self) -> Message<'_> {
        Message { bytes: &self.bytes, index: &self.index }
    }
}

impl From<Message<'_>> for MessageBuf {
    fn from(m: Message<'_>) -> Self {
        Self { bytes: m.bytes[..m.index.body.end.into()].to_vec(), index: m.index.clone() }
    }
}

impl<'a> Message<'a> {
    /// Parses one datagram. `index` is scratch space that the caller reuses: after warm-up nothing is allocated.
    /// # Errors
    /// See [`ParseError`].
    pub fn parse(bytes: &'a [u8], index: &'a mut Index) -> Result<Self, ParseError> {
        index.parse(bytes)?;
        Ok(Self { bytes, index })
    }

    pub fn start_line(&self) -> StartLine<'a> {
        match self.index.start {
            Start::Request { method, uri } => {
                StartLine::Request { method: Method::from_token(ascii(method.of(self.bytes)).unwrap_or_default()), uri: uri.of(self.bytes) }
            }
            Start::Response { code, reason } => StartLine::Response { code, reason: reason.of(self.bytes) },
        }
    }
    pub fn is_request(&self) -> bool {
        matches!(self.index.start, Start::Request { .. })
    }
    /// Method of a request; for a response the method of its CSeq (empty when that cannot be read).
    pub fn method(&self) -> Method<'a> {
        match self.start_line() {
            StartLine::Request { method, .. } => method,
            StartLine::Response { .. } => self.cseq().map_or(Method::Other(""), |cseq| cseq.method),
        }
    }
    pub fn status(&self) -> Option<u16> {
        match self.index.start {
            Start::Request { .. } => None,
            Start::Response { code, .. } => Some(code),
        }
    }
    /// Request-URI bytes of a request; empty for a response.
    pub fn request_uri(&self) -> &'a [u8] {
        match self.index.start {
            Start::Request { uri, .. } => uri.of(self.bytes),
            Start::Response { .. } => b"",
        }
    }
    /// The bytes of the message that count (without line breaks before it and octets beyond Content-Length).
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes.get(self.index.begin.into()..self.index.body.end.into()).unwrap_or_default()
    }
    /// As long as Content-Length says; without one the rest of the datagram (RFC 3261 section 18.3).
    pub fn body(&self) -> &'a [u8] {
        self.index.body.of(self.bytes)
    }

    /// Whether there is a field of that header.
    pub fn has(&self, header: Header) -> bool {
        self.index.present & header.bit() != 0
    }
    fn indexed(&self, header: Header) -> impl Iterator<Item = &'a Field> + use<'a> {
        let fields = if self.has(header) { &self.index.fields[..] } else { &[] };
        fields.iter().filter(move |field| field.header == header)
    }
    /// Raw values of the header's fields in order, one per header line (comma-joined values not split), trimmed, folds left in.
    pub fn fields(&self, header: Header) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        self.indexed(header).map(move |field| field.value.of(bytes))
    }
    /// Single values of a list header, split at top-level commas (empty elements included). Fields of other headers are one value each.
    pub fn values(&self, header: Header) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let list = header.is_list();
        self.fields(header).flat_map(move |field| if list { Elements::new(field) } else { Elements::one(field) })
    }
    /// The whole value of the first field.
    pub fn first(&self, header: Header) -> Option<&'a [u8]> {
        self.fields(header).next()
    }
    /// Fields by name (case-insensitive), for names that [`Header`] does not list.
    pub fn fields_named<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let bytes = self.bytes;
        let header = Header::from_name(name.as_bytes());
        self.indexed(header)
            .filter(move |field| header != Header::Other || field.name.of(bytes).eq_ignore_ascii_case(name.as_bytes()))
            .map(move |field| field.value.of(bytes))
    }
    /// Every header field in order: name as spelled, value trimmed.
    pub fn all_fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        self.index.fields.iter().map(move |field| (field.name.of(bytes), field.value.of(bytes)))
    }

    pub fn top_via(&self) -> Option<Via<'a>> {
        self.vias().next().flatten()
    }
    /// Each value of Via; None for one that cannot be read.
    pub fn vias(&self) -> impl Iterator<Item = Option<Via<'a>>> + use<'a> {
        self.values(Header::Via).map(Via::parse)
    }
    pub fn from(&self) -> Option<NameAddr<'a>> {
        self.first(Header::From).and_then(NameAddr::parse)
    }
    pub fn to(&self) -> Option<NameAddr<'a>> {
        self.first(Header::To).and_then(NameAddr::parse)
    }
    /// Cheaper than by way of [`Self::from`].
    pub fn from_tag(&self) -> Option<&'a str> {
        self.first(Header::From).and_then(NameAddr::tag_of)
    }
    /// Cheaper than by way of [`Self::to`].
    pub fn to_tag(&self) -> Option<&'a str> {
        self.first(Header::To).and_then(NameAddr::tag_of)
    }
    /// None also for one with white space or anything but visible ASCII in it.
    pub fn call_id(&self) -> Option<&'a str> {
        self.first(Header::CallId).filter(|id| !id.is_empty() && id.iter().all(u8::is_ascii_graphic)).and_then(ascii)
    }
    pub fn cseq(&self) -> Option<CSeq<'a>> {
        self.first(Header::CSeq).and_then(CSeq::parse)
    }
    /// Each value of Contact; None for one that cannot be read.
    pub fn contacts(&self) -> impl Iterator<Item = Option<Contact<'a>>> + use<'a> {
        self.values(Header::Contact).map(Contact::parse)
    }
    pub fn routes(&self) -> impl Iterator<Item = Option<NameAddr<'a>>> + use<'a> {
        self.values(Header::Route).map(NameAddr::parse)
    }
    pub fn record_routes(&self) -> impl Iterator<Item = Option<NameAddr<'a>>> + use<'a> {
        self.values(Header::RecordRoute).map(NameAddr::parse)
    }
    pub fn refer_to(&self) -> Option<NameAddr<'a>> {
        self.first(Header::ReferTo).and_then(NameAddr::parse)
    }
    /// None: absent. Some(None): present but not a number that fits (RFC 3261 section 20.22 allows 0 to 255).
    pub fn max_forwards(&self) -> Option<Option<u8>> {
        self.first(Header::MaxForwards).map(|value| decimal(value).and_then(|n| u8::try_from(n).ok()))
    }
    /// None: absent. Some(None): present but no number of seconds in 32 bits.
    pub fn expires(&self) -> Option<Option<u32>> {
        self.first(Header::Expires).map(decimal)
    }
    /// Tokens of Require / Proxy-Require / Supported, as given. What is no token is left out.
    pub fn tokens(&self, header: Header) -> impl Iterator<Item = &'a str> + use<'a> {
        self.values(header).filter(|token| grammar::is_token(token)).filter_map(ascii)
    }
}
