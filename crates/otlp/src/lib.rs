//! Spans, and the thread that sends them to a collector: OTLP over HTTP with Protocol Buffers
//! (<https://opentelemetry.io/docs/specs/otlp/>).
//!
//! Whoever makes spans never waits: [`Spans::offer`] puts them into a bounded queue, and what does not fit is dropped and
//! counted. The [`Exporter`] has a thread of its own that gathers them into batches, sends those, and tries again for a
//! short time where the collector is away.

mod batch;
mod collector;
mod endpoint;
mod exporter;
mod messages;
mod queue;
mod span;

pub use endpoint::{BadEndpoint, Endpoint};
pub use exporter::{Exporter, StartError};
pub use queue::{Counters, Spans};
pub use span::{Kind, Origin, Span, SpanId, TraceId, Value};
