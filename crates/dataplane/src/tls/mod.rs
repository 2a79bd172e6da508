//! TLS towards clients: the listener is chosen by server name, its certificate by key type, from the table of the moment.
//! A handshake under way keeps the certificate it began with; the next one sees the new table.

mod certificates;
mod client_auth;
mod client_certificate;
mod config;
mod stream;
mod tickets;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use self::stream::{Begun, Opening};
use crate::exchange::Tls;
use crate::worker::Worker;

pub(crate) use client_certificate::{ClientCertificate, PREFIX as CLIENT_CERTIFICATE, Verdict};
pub(crate) use config::{ServerTls, server_tls};
pub(crate) use stream::ServerStream;
#[cfg(test)]
pub(crate) use stream::tests as stream_tests;
pub(crate) use tickets::{own_secrets, rest};

/// From the first byte of a connection to the end of its handshake.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no TLS on a connection.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// The client speaks plain HTTP.
    NotTls(TcpStream),
    /// It failed: no listener for the name, no common version or suite, or the client went away.
    Failed(io::Error),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Makes a handshake on a connection of a port.
pub(crate) async fn handshake(
    worker: &Rc<Worker>,
    port: u16,
    stream: TcpStream,
) -> Result<(ServerStream<TcpStream>, Tls), HandshakeError> {
    let mut opening = match Opening::begin(stream).await? {
        Begun::Tls(opening) => opening,
        Begun::Other(stream) => return Err(HandshakeError::NotTls(stream)),
    };
    // Where there is no choice the ClientHello need not be read twice.
    let only = worker.live().ports.get(&port).and_then(|facts| facts.only_tls.clone());
    let found = match only {
        Some(only) => Some(only),
        None => {
            let accepted = opening.client_hello().await?;
            let hello = accepted.client_hello();
            let live = worker.live();
            let found = live
                .routes
                .listener_for(port, hello.server_name().unwrap_or_default())
                .and_then(|table| live.listeners.get(&table.listener.id))
                .or_else(|| live.default_tls(port));
            found.and_then(|listener| Some((listener.number, listener.tls.clone()?)))
        }
    };
    let Some((listener, tls)) = found else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no HTTPS listener for the server name").into());
    };
    let stream = opening.accept(Arc::clone(&tls.config)).await?;
    let agreed = stream.agreed();
    let version = agreed.protocol_version().and_then(|version| version.as_str());
    let cipher = agreed.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    let http2 = agreed.alpn_protocol() == Some(b"h2");
    let client = tls.clients.as_ref().map(|clients| Rc::new(clients.judge(agreed.peer_certificates())));
    let agreed = Tls { listener, client, version, cipher, http2 };
    Ok((stream, agreed))
}

/// The provider of cryptography of the whole process.
pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
