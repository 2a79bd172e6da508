//! The backend of the tests: says which Pod it is and who asked, over HTTP and over WebSockets.
//!
//! It leaves as an application should: at SIGTERM its readiness turns 503, and everything else goes on until the last
//! WebSocket has been closed by the other side.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Answers requests with the headers `X-Pod` (its name), `X-Peer` (the address that asked, so which Pod of Penstock)
/// and `X-Path` (as received). A WebSocket begins with `hello POD PEER` from here; then every text comes back as `POD TEXT`.
/// A request for `/held` is answered after the next one for `/release`.
#[derive(Debug)]
pub struct Backend {
    name: String,
    draining: watch::Sender<bool>,
    websockets: watch::Sender<usize>,
    /// How often what is held was answered.
    released: watch::Sender<u64>,
}

impl Backend {
    /// A backend of this name.
    #[must_use]
    pub fn new(name: &str) -> Arc<Self> {
        let (draining, websockets) = (watch::Sender::new(false), watch::Sender::new(0));
        Arc::new(Self { name: name.to_owned(), draining, websockets, released: watch::Sender::new(0) })
    }

    /// Serves for as long as it is polled.
    ///
    /// # Errors
    /// The listening socket is broken.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) -> std::io::Result<()> {
        loop {
            let (stream, peer) = listener.accept().await?;
            tokio::spawn(Arc::clone(&self).connection(stream, peer.ip().to_canonical()));
        }
    }

    /// Turns `/healthz` to 503, then waits at least `linger` (requests come until everybody has noticed) and at most
    /// `patience` for the other side to close the WebSockets.
    pub async fn drain(&self, linger: Duration, patience: Duration) {
        let start = Instant::now();
        self.draining.send_replace(true);
        sleep_until(start + linger).await;
        // At the end of the patience, what is left is cut: that is what the test looks for.
        let _ = timeout_at(start + patience, self.websockets.subscribe().wait_for(|open| *open == 0)).await;
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: IpAddr) {
        // Failing here means that the connection is gone already.
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| {
            let backend = Arc::clone(&self);
            async move {
                backend.hold(&request).await;
                Ok::<_, Infallible>(backend.answer(request, peer))
            }
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // An error is the client's to see.
        let _ = connection.with_upgrades().await;
    }

    async fn hold(&self, request: &Request<Incoming>) {
        let mut released = self.released.subscribe();
        match request.uri().path() {
            // The sender is `self`, so it is there.
            "/held" => drop(released.changed().await),
            "/release" => self.released.send_modify(|times| *times += 1),
            _ => {}
        }
    }

    fn answer(self: &Arc<Self>, mut request: Request<Incoming>, peer: IpAddr) -> Response<Full<Bytes>> {
        let path = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let mut answer = Response::new(Full::default());
        if path == "/healthz" {
            if *self.draining.borrow() {
                *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            return answer;
        }
        if let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) {
            let accept = derive_accept_key(key.as_bytes());
            *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
            answer.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, text(&accept));
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(Arc::clone(self).websocket(upgrade, peer));
            return answer;
        }
        answer.headers_mut().insert("x-pod", text(&self.name));
        answer.headers_mut().insert("x-peer", text(&peer.to_string()));
        answer.headers_mut().insert("x-path", text(&path));
        *answer.body_mut() = Full::from(self.name.clone());
        answer
    }

    async fn websocket(self: Arc<Self>, upgrade: OnUpgrade, peer: IpAddr) {
        let Ok(upgraded) = upgrade.await else { return };
        self.websockets.send_modify(|open| *open += 1);
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        let mut sent = socket.send(Message::text(format!("hello {} {peer}", self.name))).await;
        // After a Close the stream answers it and ends.
        while let (Ok(()), Some(Ok(message))) = (&sent, socket.next().await) {
            if let Message::Text(text) = message {
                sent = socket.send(Message::text(format!("{} {text}", self.name))).await;
            }
        }
        self.websockets.send_modify(|open| *open -= 1);
    }
}

/// What was received as a header or is a Pod's name can be sent as one.
fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static("?"))
}
