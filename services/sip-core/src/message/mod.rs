//! A message is the received bytes plus an [`Index`] of where its headers are. Nothing is copied or normalised on receive.

pub mod compose;
pub mod edit;
pub mod header;
pub mod index;
pub mod validate;
pub mod values;

pub use compose::{RequestSpec, ResponseSpec};
pub use edit::Edit;
pub use header::Header;
pub use index::{Index, ParseError};
pub use validate::{Reject, validate_request, validate_response};
pub use values::{CSeq, Contact, Method, NameAddr, Params, Via};

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
        Self { bytes: m.bytes.to_vec(), index: m.index.clone() }
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
        todo!()
    }
    pub fn is_request(&self) -> bool {
        todo!()
    }
    /// Method of a request; for a response the method of its CSeq.
    pub fn method(&self) -> Method<'a> {
        todo!()
    }
    pub fn status(&self) -> Option<u16> {
        todo!()
    }
    /// Request-URI bytes of a request.
    pub fn request_uri(&self) -> &'a [u8] {
        todo!()
    }
    /// The bytes of the message that count (without trailing octets beyond Content-Length).
    pub fn bytes(&self) -> &'a [u8] {
        todo!()
    }
    pub fn body(&self) -> &'a [u8] {
        todo!()
    }

    /// Raw values of the header's fields in order, one per header line (comma-joined values not split), trimmed, folds left in.
    pub fn fields(&self, header: Header) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        std::iter::empty()
    }
    /// Single values of a list header, split at top-level commas.
    pub fn values(&self, header: Header) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        std::iter::empty()
    }
    pub fn first(&self, header: Header) -> Option<&'a [u8]> {
        todo!()
    }
    /// Fields by spelled-out name (case-insensitive), for names that [`Header`] does not list.
    pub fn fields_named(&self, name: &str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        std::iter::empty()
    }

    pub fn top_via(&self) -> Option<Via<'a>> {
        todo!()
    }
    pub fn vias(&self) -> impl Iterator<Item = Option<Via<'a>>> + use<'a> {
        std::iter::empty()
    }
    pub fn from(&self) -> Option<NameAddr<'a>> {
        todo!()
    }
    pub fn to(&self) -> Option<NameAddr<'a>> {
        todo!()
    }
    pub fn call_id(&self) -> Option<&'a str> {
        todo!()
    }
    pub fn cseq(&self) -> Option<CSeq<'a>> {
        todo!()
    }
    /// Each value of Contact; None for one that cannot be read.
    pub fn contacts(&self) -> impl Iterator<Item = Option<Contact<'a>>> + use<'a> {
        std::iter::empty()
    }
    pub fn routes(&self) -> impl Iterator<Item = Option<NameAddr<'a>>> + use<'a> {
        std::iter::empty()
    }
    pub fn record_routes(&self) -> impl Iterator<Item = Option<NameAddr<'a>>> + use<'a> {
        std::iter::empty()
    }
    pub fn refer_to(&self) -> Option<NameAddr<'a>> {
        todo!()
    }
    /// None: absent. Some(None): present but not a number that fits (RFC 3261 section 20.22 allows 0 to 255).
    pub fn max_forwards(&self) -> Option<Option<u8>> {
        todo!()
    }
    /// None: absent. Some(None): present but no number of seconds in 32 bits.
    pub fn expires(&self) -> Option<Option<u32>> {
        todo!()
    }
    /// Tokens of Require / Proxy-Require / Supported, as given.
    pub fn tokens(&self, header: Header) -> impl Iterator<Item = &'a str> + use<'a> {
        std::iter::empty()
    }
}
