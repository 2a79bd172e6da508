//! A backend of which the test itself reads and writes every byte.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// A listening socket.
pub(crate) struct RawBackend(TcpListener);

impl RawBackend {
    /// Listens on a free port of 127.0.0.1.
    pub(crate) async fn start() -> Self {
        Self(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port"))
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.local_addr().expect("a bound socket has an address")
    }

    /// The next connection that brings a request, and what was read of it: at least its head. Probes, which ask for
    /// `/`, are passed over.
    pub(crate) async fn accept(&self) -> (TcpStream, String) {
        loop {
            let (mut stream, _) = self.0.accept().await.expect("a connection");
            let head = read_until(&mut stream, "\r\n\r\n").await;
            if !head.starts_with("GET / ") {
                return (stream, head);
            }
        }
    }
}

/// Reads until what came contains `part`, or until the end; returns all of it.
pub(crate) async fn read_until(stream: &mut TcpStream, part: &str) -> String {
    let mut came = Vec::new();
    while !String::from_utf8_lossy(&came).contains(part) {
        if stream.read_buf(&mut came).await.is_ok_and(|read| read > 0) {
            continue;
        }
        break;
    }
    String::from_utf8_lossy(&came).into_owned()
}
