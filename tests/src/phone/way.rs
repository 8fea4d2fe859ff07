//! How a phone's messages travel: as datagrams, or by a connection that the phone opens and that is the only way to it.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use redial_runtime::pem;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sip_core::framing::{Frame, Framer};
use socket2::{Domain, Socket, Type};

use crate::ports;
use crate::softphone::By;
use crate::wait::{PATIENCE, now};

#[derive(Debug)]
pub(super) enum Way {
    Datagrams(UdpSocket),
    Tcp(TcpStream, Framer),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>, Framer),
}

impl Way {
    /// From the address `ip` of this machine.
    pub fn open(ip: IpAddr, edge: SocketAddr, by: By<'_>) -> Result<Self> {
        Ok(match by {
            By::Udp => Self::Datagrams(UdpSocket::bind(ports::free_at(ip)?)?),
            By::Tcp => Self::Tcp(connect(ip, edge)?, Framer::default()),
            By::Tls { ca } => {
                let client = ClientConnection::new(trusting(ca)?, edge.ip().into())?;
                let mut stream = StreamOwned::new(client, connect(ip, edge)?);
                stream.sock.set_read_timeout(Some(PATIENCE))?;
                stream.conn.complete_io(&mut stream.sock).context("no TLS")?;
                Self::Tls(Box::new(stream), Framer::default())
            }
        })
    }

    pub fn local(&self) -> Result<SocketAddr> {
        Ok(match self {
            Self::Datagrams(socket) => socket.local_addr()?,
            Self::Tcp(stream, _) => stream.local_addr()?,
            Self::Tls(stream, _) => stream.sock.local_addr()?,
        })
    }

    /// In Via (RFC 3261 section 20.42).
    pub fn transport(&self) -> &'static str {
        match self {
            Self::Datagrams(_) => "UDP",
            Self::Tcp(..) => "TCP",
            Self::Tls(..) => "TLS",
        }
    }

    /// Whether what is sent arrives, so that nothing is sent again (RFC 3261 section 17.1.1.2).
    pub fn is_reliable(&self) -> bool {
        !matches!(self, Self::Datagrams(_))
    }

    /// `to` is where a datagram goes; a connection has one other end.
    pub fn send(&mut self, bytes: &[u8], to: SocketAddr) -> Result<()> {
        match self {
            Self::Datagrams(socket) => socket.send_to(bytes, to).map(drop)?,
            Self::Tcp(stream, _) => stream.write_all(bytes)?,
            Self::Tls(stream, _) => stream.write_all(bytes)?,
        }
        Ok(())
    }

    /// The next message and who sent it, unless none is there by then.
    pub fn receive(&mut self, deadline: Instant) -> Result<Option<(Vec<u8>, SocketAddr)>> {
        match self {
            Self::Datagrams(socket) => {
                let Some(left) = left(deadline) else { return Ok(None) };
                socket.set_read_timeout(Some(left))?;
                let mut buffer = vec![0; 65_536];
                let received = in_time(socket.recv_from(&mut buffer))?;
                Ok(received.map(|(len, from)| (buffer[..len].to_vec(), from)))
            }
            Self::Tcp(stream, framer) => {
                let tcp = stream.try_clone()?;
                next(stream, framer, &tcp, deadline)
            }
            Self::Tls(stream, framer) => {
                let tcp = stream.sock.try_clone()?;
                next(&mut **stream, framer, &tcp, deadline)
            }
        }
    }
}

/// `tcp` is what `stream` reads from.
fn next(stream: &mut impl Read, framer: &mut Framer, tcp: &TcpStream, deadline: Instant) -> Result<Option<(Vec<u8>, SocketAddr)>> {
    loop {
        match framer.next_frame()? {
            Some(Frame::Message(bytes)) => return Ok(Some((bytes, tcp.peer_addr()?))),
            Some(Frame::Ping) => continue,
            None => {}
        }
        let Some(left) = left(deadline) else { return Ok(None) };
        tcp.set_read_timeout(Some(left))?;
        let mut more = [0; 4096];
        match in_time(stream.read(&mut more))? {
            Some(0) => bail!("the service has hung up"),
            Some(n) => framer.buffer().extend_from_slice(&more[..n]),
            None => {}
        }
    }
}

fn left(deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(now());
    (!left.is_zero()).then(|| left.max(Duration::from_millis(1)))
}

fn in_time<T>(received: std::io::Result<T>) -> Result<Option<T>> {
    match received {
        Ok(received) => Ok(Some(received)),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn connect(ip: IpAddr, edge: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(edge), Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((ip, 0)).into())?;
    socket.connect_timeout(&edge.into(), PATIENCE).with_context(|| format!("no connection from {ip} to {edge}"))?;
    Ok(socket.into())
}

/// A client that trusts this authority alone.
fn trusting(ca: &str) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(Path::new(ca)).map_err(anyhow::Error::msg)?.found {
        roots.add(certificate)?;
    }
    let builder = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
    Ok(Arc::new(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth()))
}
