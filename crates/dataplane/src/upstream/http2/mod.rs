//! HTTP/2 towards the backends (RFC 9113, prior knowledge): connections of one worker that many requests share, and in
//! [`exchange`] one request on a stream of such a connection.
//!
//! A connection is a task of its own, because its frames belong to several requests. It takes as many streams as the backend
//! allows; beyond that, another one is opened.

mod exchange;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ahash::RandomState;
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use hashbrown::HashMap;
use tokio::net::TcpStream;

pub(crate) use self::exchange::Exchange;
use super::Counted;
use super::link::Cut;
use crate::cluster::LiveEndpoint;
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
pub(crate) struct Sessions(Rc<RefCell<HashMap<u64, Vec<Session>, RandomState>>>);

#[derive(Debug)]
struct Session {
    requests: SendRequest<Bytes>,
    shared: Rc<Shared>,
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
    /// A stream on a connection that has room for one.
    pub(crate) fn take(&self, endpoint: &LiveEndpoint) -> Option<Exchange> {
        let mut sessions = self.0.borrow_mut();
        let of_endpoint = sessions.get_mut(&endpoint.number)?;
        of_endpoint.retain(|session| !session.shared.over.get());
        let has_room = |session: &&Session| {
            session.shared.streams.get() < session.requests.current_max_send_streams().min(STREAMS)
        };
        of_endpoint.iter().find(has_room).map(|session| Exchange::new(session, true))
    }

    /// Speaks HTTP/2 on a new connection, and gives back its first stream.
    pub(crate) async fn open(
        &self,
        stream: TcpStream,
        endpoint: &LiveEndpoint,
        cut: Rc<Cut>,
        counted: Counted,
    ) -> Result<Exchange, h2::Error> {
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(HEADER_LIST);
        let (requests, connection) = Box::pin(builder.handshake(stream)).await?;
        let session = Session { requests, shared: Rc::default() };
        let exchange = Exchange::new(&session, false);
        let (shared, sessions, number) = (Rc::clone(&session.shared), self.clone(), endpoint.number);
        self.0.borrow_mut().entry(number).or_default().push(session);
        tokio::task::spawn_local(async move {
            let _counted = counted;
            drive(connection, &shared, &cut).await;
            shared.over.set(true);
            let mut sessions = sessions.0.borrow_mut();
            if let Some(left) = sessions.get_mut(&number) {
                left.retain(|session| !session.shared.over.get());
                if left.is_empty() {
                    sessions.remove(&number);
                }
            }
        });
        Ok(exchange)
    }
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
