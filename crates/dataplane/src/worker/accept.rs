//! Accepting connections of one port, until it closes.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use penstock_model::{Name, ProxyProtocol};
use prometheus::IntGauge;
use tokio::net::{TcpListener, TcpStream};

use super::{OfClient, Port, Worker, serve};
use crate::proxy_protocol::{self, ProxyError};
use crate::timer;

/// How long accepting pauses when descriptors run out.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection that is counted for as long as it is open.
#[derive(Debug)]
pub(crate) struct Counted {
    worker: Rc<Worker>,
    open: IntGauge,
    of_client: Option<OfClient>,
}

impl Counted {
    pub(super) fn new(worker: &Rc<Worker>, open: IntGauge, of_client: Option<OfClient>) -> Self {
        worker.totals.opened();
        open.inc();
        Self { worker: Rc::clone(worker), open, of_client }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.worker.totals.closed();
        self.open.dec();
    }
}

/// Accepts until the port closes and nothing is queued any more: what is left in the queue of a closed SO_REUSEPORT
/// socket would be reset by the kernel.
pub(super) async fn accept(worker: Rc<Worker>, port: Rc<Port>, socket: TcpListener) {
    let refused = worker.metrics.families().refused.with_label_values(&["none", "limit"]);
    let mut closed = pin!(port.closed());
    loop {
        let next = poll_fn(|cx| match socket.poll_accept(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => closed.as_mut().poll(cx).map(|()| None),
        });
        let Some(result) = next.await else { return };
        match result {
            Ok((stream, peer)) => begin(&worker, &port, stream, peer),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // No descriptors or no memory: the kernel keeps the rest queued meanwhile.
                refused.inc();
                tracing::warn!(port = port.number, %error, "accepting pauses");
                timer::sleep(PAUSE).await;
            }
        }
        if worker.totals.connections() >= worker.limits.max_connections {
            refused.inc();
            while worker.totals.connections() >= worker.limits.max_connections && !port.is_closing() {
                timer::sleep(PAUSE).await;
            }
        }
    }
}

fn begin(worker: &Rc<Worker>, port: &Rc<Port>, stream: TcpStream, peer: SocketAddr) {
    let live = worker.live();
    // A port without listeners is about to close: nobody is left to answer.
    let Some(facts) = live.ports.get(&port.number) else { return };
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let refuse = |reason| worker.metrics.refused(&facts.listener, reason);
    if worker.limits.per_listener.is_some_and(|limit| facts.open.get() >= i64::from(limit)) {
        return refuse("limit");
    }
    // Many clients come by one trusted proxy.
    let trusted = facts.client_address.trusts(peer.ip());
    let limited = worker.limits.clients.as_ref().filter(|_| !trusted);
    let of_client = match limited.map(|clients| clients.admit(peer.ip())) {
        Some(None) => return refuse("client_limit"),
        Some(admitted) => admitted,
        None => None,
    };
    facts.accepted.inc();
    let counted = Counted::new(worker, facts.open.clone(), of_client);
    let (worker, port) = (Rc::clone(worker), Rc::clone(port));
    let tls = facts.tls;
    match facts.client_address.proxy_protocol {
        ProxyProtocol::Off => serve::begin(worker, port, stream, peer, tls, counted),
        ProxyProtocol::Optional if !trusted => serve::begin(worker, port, stream, peer, tls, counted),
        // Whoever is not trusted cannot have a header that counts.
        ProxyProtocol::Required if !trusted => refuse("proxy_protocol"),
        mode => {
            let required = mode == ProxyProtocol::Required;
            let proxied = Proxied { peer, tls, required, listener: Arc::clone(&facts.listener) };
            tokio::task::spawn_local(proxied.serve(worker, port, stream, counted));
        }
    }
}

/// A connection of a trusted proxy, whose first bytes say whose it is.
struct Proxied {
    peer: SocketAddr,
    tls: bool,
    required: bool,
    listener: Name,
}

impl Proxied {
    async fn serve(self, worker: Rc<Worker>, port: Rc<Port>, mut stream: TcpStream, mut counted: Counted) {
        let Self { peer, tls, required, listener } = self;
        let refuse = |reason| worker.metrics.refused(&listener, reason);
        let header = Box::pin(proxy_protocol::read(&mut stream, required));
        let client = match timer::timeout(proxy_protocol::TIMEOUT, header).await {
            Ok(Ok(client)) => client,
            Ok(Err(ProxyError::Io(_))) => return,
            Ok(Err(error)) => {
                tracing::debug!(%peer, port = port.number, %error, "connection refused");
                return refuse("proxy_protocol");
            }
            Err(timer::Elapsed) if required => return refuse("timeout"),
            Err(timer::Elapsed) => None,
        };
        if let (Some(client), Some(clients)) = (client, &worker.limits.clients) {
            match clients.admit(client.ip()) {
                Some(admitted) => counted.of_client = Some(admitted),
                None => return refuse("client_limit"),
            }
        }
        serve::begin(worker, port, stream, client.unwrap_or(peer), tls, counted);
    }
}

/// Errors that say something about the connection that was about to be accepted, not about us.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::WouldBlock
    )
}
