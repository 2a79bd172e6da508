//! Spans as the bytes of a request.

use bytes::Bytes;
use prost::Message as _;

use crate::messages::{Any, AnyValue, KeyValue, Request, Resource, ResourceSpans, Scope, ScopeSpans, Status};
use crate::{Kind, Origin, Span, Value, messages};

/// The flag of W3C Trace Context that every span has that is sent.
const SAMPLED: u32 = 1;
/// Whether the parent is somebody else's is known.
const HAS_IS_REMOTE: u32 = 0x100;
/// It is.
const IS_REMOTE: u32 = 0x200;

/// A request with these spans. `resource` says who made them.
pub(crate) fn encode(resource: &[(&'static str, String)], spans: &[Span]) -> Bytes {
    let attributes = resource.iter().map(|(key, value)| text(key, value.clone())).collect();
    let scope = Scope { name: "penstock".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: spans.iter().map(message).collect() }];
    let resource_spans = vec![ResourceSpans { resource: Some(Resource { attributes }), scope_spans }];
    Request { resource_spans }.encode_to_vec().into()
}

fn message(span: &Span) -> messages::Span {
    let (parent_span_id, remote) = match span.origin {
        Origin::Root => (Vec::new(), 0),
        Origin::Remote(parent) => (parent.to_vec(), IS_REMOTE),
        Origin::Local(parent) => (parent.to_vec(), 0),
    };
    messages::Span {
        trace_id: span.trace.to_vec(),
        span_id: span.id.to_vec(),
        parent_span_id,
        name: span.name.to_owned(),
        kind: match span.kind {
            Kind::Server => 2,
            Kind::Client => 3,
        },
        start_time_unix_nano: span.began,
        end_time_unix_nano: span.ended,
        attributes: span.attributes.iter().map(attribute).collect(),
        status: span.failed.then_some(Status { code: 2 }),
        flags: SAMPLED | HAS_IS_REMOTE | remote,
    }
}

fn attribute((key, value): &(&'static str, Value)) -> KeyValue {
    match value {
        Value::Static(value) => text(key, (*value).to_owned()),
        Value::Shared(value) => text(key, value.as_ref().to_owned()),
        Value::Text(value) => text(key, value.clone()),
        Value::Number(number) => pair(key, Any::Number(*number)),
    }
}

fn text(key: &str, value: String) -> KeyValue {
    pair(key, Any::Text(value))
}

fn pair(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}
