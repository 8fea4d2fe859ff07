//! A connection as the phone at its other end sees it: an in-memory pipe, and a clock that the test moves.

use std::sync::Arc;

use sip_core::routing::EdgeTag;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::endpoint::config::Transport;
use crate::transport::connections::Connections;

const PATIENCE: Patience = Patience { idle: Duration::from_secs(100), message: Duration::from_secs(10) };
const OPTIONS: &str = "OPTIONS sip:example.com SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\nContent-Length: 0\r\n\r\n";

struct Phone {
    io: DuplexStream,
    table: Arc<Connections>,
    peer: Peer,
    received: mpsc::Receiver<Handover>,
    serving: JoinHandle<Closed>,
}

impl Phone {
    fn connect() -> Self {
        let (io, ours) = tokio::io::duplex(1000);
        let table = Arc::new(Connections::new(9, 9, Arc::default()));
        let peer = Peer { edge: EdgeTag::HERE, listener: 1, addr: "192.0.2.7:40000".parse().unwrap() };
        let connection = table.admit(1, Transport::Tcp, peer.addr).unwrap();
        let (worker, received) = mpsc::channel(2);
        let serving = tokio::spawn(async move { serve(ours, peer, connection, &worker, PATIENCE).await });
        Self { io, table, peer, received, serving }
    }

    async fn says(&mut self, text: &str) {
        self.io.write_all(text.as_bytes()).await.unwrap();
    }

    /// What came to the worker.
    async fn heard(&mut self) -> String {
        let (from, bytes) = self.received.recv().await.unwrap();
        assert_eq!(from, self.peer);
        String::from_utf8(bytes).unwrap()
    }

    async fn reads(&mut self, length: usize) -> String {
        let mut bytes = vec![0; length];
        self.io.read_exact(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Why it was closed, and the last words.
    async fn end(mut self) -> (Closed, String) {
        let mut last = String::new();
        self.io.read_to_string(&mut last).await.unwrap();
        (self.serving.await.unwrap(), last)
    }
}

#[tokio::test(start_paused = true)]
async fn messages_go_to_the_worker_however_they_are_cut() {
    let mut phone = Phone::connect();
    phone.says(&OPTIONS.repeat(3)).await;
    for _ in 0..3 {
        assert_eq!(phone.heard().await, OPTIONS);
    }
    for byte in OPTIONS.split_inclusive(' ') {
        phone.says(byte).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(phone.heard().await, OPTIONS);
    phone.says("\r\n\r\n").await;
    assert_eq!(phone.reads(2).await, "\r\n");
    assert!(phone.table.send(phone.peer, b"SIP/2.0 200 OK\r\n\r\n".to_vec()));
    assert_eq!(phone.reads(18).await, "SIP/2.0 200 OK\r\n\r\n");
    phone.io.shutdown().await.unwrap();
    assert_eq!(phone.end().await, (Closed::ByPhone, String::new()));
}

#[tokio::test(start_paused = true)]
async fn whoever_never_finishes_a_message_is_hung_up_on() {
    let mut phone = Phone::connect();
    phone.says(OPTIONS).await;
    phone.heard().await;
    let began = now();
    let (io, mut rest) = (&mut phone.io, OPTIONS.bytes().cycle());
    // A byte every second, which never ends with an empty line, is no excuse.
    while io.write_all(&[rest.next().filter(|b| *b != b'\n').unwrap_or(b'x')]).await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(now() - began < PATIENCE.message + Duration::from_secs(3));
    assert_eq!(phone.end().await.0, Closed::Stalled);
    let silent = Phone::connect();
    assert_eq!(silent.end().await.0, Closed::Stalled, "the first message");
}

#[tokio::test(start_paused = true)]
async fn a_silent_phone_is_idle_after_its_time_and_a_ping_is_a_sign_of_life() {
    let mut phone = Phone::connect();
    for _ in 0..5 {
        phone.says("\r\n\r\n").await;
        assert_eq!(phone.reads(2).await, "\r\n");
        tokio::time::sleep(PATIENCE.idle - Duration::from_secs(1)).await;
    }
    assert_eq!(phone.end().await.0, Closed::Idle);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_length_is_answered_and_is_the_last() {
    let mut phone = Phone::connect();
    phone.says(&OPTIONS.replace("Content-Length: 0", "To: <sip:a@b>")).await;
    let (why, last) = phone.end().await;
    assert_eq!(why, Closed::Unframed);
    assert!(last.starts_with("SIP/2.0 400 Missing Content-Length\r\n"), "{last}");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_hung_up_on() {
    let mut phone = Phone::connect();
    phone.says(OPTIONS).await;
    phone.heard().await;
    assert!(phone.table.send(phone.peer, vec![b'x'; 5000]), "more than the pipe holds");
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), phone.serving).await.unwrap().unwrap(), Closed::Slow);
    let flooded = Phone::connect();
    while flooded.table.send(flooded.peer, vec![b'x'; 5000]) {}
    assert_eq!(tokio::time::timeout(Duration::from_secs(1), flooded.serving).await.unwrap().unwrap(), Closed::Slow, "at once");
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_is_sent_before_a_drain_closes() {
    let phone = Phone::connect();
    assert!(phone.table.send(phone.peer, b"last".to_vec()));
    phone.table.close();
    assert!(!phone.table.send(phone.peer, b"later".to_vec()));
    let table = Arc::clone(&phone.table);
    assert_eq!(phone.end().await, (Closed::Drained, "last".to_owned()));
    table.closed().await;
}
