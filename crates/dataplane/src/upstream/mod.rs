//! Connections to backends, owned by the worker that made them.

mod connect;
mod exchange;
pub mod h1;
mod http2;
mod link;
mod names;
mod pool;
mod room;
mod tls;

pub(crate) use connect::{ConnectError, configure, connect};
pub(crate) use exchange::{Carrier, Socket};
pub(crate) use http2::{Exchange, Sessions, Turn, single};
pub(crate) use link::{Counted, Cut, Link};
pub(crate) use names::is_none_of;
pub(crate) use pool::Pool;
pub(crate) use room::{Room, Rooms};
pub(crate) use tls::{Connector, Offer, Secured};
