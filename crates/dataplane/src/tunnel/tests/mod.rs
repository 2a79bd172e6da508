//! Tunnels over in-memory pipes, with paused time, and over real sockets.

mod plain;
mod registry;
mod timers;
mod websocket;

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use super::{Closed, Control, Limits, Relay};

/// A deadline for whatever a test waits for.
const SOON: Duration = Duration::from_secs(20);

/// A relay between two pipes, seen from their far ends.
struct Pipes {
    client: DuplexStream,
    backend: DuplexStream,
    control: Control,
    task: JoinHandle<Closed>,
}

impl Pipes {
    fn new(limits: Limits, capacity: usize) -> Self {
        Self::with_leftovers(limits, capacity, b"", b"")
    }

    fn with_leftovers(
        limits: Limits,
        capacity: usize,
        from_client: &'static [u8],
        from_backend: &'static [u8],
    ) -> Self {
        let (client, near_client) = duplex(capacity);
        let (backend, near_backend) = duplex(capacity);
        let (task, control) = spawn(near_client, near_backend, limits, from_client, from_backend);
        Self { client, backend, control, task }
    }
}

fn spawn<C, B>(
    client: C,
    backend: B,
    limits: Limits,
    from_client: &'static [u8],
    from_backend: &'static [u8],
) -> (JoinHandle<Closed>, Control)
where
    C: AsyncRead + AsyncWrite + Unpin + 'static,
    B: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let control = Control::new();
    let first = (Bytes::from_static(from_client), Bytes::from_static(from_backend));
    let relay = Relay::new(client, backend, first.0, first.1, &limits, control.clone());
    (spawn_local(relay), control)
}

/// The two ends of a connection over the loopback interface.
async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// Exactly `count` bytes.
async fn take(from: &mut (impl AsyncRead + Unpin), count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    within(from.read_exact(&mut bytes)).await.unwrap();
    bytes
}

/// Everything until the end.
async fn rest(from: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    within(from.read_to_end(&mut bytes)).await.unwrap();
    bytes
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future).await.expect("in time")
}

async fn local<F: Future>(test: F) -> F::Output {
    LocalSet::new().run_until(test).await
}
