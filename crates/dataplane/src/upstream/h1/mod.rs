//! HTTP/1.1 towards the backends: our own codec and connection.
//!
//! The proxy owns this instead of using a library's client because it is the hottest path there is: a connection is driven
//! inside the task of the request that uses it, with no task, channel or lock of its own, bodies are never copied, and an
//! idle connection owns no buffer. In return all message framing of RFC 9112 is decided here:
//!
//! * [`encode`]: request heads and chunks, bytes out;
//! * [`decode`] and [`framing`]: response heads, and what they say about the body (RFC 9112 6.3);
//! * [`body`] and [`chunked`]: bodies, bytes in;
//! * `send` and `receive`: the two directions over a socket;
//! * [`connection`]: [`Connection`], which puts the two together.
//!
//! Everything but the last three is sans-I/O: functions from bytes to bytes, which is what the tests and the fuzzer call.

pub mod body;
pub mod chunked;
pub mod connection;
pub mod decode;
pub mod encode;
pub mod error;
pub mod framing;
mod receive;
mod send;
#[cfg(test)]
mod tests;

pub use connection::Connection;
pub use decode::{InterimHead, ResponseEvent, ResponseHead};
pub(crate) use encode::is_own;
pub use encode::{BodyLength, EncodeError, RequestHead};
pub use error::{Error, SendError};
pub use framing::BodyFraming;
