//! An HTTP/1.1 and WebSocket backend on a loopback port that misbehaves on request.
//!
//! Written over raw sockets, because its purpose is to do what an HTTP library would not. A request says what it wants
//! in the header `X-Test-Behaviour`, else in the query parameter `do`, else [`Backend::behave`] decides; `GET /healthz`
//! answers the health that the test has set. Everything else gets a 200 with an echo of the request as JSON:
//!
//! `{backend, method, target, version, headers: [[name, value]], body, body_length, trailers, peer, connection}`
//!
//! | behaviour | what it does |
//! |---|---|
//! | `status=N`, `body=TEXT`, `header=N:V` | another status (a WebSocket is refused with it), body, one more header |
//! | `delay=MS`, `never` | before the head; no answer at all |
//! | `close=before`, `reset`, `head`, `body` | cut before any byte (FIN or reset), in the head, in the body |
//! | `size=N`, `piece=N`, `drip=MS` | a body of N bytes, sent in pieces, with pauses |
//! | `chunked`, `trailer=N:V`, `both`, `http10`, `interim=N` | how the answer is framed; 1xx before it |
//! | `sse` | an event stream, fed by [`Backend::send_event`] |
//! | `connection=close`, `connection=silent`, `keepalive=S` | what becomes of the connection |
//! | `early` | answers before it has read the request's body |
//! | `raw=BYTES` | just these bytes (percent-encoded), then closes |
//! | `ws=COMMAND` | done when the WebSocket opens, see [`Backend::command_websockets`] |

mod answer;
mod behaviour;
mod connection;
mod request;
mod state;
mod websocket;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::certs::Identity;
use connection::Transport;
pub use state::Received;
use state::{OpenGuard, State};

/// The request header that names the behaviour.
pub const BEHAVIOUR_HEADER: &str = "X-Test-Behaviour";

/// A running backend; dropping it ends it and its connections.
#[derive(Debug)]
pub struct Backend {
    addr: SocketAddr,
    state: Arc<State>,
    tls: Option<Arc<ServerConfig>>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

impl Backend {
    /// Starts a backend on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start(name: &str) -> Self {
        Self::bind(name, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None).await
    }

    /// The same over TLS.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start_tls(name: &str, identity: &Identity) -> Self {
        Self::bind(name, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Some(identity.server_config())).await
    }

    /// Starts a backend on this address (such as another one of 127.0.0.0/8), over TLS with a configuration.
    ///
    /// # Panics
    /// When the address is taken.
    pub async fn bind(name: &str, addr: SocketAddr, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap_or_else(|e| panic!("backend {name} on {addr}: {e}"));
        let addr = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State::new(name));
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&state), tls.clone()));
        Self { addr, state, tls, acceptor: Mutex::new(Some(acceptor)) }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Its name, as in the echo and the answer header `X-Backend`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// What requests get that do not name a behaviour themselves; empty: the echo.
    pub fn behave(&self, behaviour: &str) {
        behaviour.clone_into(&mut self.state.behaviour());
    }

    /// What `GET /healthz` answers: 200 or 503.
    pub fn set_health(&self, healthy: bool) {
        self.state.healthy.store(healthy, Ordering::Relaxed);
    }

    /// How many connections were accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.state.accepted.load(Ordering::Relaxed)
    }

    /// How many connections are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.state.connections().len()
    }

    /// How many requests came for this path so far, whatever their query.
    #[must_use]
    pub fn count(&self, path: &str) -> usize {
        self.state.requests().iter().filter(|r| r.path() == path).count()
    }

    /// Every request so far, those for `/healthz` too.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        self.state.requests().clone()
    }

    /// Sends an event to every open event stream; returns how many there are.
    pub fn send_event(&self, data: &str) -> usize {
        self.state.events.send(Some(data.to_owned())).unwrap_or(0)
    }

    /// Ends every open event stream in order.
    pub fn end_events(&self) -> usize {
        self.state.events.send(None).unwrap_or(0)
    }

    /// How many event streams are open.
    #[must_use]
    pub fn event_streams(&self) -> usize {
        self.state.events.receiver_count()
    }

    /// How many WebSockets are open.
    #[must_use]
    pub fn websockets(&self) -> usize {
        self.state.commands.receiver_count()
    }

    /// Makes every open WebSocket do this; returns how many there are. A client gets the same of its own WebSocket by a
    /// text message `!COMMAND`; any other message is echoed.
    ///
    /// `ping`, `text WORDS`, `send BYTES` (one text message of that size), `name` (sends the backend's name), `prefix`
    /// (echoes as `name: text` from now on), `close CODE REASON`, `drop` (FIN without a Close), `reset`, `stall` (reads
    /// nothing any more).
    pub fn command_websockets(&self, command: &str) -> usize {
        self.state.commands.send(command.to_owned()).unwrap_or(0)
    }

    /// How each WebSocket that is over ended, in that order: `close CODE` as received, `closed` (by this backend and
    /// answered), `lost` (the connection ended without a Close).
    #[must_use]
    pub fn websocket_ends(&self) -> Vec<String> {
        self.state.websocket_ends().clone()
    }

    /// Closes the listening socket: new connections are refused, open ones go on.
    pub async fn stop_accepting(&self) {
        if let Some(acceptor) = self.acceptor.lock().await.take() {
            acceptor.abort();
            // The socket is closed when the task is gone, which is what the caller relies on.
            let _ = acceptor.await;
        }
    }

    /// Listens again, on the same port.
    ///
    /// # Panics
    /// When somebody else has taken the port.
    pub async fn resume(&self) {
        let mut acceptor = self.acceptor.lock().await;
        if acceptor.is_none() {
            let listener = TcpListener::bind(self.addr)
                .await
                .unwrap_or_else(|e| panic!("backend {} again on {}: {e}", self.name(), self.addr));
            *acceptor = Some(tokio::spawn(accept(listener, Arc::clone(&self.state), self.tls.clone())));
        }
    }

    /// Cuts every open connection.
    pub fn cut_connections(&self) {
        let handles: Vec<_> = self.state.connections().values().cloned().collect();
        for handle in handles {
            handle.abort();
        }
    }

    /// Stops accepting and cuts every open connection.
    pub async fn shutdown(&self) {
        self.stop_accepting().await;
        self.cut_connections();
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(acceptor) = self.acceptor.get_mut() {
            acceptor.abort();
        }
        self.cut_connections();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>, tls: Option<Arc<ServerConfig>>) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else { return };
        let id = state.accepted.fetch_add(1, Ordering::Relaxed);
        // Held while the task starts, so that the guard of a very short connection finds its own entry.
        let mut open = state.connections();
        let guard = OpenGuard { state: Arc::clone(&state), id };
        let task = tokio::spawn(one(stream, peer, Arc::clone(&state), tls.clone(), guard));
        open.insert(id, task.abort_handle());
    }
}

async fn one(stream: TcpStream, peer: SocketAddr, state: Arc<State>, tls: Option<Arc<ServerConfig>>, _open: OpenGuard) {
    // Failing here means that the connection is gone already.
    let _ = stream.set_nodelay(true);
    let transport: Box<dyn Transport> = match tls {
        None => Box::new(stream),
        Some(config) => match TlsAcceptor::from(config).accept(stream).await {
            Ok(stream) => Box::new(stream),
            Err(_) => return,
        },
    };
    connection::serve(transport, peer, &state).await;
}
