//! Fresh connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::timer;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Refused, or unreachable.
    #[error("connect to {0}: {1}")]
    Failed(SocketAddr, io::Error),
    /// This side has nothing left to connect with: descriptors, ports, memory. It says nothing about the other one.
    #[error("connect to {0}: {1}")]
    NoRoom(SocketAddr, io::Error),
    /// Not in time.
    #[error("connect to {0}: no answer in {1:?}")]
    TimedOut(SocketAddr, Duration),
    /// Connected, but there is no TLS on it: nothing else is tried.
    #[error("TLS with {0}: {1}")]
    Tls(SocketAddr, io::Error),
}

impl ConnectError {
    /// All descriptors that are for connections to backends are in use.
    pub(crate) fn no_room(address: SocketAddr) -> Self {
        Self::NoRoom(address, Errno::MFILE.into())
    }
}

/// Connects, within `limit`.
pub(crate) async fn connect(address: SocketAddr, limit: Option<Duration>) -> Result<TcpStream, ConnectError> {
    let connecting = Box::pin(TcpStream::connect(address));
    let connected = match limit {
        None => connecting.await,
        Some(limit) => {
            timer::timeout(limit, connecting).await.map_err(|_elapsed| ConnectError::TimedOut(address, limit))?
        }
    };
    let stream = connected.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::ADDRNOTAVAIL | Errno::NOBUFS | Errno::NOMEM) => {
            ConnectError::NoRoom(address, error)
        }
        _ => ConnectError::Failed(address, error),
    })?;
    configure(&stream);
    Ok(stream)
}

/// What both sides of the proxy want of a socket: no delay, and dead peers found out (60 s, 15 s, 4 tries). On Linux what is
/// accepted has the options of the socket that listens, as they were when the connection was made.
pub(crate) fn configure<'s>(socket: impl Into<SockRef<'s>>) {
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15)).with_retries(4);
    let socket = socket.into();
    // A socket that refuses an option still carries bytes.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
}
