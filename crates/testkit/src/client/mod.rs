//! Clients for tests, close to the wire: an HTTP/1.1 connection that can also send and read raw bytes, over TCP or TLS,
//! a WebSocket client that shows the answer of a refused handshake, and HTTP/2 as a client and as bare frames.
//!
//! HTTP/1.1 is written by hand rather than on an HTTP library, so that a test can send what no library would, and sees every
//! byte that came: header order, interim answers, trailers, whether the connection was closed.

mod connection;
pub mod frames;
mod http2;
mod message;
mod tls;
mod websocket;

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncWrite};

pub use connection::Connection;
pub use frames::{Frame, Frames};
pub use http2::{Http2, Stream};
pub use message::{Head, Request, Response};
pub use tls::TlsClient;
pub use websocket::{Handshake, WebSocket};

/// A TCP or TLS stream.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// One GET on a connection of its own.
///
/// # Errors
/// No connection, or no complete answer in time.
pub async fn get(addr: SocketAddr, host: &str, path: &str) -> Result<Response> {
    send(addr, &Request::get(host, path)).await
}

/// One request on a connection of its own.
///
/// # Errors
/// No connection, or no complete answer in time.
pub async fn send(addr: SocketAddr, request: &Request) -> Result<Response> {
    Connection::open(addr).await?.exchange(request).await
}

/// One request on a TLS connection of its own; the server name is the request's Host.
///
/// # Errors
/// No connection, a refused certificate, or no complete answer in time.
pub async fn send_tls(addr: SocketAddr, tls: &TlsClient, request: &Request) -> Result<Response> {
    let host = request.header("host").unwrap_or("localhost");
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    Connection::open_tls(addr, tls, name).await?.exchange(request).await
}
