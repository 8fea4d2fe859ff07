//! A real redis-server.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::authority::Authority;
use crate::process::{Process, Scratch};
use crate::wait::PATIENCE;
use crate::{ports, until};

/// One redis-server with its own directory and an append-only file that is written before anything is acknowledged, so that a kill loses
/// nothing. (With `everysec`, Redis may hold acknowledged writes back for two seconds while an fsync is under way.)
#[derive(Debug)]
pub struct Redis {
    process: Process,
    addr: SocketAddr,
    url: String,
    options: Vec<String>,
    scratch: Scratch,
}

impl Redis {
    /// Keyspace notifications are left as Redis has them (off); a coordinator sets them where it may.
    /// # Errors
    /// When redis-server is missing or does not answer.
    pub fn start() -> Result<Self> {
        Self::with(&[])
    }

    /// With more options, such as `["--rename-command", "CONFIG", ""]`.
    /// # Errors
    /// As [`Redis::start`].
    pub fn with(options: &[&str]) -> Result<Self> {
        let addr = ports::free()?;
        Self::at(addr, format!("redis://{addr}/"), options)
    }

    /// With a certificate of `authority`. Its URL is `rediss:`; the test itself still comes without TLS.
    /// # Errors
    /// As [`Redis::start`].
    pub fn with_tls(authority: &Authority, options: &[&str]) -> Result<Self> {
        let (addr, port, own) = (ports::free()?, ports::free()?.port().to_string(), authority.issue("redis")?);
        let ca = authority.ca();
        let tls = ["--tls-port", &port, "--tls-cert-file", &own.cert, "--tls-key-file", &own.key, "--tls-ca-cert-file", &ca];
        Self::at(addr, format!("rediss://localhost:{port}/"), &[&tls, options].concat())
    }

    fn at(addr: SocketAddr, url: String, options: &[&str]) -> Result<Self> {
        let scratch = Scratch::new("redis")?;
        let options: Vec<_> = options.iter().map(|o| (*o).to_owned()).collect();
        let process = spawn(addr, &options, &scratch)?;
        let mut redis = Self { process, addr, url, options, scratch };
        redis.wait_ready()?;
        Ok(redis)
    }

    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// # Errors
    /// When Redis does not answer.
    pub fn client(&self) -> Result<redis::Connection> {
        Ok(redis::Client::open(format!("redis://{}/", self.addr))?.get_connection()?)
    }

    /// # Errors
    /// When Redis does not answer.
    pub fn dbsize(&self) -> Result<u64> {
        Ok(redis::cmd("DBSIZE").query(&mut self.client()?)?)
    }

    /// Every key that is neither a binding nor what was learned of phones: what watches left behind.
    /// # Errors
    /// When Redis does not answer.
    pub fn watch_keys(&self) -> Result<Vec<String>> {
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut self.client()?)?;
        Ok(keys
            .into_iter()
            .filter(|k| !["redial:bind:", "redial:last:", "redial:learned"].iter().any(|of_phones| k.starts_with(of_phones)))
            .collect())
    }

    /// SIGKILL.
    /// # Errors
    /// When the process cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// SIGSTOP: Redis takes connections and commands and answers nothing.
    /// # Errors
    /// When the process has ended already.
    pub fn pause(&mut self) -> Result<()> {
        self.process.pause()
    }

    /// SIGCONT.
    /// # Errors
    /// When the process has ended already.
    pub fn resume(&mut self) -> Result<()> {
        self.process.resume()
    }

    /// Starts again at the same address with the same data.
    /// # Errors
    /// As [`Redis::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.process = spawn(self.addr, &self.options, &self.scratch)?;
        self.wait_ready()
    }

    fn wait_ready(&mut self) -> Result<()> {
        until("redis-server to answer PING", PATIENCE, || {
            self.process.ensure_alive()?;
            let answer = self.client().and_then(|mut c| Ok(redis::cmd("PING").query::<String>(&mut c)?));
            Ok(answer.ok().filter(|a| a == "PONG"))
        })?;
        // Whoever answers at this address must be the server that was started, not another test's.
        let info: String = redis::cmd("INFO").arg("server").query(&mut self.client()?)?;
        let pid = info.lines().find_map(|l| l.strip_prefix("process_id:")).context("INFO has no process_id")?;
        ensure!(pid.trim() == self.process.id().to_string(), "another redis-server has {}", self.addr);
        Ok(())
    }
}

fn spawn(addr: SocketAddr, options: &[String], scratch: &Scratch) -> Result<Process> {
    let port = addr.port().to_string();
    let fixed = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"];
    let args = fixed.into_iter().chain(options.iter().map(String::as_str));
    Process::spawn(Path::new("redis-server"), args, scratch.path(), scratch.path().join("log"))
}
