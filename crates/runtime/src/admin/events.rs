//! `/events`: what the dashboard shows, as server-sent events, whenever it is another and at most once a second.
//!
//! One task makes the document for all who listen, and only while somebody does. A client that does not read gets the newest
//! one when it does: nothing queues up for it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use serde_json::Value;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};

use super::Overview;
use crate::readiness::{Readiness, ReadyState};

/// How many clients may listen at once: far fewer than there are connections, which metrics and probes need.
pub(super) const MAX_CLIENTS: u32 = 16;
/// The least time between two documents.
const PACE: Duration = Duration::from_secs(1);
/// Who listens for so long connects again: a client that reads nothing does not keep its place for ever.
pub(super) const LIFETIME: Duration = Duration::from_secs(600);
/// Without anything new for so long a comment is sent, so that what lies between does not take the connection for dead.
const QUIET: Duration = Duration::from_secs(15);
/// The last event: the process is leaving, and whoever listens should not come back.
const LEAVING: &str = "event: leaving\ndata: {}\n\n";

/// Everybody who listens; clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Events {
    places: Arc<Semaphore>,
    /// The newest event; `None` while nobody listens.
    newest: watch::Receiver<Option<Bytes>>,
    wanted: Arc<Notify>,
    readiness: Readiness,
}

/// An answer: a whole one, or events for as long as they come.
#[derive(Debug)]
pub(super) enum Answer {
    Whole(Full<Bytes>),
    Events(Stream),
}

/// The events of one client.
#[derive(Debug)]
pub(super) struct Stream {
    receiver: mpsc::Receiver<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl Events {
    /// Nobody listens yet. Call it on the runtime of the admin server.
    pub(super) fn start(overview: Arc<Overview>, readiness: Readiness) -> Self {
        let (sender, newest) = watch::channel(None);
        let wanted = Arc::new(Notify::new());
        let places = Arc::new(Semaphore::new(MAX_CLIENTS as usize));
        tokio::spawn(look(overview, sender, Arc::clone(&wanted), Arc::clone(&places)));
        Self { places, newest, wanted, readiness }
    }

    /// Ends when nobody listens any more. During the drain nobody comes.
    pub(super) async fn all_gone(&self) {
        // Only all places at once are everybody's.
        let _ = self.places.acquire_many(MAX_CLIENTS).await;
    }

    /// One more client; `None`: there are enough, or the process is leaving.
    pub(super) fn subscribe(&self) -> Option<Stream> {
        if self.readiness.state() == ReadyState::Draining {
            return None;
        }
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let (sender, receiver) = mpsc::channel(1);
        let mut newest = self.newest.clone();
        // What is there is new to this one.
        newest.mark_changed();
        tokio::spawn(timeout(LIFETIME, feed(sender, newest, self.readiness.clone())));
        self.wanted.notify_one();
        Some(Stream { receiver, _place: place })
    }
}

/// Makes documents while somebody listens.
async fn look(
    overview: Arc<Overview>,
    newest: watch::Sender<Option<Bytes>>,
    wanted: Arc<Notify>,
    places: Arc<Semaphore>,
) {
    let mut before = Value::Null;
    loop {
        if places.available_permits() == MAX_CLIENTS as usize {
            before = Value::Null;
            newest.send_replace(None);
            wanted.notified().await;
            continue;
        }
        let now = overview().await;
        if now != before {
            newest.send_replace(Some(event(&now)));
            before = now;
        }
        sleep(PACE).await;
    }
}

/// A document as an event. Its id is the time in milliseconds, for those who make rates of counters.
fn event(document: &Value) -> Bytes {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
    format!("id: {time}\ndata: {document}\n\n").into()
}

/// Sends one client what is new until it goes, or the process does.
async fn feed(client: mpsc::Sender<Bytes>, mut newest: watch::Receiver<Option<Bytes>>, readiness: Readiness) {
    let mut state = readiness.subscribe();
    loop {
        let next = tokio::select! {
            biased;
            () = client.closed() => return,
            _ = state.wait_for(|state| *state == ReadyState::Draining) => {
                // Who does not read it sees the end of the connection.
                let _ = client.try_send(Bytes::from_static(LEAVING.as_bytes()));
                return;
            }
            changed = timeout(QUIET, newest.changed()) => match changed {
                Ok(Ok(())) => newest.borrow_and_update().clone(),
                Ok(Err(_)) => return,
                Err(_) => Some(Bytes::from_static(b":\n\n")),
            },
        };
        if let Some(event) = next
            && client.send(event).await.is_err()
        {
            return;
        }
    }
}

impl Answer {
    /// Whether it goes on for as long as its client listens.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::Events(_))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Events(stream) => stream.receiver.poll_recv(cx).map(|next| next.map(|event| Ok(Frame::data(event)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(body) if body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Events(_) => SizeHint::default(),
        }
    }
}
