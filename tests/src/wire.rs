//! A phone by a connection, as bytes: for what no soft phone can be made to do.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use sip_core::framing::{Frame, Framer};

use crate::DOMAIN;

/// A TCP connection that speaks SIP for `who`.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    framer: Framer,
    who: &'static str,
    local: SocketAddr,
    sent: u32,
}

impl Wire {
    /// # Errors
    /// When nobody listens.
    pub fn connect(who: &'static str, to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let local = stream.local_addr()?;
        Ok(Self { stream, framer: Framer::default(), who, local, sent: 0 })
    }

    /// A request of this phone's; `extra` are whole header lines.
    pub fn request(&mut self, method: &str, uri: &str, extra: &str) -> String {
        self.sent += 1;
        let Self { who, local, sent, .. } = self;
        let to = if method == "REGISTER" { format!("sip:{who}@{DOMAIN}") } else { uri.to_owned() };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TCP {local};branch=z9hG4bK{who}{}x{sent};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{who}@{DOMAIN}>;tag={who}\r\nTo: <{to}>\r\nCall-ID: {who}-{method}-{}\r\nCSeq: {sent} {method}\r\n\
             Contact: <sip:{who}@{local};transport=tcp>\r\n{extra}Content-Length: 0\r\n\r\n",
            local.port(),
            local.port()
        )
    }

    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.stream.write_all(text.as_bytes())?)
    }

    /// The next message.
    /// # Errors
    /// When none comes, or the other side has hung up.
    pub fn read(&mut self) -> Result<String> {
        loop {
            match self.framer.next_frame()? {
                Some(Frame::Message(bytes)) => return Ok(String::from_utf8(bytes)?),
                Some(Frame::Ping) => continue,
                None => {}
            }
            let mut more = [0; 4096];
            match self.stream.read(&mut more).context("no message came")? {
                0 => bail!("{} was hung up on", self.who),
                n => self.framer.buffer().extend_from_slice(&more[..n]),
            }
        }
    }

    /// The next message that begins so.
    /// # Errors
    /// When it does not come.
    pub fn read_until(&mut self, start: &str) -> Result<String> {
        loop {
            let text = self.read().with_context(|| format!("waiting for {start}"))?;
            if text.starts_with(start) {
                return Ok(text);
            }
        }
    }

    /// Registers and waits for the 200.
    /// # Errors
    /// When it is refused.
    pub fn register(&mut self) -> Result<()> {
        let request = self.request("REGISTER", &format!("sip:{DOMAIN}"), "Expires: 600\r\n");
        self.send(&request)?;
        self.read_until("SIP/2.0 200 ").map(drop)
    }

    /// The answer of a phone to a request that it was sent.
    /// # Errors
    /// When the connection is gone.
    pub fn answer(&mut self, request: &str, status: &str) -> Result<()> {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for line in request.lines().take_while(|line| !line.is_empty()) {
            let name = line.split(':').next().unwrap_or_default();
            if ["Via", "Record-Route", "From", "Call-ID", "CSeq"].iter().any(|copied| name.eq_ignore_ascii_case(copied)) {
                text += &format!("{line}\r\n");
            } else if name.eq_ignore_ascii_case("To") {
                text += &format!("{line};tag={}\r\n", self.who);
            }
        }
        self.send(&(text + "Content-Length: 0\r\n\r\n"))
    }

    /// Waits until the other side has hung up, whatever it says before.
    /// # Errors
    /// When it does not.
    pub fn wait_hung_up(&mut self) -> Result<()> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => bail!("not hung up on: {error}"),
            _ => Ok(()),
        }
    }

    /// Nothing is left to be read.
    /// # Errors
    /// When something is.
    pub fn is_silent(&mut self) -> Result<()> {
        ensure!(self.framer.next_frame()?.is_none(), "{} has heard more", self.who);
        Ok(())
    }
}
