//! Debian's Kamailio as the registrar and proxy that is there already. It knows nothing of what stands before it; its configuration is the
//! one that `redial demo --front` plays with, or the one that the package installs.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::process::{Process, Scratch};
use crate::wait::PATIENCE;
use crate::{DOMAIN, Phone, ports, until};

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../services/redial/src/demo/kamailio.cfg");

/// The package's own.
const STOCK: &str = "/etc/kamailio/kamailio.cfg";

/// Its empty tables for `db_text`.
const TABLES: &str = "/usr/share/kamailio/dbtext/kamailio";

/// The password of every user.
pub const PASSWORD: &str = "secret";

/// For how long it registers a phone that asks for more.
pub const GRANTS: u32 = 300;

/// It keeps the Path of a REGISTER.
pub const PATH: &str = "WITH_PATH";

/// It answers 480 for who is not registered; else 404.
pub const UNAVAILABLE: &str = "AWAY=\"480\"";

/// It asks nobody for a password who calls.
pub const TRUSTING: &str = "WITH_TRUST";

/// It answers 503 to everything.
pub const OVERLOADED: &str = "WITH_503";

/// It takes an answer to a challenge of another one.
pub const SHARED: &str = "WITH_SHARED_NONCES";

/// It lets a phone register for a second.
pub const SHORT: &str = "WITH_SHORT";

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
    options: Vec<String>,
}

impl Kamailio {
    /// On a free port of loopback.
    /// # Errors
    /// When it is not installed or does not answer.
    pub fn start(defines: &[&str]) -> Result<Self> {
        Self::at(ports::free()?, defines)
    }

    /// # Errors
    /// As [`Kamailio::start`].
    pub fn at(sip: SocketAddr, defines: &[&str]) -> Result<Self> {
        let options = defines.iter().flat_map(|define| ["-A".to_owned(), (*define).to_owned()]).collect();
        Self::run(sip, Scratch::new("kamailio")?, CONFIG, options)
    }

    /// As the package configures it, told what no installation can do without: where to listen, and its domain. It asks `users` for their password, by
    /// its own define and the text files that the package has for a database; where there are none it asks nobody.
    /// # Errors
    /// As [`Kamailio::start`].
    pub fn stock(users: &[&str]) -> Result<Self> {
        let scratch = Scratch::new("kamailio")?;
        let mut options = vec![format!("--alias={DOMAIN}")];
        if !users.is_empty() {
            for table in ["version", "subscriber"] {
                let path = Path::new(TABLES).join(table);
                let empty = std::fs::read_to_string(&path).with_context(|| format!("{} is not there", path.display()))?;
                scratch.file(table, &(empty + &if table == "subscriber" { rows(users) } else { String::new() }))?;
            }
            let database = format!("DBURL=\"text://{}\"", scratch.path().display());
            options.extend(["--loadmodule=db_text.so", "-A", "WITH_AUTH", "-A", &database].map(str::to_owned));
        }
        Self::run(ports::free()?, scratch, STOCK, options)
    }

    fn run(sip: SocketAddr, scratch: Scratch, config: &'static str, mut options: Vec<String>) -> Result<Self> {
        options.extend(["-f".to_owned(), config.to_owned()]);
        let process = spawn(sip, &options, &scratch)?;
        let mut this = Self { sip, process, scratch, options };
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
        self.process = spawn(self.sip, &self.options, &self.scratch)?;
        self.wait_ready()
    }

    /// Ends it and starts it again as another one.
    /// # Errors
    /// When it does not answer.
    pub fn turn_into(&mut self, defines: &[&str]) -> Result<()> {
        self.kill()?;
        *self = Self::at(self.sip, defines)?;
        Ok(())
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
            Ok(socket.recv(&mut buffer).ok().filter(|len| buffer[..*len].starts_with(b"SIP/2.0 ")).map(drop))
        })
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        let _ = self.signal("-KILL");
    }
}

/// Of the table `subscriber`: id, user, domain, password and two hashes that are not used.
fn rows(users: &[&str]) -> String {
    users.iter().enumerate().map(|(id, user)| format!("{id}:{user}:{DOMAIN}:{PASSWORD}:-:-\n")).collect()
}

fn spawn(sip: SocketAddr, options: &[String], scratch: &Scratch) -> Result<Process> {
    let dir = scratch.path().display().to_string();
    let listen = format!("udp:{sip}");
    let fixed = ["-DD", "-E", "-m", "32", "-M", "4", "-l", &listen, "-w", &dir, "-Y", &dir];
    let args = fixed.into_iter().chain(options.iter().map(String::as_str));
    // Debian has it where only root's PATH leads.
    let binary = Path::new("/usr/sbin/kamailio");
    Process::spawn(binary, args, scratch.path(), scratch.path().join("log"))
}
