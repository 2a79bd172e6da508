//! A backend that speaks HTTP/2 only, as gRPC servers do: it echoes bodies as they come and ends with trailers.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpListener;

/// The backend; it ends with the test's runtime.
pub(crate) struct H2c {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl H2c {
    /// Listens on a free port of 127.0.0.1.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(answer(request, respond));
                    }
                });
            }
        });
        Self { addr, connections }
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many connections it has accepted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// `/never` gets no answer, `/reset` a reset, everything else its own head and body.
async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (parts, mut body) = request.into_parts();
    match parts.uri.path() {
        "/never" => return std::future::pending().await,
        "/reset" => return respond.send_reset(Reason::INTERNAL_ERROR),
        _ => {}
    }
    let mut response = Response::new(());
    for (name, value) in &parts.headers {
        if let Ok(name) = http::HeaderName::try_from(format!("echo-{name}")) {
            response.headers_mut().append(name, value.clone());
        }
    }
    let uri = HeaderValue::try_from(parts.uri.to_string()).expect("a URI is a header");
    response.headers_mut().insert("echo-uri", uri);
    let Ok(mut send) = respond.send_response(response, false) else { return };
    while let Some(Ok(piece)) = body.data().await {
        let _ = body.flow_control().release_capacity(piece.len());
        if send.send_data(piece, false).is_err() {
            return;
        }
    }
    let mut trailers = body.trailers().await.ok().flatten().unwrap_or_else(HeaderMap::new);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let _ = send.send_trailers(trailers);
}
