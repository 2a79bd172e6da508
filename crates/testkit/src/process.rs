//! The program under test as a process: started with arguments, watched by its output, ended by signals.
//!
//! Every deadline that passes shows the end of the output, because that is where the reason usually stands.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::{client, eventually};

/// A signal to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, what Kubernetes sends.
    Term,
    /// SIGINT, what Ctrl-C sends.
    Int,
    /// SIGKILL.
    Kill,
    /// SIGSTOP: it stands still, the kernel goes on accepting for it.
    Stop,
    /// SIGCONT.
    Continue,
}

/// How to start the program.
#[derive(Debug, Clone)]
pub struct ProcessBuilder {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
}

impl ProcessBuilder {
    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// One more environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it. Nothing of the caller's `PENSTOCK_*`, `KUBECONFIG` and `RUST_LOG` is passed on.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn start(self) -> Process {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PENSTOCK_") || name == "KUBECONFIG" || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command.envs(self.env);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("starting {}: {e}", self.program.display()));
        let stdout = Output::follow(child.stdout.take().expect("stdout is piped"));
        let stderr = Output::follow(child.stderr.take().expect("stderr is piped"));
        Process { child, stdout, stderr }
    }
}

/// A running program; killed when the value is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: Output,
    stderr: Output,
}

impl Process {
    /// A program to start, such as `env!("CARGO_BIN_EXE_penstock")`.
    #[must_use]
    pub fn of(program: impl Into<PathBuf>) -> ProcessBuilder {
        ProcessBuilder { program: program.into(), args: Vec::new(), env: Vec::new() }
    }

    /// Bytes of memory that are its own: not those of files, such as the program itself, that it has in memory as well.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn own_memory(&self) -> f64 {
        let rollup = self.id().map(|id| std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")));
        let rollup = rollup.expect("the process was started").expect("the process runs");
        let own = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")?.trim().strip_suffix(" kB"));
        own.and_then(|kilobytes| kilobytes.parse::<f64>().ok()).expect("proc_pid_smaps(5)") * 1024.0
    }

    /// Its process id; none when it has ended and was waited for.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The lines of standard output so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.lines()
    }

    /// The lines of standard error so far.
    #[must_use]
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.lines()
    }

    /// Waits for a line of standard error that contains `part`, also among those that came before.
    ///
    /// # Panics
    /// At the deadline, or when the output ends without it; with the last lines.
    pub async fn wait_for_stderr(&self, part: &str, deadline: Duration) -> String {
        self.stderr.wait_for("standard error", part, deadline).await
    }

    /// Waits for a line of standard output that contains `part`, also among those that came before.
    ///
    /// # Panics
    /// At the deadline, or when the output ends without it; with the last lines.
    pub async fn wait_for_stdout(&self, part: &str, deadline: Duration) -> String {
        self.stdout.wait_for("standard output", part, deadline).await
    }

    /// Waits until `/readyz` of its admin server answers 200.
    ///
    /// # Panics
    /// At the deadline, or when the process ends before; with the last answer and the last lines.
    pub async fn wait_ready(&mut self, admin: SocketAddr, deadline: Duration) {
        let end = tokio::time::Instant::now() + deadline;
        loop {
            let seen = match timeout(deadline, client::get(admin, "admin", "/readyz")).await {
                Ok(Ok(answer)) if answer.status == 200 => return,
                Ok(Ok(answer)) => format!("{} {}", answer.status, answer.text()),
                Ok(Err(error)) => format!("{error:#}"),
                Err(_) => "no answer".to_owned(),
            };
            if let Ok(Some(status)) = self.child.try_wait() {
                self.stderr.ended(deadline).await;
                panic!("the process ended ({status}) before it was ready; its last lines:\n{}", self.stderr.tail());
            }
            assert!(
                tokio::time::Instant::now() < end,
                "not ready after {deadline:?}: {seen}; its last lines:\n{}",
                self.stderr.tail()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends a signal; nothing happens when the process is gone.
    pub fn signal(&self, signal: Signal) {
        let number = match signal {
            Signal::Term => rustix::process::Signal::TERM,
            Signal::Int => rustix::process::Signal::INT,
            Signal::Kill => rustix::process::Signal::KILL,
            Signal::Stop => rustix::process::Signal::STOP,
            Signal::Continue => rustix::process::Signal::CONT,
        };
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            // It may end at any moment, and then there is nobody to tell.
            let _ = kill_process(pid, number);
        }
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// At the deadline, with the last lines.
    pub async fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        match timeout(deadline, self.child.wait()).await {
            Ok(status) => {
                // The pipes end with the process: what it said last is complete before the caller looks at it.
                self.stdout.ended(deadline).await;
                self.stderr.ended(deadline).await;
                status.expect("a child can be waited for")
            }
            Err(_) => panic!("still running after {deadline:?}; its last lines:\n{}", self.stderr.tail()),
        }
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// At the deadline, with the last lines.
    pub async fn stop(&mut self, deadline: Duration) -> ExitStatus {
        self.signal(Signal::Term);
        self.wait_exit(deadline).await
    }
}

/// The lines of one stream, collected as they come.
#[derive(Debug)]
struct Output {
    lines: Arc<Mutex<Vec<String>>>,
    ended: watch::Receiver<bool>,
}

impl Output {
    fn follow(stream: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (over, ended) = watch::channel(false);
        let sink = Arc::clone(&lines);
        tokio::spawn(async move {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).await.is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
                sink.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                line.clear();
            }
            over.send_replace(true);
        });
        Self { lines, ended }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tail(&self) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    async fn wait_for(&self, stream: &str, part: &str, deadline: Duration) -> String {
        let what = format!("a line with {part:?} on {stream}");
        let found = eventually(&what, deadline, || async {
            // In this order: what came before the end is in the lines by then.
            let ended = *self.ended.borrow();
            match self.lines().into_iter().find(|l| l.contains(part)) {
                Some(line) => Ok(Some(line)),
                None if ended => Ok(None),
                None => Err(self.tail()),
            }
        });
        found.await.unwrap_or_else(|| panic!("{stream} ended without {what}; its last lines:\n{}", self.tail()))
    }

    async fn ended(&mut self, deadline: Duration) {
        // A grandchild may hold the pipe open; that is not this process's output any more.
        let _ = timeout(deadline.min(Duration::from_secs(2)), self.ended.wait_for(|over| *over)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DEADLINE;

    fn shell(script: &str) -> Process {
        Process::of("/bin/sh").arg("-c").arg(script).env("GREETING", "hello").start()
    }

    #[tokio::test]
    async fn sees_lines_and_the_exit() {
        let mut process = shell("echo $GREETING; echo oh >&2; exit 3");
        assert_eq!(process.wait_for_stdout("hell", DEADLINE).await, "hello");
        assert_eq!(process.wait_exit(DEADLINE).await.code(), Some(3));
        assert_eq!(process.stderr(), ["oh"]);
    }

    #[tokio::test]
    async fn sends_signals() {
        let mut process = shell("trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.02; done");
        process.wait_for_stdout("up", DEADLINE).await;
        assert_eq!(process.stop(DEADLINE).await.code(), Some(7));
        assert_eq!(process.stdout(), ["up", "bye"]);
    }

    #[tokio::test]
    #[should_panic(expected = "ended without a line with \"never\"")]
    async fn an_ended_output_is_not_waited_for() {
        shell("echo one").wait_for_stdout("never", DEADLINE).await;
    }

    #[tokio::test]
    #[should_panic(expected = "before it was ready; its last lines:\nno such flag")]
    async fn an_early_end_shows_the_reason() {
        let admin = SocketAddr::from(([127, 0, 0, 1], crate::free_port()));
        shell("echo no such flag >&2; exit 2").wait_ready(admin, DEADLINE).await;
    }

    #[tokio::test]
    async fn a_dropped_process_is_killed() {
        let process = shell("echo up; exec sleep 1000");
        process.wait_for_stdout("up", DEADLINE).await;
        let id = process.id().expect("it runs");
        drop(process);
        eventually("the process to be gone", DEADLINE, || async move {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        })
        .await;
    }
}
