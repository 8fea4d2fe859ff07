//! One connection: messages in to its worker, messages out from any.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use sip_core::framing::{Frame, Framer, Unframed};
use sip_core::message::ResponseSpec;
use sip_core::{Index, Message, Method};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::{Instant, timeout, timeout_at};

use super::connections::Connection;
use crate::counters::Closed;
use crate::endpoint::Peer;
use crate::worker::Handover;

/// Room for one read: most requests in one piece, and all that an idle connection costs beside its tasks and TLS.
const READ: usize = 2048;
/// What a connection that is being closed has to send its last words.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// RFC 5626 section 4.4.1.
const PONG: &[u8] = b"\r\n";

/// How long a connection may do nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Nothing is received.
    pub(crate) idle: Duration,
    /// A message (or the first one, or the handshake) is not complete; what is sent is not taken.
    pub(crate) message: Duration,
}

/// Serves a connection to its end.
pub(super) async fn serve(
    io: impl AsyncRead + AsyncWrite,
    from: Peer,
    mut connection: Connection,
    worker: &Sender<Handover>,
    patience: Patience,
) -> Closed {
    let Some(queue) = connection.queue.take() else { return Closed::Failed };
    let (reader, writer) = tokio::io::split(io);
    let (reader, writer) = (pin!(reader), pin!(writer));
    let mut writing = pin!(write(writer, queue, &connection.queued, patience));
    let reading = read(reader, from, &connection, worker, patience);
    tokio::select! {
        why = reading => {
            connection.close();
            if why != Closed::Failed {
                let _ = timeout(LAST_WORDS, writing).await;
            }
            why
        }
        why = &mut writing => why,
        () = connection.hang_up.cancelled() => Closed::Slow,
    }
}

async fn read(
    mut io: impl AsyncRead + Unpin,
    from: Peer,
    connection: &Connection,
    worker: &Sender<Handover>,
    patience: Patience,
) -> Closed {
    let mut framer = Framer::default();
    let (mut heard, mut within) = (false, false);
    let mut deadline = now() + patience.message;
    loop {
        let buffer = framer.buffer();
        buffer.reserve(READ);
        match timeout_at(deadline, io.read_buf(buffer)).await {
            Err(_) if heard && !within => return Closed::Idle,
            Err(_) => return Closed::Stalled,
            Ok(Ok(0)) => return Closed::ByPhone,
            Ok(Err(_)) => return Closed::Failed,
            Ok(Ok(_)) => {}
        }
        let mut complete = false;
        loop {
            match framer.next_frame() {
                Ok(None) => break,
                Ok(Some(Frame::Ping)) => drop(connection.table().send(from, PONG.to_vec())),
                // Waits for a worker that is behind: TCP tells the phone to wait, too.
                Ok(Some(Frame::Message(message))) => {
                    if worker.send((from, message)).await.is_err() {
                        return Closed::Drained;
                    }
                }
                Err(why) => {
                    if let Some(answer) = last_answer(&why) {
                        connection.table().send(from, answer);
                    }
                    return Closed::Unframed;
                }
            }
            complete = true;
        }
        let now = now();
        heard |= complete;
        let begun = framer.is_within();
        if begun && (complete || !within) {
            deadline = now + patience.message;
        } else if heard && !begun {
            deadline = now + patience.idle;
        }
        within = begun;
    }
}

async fn write(mut io: impl AsyncWrite + Unpin, mut queue: Receiver<Vec<u8>>, queued: &AtomicUsize, patience: Patience) -> Closed {
    while let Some(bytes) = queue.recv().await {
        let written = timeout(patience.message, async {
            io.write_all(&bytes).await?;
            io.flush().await
        });
        match written.await {
            Err(_) => return Closed::Slow,
            Ok(Err(_)) => return Closed::Failed,
            Ok(Ok(())) => queued.fetch_sub(bytes.len(), Relaxed),
        };
    }
    let _ = timeout(LAST_WORDS, io.shutdown()).await;
    Closed::Drained
}

/// Tests move this clock, so it is the timers' own.
#[allow(clippy::disallowed_methods, reason = "the shell of connections reads the clock of its timers")]
fn now() -> Instant {
    Instant::now()
}

/// What a request is answered whose end nobody knows (RFC 3261 section 18.3). None: it is none that can be answered.
fn last_answer(why: &Unframed) -> Option<Vec<u8>> {
    let Unframed::NoLength(head) = why else { return None };
    let mut index = Index::default();
    let request = Message::parse(head, &mut index).ok()?;
    if !request.is_request() || request.method() == Method::Ack || request.top_via().is_none() {
        return None;
    }
    let mut answer = Vec::new();
    ResponseSpec { code: 400, reason: "Missing Content-Length", ..ResponseSpec::default() }.write(request, &mut answer);
    Some(answer)
}

#[cfg(test)]
mod tests;
