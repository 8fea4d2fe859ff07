//! Odd and malformed messages against a running edge over UDP: the originals of RFC 4475 and RFC 5118 where `TORTURE_DIR` names them,
//! and the project's own.

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use redial_tests::{Policy, Standalone, until};
use sip_core::MessageBuf;
use sip_core::message::ParseError;

/// What an answer may be, in the words of `expect.csv`: alternatives between `|`.
fn fits(alternatives: &str, got: Option<u16>) -> bool {
    alternatives.split('|').any(|one| match (one, got) {
        ("any", _) => true,
        ("any-not-400", Some(status)) => status != 400,
        (drop, None) => drop.starts_with("drop"),
        (class, Some(status)) if class.ends_with("xx") => class.as_bytes()[0] == b'0' + (status / 100) as u8,
        (code, Some(status)) => code.parse() == Ok(status),
    })
}

/// The fields of a line of CSV; quoted ones may hold commas and doubled quotes.
fn csv(line: &str) -> Vec<String> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let last = fields.len() - 1;
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => fields[last].push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields[last].push(c),
        }
    }
    fields
}

/// A sender with an address of its own, so that no late answer to one message is taken for an answer to the next. Responses go to the
/// port that the message's own Via names (RFC 3261 section 18.2.2), so that is where it listens and sends.
struct Sender {
    socket: UdpSocket,
    edge: SocketAddr,
}

impl Sender {
    fn new(port: u16, edge: SocketAddr) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let [low, high, ..] = std::process::id().to_le_bytes();
        let own = u8::try_from(NEXT.fetch_add(1, Ordering::Relaxed)).context("more messages than addresses")?;
        let ip = IpAddr::V4(Ipv4Addr::new(127, 64 | (high & 0x3f), low, own));
        let socket = UdpSocket::bind((ip, port)).with_context(|| format!("{ip}:{port}"))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        Ok(Self { socket, edge })
    }

    /// Sends the message and then, when it may be dropped, a REGISTER that is sure to be answered: what has not been answered by then was
    /// dropped. Where every answer but a refusal will do, the 100 of a proxy that has forwarded the INVITE is one: its final answer may be
    /// Timer B away. Returns the status and every Call-ID that was answered.
    fn ask(&self, bytes: &[u8], expected: &str) -> Result<(Option<u16>, Vec<String>)> {
        let is_one = |word: &str| expected.split('|').any(|one| one.starts_with(word));
        let (may_drop, may_try) = (is_one("drop") || expected.split('|').any(|one| one == "any"), is_one("any"));
        self.socket.send_to(bytes, self.edge)?;
        let me = self.socket.local_addr()?;
        let probe = format!(
            "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bKprobe{me};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:probe@example.com>;tag=probe\r\nTo: <sip:probe@example.com>\r\nCall-ID: probe-{me}\r\nCSeq: 1 REGISTER\r\n\
             Content-Length: 0\r\n\r\n"
        );
        let mut answered = Vec::new();
        let mut buffer = vec![0; 65_536];
        until("an answer", Duration::from_secs(40), || {
            if may_drop {
                self.socket.send_to(probe.as_bytes(), self.edge)?;
            }
            while let Ok((len, _)) = self.socket.recv_from(&mut buffer) {
                let message = match MessageBuf::parse(buffer[..len].to_vec()) {
                    Ok(message) => message,
                    // The answer to a keep-alive (RFC 5626 section 4.4.1).
                    Err(ParseError::KeepAlive) => continue,
                    Err(error) => return Err(error).context("an unreadable answer"),
                };
                let Some(status) = message.view().status().filter(|s| *s >= 200 || may_try) else { continue };
                let id = message.view().call_id().unwrap_or_default().to_owned();
                if id.starts_with("probe-") {
                    return Ok(Some(None));
                }
                answered.push(id);
                return Ok(Some(Some(status)));
            }
            Ok(None)
        })
        .map(|status| (status, answered))
    }
}

/// Port of the top Via, as far as anybody can read it.
fn via_port(bytes: &[u8]) -> u16 {
    let message = MessageBuf::parse(bytes.to_vec());
    message.ok().and_then(|m| m.view().top_via().and_then(|v| v.port)).unwrap_or(5060)
}

/// The top Via and the method.
fn transaction(bytes: &[u8]) -> Option<(Vec<u8>, String)> {
    let message = MessageBuf::parse(bytes.to_vec()).ok()?;
    let view = message.view();
    Some((view.top_via()?.raw.to_vec(), view.method().as_str().to_owned()))
}

fn torture(cases: &[(String, String, Vec<u8>)]) -> Result<()> {
    let mut redial = Standalone::start(&Policy::default(), &[])?;
    let mut wrong = Vec::new();
    let mut transactions = HashSet::new();
    for (name, expected, bytes) in cases {
        // Several of the messages are, by their branch, one transaction; what comes second would be answered as a retransmission of the
        // first (RFC 3261 section 17.2.3), so it gets an edge that has not seen the first.
        if !transactions.insert(transaction(bytes)) {
            redial = Standalone::start(&Policy::default(), &[])?;
            transactions.clear();
        }
        let sender = Sender::new(via_port(bytes), redial.sip)?;
        match sender.ask(bytes, expected) {
            Ok((got, _)) if fits(expected, got) => {}
            Ok((got, _)) => wrong.push(format!("{name}: {got:?} instead of {expected}")),
            Err(error) => wrong.push(format!("{name}: {error} ({expected})")),
        }
        redial.service.process.ensure_alive().with_context(|| format!("after {name}"))?;
    }
    ensure!(wrong.is_empty(), "{} of {} messages:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    Ok(())
}

#[test]
fn every_original_torture_message_gets_its_answer_from_a_running_edge() -> Result<()> {
    let Some(folder) = std::env::var_os("TORTURE_DIR").map(PathBuf::from) else {
        // Past the capture of the test harness, so that nobody takes this for a check.
        let _ = writeln!(std::io::stderr(), "TORTURE_DIR not set: original messages not sent");
        return Ok(());
    };
    let table = std::fs::read_to_string(folder.join("expect.csv"))?;
    let mut cases = Vec::new();
    for row in table.lines().skip(1).map(csv) {
        let [name, _, _, _, _, expected, soft, _] = &row[..] else { anyhow::bail!("8 columns: {row:?}") };
        let allowed = if soft.is_empty() { expected.clone() } else { format!("{expected}|{soft}") };
        cases.push((name.clone(), allowed, std::fs::read(folder.join(format!("{name}.dat")))?));
    }
    ensure!(cases.len() > 50, "only {} rows", cases.len());
    torture(&cases)
}

/// Our own odd messages are judged by what the message layer says of them: what it finds invalid is answered so, what it cannot read is
/// dropped, and what it finds valid gets some answer or, as a response to nothing that was sent, none.
#[test]
fn every_odd_message_of_our_own_gets_its_answer_from_a_running_edge() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../services/sip-core/tests/odd");
    let table = std::fs::read_to_string(folder.join("expect.csv"))?;
    let rows: HashMap<&str, &str> = table.lines().skip(1).filter_map(|line| line.split_once(',')).collect();
    let mut cases = Vec::new();
    for (file, verdict) in rows {
        let bytes = std::fs::read(folder.join(file))?;
        let is_response = MessageBuf::parse(bytes.clone()).is_ok_and(|m| !m.view().is_request());
        let expected = match verdict {
            _ if is_response => "drop",
            "valid" => "any-not-400",
            "unparsed" => "400|drop",
            code => code,
        };
        cases.push((file.to_owned(), expected.to_owned(), bytes));
    }
    cases.sort();
    torture(&cases)
}

/// Octets after the body are not a second message (RFC 4475 section 3.1.1.8).
#[test]
fn octets_after_a_body_are_never_answered() -> Result<()> {
    let redial = Standalone::start(&Policy::default(), &[])?;
    let sender = Sender::new(5060, redial.sip)?;
    let message = |method: &str, id: &str| {
        format!(
            "{method} sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP host.example.net;branch=z9hG4bK{id}\r\nMax-Forwards: 70\r\n\
             From: <sip:a@example.com>;tag=1\r\nTo: <sip:a@example.com>\r\nCall-ID: {id}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let datagram = message("REGISTER", "first") + &message("OPTIONS", "second");
    let (status, answered) = sender.ask(datagram.as_bytes(), "2xx")?;
    ensure!(status.is_some() && answered == ["first"]);
    let (status, answered) = sender.ask(b"\r\n\r\n", "drop")?;
    ensure!(status.is_none() && answered.is_empty(), "{answered:?}");
    Ok(())
}
