//! What carries a request to an endpoint: a connection that is idle, a stream of a shared one, or a new connection.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use penstock_model::HostRewrite;

use super::attempt::Failure;
use super::forward::{Headers, Outbound};
use crate::cluster::{Active, LiveCluster, LiveEndpoint};
use crate::timer;
use crate::upstream::h1::{self, Connection};
use crate::upstream::{Carrier, ConnectError, Cut, Exchange, Link, Offer, Room, Secured, Turn, connect};

/// What a request asks of what carries it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Nothing that was there before: the last attempt met a connection that its backend had closed.
    pub(super) fresh: bool,
    /// Another protocol is to follow, which only HTTP/1.1 can carry.
    pub(super) upgrade: bool,
}

/// What may be spoken to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Http1,
    Http2,
    /// What the backend picks in the handshake.
    Either,
}

impl Outbound<'_> {
    /// What there is already, or a new connection.
    pub(super) async fn link(
        &self,
        cluster: &LiveCluster,
        active: &Active,
        wanted: Wanted,
    ) -> Result<Box<Link>, Failure> {
        let worker = &self.downstream.worker;
        let endpoint = active.endpoint();
        let (secured, speaks) = match cluster.connector() {
            Some(connector) => {
                let either = connector.offers_http2() && !wanted.upgrade;
                let secured = connector.to(self.host(endpoint), endpoint.endpoint.address)?;
                (Some(secured), if either { Speaks::Either } else { Speaks::Http1 })
            }
            None => (None, if cluster.speaks_http2() { Speaks::Http2 } else { Speaks::Http1 }),
        };
        if !wanted.fresh
            && let Some(link) = self.existing(endpoint, secured.as_ref(), speaks)
        {
            return Ok(link);
        }
        if secured.is_some() || speaks != Speaks::Http1 {
            // Boxed: a request without TLS needs no room for a handshake.
            return Box::pin(self.open(endpoint, secured, speaks)).await;
        }
        let room = self.room(endpoint)?;
        let stream = connect(endpoint.endpoint.address, self.forward.connect_timeout).await?;
        let carrier = Carrier::Http1(Connection::new(stream));
        let counted = Some(endpoint.connected(room));
        Ok(Box::new(Link::new(carrier, Arc::clone(endpoint), worker.pool.enter(endpoint), counted)))
    }

    /// Room for one more connection, be it that of an idle one.
    fn room(&self, endpoint: &LiveEndpoint) -> Result<Room, ConnectError> {
        let worker = &self.downstream.worker;
        loop {
            if let Some(room) = worker.limits.backends.take() {
                return Ok(room);
            }
            if !worker.pool.forget_one() {
                return Err(ConnectError::no_room(endpoint.endpoint.address));
            }
        }
    }

    /// A stream of a connection that has room, or an idle connection.
    fn existing(&self, endpoint: &Arc<LiveEndpoint>, secured: Option<&Secured>, speaks: Speaks) -> Option<Box<Link>> {
        let worker = &self.downstream.worker;
        if speaks != Speaks::Http1
            && let Some(exchange) = worker.sessions.take(endpoint, secured)
        {
            return Some(stream(exchange, endpoint));
        }
        if speaks == Speaks::Http2 { None } else { worker.pool.take(endpoint, secured) }
    }

    /// A new connection, or a stream of one that another request makes just now.
    async fn open(
        &self,
        endpoint: &Arc<LiveEndpoint>,
        secured: Option<Secured>,
        speaks: Speaks,
    ) -> Result<Box<Link>, Failure> {
        let address = endpoint.endpoint.address;
        let mut limit = self.forward.connect_timeout;
        let mut opening = None;
        let shared = |secured: Option<&Secured>| match speaks {
            Speaks::Http1 => false,
            Speaks::Http2 => true,
            Speaks::Either => secured.is_some_and(|secured| secured.connector.expects_http2()),
        };
        while shared(secured.as_ref()) {
            let waiting = match self.downstream.worker.sessions.turn(endpoint, secured.as_ref()) {
                Turn::First(first) => {
                    opening = Some(first);
                    break;
                }
                Turn::Wait(waiting) => waiting.ended(),
            };
            let worth_a_look = match &mut limit {
                None => waiting.await,
                Some(left) => {
                    let started = Instant::now();
                    let ended = timer::timeout(*left, Box::pin(waiting)).await;
                    *left = left.saturating_sub(started.elapsed());
                    ended.map_err(|_elapsed| self.late(address))?
                }
            };
            if !worth_a_look {
                break;
            }
            if let Some(link) = self.existing(endpoint, secured.as_ref(), speaks) {
                return Ok(link);
            }
        }
        if limit.is_some_and(|left| left.is_zero()) {
            return Err(self.late(address).into());
        }
        let made = self.make(endpoint, secured, speaks, limit).await;
        if let (Err(_), Some(opening)) = (&made, opening) {
            opening.failed();
        }
        made
    }

    /// A new connection, with HTTP on it.
    async fn make(
        &self,
        endpoint: &Arc<LiveEndpoint>,
        secured: Option<Secured>,
        speaks: Speaks,
        limit: Option<Duration>,
    ) -> Result<Box<Link>, Failure> {
        let worker = &self.downstream.worker;
        let address = endpoint.endpoint.address;
        let room = self.room(endpoint)?;
        let broken = |error| Failure::Backend(h1::Error::Http2(error));
        let Some(secured) = secured else {
            let socket = connect(address, limit).await?;
            let (cut, counted) = (worker.pool.enter(endpoint), endpoint.connected(room));
            let opened = worker.sessions.open(socket, endpoint, None, cut, counted).await;
            return Ok(stream(opened.map_err(broken)?, endpoint));
        };
        let offer = if speaks == Speaks::Http1 { Offer::Http1 } else { Offer::Any };
        let (socket, http2) = secured.connect(address, offer, limit).await?;
        let (cut, counted) = (worker.pool.enter(endpoint), endpoint.connected(room));
        if http2 {
            let opened = worker.sessions.open(socket, endpoint, Some(secured), cut, counted).await;
            return Ok(stream(opened.map_err(broken)?, endpoint));
        }
        let carrier = Carrier::Tls(Box::new(Connection::new(socket)));
        let mut link = Link::new(carrier, Arc::clone(endpoint), cut, Some(counted));
        link.secured = Some(Box::new(secured));
        Ok(Box::new(link))
    }

    /// Nothing came of waiting.
    fn late(&self, address: SocketAddr) -> ConnectError {
        ConnectError::TimedOut(address, self.forward.connect_timeout.unwrap_or_default())
    }

    /// Host as it is sent.
    pub(super) fn host<'s>(&'s self, endpoint: &'s LiveEndpoint) -> &'s [u8] {
        if let Headers::Rewritten(rewritten) = self.headers
            && let Some(host) = &rewritten.host
        {
            return host.as_bytes();
        }
        match &self.forward.host {
            HostRewrite::Keep => self.authority,
            HostRewrite::Set(authority) => authority.as_str().as_bytes(),
            HostRewrite::FromBackend => {
                endpoint.endpoint.host.as_ref().map_or(endpoint.address.as_bytes(), |host| host.as_bytes())
            }
        }
    }
}

/// A stream as what carries a request. The end of a drain ends its connection, and with it the stream.
fn stream(exchange: Exchange, endpoint: &Arc<LiveEndpoint>) -> Box<Link> {
    let reused = exchange.is_reused();
    let mut link = Link::new(Carrier::Http2(exchange), Arc::clone(endpoint), Rc::new(Cut::default()), None);
    link.reused = reused;
    Box::new(link)
}
