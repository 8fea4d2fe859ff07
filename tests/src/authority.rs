//! A certificate authority of a test's own, by openssl.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::process::Scratch;

/// Gone with its files when dropped.
#[derive(Debug)]
pub struct Authority {
    scratch: Scratch,
}

/// Paths of a certificate and its key (PEM).
#[derive(Clone, Debug)]
pub struct Issued {
    pub cert: String,
    pub key: String,
}

impl Authority {
    /// # Errors
    /// When openssl is missing or refuses.
    pub fn new() -> Result<Self> {
        let authority = Self { scratch: Scratch::new("authority")? };
        authority.request("ca", &["-addext", "keyUsage=keyCertSign"])?;
        Ok(authority)
    }

    /// The authority's own certificate (PEM).
    #[must_use]
    pub fn ca(&self) -> String {
        self.path("ca.pem")
    }

    /// A certificate for `name`, on loopback.
    /// # Errors
    /// When openssl refuses.
    pub fn issue(&self, name: &str) -> Result<Issued> {
        self.issue_at(name, Ipv4Addr::LOCALHOST.into())
    }

    /// A certificate for `name` at that address.
    /// # Errors
    /// When openssl refuses.
    pub fn issue_at(&self, name: &str, ip: IpAddr) -> Result<Issued> {
        let (ca, key) = (self.ca(), self.path("ca.key"));
        let names = format!("subjectAltName=DNS:{name},DNS:localhost,IP:{ip}");
        self.request(name, &["-CA", &ca, "-CAkey", &key, "-addext", &names, "-addext", "basicConstraints=critical,CA:FALSE"])?;
        Ok(Issued { cert: self.path(&format!("{name}.pem")), key: self.path(&format!("{name}.key")) })
    }

    fn path(&self, file: &str) -> String {
        self.scratch.path().join(file).display().to_string()
    }

    fn request(&self, name: &str, more: &[&str]) -> Result<()> {
        let (cert, key, subject) = (format!("{name}.pem"), format!("{name}.key"), format!("/CN={name}"));
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "1"]);
        command.args(["-subj", &subject, "-out", &cert, "-keyout", &key]).args(more).current_dir(self.scratch.path());
        let output = command.output().context("openssl must be installed (Debian: openssl)")?;
        ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}
