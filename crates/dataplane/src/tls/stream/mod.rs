//! A client's connection with TLS, without buffers of its own.
//!
//! The library's unbuffered interface works on slices that we lend it: what all connections of a thread read into and encrypt
//! into (see [`blocks`]). A connection owns bytes only while it has half a record, plaintext that nobody took yet, or a client
//! that does not take what it is sent. Over the library's buffered interface an idle connection would be twice as large.
//!
//! [`Opening`] reads the first bytes, up to the client's name; [`Session`] is the library's side, without I/O; [`ServerStream`]
//! joins it with a socket.

mod blocks;
mod opening;
mod server;
mod session;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use self::opening::{Alert, Begun, Opening};
pub(crate) use self::server::ServerStream;
