//! A scripted phone on a real UDP socket: it knows just enough SIP for the story, and repeats what may have been lost on the way.

mod digest;
mod ladder;
mod request;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use redial_runtime::clock;
use sip_core::{Header, MessageBuf, Method};
use tokio::net::UdpSocket;
use tokio::time::timeout_at;

pub use ladder::{Arrow, Ladder, Lane, Line};
use request::Request;

/// RFC 3261 section 17.1.1.1: a request is sent again after this time, then after twice this time, up to [`T2`].
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

/// Who a phone belongs to.
#[derive(Clone, Debug)]
pub struct User {
    pub name: String,
    pub domain: String,
    /// Answers challenges.
    pub password: Option<String>,
}

impl User {
    pub fn aor(&self) -> String {
        format!("sip:{}@{}", self.name, self.domain)
    }
}

/// One end of the story.
#[derive(Debug)]
pub struct Phone<'l> {
    pub user: User,
    server: SocketAddr,
    socket: UdpSocket,
    local: SocketAddr,
    lane: Lane,
    ladder: &'l Ladder,
    /// Nothing is waited for any longer.
    deadline: Instant,
    /// Makes Call-IDs and branches of this phone like no others.
    unique: u64,
    cseq: u32,
    /// What a request was answered with, by branch and method: a retransmission gets the same.
    answered: HashMap<(String, String), Vec<u8>>,
    /// The ACK of each answer, by Call-ID and CSeq of the INVITE (RFC 3261 section 13.2.2.4).
    acked: HashMap<(String, String), String>,
}

/// A message and who sent it.
#[derive(Debug)]
pub struct Received {
    pub message: MessageBuf,
    from: SocketAddr,
}

impl Received {
    /// The first value of a header, as text.
    pub fn header(&self, kind: Header) -> Result<String> {
        let value = self.message.view().first(kind).with_context(|| format!("a message without {kind:?}"))?;
        Ok(String::from_utf8_lossy(value).into_owned())
    }

    pub fn status(&self) -> u16 {
        self.message.view().status().unwrap_or_default()
    }

    fn transaction(&self) -> Option<(String, String)> {
        let view = self.message.view();
        Some((view.top_via()?.branch()?.to_owned(), view.method().as_str().to_owned()))
    }
}

/// A call that was answered finally, one way or the other, and acknowledged.
#[derive(Debug)]
pub struct Call {
    id: String,
    pub answer: Received,
}

impl<'l> Phone<'l> {
    /// A phone that reaches `server` and gives up after `limit`.
    pub async fn new(user: User, server: SocketAddr, lane: Lane, ladder: &'l Ladder, limit: Duration) -> Result<Self> {
        let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
        // Connected only to learn which address of ours faces the server: requests come from any edge, not from there alone.
        let facing = UdpSocket::bind(any).await?;
        facing.connect(server).await.with_context(|| format!("no way to {server}"))?;
        let socket = UdpSocket::bind((facing.local_addr()?.ip(), 0)).await.context("a phone needs a UDP port")?;
        let local = socket.local_addr()?;
        Ok(Self {
            user,
            server,
            socket,
            local,
            lane,
            ladder,
            deadline: clock::instant() + limit,
            unique: RandomState::new().hash_one(local.port()),
            cseq: 0,
            answered: HashMap::new(),
            acked: HashMap::new(),
        })
    }

    /// More time, for tidying up.
    pub fn extend(&mut self, limit: Duration) {
        self.deadline = clock::instant() + limit;
    }

    /// Asks the server whether it is there.
    pub async fn ask_options(&mut self) -> Result<()> {
        let domain = format!("sip:{}", self.user.domain);
        let request = self.request("OPTIONS", &domain, &format!("<{domain}>"), "options");
        let status = self.transact(request).await?.0.status();
        ensure!(status == 200, "OPTIONS was answered {status}");
        Ok(())
    }

    /// REGISTER for that many seconds; 0 leaves.
    pub async fn register(&mut self, seconds: u32) -> Result<()> {
        let (aor, domain) = (self.user.aor(), format!("sip:{}", self.user.domain));
        let mut request = self.request("REGISTER", &domain, &format!("<{aor}>"), "register");
        request.headers = format!("Contact: {}\r\nExpires: {seconds}\r\n", self.contact());
        let status = self.transact(request).await?.0.status();
        ensure!(status == 200, "REGISTER of {aor} was answered {status}");
        Ok(())
    }

    /// Calls `callee` until the final answer, which is acknowledged. `call` names the call, `headers` are whole lines.
    pub async fn call(&mut self, callee: &str, call: &str, headers: &str) -> Result<Call> {
        let mut request = self.request("INVITE", callee, &format!("<{callee}>"), call);
        request.headers = format!("Contact: {}\r\nContent-Type: application/sdp\r\n{headers}", self.contact());
        request.body = request::sdp(self.local.ip());
        let id = request.call.clone();
        let (answer, request) = self.transact(request).await?;
        self.acknowledge(&request, &answer).await?;
        Ok(Call { id, answer })
    }

    /// Ends an answered call.
    pub async fn hang_up(&mut self, call: &Call) -> Result<()> {
        let (target, routes) = request::dialog(&call.answer)?;
        let mut bye = self.request("BYE", &target, &call.answer.header(Header::To)?, "");
        // The dialog is that of the INVITE.
        bye.call.clone_from(&call.id);
        bye.headers = routes;
        let status = self.transact(bye).await?.0.status();
        ensure!(status == 200, "BYE was answered {status}");
        Ok(())
    }

    /// Waits for a request of that method.
    pub async fn wait_for(&mut self, method: Method<'_>) -> Result<Received> {
        let (deadline, wanted) = (self.deadline, |m: &Received| m.message.view().is_request() && m.message.view().method() == method);
        self.receive(deadline, wanted).await?.ok_or_else(|| self.waited_for(method.as_str()))
    }

    /// Answers `request`. `headers` are complete lines.
    pub async fn answer(&mut self, request: &Received, code: u16, reason: &str, headers: &str) -> Result<()> {
        let text = self.response(request, code, reason, headers)?;
        if let Some(transaction) = request.transaction() {
            self.answered.insert(transaction, text.clone().into_bytes());
        }
        self.send_to(&text, request.from).await
    }

    /// 200 to an INVITE, repeated until its ACK is here (RFC 3261 section 13.3.1.4).
    pub async fn pick_up(&mut self, invite: &Received) -> Result<()> {
        let call = invite.header(Header::CallId)?;
        let acknowledged = |m: &Received| m.message.view().method() == Method::Ack && m.header(Header::CallId).is_ok_and(|id| id == call);
        let mut pause = T1;
        while clock::instant() < self.deadline {
            self.answer(invite, 200, "OK", "").await?;
            let again = self.deadline.min(clock::instant() + pause);
            if self.receive(again, acknowledged).await?.is_some() {
                return Ok(());
            }
            pause = T2.min(pause * 2);
        }
        Err(self.waited_for("ACK"))
    }

    /// Sends a request until its final answer is here, which a challenge is not if there is a password for it.
    async fn transact(&mut self, mut request: Request) -> Result<(Received, Request)> {
        let answer = self.exchange(&request).await?;
        let Some(credentials) = digest::credentials(&self.user, &request, &answer)? else { return Ok((answer, request)) };
        if request.method == "INVITE" {
            self.acknowledge(&request, &answer).await?;
        }
        self.cseq += 1;
        request.cseq = self.cseq;
        request.headers.push_str(&credentials);
        let answer = self.exchange(&request).await?;
        Ok((answer, request))
    }

    async fn exchange(&mut self, request: &Request) -> Result<Received> {
        let (text, branch) = (self.compose(request), self.branch(request));
        let ours = |m: &Received| m.transaction().is_some_and(|(b, method)| b == branch && method == request.method);
        let (mut pause, mut send) = (T1, true);
        while clock::instant() < self.deadline {
            if send {
                self.send(&text).await?;
            }
            let again = self.deadline.min(clock::instant() + pause);
            while let Some(answer) = self.receive(again, |m| !m.message.view().is_request() && ours(m)).await? {
                if answer.status() >= 200 {
                    return Ok(answer);
                }
                // A provisional answer ends the repetition of an INVITE alone.
                send = request.method != "INVITE";
            }
            pause = T2.min(pause * 2);
        }
        bail!("{} got no answer to {}", self.user.name, request.method)
    }

    /// The ACK of a failure belongs to the INVITE's transaction and repeats its branch; that of a 2xx is a transaction of its own, inside the dialog.
    async fn acknowledge(&mut self, invite: &Request, answer: &Received) -> Result<()> {
        let mut ack =
            Request { method: "ACK", to: answer.header(Header::To)?, headers: String::new(), body: String::new(), ..invite.clone() };
        if answer.status() < 300 {
            (ack.uri, ack.headers) = request::dialog(answer)?;
            ack.own_branch = true;
        }
        let text = self.compose(&ack);
        self.acked.insert((answer.header(Header::CallId)?, answer.header(Header::CSeq)?), text.clone());
        self.send(&text).await
    }

    async fn send(&self, text: &str) -> Result<()> {
        self.send_to(text, self.server).await
    }

    async fn send_to(&self, text: &str, to: SocketAddr) -> Result<()> {
        self.ladder.note(self.lane, Arrow::ToServer, text.as_bytes());
        self.socket.send_to(text.as_bytes(), to).await?;
        Ok(())
    }

    /// The next message that is `wanted`; others (100, 180) are noted on the ladder and passed over. None: it did not come by then.
    async fn receive(&mut self, deadline: Instant, wanted: impl Fn(&Received) -> bool) -> Result<Option<Received>> {
        let mut buffer = vec![0; 65_535];
        loop {
            let Ok(received) = timeout_at(deadline.into(), self.socket.recv_from(&mut buffer)).await else { return Ok(None) };
            let (len, from) = received?;
            let Ok(message) = MessageBuf::parse(buffer[..len].to_vec()) else { continue };
            self.ladder.note(self.lane, Arrow::FromServer, &buffer[..len]);
            let received = Received { message, from };
            if self.seen_before(&received).await? {
                continue;
            }
            if wanted(&received) {
                return Ok(Some(received));
            }
        }
    }

    /// Repeats what a retransmission asks for.
    async fn seen_before(&self, received: &Received) -> Result<bool> {
        let view = received.message.view();
        if view.is_request() {
            let Some(answer) = received.transaction().and_then(|t| self.answered.get(&t)) else { return Ok(false) };
            self.send_to(&String::from_utf8_lossy(answer), received.from).await?;
        } else {
            let key = (received.header(Header::CallId)?, received.header(Header::CSeq)?);
            let Some(ack) = self.acked.get(&key) else { return Ok(false) };
            self.send(ack).await?;
        }
        Ok(true)
    }

    fn waited_for(&self, what: &str) -> anyhow::Error {
        anyhow!("{} waited for {what}, which did not come", self.user.name)
    }
}
