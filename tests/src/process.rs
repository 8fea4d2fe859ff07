//! A child process with its output in a file.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::until;

/// Killed when dropped; its log is printed when the test is failing.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// A directory of this test process that is removed with it.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// # Errors
    /// When the temporary directory cannot be written.
    pub fn new(name: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("redial-tests-{}-{}-{name}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and returns its path.
    /// # Errors
    /// When it cannot be written.
    pub fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.0.join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Path of a binary of this workspace: it lies where this test's own executable was built.
/// # Errors
/// When it was not built.
pub fn workspace_binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not built: run `cargo build --workspace --bins` first, or `make test`"))
}

impl Process {
    /// Starts `program` with its standard output and error in `log`.
    /// # Errors
    /// When it cannot be started, for a missing program above all.
    pub fn spawn(program: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>, dir: &Path, log: PathBuf) -> Result<Self> {
        Self::spawn_in(&[], program, args, dir, log)
    }

    /// With more environment variables.
    /// # Errors
    /// As [`Process::spawn`].
    pub fn spawn_in(
        environment: &[(&str, &str)],
        program: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        dir: &Path,
        log: PathBuf,
    ) -> Result<Self> {
        let name = program.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let out = File::create(&log)?;
        let child = Command::new(program)
            .args(args)
            .envs(environment.iter().copied())
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("{} does not start: is it installed?", program.display()))?;
        Ok(Self { name, child, log })
    }

    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    /// # Errors
    /// When the process has ended, with the end of its log.
    pub fn ensure_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}:\n{}", self.name, tail(&self.log()));
        }
        Ok(())
    }

    /// Waits for the process to end by itself.
    /// # Errors
    /// When it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let (name, child) = (&self.name, &mut self.child);
        until(&format!("{name} to end"), limit, || Ok(child.try_wait()?))
    }

    /// SIGTERM.
    /// # Errors
    /// When the process has ended already.
    pub fn terminate(&mut self) -> Result<()> {
        self.signal("-TERM")
    }

    /// SIGSTOP: the process does nothing until it is resumed, while its sockets stay open.
    /// # Errors
    /// When the process has ended already.
    pub fn pause(&mut self) -> Result<()> {
        self.signal("-STOP")
    }

    /// SIGCONT.
    /// # Errors
    /// When the process has ended already.
    pub fn resume(&mut self) -> Result<()> {
        self.signal("-CONT")
    }

    fn signal(&mut self, signal: &str) -> Result<()> {
        self.ensure_alive()?;
        let status = Command::new("kill").args([signal, &self.id().to_string()]).status()?;
        ensure!(status.success(), "kill {signal} {}", self.id());
        Ok(())
    }

    /// SIGKILL.
    /// # Errors
    /// When the process cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        let _ = self.child.kill();
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        let _ = self.kill();
        if std::thread::panicking() || ended.is_some_and(|s| !s.success()) {
            eprintln!("--- {} ({ended:?}):\n{}", self.name, tail(&self.log()));
        }
    }
}

fn tail(log: &str) -> &str {
    let lines = log.lines().count();
    match log.char_indices().filter(|(_, c)| *c == '\n').nth(lines.saturating_sub(40)) {
        Some((at, _)) if lines > 40 => &log[at..],
        _ => log,
    }
}
