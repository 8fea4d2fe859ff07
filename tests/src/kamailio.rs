//! Debian's Kamailio as the registrar and proxy that is there already. It knows nothing of what stands before it; its configuration is the
//! one that `redial demo --front` plays with.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::process::{Process, Scratch};
use crate::wait::PATIENCE;
use crate::{DOMAIN, Phone, ports, until};

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../services/redial/src/demo/kamailio.cfg");

/// The password of every user.
pub const PASSWORD: &str = "secret";

/// For how long it registers a phone that asks for more.
pub const GRANTS: u32 = 300;

/// It keeps the Path of a REGISTER.
pub const PATH: &str = "WITH_PATH";

/// It answers 480 for who is not registered; else 404.
pub const UNAVAILABLE: &str = "WITH_480";

/// It asks nobody for a password who calls.
pub const TRUSTING: &str = "WITH_TRUST";

/// The options of an edge that stands before these servers.
#[must_use]
pub fn before(servers: &[Kamailio]) -> Vec<String> {
    let plain = ["--mode=front", "--upstream-check=1s", "--upstream-timeout=1s"].map(str::to_owned);
    plain.into_iter().chain(servers.iter().map(|server| format!("--upstream={DOMAIN}={}", server.sip))).collect()
}

/// A phone of a user, who knows the password.
/// # Errors
/// When no port is free.
pub fn user(who: &str, server: SocketAddr) -> Result<Phone> {
    let mut phone = Phone::new(who, server)?;
    phone.password = Some(PASSWORD.to_owned());
    Ok(phone)
}

/// Killed with its children when dropped.
#[derive(Debug)]
pub struct Kamailio {
    pub sip: SocketAddr,
    process: Process,
    scratch: Scratch,
    defines: Vec<&'static str>,
}

impl Kamailio {
    /// On a free port of loopback.
    /// # Errors
    /// When it is not installed or does not answer.
    pub fn start(defines: &[&'static str]) -> Result<Self> {
        Self::at(ports::free()?, defines)
    }

    /// # Errors
    /// As [`Kamailio::start`].
    pub fn at(sip: SocketAddr, defines: &[&'static str]) -> Result<Self> {
        let scratch = Scratch::new("kamailio")?;
        let process = spawn(sip, defines, &scratch)?;
        let mut this = Self { sip, process, scratch, defines: defines.to_vec() };
        this.wait_ready()?;
        Ok(this)
    }

    /// Ends it without a word; what it had registered is forgotten.
    /// # Errors
    /// When it has ended already.
    pub fn kill(&mut self) -> Result<()> {
        self.signal("-KILL")?;
        self.process.kill()
    }

    /// Starts it again at the same address, with nobody registered.
    /// # Errors
    /// When it does not answer.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = spawn(self.sip, &self.defines, &self.scratch)?;
        self.wait_ready()
    }

    /// It does nothing until it is resumed; what comes meanwhile waits in its socket.
    /// # Errors
    /// When it has ended already.
    pub fn pause(&self) -> Result<()> {
        self.signal("-STOP")
    }

    /// # Errors
    /// When it has ended already.
    pub fn resume(&self) -> Result<()> {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let main = self.process.id();
        let children = std::fs::read_to_string(format!("/proc/{main}/task/{main}/children"))?;
        let status = Command::new("kill").args([signal, &main.to_string()]).args(children.split_whitespace()).status()?;
        ensure!(status.success(), "kill {signal} {main} {children}");
        Ok(())
    }

    fn wait_ready(&mut self) -> Result<()> {
        let socket = UdpSocket::bind((self.sip.ip(), 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let (at, from) = (self.sip, socket.local_addr()?);
        let options = format!(
            "OPTIONS sip:{at} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK-ready\r\nMax-Forwards: 70\r\nFrom: <sip:{from}>;tag=t\r\n\
             To: <sip:{at}>\r\nCall-ID: ready\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        until("kamailio to answer", PATIENCE, || {
            self.process.ensure_alive()?;
            socket.send_to(options.as_bytes(), at)?;
            let mut buffer = [0; 2048];
            Ok(socket.recv(&mut buffer).ok().filter(|len| buffer[..*len].starts_with(b"SIP/2.0 200")).map(drop))
        })
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        let _ = self.signal("-KILL");
    }
}

fn spawn(sip: SocketAddr, defines: &[&'static str], scratch: &Scratch) -> Result<Process> {
    let dir = scratch.path().display().to_string();
    let listen = format!("udp:{sip}");
    let mut args = vec!["-DD", "-E", "-m", "32", "-M", "4", "-f", CONFIG, "-l", &listen, "-w", &dir, "-Y", &dir];
    args.extend(defines.iter().flat_map(|define| ["-A", define]));
    // Debian has it where only root's PATH leads.
    let binary = Path::new("/usr/sbin/kamailio");
    Process::spawn(binary, args, scratch.path(), scratch.path().join("log"))
}
