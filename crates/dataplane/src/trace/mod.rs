//! Traces: where a request is in its trace (W3C Trace Context), and spans of those that are sampled.
//!
//! A request that came with a valid `traceparent` goes on in that trace, and whether it is sampled was decided there; any other
//! begins one, and a share of those is sampled. Every request carries its place to the backend. Only those that are sampled
//! have more than that: one span for the client's side, and one for each attempt at a backend, handed over at the end.

mod attempts;
mod context;
mod spans;
mod tracer;

pub(crate) use attempts::{Attempts, Tried};
pub(crate) use context::{Context, Onward};
pub(crate) use spans::{Facts, spans};
pub use tracer::Tracing;
pub(crate) use tracer::{Trace, Tracer};
