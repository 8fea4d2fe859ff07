//! Where the parts of a message are.

/// Scratch space that is reused from message to message.
#[derive(Clone, Debug, Default)]
pub struct Index {}

/// Not a SIP message at all: dropped and counted, or answered 400 where enough could be read to do so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("only line breaks: a keep-alive")]
    KeepAlive,
    #[error("larger than 64 kB or more than 256 header fields")]
    TooLarge,
    #[error("not a SIP start line")]
    StartLine,
    #[error("no empty line ends the header section")]
    NoEndOfHeaders,
    #[error("a header line has no colon or an invalid name")]
    HeaderLine,
}

impl Index {
    /// Indexes one datagram. Lenient where RFC 4475 asks for it: what is merely invalid is found by `validate`, so that it can be answered.
    /// # Errors
    /// See [`ParseError`].
    pub fn parse(&mut self, _bytes: &[u8]) -> Result<(), ParseError> {
        todo!()
    }
}
