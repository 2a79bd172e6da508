//! What is left of a connection after its 101: two sockets, a small future, and a way to end it well.
//!
//! [`relay`] moves the bytes, [`frames`] follows the frame headers of a WebSocket so that a drain can put a Close between two
//! frames, [`Control`] is how the rest of the worker asks for that, and [`registry`] knows which tunnels of the worker belong
//! to which endpoint and listener.

pub mod control;
mod direction;
pub mod frames;
pub mod registry;
pub mod relay;
#[cfg(test)]
mod tests;

pub use self::control::{CloseReason, Control, Leaving};
pub use self::registry::{Filter, Registry};
pub use self::relay::{Closed, Limits, Relay};
