//! Connections to backends, owned by the worker that made them.

mod connect;
pub mod h1;
mod link;
mod pool;

pub(crate) use connect::{ConnectError, configure, connect};
pub(crate) use link::{Counted, Link};
pub(crate) use pool::Pool;
