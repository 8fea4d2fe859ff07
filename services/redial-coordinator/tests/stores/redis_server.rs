//! A real redis-server for one test. A machine without one fails the test: nothing is skipped.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

/// Killed when dropped; keeps nothing on disk.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    password: Option<String>,
    process: Child,
}

impl RedisServer {
    pub fn start() -> Self {
        Self::on_free_port(None)
    }

    pub fn with_password(password: &str) -> Self {
        Self::on_free_port(Some(password.to_owned()))
    }

    fn on_free_port(password: Option<String>) -> Self {
        // Somebody else may take the port between its release and its use here: then the server exits and another port is tried.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
            if let Some(process) = spawn(port, password.as_deref()) {
                return Self { port, password, process };
            }
        }
        panic!("redis-server does not start");
    }

    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}/", self.port),
            None => format!("redis://127.0.0.1:{}/", self.port),
        }
    }

    /// SIGKILL: nothing is saved, nobody is told.
    pub fn kill(&mut self) {
        self.process.kill().expect("kill");
        self.process.wait().expect("wait");
    }

    /// Starts an empty server on the same port.
    pub fn restart(&mut self) {
        self.process = spawn(self.port, self.password.as_deref()).expect("the port is free again");
    }

    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(signal).arg(self.process.id().to_string()).status().expect("kill");
        assert!(status.success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A server that accepts connections, or none when it exits instead.
fn spawn(port: u16, password: Option<&str>) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    if let Some(password) = password {
        command.args(["--requirepass", password]);
    }
    let mut process = command.stdout(Stdio::piped()).spawn().expect("redis-server must be installed (Debian: redis-server)");
    let mut log = BufReader::new(process.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let ready = log.any(|line| line.contains("Ready to accept connections"));
    // Somebody must read on, or the server blocks on a full pipe.
    std::thread::spawn(move || log.for_each(drop));
    if !ready {
        let _ = process.wait();
    }
    ready.then_some(process)
}
