//! A scripted phone on a real UDP socket: it knows just enough SIP for the story.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use sip_core::{Header, MessageBuf, Method};
use tokio::net::UdpSocket;

use super::ladder::{Arrow, Ladder};

/// How long the story waits for any one message. Far above every timer that plays in it.
const PATIENCE: Duration = Duration::from_secs(10);

/// One end of the story.
#[derive(Debug)]
pub struct Phone<'l> {
    name: &'static str,
    domain: &'static str,
    server: SocketAddr,
    socket: UdpSocket,
    ladder: &'l Ladder,
}

impl<'l> Phone<'l> {
    pub async fn new(name: &'static str, domain: &'static str, server: SocketAddr, ladder: &'l Ladder) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.with_context(|| format!("{name}'s phone needs a UDP port on loopback"))?;
        Ok(Self { name, domain, server, socket, ladder })
    }

    pub fn aor(&self) -> String {
        format!("sip:{}@{}", self.name, self.domain)
    }

    fn contact(&self) -> Result<String> {
        Ok(format!("<sip:{}@{}>", self.name, self.socket.local_addr()?))
    }

    /// REGISTER until the 200.
    pub async fn register(&self) -> Result<()> {
        let to = self.aor();
        let extra = format!("Contact: {}\r\nExpires: 3600\r\n", self.contact()?);
        let request = self.request("REGISTER", &format!("sip:{}", self.domain), &to, "reg", 1, &extra, "")?;
        self.send(&request).await?;
        let answer = self.expect("200 to REGISTER", |m| m.view().status() == Some(200)).await?;
        drop(answer);
        Ok(())
    }

    /// Calls `callee` and returns the final answer, acknowledged. `call` names the call.
    pub async fn call(&self, callee: &str, call: &str) -> Result<MessageBuf> {
        let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
        let extra = format!("Contact: {}\r\nContent-Type: application/sdp\r\n", self.contact()?);
        let invite = self.request("INVITE", callee, callee, call, 1, &extra, sdp)?;
        self.send(&invite).await?;
        let answer = self.expect("a final answer to INVITE", |m| m.view().status().is_some_and(|code| code >= 200)).await?;
        let to = header(&answer, Header::To)?;
        let (target, routes) =
            if answer.view().status() == Some(200) { dialog_route(&answer)? } else { (callee.to_owned(), String::new()) };
        // The ACK of a failure belongs to the INVITE's transaction and repeats its branch; that of a 2xx is a transaction of its own.
        let branch = if answer.view().status() == Some(200) { format!("{call}-ack") } else { call.to_owned() };
        let ack = self.with_branch("ACK", &target, &to, call, 1, &branch, &routes, "")?;
        self.send(&ack).await?;
        Ok(answer)
    }

    /// Ends the call that `answer` set up.
    pub async fn hang_up(&self, answer: &MessageBuf, call: &str) -> Result<()> {
        let to = header(answer, Header::To)?;
        let (target, routes) = dialog_route(answer)?;
        let bye = self.with_branch("BYE", &target, &to, call, 2, &format!("{call}-bye"), &routes, "")?;
        self.send(&bye).await?;
        self.expect("200 to BYE", |m| m.view().status() == Some(200)).await?;
        Ok(())
    }

    /// Waits for a request of that method.
    pub async fn wait_for(&self, method: Method<'_>) -> Result<MessageBuf> {
        self.expect(method.as_str(), |m| m.view().is_request() && m.view().method() == method).await
    }

    /// Answers `request`. `extra` is complete header lines.
    pub async fn answer(&self, request: &MessageBuf, code: u16, reason: &str, extra: &str) -> Result<()> {
        let view = request.view();
        let mut text = format!("SIP/2.0 {code} {reason}\r\n");
        for (name, kind) in [("Via", Header::Via), ("Record-Route", Header::RecordRoute), ("From", Header::From)] {
            for value in view.fields(kind) {
                text.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(value)));
            }
        }
        let to = header(request, Header::To)?;
        let tag = if to.contains(";tag=") || code == 100 { String::new() } else { format!(";tag={}", self.name) };
        text.push_str(&format!("To: {to}{tag}\r\n"));
        text.push_str(&format!("Call-ID: {}\r\nCSeq: {}\r\n", header(request, Header::CallId)?, header(request, Header::CSeq)?));
        text.push_str(&format!("Contact: {}\r\n{extra}Content-Length: 0\r\n\r\n", self.contact()?));
        self.send(&text).await
    }

    #[expect(clippy::too_many_arguments, reason = "one argument per part of the request")]
    fn request(&self, method: &str, uri: &str, to: &str, call: &str, cseq: u32, extra: &str, body: &str) -> Result<String> {
        self.with_branch(method, uri, &format!("<{to}>"), call, cseq, call, extra, body)
    }

    #[expect(clippy::too_many_arguments, reason = "one argument per part of the request")]
    fn with_branch(
        &self,
        method: &str,
        uri: &str,
        to: &str,
        call: &str,
        cseq: u32,
        branch: &str,
        extra: &str,
        body: &str,
    ) -> Result<String> {
        let local = self.socket.local_addr()?;
        let name = self.name;
        Ok(format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK-{name}-{branch};rport\r\nMax-Forwards: 70\r\n\
             From: <{}>;tag={name}-{call}\r\nTo: {to}\r\nCall-ID: {call}-{name}@{local}\r\nCSeq: {cseq} {method}\r\n{extra}Content-Length: {}\r\n\r\n{body}",
            self.aor(),
            body.len(),
        ))
    }

    async fn send(&self, text: &str) -> Result<()> {
        self.ladder.note(self.name, Arrow::ToServer, text.as_bytes());
        self.socket.send_to(text.as_bytes(), self.server).await?;
        Ok(())
    }

    /// Receives until `wanted`. Other messages (100, 180) are noted on the ladder and passed over.
    async fn expect(&self, what: &str, wanted: impl Fn(&MessageBuf) -> bool) -> Result<MessageBuf> {
        let mut buffer = vec![0; 65_535];
        let wait = async {
            loop {
                let (len, _) = self.socket.recv_from(&mut buffer).await?;
                let Ok(message) = MessageBuf::parse(buffer[..len].to_vec()) else { continue };
                self.ladder.note(self.name, Arrow::FromServer, &buffer[..len]);
                if wanted(&message) {
                    return Ok(message);
                }
                if let Some(code) = message.view().status().filter(|code| *code >= 300) {
                    bail!("{}'s phone waited for {what} and got {code}", self.name);
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.map_err(|_| anyhow!("{}'s phone waited {PATIENCE:?} for {what}", self.name))?
    }
}

/// The first value of a header, as text.
pub fn header(message: &MessageBuf, kind: Header) -> Result<String> {
    let value = message.view().first(kind).ok_or_else(|| anyhow!("a message without {kind:?}"))?;
    Ok(String::from_utf8_lossy(value).into_owned())
}

/// Remote target and Route lines of the dialog that a 2xx set up (RFC 3261 section 12.1.2).
fn dialog_route(answer: &MessageBuf) -> Result<(String, String)> {
    let view = answer.view();
    let contact = view.contacts().flatten().next().ok_or_else(|| anyhow!("the 200 has no Contact"))?;
    let sip_core::message::Contact::Addr(contact) = contact else { bail!("the 200 has Contact: *") };
    let mut routes: Vec<String> =
        view.values(Header::RecordRoute).map(|value| format!("Route: {}\r\n", String::from_utf8_lossy(value))).collect();
    routes.reverse();
    Ok((String::from_utf8_lossy(contact.uri.raw).into_owned(), routes.concat()))
}
