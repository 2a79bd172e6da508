//! The admin server: metrics, health, readiness, status, the dashboard, and probes on demand. It changes nothing, is never on a
//! traffic port, and tells no secret.
//!
//! It has a thread and a runtime of its own, so that it answers while traffic is overloaded. Its connections are few
//! and short: whoever can reach it must not be able to exhaust the process through it.

mod diff;
mod events;
mod orders;
mod pages;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::Registry;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use crate::readiness::Readiness;
use events::Events;

pub use orders::{Answer, Order, TakeOrder};

/// How many connections it has at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// How long a head may take, and how long a connection may idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may last at all: a client that does not read its answer must not keep one of the few.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the end of the process waits for the last event to go out. Whoever does not take it does not hold it up longer.
const LAST_EVENTS: Duration = Duration::from_millis(200);
/// How long after an answer memory is given back: the allocator keeps what has just become free.
const SETTLE: Duration = Duration::from_millis(1500);
/// The largest head.
const HEAD_BYTES: usize = 16 * 1024;

/// From the id of a request to the line of the access log.
pub type FindRequest = dyn Fn(&str) -> Option<String> + Send + Sync;

/// From the query of `/explain` to its text, or to what is wrong with the query.
pub type Explain = dyn Fn(&str) -> Result<String, String> + Send + Sync;
/// What the dashboard shows at this moment.
pub type Overview = dyn Fn() -> Pin<Box<dyn Future<Output = serde_json::Value> + Send>> + Send + Sync;

/// From the YAML that is posted to `/diff` to its JSON, or to what is wrong.
pub type Diff = dyn Fn(String) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send>> + Send + Sync;

/// Where the answers come from.
#[derive(Clone)]
pub struct Sources {
    /// What `/metrics` shows.
    pub registry: Registry,
    /// What `/readyz` says.
    pub readiness: Readiness,
    /// What `/status` shows; called for each request, on the admin server's thread.
    pub status: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// What `/requests/ID` shows: the line of the access log, or `None` when it is not known.
    pub request: Arc<FindRequest>,
    /// What `/probe` does; called on the admin server's thread, and dropped when whoever asked goes away.
    pub probe: Arc<TakeOrder>,
    /// What `/explain` shows; called on a thread that may take its time.
    pub explain: Arc<Explain>,
    /// What `/diff` answers; called for one text at a time.
    pub diff: Arc<Diff>,
    /// What `/events` sends; called once a second while somebody listens, on the admin server's thread.
    pub overview: Arc<Overview>,
    /// Gives memory of the calling thread back: a page of thousands of series takes several times its size.
    pub collect: fn(),
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

/// The admin server could not be started.
#[derive(Debug, Error)]
pub enum AdminError {
    /// No listening socket.
    #[error("the admin server cannot listen on {addr}: {source}; choose another --admin-address")]
    Bind {
        /// The address that was asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No thread, or no runtime.
    #[error("the admin server cannot be started: {0}")]
    Start(#[source] io::Error),
}

/// A running admin server; dropping it closes it.
#[derive(Debug)]
pub struct AdminServer {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AdminServer {
    /// Listens on `addr` (port 0: any free one) and answers from `sources` until dropped.
    ///
    /// # Errors
    /// The address cannot be had, or the thread not be started.
    pub fn bind(addr: SocketAddr, sources: Sources) -> Result<Self, AdminError> {
        let refused = |source| AdminError::Bind { addr, source };
        let listener = TcpListener::bind(addr).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let addr = listener.local_addr().map_err(refused)?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AdminError::Start)?;
        let serve = move || {
            runtime.block_on(async {
                let events = Events::start(Arc::clone(&sources.overview), sources.readiness.clone());
                let collect = sources.collect;
                let (slow, answered) = (Arc::new(Semaphore::new(1)), Arc::new(Notify::new()));
                let site = Arc::new(Site { sources, events: events.clone(), slow, answered: Arc::clone(&answered) });
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, site) => {}
                    () = settle(&answered, collect) => {}
                }
                // They were told already, unless this comes in the same instant.
                let _ = timeout(LAST_EVENTS, events.all_gone()).await;
            });
        };
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(serve).map_err(AdminError::Start)?;
        Ok(Self { addr, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

/// What all connections share.
#[derive(Debug)]
struct Site {
    sources: Sources,
    events: Events,
    /// What takes a while is done one at a time, to its end, also when whoever asked has gone.
    slow: Arc<Semaphore>,
    /// Told of every answer.
    answered: Arc<Notify>,
}

/// Gives memory back some time after answers, for ever.
async fn settle(answered: &Notify, collect: fn()) {
    loop {
        answered.notified().await;
        sleep(SETTLE).await;
        collect();
    }
}

async fn accept(listener: TcpListener, site: Arc<Site>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the admin server cannot use its socket"),
    };
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (site, local) = (Arc::clone(&site), peer.ip().to_canonical().is_loopback());
                tokio::spawn(async move {
                    serve(stream, site, local).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of files, mostly: it passes, and a loop without a pause would not help.
                tracing::warn!(%error, "the admin server cannot accept");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves a connection until it ends or its time is over. Then there is nobody to tell.
async fn serve(stream: TcpStream, site: Arc<Site>, local: bool) {
    let streaming = Arc::new(AtomicBool::new(false));
    let streams = Arc::clone(&streaming);
    let service = service_fn(move |request: Request<Incoming>| {
        let (site, streams) = (Arc::clone(&site), Arc::clone(&streams));
        async move {
            let answer = match request.uri().path() {
                orders::PROBE => orders::answer(request, &site.sources, local).await,
                _ => pages::answer(request, &site).await,
            };
            streams.store(answer.body().is_stream(), Ordering::Relaxed);
            site.answered.notify_one();
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut ended = timeout(CONNECTION_TIMEOUT, connection.as_mut()).await;
    if ended.is_err() && streaming.load(Ordering::Relaxed) {
        ended = timeout(events::LIFETIME, connection).await;
    }
    if let Ok(Err(error)) = ended {
        tracing::debug!(%error, "a connection of the admin server ended early");
    }
}
