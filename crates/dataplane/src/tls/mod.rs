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

use penstock_model::Name;
use tokio::net::TcpStream;

use self::stream::{Alert, Begun, Opening};
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
    /// The client went away before it said anything, as health checks of load balancers do.
    Nothing,
    /// The client speaks plain HTTP.
    NotTls(TcpStream),
    /// It failed: no listener for the name, no common version or suite, or the client went away.
    Failed {
        /// Whose handshake it was, once that was known.
        listener: Option<Name>,
        error: io::Error,
    },
}

/// Whose a handshake is: what it takes of a listener.
struct Found {
    listener: Name,
    number: u64,
    tls: Option<Arc<ServerTls>>,
}

/// Makes a handshake on a connection of a port.
pub(crate) async fn handshake(
    worker: &Rc<Worker>,
    port: u16,
    stream: TcpStream,
) -> Result<(ServerStream<TcpStream>, Tls), HandshakeError> {
    let mut opening = match Opening::begin(stream).await {
        Ok(Begun::Tls(opening)) => opening,
        Ok(Begun::Other(stream)) => return Err(HandshakeError::NotTls(stream)),
        Err(_) => return Err(HandshakeError::Nothing),
    };
    let found = find(worker, port, &mut opening).await;
    let found = found.map_err(|error| HandshakeError::Failed { listener: worker.live().sole(port).cloned(), error })?;
    let listener = found.as_ref().map(|found| Arc::clone(&found.listener));
    let failed = |error| HandshakeError::Failed { listener, error };
    let (number, tls) = match found {
        Some(Found { number, tls: Some(tls), .. }) => (number, tls),
        Some(_) => return Err(failed(opening.refuse(Alert::HandshakeFailure).await)),
        None => return Err(failed(opening.refuse(Alert::UnrecognizedName).await)),
    };
    let stream = opening.accept(Arc::clone(&tls.config)).await.map_err(failed)?;
    let agreed = stream.agreed();
    let version = agreed.protocol_version().and_then(|version| version.as_str());
    let cipher = agreed.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    let http2 = agreed.alpn_protocol() == Some(b"h2");
    let client = tls.clients.as_ref().map(|clients| Rc::new(clients.judge(agreed.peer_certificates())));
    let agreed = Tls { listener: number, client, version, cipher, http2 };
    Ok((stream, agreed))
}

/// The listener whose certificate a client gets. Where a port has only one there is no choice, and the ClientHello need not be
/// read twice.
async fn find(worker: &Worker, port: u16, opening: &mut Opening<TcpStream>) -> io::Result<Option<Found>> {
    if let Some(facts) = worker.live().ports.get(&port)
        && let Some((number, tls)) = facts.only_tls.clone()
    {
        return Ok(Some(Found { listener: Arc::clone(&facts.listener), number, tls: Some(tls) }));
    }
    let accepted = opening.client_hello().await?;
    let hello = accepted.client_hello();
    let live = worker.live();
    let found = live
        .routes
        .listener_for(port, hello.server_name().unwrap_or_default())
        .and_then(|table| live.listeners.get(&table.listener.id))
        .or_else(|| live.default_tls(port));
    Ok(found.map(|found| Found {
        listener: Arc::clone(&found.listener.id.name),
        number: found.number,
        tls: found.tls.clone(),
    }))
}

/// The provider of cryptography of the whole process.
pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
