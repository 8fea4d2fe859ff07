//! A Kamailio that is started for a demo and ended with it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use redial_runtime::clock;
use tokio::net::UdpSocket;
use tokio::time::timeout;

const CONFIG: &str = include_str!("kamailio.cfg");

/// Every user's, as the configuration says.
pub const PASSWORD: &str = "secret";

/// Ended when dropped.
#[derive(Debug)]
pub struct Kamailio {
    pub addr: SocketAddr,
    child: Child,
    dir: PathBuf,
}

impl Kamailio {
    /// On a free port of loopback, which others know as `advertised`; ready when it answers OPTIONS.
    pub async fn start(advertised: SocketAddr, limit: Duration) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let free = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let dir = std::env::temp_dir().join(format!("redial-demo-{}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let (config, log) = (dir.join("kamailio.cfg"), std::fs::File::create(dir.join("log"))?);
        std::fs::write(&config, CONFIG)?;
        let mut command = Command::new(binary());
        command.args(["-DD", "-E", "-m", "32", "-M", "4", "-A", "WITH_PATH", "-l"]).arg(format!("udp:{free}/{advertised}"));
        command.arg("-f").arg(&config).arg("-w").arg(&dir).arg("-Y").arg(&dir);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("kamailio does not start; `apt-get install kamailio` brings it")?;
        let mut this = Self { addr: free, child, dir };
        this.wait_ready(&socket, limit).await?;
        Ok(this)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    async fn wait_ready(&mut self, socket: &UdpSocket, limit: Duration) -> Result<()> {
        let (at, from) = (self.addr, socket.local_addr()?);
        let options = format!(
            "OPTIONS sip:{at} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK-ready\r\nMax-Forwards: 70\r\nFrom: <sip:{from}>;tag=t\r\n\
             To: <sip:{at}>\r\nCall-ID: ready\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        let deadline = clock::instant() + limit;
        let mut buffer = [0; 2048];
        while clock::instant() < deadline {
            if let Some(status) = self.child.try_wait()? {
                bail!("kamailio ended with {status}: {}", self.log());
            }
            socket.send_to(options.as_bytes(), at).await?;
            let answer = timeout(Duration::from_millis(100), socket.recv(&mut buffer)).await;
            if matches!(answer, Ok(Ok(len)) if buffer[..len].starts_with(b"SIP/2.0 200")) {
                return Ok(());
            }
        }
        bail!("kamailio does not answer: {}", self.log())
    }
}

/// Debian has it where only root's PATH leads.
fn binary() -> &'static Path {
    let sbin = Path::new("/usr/sbin/kamailio");
    if sbin.exists() { sbin } else { Path::new("kamailio") }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // SIGTERM, so that it ends its children.
        let told = Command::new("kill").arg(self.child.id().to_string()).status();
        if told.is_ok_and(|status| status.success()) {
            let _ = self.child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
