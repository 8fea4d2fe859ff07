//! A DNS server: Debian's dnsmasq with the records that a test gives it.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use crate::ports;
use crate::process::{Process, Scratch};

#[derive(Debug)]
pub struct Dns {
    pub addr: SocketAddr,
    process: Process,
    scratch: Scratch,
}

impl Dns {
    /// Knows nothing but these records, in the words of dnsmasq's command line, each for a second.
    /// # Errors
    /// When it is not installed.
    pub fn start(records: &[String]) -> Result<Self> {
        let (addr, scratch) = (ports::free()?, Scratch::new("dns")?);
        let process = spawn(addr, &scratch, records)?;
        Ok(Self { addr, process, scratch })
    }

    /// From now on these are the records.
    /// # Errors
    /// When it does not start again.
    pub fn change(&mut self, records: &[String]) -> Result<()> {
        self.process.kill()?;
        self.process = spawn(self.addr, &self.scratch, records)?;
        Ok(())
    }
}

fn spawn(addr: SocketAddr, scratch: &Scratch, records: &[String]) -> Result<Process> {
    let mut args: Vec<String> =
        ["--keep-in-foreground", "--no-resolv", "--no-hosts", "--bind-interfaces", "--conf-file=/dev/null", "--pid-file"]
            .map(str::to_owned)
            .to_vec();
    args.extend([format!("--listen-address={}", addr.ip()), format!("--port={}", addr.port()), "--local-ttl=1".to_owned()]);
    // It gives up its rights, and here it has none to give.
    args.extend(["--user=".to_owned(), "--group=".to_owned(), "--local=/example.net/".to_owned()]);
    args.extend_from_slice(records);
    Process::spawn(Path::new("dnsmasq"), &args, scratch.path(), scratch.path().join("log"))
}
