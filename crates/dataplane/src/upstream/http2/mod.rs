//! HTTP/2 towards the backends (RFC 9113, by prior knowledge or ALPN): connections of one worker that many requests share, in
//! [`exchange`] one request on a stream of such a connection, and in [`opening`] who makes the next one.
//!
//! A connection is a task of its own, because its frames belong to several requests. It takes as many streams as the backend
//! allows; beyond that, another one is opened.

mod exchange;
mod opening;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ahash::RandomState;
use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use hashbrown::HashMap;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use self::exchange::Exchange;
use self::opening::Handshake;
pub(crate) use self::opening::Turn;
use super::link::Cut;
use super::tls::{Secured, serves};
use crate::cluster::{Connected, LiveEndpoint};
use crate::timer;

/// Streams on one connection, if the backend allows more.
const STREAMS: usize = 100;
/// What a backend may send ahead on one stream, and on all.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = STREAMS as u32 * STREAM_WINDOW;
/// What waits for the backend on one stream.
const SEND_BUFFER: usize = 64 * 1024;
/// The longest head of an answer.
const HEADER_LIST: u32 = 64 * 1024;
/// How long a connection without a stream is kept.
const IDLE: Duration = Duration::from_secs(60);

/// The connections of a worker, by endpoint; clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions(Rc<RefCell<HashMap<u64, Slot, RandomState>>>);

/// What there is of an endpoint.
#[derive(Debug, Default)]
struct Slot {
    sessions: Vec<Session>,
    /// Connections that are being made, and may become sessions.
    handshakes: Vec<Rc<Handshake>>,
}

#[derive(Debug)]
struct Session {
    requests: SendRequest<Bytes>,
    /// With TLS: what it was made with.
    secured: Option<Secured>,
    shared: Rc<Shared>,
}

impl Session {
    /// Whether it will take another stream at all: not after a GOAWAY (RFC 9113 6.8), though others may still be on it.
    fn is_open(&mut self) -> bool {
        !self.shared.over.get() && {
            // It is never pending without a request of its own, and needs no waker.
            let ready = self.requests.poll_ready(&mut Context::from_waker(Waker::noop()));
            !matches!(ready, Poll::Ready(Err(_)))
        }
    }

    fn has_room(&self) -> bool {
        self.shared.streams.get() < self.requests.current_max_send_streams().min(STREAMS)
    }
}

/// What a connection's task and its streams share.
#[derive(Debug, Default)]
struct Shared {
    over: Cell<bool>,
    streams: Cell<usize>,
}

/// A place on a connection.
#[derive(Debug)]
struct Place(Rc<Shared>);

impl Place {
    fn new(shared: &Rc<Shared>) -> Self {
        shared.streams.set(shared.streams.get() + 1);
        Self(Rc::clone(shared))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
    }
}

impl Sessions {
    /// A stream on a connection that has room for one and was made as is `wanted` now. Of several it is the newest: what
    /// is left of the others can end.
    pub(crate) fn take(&self, endpoint: &LiveEndpoint, wanted: Option<&Secured>) -> Option<Exchange> {
        let mut slots = self.0.borrow_mut();
        let sessions = &mut slots.get_mut(&endpoint.number)?.sessions;
        sessions.retain_mut(Session::is_open);
        let fits = |session: &&Session| session.has_room() && serves(session.secured.as_ref(), wanted);
        sessions.iter().rev().find(fits).map(|session| Exchange::new(session, true))
    }

    /// Speaks HTTP/2 on a new connection, and gives back its first stream.
    pub(crate) async fn open<S>(
        &self,
        stream: S,
        endpoint: &LiveEndpoint,
        secured: Option<Secured>,
        cut: Rc<Cut>,
        counted: Connected,
    ) -> Result<Exchange, h2::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (session, connection) = begin(stream, secured).await?;
        let exchange = Exchange::new(&session, false);
        let (shared, sessions, number) = (Rc::clone(&session.shared), self.clone(), endpoint.number);
        self.0.borrow_mut().entry(number).or_default().sessions.push(session);
        tokio::task::spawn_local(async move {
            let _counted = counted;
            drive(connection, &shared, &cut).await;
            shared.over.set(true);
            sessions.sweep(number, |_| true);
        });
        Ok(exchange)
    }

    /// Forgets connections that are over, handshakes that are not to be kept, and the endpoint when nothing is left of it.
    fn sweep(&self, number: u64, keep: impl Fn(&Rc<Handshake>) -> bool) {
        let mut slots = self.0.borrow_mut();
        if let Some(slot) = slots.get_mut(&number) {
            slot.sessions.retain(|session| !session.shared.over.get());
            slot.handshakes.retain(keep);
            if slot.sessions.is_empty() && slot.handshakes.is_empty() {
                slots.remove(&number);
            }
        }
    }
}

/// A connection for a single request, and what must be polled meanwhile.
pub(crate) async fn single<S>(
    stream: S,
    secured: Option<Secured>,
) -> Result<(Exchange, Connection<S, Bytes>), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (session, connection) = begin(stream, secured).await?;
    Ok((Exchange::new(&session, false), connection))
}

/// The preface and our settings. It does not wait for those of the backend (RFC 9113 3.4).
async fn begin<S>(stream: S, secured: Option<Secured>) -> Result<(Session, Connection<S, Bytes>), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(HEADER_LIST);
    let (requests, connection) = Box::pin(builder.handshake(stream)).await?;
    Ok((Session { requests, secured, shared: Rc::default() }, connection))
}

/// Reads and writes frames until the connection is over, is cut, or has had no stream for a while.
async fn drive<C: Future<Output = Result<(), h2::Error>>>(connection: C, shared: &Shared, cut: &Cut) {
    let mut connection = pin!(connection);
    let mut clock = timer::sleep(IDLE);
    let mut was_idle = false;
    poll_fn(|cx| {
        if connection.as_mut().poll(cx).is_ready() || cut.is_cut(cx) {
            return Poll::Ready(());
        }
        while Pin::new(&mut clock).poll(cx).is_ready() {
            let idle = shared.streams.get() == 0;
            if idle && was_idle {
                return Poll::Ready(());
            }
            was_idle = idle;
            clock.reset(IDLE);
        }
        was_idle &= shared.streams.get() == 0;
        Poll::Pending
    })
    .await;
}
