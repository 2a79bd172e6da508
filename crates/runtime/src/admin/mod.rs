//! The admin server: metrics, health, readiness, status, and probes on demand. It changes nothing, is never on a traffic port, and
//! tells no secret.
//!
//! It has a thread and a runtime of its own, so that it answers while traffic is overloaded. Its connections are few
//! and short: whoever can reach it must not be able to exhaust the process through it.

mod orders;
mod pages;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
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
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use crate::readiness::Readiness;

pub use orders::{Answer, Order, TakeOrder};

/// How many connections it has at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// How long a head may take, and how long a connection may idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may last at all: a client that does not read its answer must not keep one of the few.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest head.
const HEAD_BYTES: usize = 16 * 1024;

/// From the id of a request to the line of the access log.
pub type FindRequest = dyn Fn(&str) -> Option<String> + Send + Sync;

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
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, sources) => {}
                }
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

async fn accept(listener: TcpListener, sources: Sources) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the admin server cannot use its socket"),
    };
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (sources, local) = (sources.clone(), peer.ip().to_canonical().is_loopback());
                tokio::spawn(async move {
                    // The end of the time is the end of the connection: there is nobody to tell.
                    let _ = timeout(CONNECTION_TIMEOUT, serve(stream, sources, local)).await;
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

async fn serve(stream: TcpStream, sources: Sources, local: bool) {
    let service = service_fn(|request: Request<Incoming>| async {
        let answer = match request.uri().path() {
            orders::PROBE => orders::answer(request, &sources, local).await,
            _ => pages::answer(&request, &sources),
        };
        Ok::<_, std::convert::Infallible>(answer)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection of the admin server ended early");
    }
}
