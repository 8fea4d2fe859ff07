//! Forwarding edits: a list of splices over the received bytes. What is not touched is copied as it came.

use super::{Header, Message};

/// Collects changes to one message, then writes the result in one pass.
#[derive(Debug)]
pub struct Edit<'a> {
    message: Message<'a>,
}

impl<'a> Edit<'a> {
    pub fn new(message: Message<'a>) -> Self {
        Self { message }
    }
    pub fn request_uri(&mut self, uri: &str) -> &mut Self {
        todo!()
    }
    /// A new header line above the first header of that kind (Via, Record-Route, Route, Path), or at the end of the headers if there is none.
    pub fn push_front(&mut self, header: Header, value: &str) -> &mut Self {
        todo!()
    }
    /// A new header line at the end of the header section.
    pub fn append(&mut self, name: &str, value: &str) -> &mut Self {
        todo!()
    }
    /// Removes the first single value of a list header (the top Via, the top Route), with its line when it was the only one.
    pub fn remove_first_value(&mut self, header: Header) -> &mut Self {
        todo!()
    }
    /// Replaces the first single value of a header.
    pub fn replace_first_value(&mut self, header: Header, value: &str) -> &mut Self {
        todo!()
    }
    /// Removes every field of that header.
    pub fn remove(&mut self, header: Header) -> &mut Self {
        todo!()
    }
    /// Removes every field of that spelled-out name.
    pub fn remove_named(&mut self, name: &str) -> &mut Self {
        todo!()
    }
    /// Writes the edited message to the end of `out`, Content-Length kept as it is (bodies are never edited).
    pub fn write(&self, out: &mut Vec<u8>) {
        todo!()
    }
}
