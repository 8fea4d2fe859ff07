//! Soft phones that people use, without a sound card: Debian's baresip and linphone. They answer calls by themselves, and
//! challenges by the password of all users.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::kamailio::PASSWORD;
use crate::process::{Process, Scratch};
use crate::{DOMAIN, ports, until};

/// Starting a phone and registering it takes a few seconds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// A running phone of `who`, registered or about to be.
#[derive(Debug)]
pub struct SoftPhone {
    process: Process,
    scratch: Scratch,
    control: Control,
}

#[derive(Debug)]
enum Control {
    /// baresip's `ctrl_tcp`: commands as JSON in netstrings.
    Tcp(SocketAddr),
    /// linphonec reads lines from a pipe.
    Pipe,
}

/// How a phone reaches the service.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    Udp,
    Tcp,
    /// Trusting this authority (PEM file) alone.
    Tls {
        ca: &'a str,
    },
}

impl By<'_> {
    fn word(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls { .. } => "tls",
        }
    }

    fn ca(self) -> Option<String> {
        match self {
            Self::Tls { ca } => Some(ca.to_owned()),
            Self::Udp | Self::Tcp => None,
        }
    }
}

impl SoftPhone {
    /// baresip at a free port, registering by `sip` over UDP.
    /// # Errors
    /// When it is not installed.
    pub fn baresip(who: &str, sip: SocketAddr) -> Result<Self> {
        Self::baresip_by(who, sip, By::Udp)
    }

    /// # Errors
    /// When it is not installed.
    pub fn baresip_by(who: &str, sip: SocketAddr, by: By<'_>) -> Result<Self> {
        // It takes the port after the one for SIP, too, for TLS.
        let (scratch, control, local) = (Scratch::new("baresip")?, ports::free()?, ports::free_row(ports::facing(sip)?, 2)?);
        let modules = ["g711.so", "aubridge.so", "ctrl_tcp.so"].map(|module| format!("module {module}\n")).concat();
        let config = format!(
            "module_path /usr/lib/baresip/modules\nsip_listen {local}\naudio_player aubridge,nil\naudio_source aubridge,nil\n\
             audio_alert aubridge,nil\ncall_max_calls 4\n{modules}module_tmp uuid.so\nmodule_tmp account.so\nmodule_app menu.so\n\
             ctrl_tcp_listen {control}\n{}",
            by.ca().map(|ca| format!("sip_cafile {ca}\n")).unwrap_or_default()
        );
        scratch.file("config", &config)?;
        let way = format!("sip:{sip};transport={}", by.word());
        scratch.file(
            "accounts",
            &format!("<sip:{who}@{DOMAIN}>;outbound=\"{way}\";regint=600;answermode=auto;auth_user={who};auth_pass={PASSWORD}\n"),
        )?;
        scratch.file("contacts", "")?;
        let dir = scratch.path().display().to_string();
        let process = Process::spawn(Path::new("baresip"), ["-f", &dir, "-s", "-v"], scratch.path(), scratch.path().join("log"))?;
        Ok(Self { process, scratch, control: Control::Tcp(control) })
    }

    /// linphonec at a free port, registering by `sip` over UDP.
    /// # Errors
    /// When it is not installed.
    pub fn linphone(who: &str, sip: SocketAddr) -> Result<Self> {
        Self::linphone_by(who, sip, By::Udp)
    }

    /// # Errors
    /// When it is not installed.
    pub fn linphone_by(who: &str, sip: SocketAddr, by: By<'_>) -> Result<Self> {
        let (scratch, local, media) = (Scratch::new("linphone")?, ports::free()?, ports::free()?);
        let way = format!("sip:{sip};transport={}", by.word());
        let rc = format!(
            "[sip]\nsip_port={}\nsip_tcp_port={}\nsip_tls_port={}\nroot_ca={}\nverify_server_cn=0\ndefault_proxy=0\nguess_hostname=0\ncontact=sip:{who}@127.0.0.1\n\
             register_only_when_network_is_up=0\n[rtp]\naudio_rtp_port={}\n[proxy_0]\nreg_proxy=<{way}>\n\
             reg_route=<{way};lr>\nreg_identity=sip:{who}@{DOMAIN}\nreg_expires=600\nreg_sendregister=1\npublish=0\n\
             [auth_info_0]\nusername={who}\nuserid={who}\npasswd={PASSWORD}\nrealm={DOMAIN}\n",
            local.port(),
            // -1: a connection is made from any port.
            if matches!(by, By::Tcp) { -1 } else { 0 },
            if matches!(by, By::Tls { .. }) { -1 } else { 0 },
            // It reads names of a certificate, and no addresses; the authority is checked all the same.
            by.ca().unwrap_or_default(),
            media.port()
        );
        scratch.file("rc", &rc)?;
        for dir in [".local/share/linphone", ".config/linphone"] {
            std::fs::create_dir_all(scratch.path().join(dir))?;
        }
        let home = scratch.path().display().to_string();
        // The pipe is opened for both directions, so that it never ends.
        let script = "mkfifo in && exec linphonec -c rc -a -d 6 -l sip.log <> in";
        let log = scratch.path().join("log");
        let process = Process::spawn_in(&[("HOME", &home)], Path::new("sh"), ["-c", script], scratch.path(), log)?;
        let phone = Self { process, scratch, control: Control::Pipe };
        until("linphonec to read commands", PATIENCE, || Ok(phone.process.log().contains("linphonec>").then_some(())))?;
        phone.line("soundcard use files")?;
        Ok(phone)
    }

    /// Dials.
    /// # Errors
    /// When the phone does not take commands.
    pub fn dial(&self, peer: &str) -> Result<()> {
        let uri = format!("sip:{peer}@{DOMAIN}");
        match self.control {
            Control::Pipe => self.line(&format!("call {uri}")),
            Control::Tcp(_) => self.command("dial", &uri),
        }
    }

    /// Ends the present call.
    /// # Errors
    /// When the phone does not take commands.
    pub fn hang_up(&self) -> Result<()> {
        match self.control {
            Control::Pipe => self.line("terminate"),
            Control::Tcp(_) => self.command("hangup", ""),
        }
    }

    fn command(&self, command: &str, params: &str) -> Result<()> {
        match self.control {
            Control::Pipe => self.line(command),
            Control::Tcp(control) => {
                let mut stream = until("baresip's control port", PATIENCE, || Ok(TcpStream::connect(control).ok()))?;
                let command = format!("{{\"command\":\"{command}\",\"params\":\"{params}\"}}");
                // In one piece: half a netstring makes baresip hang up.
                stream.write_all(format!("{}:{command},", command.len()).as_bytes())?;
                stream.set_read_timeout(Some(PATIENCE))?;
                // Events come by the same way, before and after the response.
                let (mut said, mut more) = (String::new(), [0; 512]);
                while !said.contains("\"response\":true") {
                    match stream.read(&mut more).context("baresip says nothing")? {
                        0 => bail!("baresip has hung up: {said}\n{}", self.log()),
                        n => said.push_str(&String::from_utf8_lossy(&more[..n])),
                    }
                }
                Ok(())
            }
        }
    }

    /// What the phone has written about itself.
    #[must_use]
    pub fn log(&self) -> String {
        let more = std::fs::read(self.scratch.path().join("sip.log")).unwrap_or_default();
        self.process.log() + &String::from_utf8_lossy(&more)
    }

    fn line(&self, command: &str) -> Result<()> {
        let mut pipe = OpenOptions::new().write(true).open(self.scratch.path().join("in"))?;
        Ok(writeln!(pipe, "{command}")?)
    }
}
