//! A scripted phone: one UDP socket or connection, one user, told by the test what to do next. For what sipp cannot play: many phones in one
//! order of events, messages in an unusual order, a whole story by one connection.

mod call;
mod digest;
mod text;
mod way;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sip_core::message::Header;
use sip_core::{Message, MessageBuf};

pub use call::Call;

use crate::softphone::By;
use crate::wait::{PATIENCE, now};
use way::Way;

/// RFC 3261 section 17.1.1.1.
const T1: Duration = Duration::from_millis(500);

/// A message and who sent it.
#[derive(Clone, Debug)]
pub struct Received {
    buffer: MessageBuf,
    pub from: SocketAddr,
}

impl Received {
    #[must_use]
    pub fn message(&self) -> Message<'_> {
        self.buffer.view()
    }

    #[must_use]
    pub fn status(&self) -> u16 {
        self.message().status().unwrap_or_default()
    }

    #[must_use]
    pub fn header(&self, header: Header) -> String {
        self.message().first(header).map(|v| String::from_utf8_lossy(v).into_owned()).unwrap_or_default()
    }

    /// User part of the From URI.
    #[must_use]
    pub fn caller(&self) -> String {
        self.message().from().map(|f| String::from_utf8_lossy(f.uri.user).into_owned()).unwrap_or_default()
    }

    #[must_use]
    pub fn is_request(&self, method: &str) -> bool {
        self.message().is_request() && self.message().method().as_str() == method
    }

    /// What makes a retransmission the same message (RFC 3261 section 17.2.3).
    fn transaction(&self) -> Option<Transaction> {
        let message = self.message();
        Some((message.top_via()?.branch()?.to_owned(), message.method().as_str().to_owned()))
    }
}

type Transaction = (String, String);

#[derive(Debug)]
pub struct Phone {
    pub who: String,
    pub local: SocketAddr,
    /// Answers challenges with this password.
    pub password: Option<String>,
    /// How long its user waits for anything. A call is given up by CANCEL then.
    pub patience: Duration,
    edge: SocketAddr,
    way: Way,
    /// Received, but not what the script waited for.
    inbox: VecDeque<Received>,
    /// Requests seen, with the answer to repeat.
    seen: HashMap<Transaction, Option<Vec<u8>>>,
    /// ACKs sent, by Call-ID and CSeq of the INVITE: a repeated answer gets its ACK again (RFC 3261 section 13.2.2.4).
    acked: HashMap<(String, String), Vec<u8>>,
    /// Numbers for tags, branches and Call-IDs.
    made: u32,
}

impl Phone {
    /// A phone of the edge's IP version; the edge is on loopback.
    /// # Errors
    /// When no port is free.
    pub fn new(who: &str, edge: SocketAddr) -> Result<Self> {
        Self::at(who, edge.ip(), edge)
    }

    /// A phone at that address of this machine.
    /// # Errors
    /// When no port is free.
    pub fn at(who: &str, ip: IpAddr, edge: SocketAddr) -> Result<Self> {
        Self::by(By::Udp, who, ip, edge)
    }

    /// A phone by a connection of its own, or by UDP.
    /// # Errors
    /// When nobody listens, or whoever does cannot say who it is.
    pub fn by(by: By<'_>, who: &str, ip: IpAddr, edge: SocketAddr) -> Result<Self> {
        let way = Way::open(ip, edge, by)?;
        Ok(Self {
            who: who.to_owned(),
            local: way.local()?,
            password: None,
            patience: PATIENCE,
            edge,
            way,
            inbox: VecDeque::new(),
            seen: HashMap::new(),
            acked: HashMap::new(),
            made: 0,
        })
    }

    /// A phone that has registered.
    /// # Errors
    /// When the REGISTER is not answered 200.
    pub fn registered(who: &str, edge: SocketAddr) -> Result<Self> {
        let mut phone = Self::new(who, edge)?;
        phone.register(600)?;
        Ok(phone)
    }

    /// Registers for that many seconds; 0 leaves.
    /// # Errors
    /// When it is not answered 200.
    pub fn register(&mut self, seconds: u32) -> Result<()> {
        match self.try_register(seconds)?.status() {
            200 => Ok(()),
            status => bail!("REGISTER of {}: {status}", self.who),
        }
    }

    /// The last answer to a REGISTER, whatever it is; one challenge is answered if there is a password.
    /// # Errors
    /// When no final answer comes.
    pub fn try_register(&mut self, seconds: u32) -> Result<Received> {
        let id = self.make("register");
        let request = text::register(self, &id, seconds, "");
        let answer = self.transact(&request)?;
        match digest::repeated(self, &request, &answer)? {
            Some(again) => self.transact(&again),
            None => Ok(answer),
        }
    }

    /// How many contacts the registrar lists for this phone's user; changes nothing.
    /// # Errors
    /// When it is not answered 200.
    pub fn contacts(&mut self) -> Result<usize> {
        let id = self.make("fetch");
        let request: String =
            text::register(self, &id, 600, "").split_inclusive('\n').filter(|line| !line.starts_with("Contact:")).collect();
        let mut answer = self.transact(&request)?;
        if let Some(again) = digest::repeated(self, &request, &answer)? {
            answer = self.transact(&again)?;
        }
        if answer.status() != 200 {
            bail!("REGISTER of {}: {}", self.who, answer.status());
        }
        Ok(answer.message().values(Header::Contact).count())
    }

    /// The answer to a REGISTER with these header lines of the test's own making.
    /// # Errors
    /// When no final answer comes.
    pub fn register_with(&mut self, headers: &str) -> Result<Received> {
        let id = self.make("register");
        let request = text::register(self, &id, 600, headers);
        self.transact(&request)
    }

    /// Sends a REGISTER and waits for nothing. Returns its Call-ID.
    /// # Errors
    /// When the socket fails.
    pub fn start_register(&mut self) -> Result<String> {
        let id = self.make("register");
        let request = text::register(self, &id, 600, "");
        self.send(request.as_bytes())?;
        Ok(id)
    }

    /// Another edge to send new requests to.
    pub fn turn_to(&mut self, edge: SocketAddr) {
        self.edge = edge;
    }

    /// The next request of that method, new ones only.
    /// # Errors
    /// When none comes in time.
    pub fn expect(&mut self, method: &str) -> Result<Received> {
        let found = self.wait_for(now() + self.patience, |m| m.is_request(method))?;
        found.with_context(|| format!("{} waited for {method}", self.who))
    }

    /// A request of that method if it is here already: for scripts that wait for several phones at once.
    /// # Errors
    /// When the socket fails.
    pub fn poll(&mut self, method: &str) -> Result<Option<Received>> {
        self.within(Duration::from_millis(2), method)
    }

    /// A request of that method if it comes by then.
    /// # Errors
    /// When the socket fails.
    pub fn within(&mut self, limit: Duration, method: &str) -> Result<Option<Received>> {
        self.wait_for(now() + limit, |m| m.is_request(method))
    }

    /// Answers a request. `headers` are whole lines with their CRLF.
    /// # Errors
    /// When the socket fails.
    pub fn answer(&mut self, request: &Received, status: u16, headers: &str) -> Result<()> {
        let response = text::response(self, request.message(), status, headers)?;
        if let Some(transaction) = request.transaction() {
            self.seen.insert(transaction, Some(response.clone().into_bytes()));
        }
        self.way.send(response.as_bytes(), request.from)
    }

    /// NOTIFY inside the subscription of a REFER that this phone received, reporting `status` of the new call.
    /// # Errors
    /// When it is not answered 200.
    pub fn notify(&mut self, refer: &Received, cseq: u32, status: u16) -> Result<()> {
        let id = self.make("notify");
        let request = text::notify(self, refer.message(), &id, cseq, status)?;
        match self.transact(&request)?.status() {
            200 => Ok(()),
            status => bail!("NOTIFY of {}: {status}", self.who),
        }
    }

    /// Sends raw bytes, right or wrong.
    /// # Errors
    /// When the socket fails.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.way.send(bytes, self.edge)
    }

    /// The next message of any kind, until `limit` has passed.
    /// # Errors
    /// When the socket fails.
    pub fn any(&mut self, limit: Duration) -> Result<Option<Received>> {
        self.wait_for(now() + limit, |_| true)
    }

    /// Sends a request until its final answer is here (RFC 3261 section 17.1).
    fn transact(&mut self, request: &str) -> Result<Received> {
        let sent = MessageBuf::parse(request.as_bytes().to_vec())?;
        let branch = sent.view().top_via().and_then(|v| v.branch().map(str::to_owned)).context("no branch")?;
        let mut pause = T1;
        let (deadline, mut arrived) = (now() + self.patience, false);
        while now() < deadline {
            if !arrived {
                self.send(request.as_bytes())?;
            }
            arrived |= self.way.is_reliable();
            let again = (now() + pause).min(deadline);
            let ours = |m: &Received| !m.message().is_request() && m.transaction().is_some_and(|(b, _)| b == branch);
            while let Some(answer) = self.wait_for(again, ours)? {
                if answer.status() >= 200 {
                    return Ok(answer);
                }
                arrived |= sent.view().method().as_str() == "INVITE";
            }
            pause = (pause * 2).min(T1 * 8);
        }
        if sent.view().method().as_str() == "INVITE" {
            self.send(text::cancel(request)?.as_bytes())?;
        }
        bail!("{} got no final answer to:\n{request}", self.who)
    }

    fn wait_for(&mut self, deadline: Instant, wanted: impl Fn(&Received) -> bool) -> Result<Option<Received>> {
        if let Some(at) = self.inbox.iter().position(&wanted) {
            return Ok(self.inbox.remove(at));
        }
        while let Some(message) = self.receive(deadline)? {
            if wanted(&message) {
                return Ok(Some(message));
            }
            self.inbox.push_back(message);
        }
        Ok(None)
    }

    /// The next message that is no retransmission; those are answered as before.
    fn receive(&mut self, deadline: Instant) -> Result<Option<Received>> {
        while let Some((bytes, from)) = self.way.receive(deadline)? {
            let message = Received { buffer: MessageBuf::parse(bytes).context("the service sent something unreadable")?, from };
            if self.is_new(&message)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    fn is_new(&mut self, received: &Received) -> Result<bool> {
        let message = received.message();
        if !message.is_request() {
            let key = (received.header(Header::CallId), received.header(Header::CSeq));
            if let Some(ack) = self.acked.get(&key) {
                self.way.send(ack, received.from)?;
                return Ok(false);
            }
            return Ok(true);
        }
        let Some(transaction) = received.transaction() else { return Ok(true) };
        match self.seen.get(&transaction) {
            None => {
                self.seen.insert(transaction, None);
                Ok(true)
            }
            Some(answer) => {
                if let Some(answer) = answer {
                    self.way.send(answer, received.from)?;
                }
                Ok(false)
            }
        }
    }

    /// Where it is reached, as it tells in Contact.
    fn contact(&self) -> String {
        let Self { who, local, .. } = self;
        match self.way.transport() {
            "UDP" => format!("<sip:{who}@{local}>"),
            other => format!("<sip:{who}@{local};transport={}>", other.to_lowercase()),
        }
    }

    /// The Via of its requests, up to their branch.
    fn via(&self) -> String {
        format!("Via: SIP/2.0/{} {}", self.way.transport(), self.local)
    }

    /// A name that no other of this phone's has.
    fn make(&mut self, what: &str) -> String {
        self.made += 1;
        format!("{what}-{}-{}-{}", self.who, self.local.port(), self.made)
    }
}
