//! One connection of the backend: request after request, each with its own behaviour.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;

use super::answer;
use super::behaviour::{After, Behaviour, Cut};
use super::request::Incoming;
use super::state::State;
use super::{BEHAVIOUR_HEADER, websocket};
use crate::client::Io;

/// A stream whose TCP connection can be reached, to reset it.
pub(super) trait Transport: Io {
    fn tcp(&self) -> &TcpStream;
}

impl Transport for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Transport for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// A connection and what was read ahead of what was asked for.
pub(super) struct Wire {
    pub(super) io: Box<dyn Transport>,
    pub(super) ahead: Vec<u8>,
}

impl Wire {
    /// Makes the close that follows a reset.
    pub(super) fn reset_on_close(&self) {
        // Failing means that the connection is gone already.
        let _ = self.io.tcp().set_zero_linger();
    }
}

/// What becomes of the connection after an answer.
pub(super) enum Next {
    Request { within: Option<Duration> },
    Close,
}

/// Serves a connection until either side ends it.
pub(super) async fn serve(io: Box<dyn Transport>, peer: SocketAddr, state: &State) {
    let mut wire = Wire { io, ahead: Vec::new() };
    let mut within = None;
    loop {
        let head = Incoming::read(&mut wire, peer);
        let head = match within {
            None => head.await,
            Some(limit) => timeout(limit, head).await.unwrap_or(Ok(None)),
        };
        let Ok(Some(incoming)) = head else { return };
        state.requests().push(incoming.received.clone());
        if incoming.wants_websocket() {
            match behaviour(&incoming, state) {
                Ok(wanted) if wanted.status.is_none() && wanted.raw.is_none() => {
                    if before(&mut wire, &wanted).await.is_ok_and(|go_on| go_on) {
                        websocket::serve(wire, &incoming, &wanted, state).await;
                    }
                    return;
                }
                _ => {}
            }
        }
        match respond(&mut wire, incoming, state).await {
            Ok(Next::Request { within: limit }) => within = limit,
            Ok(Next::Close) | Err(_) => return,
        }
    }
}

/// Header, else query, else the backend's own.
fn behaviour(incoming: &Incoming, state: &State) -> Result<Behaviour, String> {
    let received = &incoming.received;
    let asked = received.header(BEHAVIOUR_HEADER).map(str::to_owned).or_else(|| Behaviour::of_query(&received.target));
    match asked {
        Some(list) => Behaviour::parse(&list),
        None if received.path() == "/healthz" => {
            Ok(Behaviour { status: (!state.healthy()).then_some(503), ..Behaviour::default() })
        }
        None => Behaviour::parse(&state.behaviour().clone()),
    }
}

async fn respond(wire: &mut Wire, mut incoming: Incoming, state: &State) -> io::Result<Next> {
    let behaviour = behaviour(&incoming, state).unwrap_or_else(|why| Behaviour {
        status: Some(500),
        body: Some(why.into_bytes()),
        ..Behaviour::default()
    });
    if !behaviour.early {
        if incoming.expects_continue() {
            answer::interim(wire, 100).await?;
        }
        incoming.read_body(wire).await?;
    }
    if !before(wire, &behaviour).await? {
        return Ok(Next::Close);
    }
    let whole = answer::send(wire, &incoming, &behaviour, state).await?;
    let unread = behaviour.early && incoming.has_body();
    let closes = behaviour.after != After::Keep || behaviour.http10 || incoming.wants_close() || unread;
    Ok(if whole && !closes {
        Next::Request { within: behaviour.keep_alive.map(Duration::from_secs) }
    } else {
        Next::Close
    })
}

/// What happens before the head; false: there will be none.
async fn before(wire: &mut Wire, behaviour: &Behaviour) -> io::Result<bool> {
    sleep(behaviour.delay).await;
    if behaviour.never {
        while wire.fill().await? {}
        return Ok(false);
    }
    if behaviour.cut == Some(Cut::Reset) {
        wire.reset_on_close();
    }
    Ok(!matches!(behaviour.cut, Some(Cut::Before | Cut::Reset)))
}
