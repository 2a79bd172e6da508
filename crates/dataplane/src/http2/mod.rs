//! What both sides of HTTP/2 share: bodies on streams, within the flow control of either end.
//!
//! The library is h2 itself, not hyper's server and client over it: a stream is driven in the task of its request, without a
//! task, channel or box of its own in between, interim answers pass, and it is known why a connection ended.

mod duplex;
mod receive;
mod send;

pub(crate) use duplex::Duplex;
pub(crate) use receive::Receive;
pub(crate) use send::{Send, SendError};
