//! The access log: one JSON line per request to stdout, for a WebSocket at its end.
//!
//! Workers write lines into a buffer of their own and hand it to one thread that does the blocking write. When nobody
//! reads stdout, lines are dropped and counted rather than requests delayed.

mod recent;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use prometheus::IntCounter;
use serde::Serialize;

use crate::exchange::ClosedBy;
use crate::timer;
use recent::Recent;

/// Buffers on their way to stdout.
const QUEUE: usize = 256;
/// A buffer of this size goes out at once.
const FULL: usize = 32 * 1024;
/// A smaller one waits at most so long.
const FLUSH: Duration = Duration::from_millis(200);
/// At the end of the process, what is left waits at most so long for somebody to read it.
const LAST: Duration = Duration::from_secs(1);
/// The golden section of 2^64. Steps of it fall evenly, and never into step with what comes in turn.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Query parameters whose values are never written.
const SECRETS: [&str; 10] =
    ["key", "token", "password", "passwd", "secret", "sig", "signature", "auth", "code", "session"];

/// Facts about the client's request, collected only when there is a log.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) address: String,
    /// The trusted proxy that says so.
    pub(crate) peer: Option<String>,
    pub(crate) scheme: &'static str,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) protocol: &'static str,
    pub(crate) user_agent: Option<String>,
    pub(crate) request_id: String,
    pub(crate) trace_id: Option<String>,
    pub(crate) tls_version: Option<&'static str>,
    pub(crate) tls_cipher: Option<&'static str>,
}

/// One line.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) client: &'a Client,
    pub(crate) gateway: &'a str,
    pub(crate) listener: &'a str,
    pub(crate) rule: &'a str,
    pub(crate) pool: Option<&'a str>,
    pub(crate) backend: Option<&'a str>,
    pub(crate) method: &'a str,
    pub(crate) status: u16,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) duration: Duration,
    pub(crate) backend_time: Option<Duration>,
    pub(crate) attempts: u8,
    pub(crate) upgrade: Option<&'static str>,
    pub(crate) close_reason: Option<&'static str>,
    pub(crate) closed_by: Option<ClosedBy>,
    pub(crate) error: Option<&'static str>,
}

/// The keys as users see them.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    gateway: &'a str,
    listener: &'a str,
    rule: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
    client: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<&'a str>,
    method: &'a str,
    scheme: &'a str,
    host: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    protocol: &'a str,
    status: u16,
    bytes_received: u64,
    bytes_sent: u64,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend_ms: Option<f64>,
    attempts: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    upgrade: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_by: Option<&'a ClosedBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cipher: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// Where the lines of all workers go.
#[derive(Clone, Debug)]
pub struct AccessLog {
    sender: SyncSender<Message>,
    recent: Recent,
    /// Of 2^64 requests where nothing went wrong, so many are written; `None`: all.
    share: Option<u64>,
}

/// What the thread that writes is told.
#[derive(Debug)]
enum Message {
    Lines(Vec<u8>),
    /// Everything before this is written.
    Written(SyncSender<()>),
}

/// The log of one worker; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct WorkerLog(Option<Rc<Shared>>);

#[derive(Debug)]
struct Shared {
    sender: SyncSender<Message>,
    share: Option<u64>,
    /// Whose turn it is, where only a share is written.
    turn: Cell<u64>,
    buffer: RefCell<Vec<u8>>,
    lines: Cell<u64>,
    flushing: Cell<bool>,
    lost: IntCounter,
}

impl AccessLog {
    /// Starts the thread that writes to stdout; it ends with the last worker. Of requests where nothing went wrong, `share` is
    /// written, from 0 (none) to 1 (all); what failed or was refused, and WebSockets, always.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn to_stdout(share: f64) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let recent = Recent::default();
        let kept = recent.clone();
        std::thread::Builder::new().name("access-log".into()).spawn(move || {
            let mut stdout = std::io::stdout().lock();
            for message in receiver {
                match message {
                    // A closed stdout must not end the proxy.
                    Message::Lines(lines) => {
                        drop(stdout.write_all(&lines).and_then(|()| stdout.flush()));
                        kept.keep(lines);
                    }
                    Message::Written(told) => drop(told.try_send(())),
                }
            }
        })?;
        // A float that does not fit becomes the nearest number that does.
        let share = (share < 1.0).then(|| (share * 2_f64.powi(64)) as u64);
        Ok(Self { sender, recent, share })
    }

    /// The line of a request that ended a short time ago: the newest 4 MiB of lines are kept.
    pub fn recent(&self, request_id: &str) -> Option<String> {
        self.recent.find(request_id)
    }

    /// Waits until what was handed over is written; not for long, when nobody reads.
    pub(crate) fn finish(&self) {
        let (told, written) = sync_channel(1);
        if self.sender.try_send(Message::Written(told)).is_ok() {
            let _ = written.recv_timeout(LAST);
        }
    }
}

impl WorkerLog {
    pub(crate) fn new(log: Option<&AccessLog>, lost: IntCounter) -> Self {
        Self(log.map(|log| {
            let sender = log.sender.clone();
            let (buffer, lines, flushing) = (RefCell::default(), Cell::default(), Cell::default());
            Rc::new(Shared { sender, share: log.share, turn: Cell::default(), buffer, lines, flushing, lost })
        }))
    }

    /// Whether anybody reads.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a line is written: always where something went wrong or is of interest by itself, else by its turn.
    pub(crate) fn takes(&self, always: bool) -> bool {
        let Some(shared) = &self.0 else { return false };
        let Some(share) = shared.share.filter(|_| !always) else { return true };
        let turn = shared.turn.get().wrapping_add(GOLDEN);
        shared.turn.set(turn);
        turn < share
    }

    pub(crate) fn write(&self, entry: &Entry<'_>) {
        let Some(shared) = &self.0 else { return };
        let mut buffer = shared.buffer.borrow_mut();
        if serde_json::to_writer(&mut *buffer, &line(entry)).is_ok() {
            buffer.push(b'\n');
            shared.lines.set(shared.lines.get() + 1);
        }
        let full = buffer.len() >= FULL;
        drop(buffer);
        if full {
            shared.flush();
        } else if !shared.flushing.replace(true) {
            let shared = Rc::clone(shared);
            tokio::task::spawn_local(async move {
                timer::sleep(FLUSH).await;
                shared.flushing.set(false);
                shared.flush();
            });
        }
    }

    /// Hands over what is buffered.
    pub(crate) fn flush(&self) {
        if let Some(shared) = &self.0 {
            shared.flush();
        }
    }
}

impl Shared {
    fn flush(&self) {
        let (buffer, lines) = (self.buffer.take(), self.lines.take());
        if self.sender.try_send(Message::Lines(buffer)).is_err() {
            self.lost.inc_by(lines);
        }
    }
}

fn line<'a>(entry: &'a Entry<'_>) -> Line<'a> {
    let millis = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
    let client = entry.client;
    Line {
        time: jiff::Timestamp::try_from(SystemTime::now()).map(|now| format!("{now:.3}")).unwrap_or_default(),
        gateway: entry.gateway,
        listener: entry.listener,
        rule: entry.rule,
        pool: entry.pool,
        backend: entry.backend,
        client: &client.address,
        peer: client.peer.as_deref(),
        method: entry.method,
        scheme: client.scheme,
        host: &client.host,
        path: &client.path,
        query: client.query.as_deref().map(redact),
        protocol: client.protocol,
        status: entry.status,
        bytes_received: entry.bytes_received,
        bytes_sent: entry.bytes_sent,
        duration_ms: millis(entry.duration),
        backend_ms: entry.backend_time.map(millis),
        attempts: entry.attempts,
        upgrade: entry.upgrade,
        close_reason: entry.close_reason,
        closed_by: entry.closed_by.as_ref(),
        tls_version: client.tls_version,
        tls_cipher: client.tls_cipher,
        user_agent: client.user_agent.as_deref(),
        request_id: &client.request_id,
        trace_id: client.trace_id.as_deref(),
        error: entry.error,
    }
}

/// A query without the values that could open something.
fn redact(query: &str) -> String {
    let secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        SECRETS.iter().any(|secret| name.split(['_', '-', '.']).any(|part| part == *secret) || name.ends_with(secret))
    };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if secret(name) => format!("{name}=REDACTED"),
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn secrets_in_queries_are_not_logged() {
        assert_eq!(
            redact("a=1&access_token=x&apikey=y&sig=z&b"),
            "a=1&access_token=REDACTED&apikey=REDACTED&sig=REDACTED&b"
        );
        assert_eq!(redact("design=blue&monkeys=3"), "design=blue&monkeys=3");
    }
}
