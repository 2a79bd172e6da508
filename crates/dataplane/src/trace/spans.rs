//! The spans of a request that is over, as the semantic conventions for HTTP have them
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>). No span has a query, not even a redacted one.

use std::time::Duration;

use http::{Method, StatusCode};
use penstock_otlp::{Kind, Origin, Span, Value};

use super::Trace;
use super::attempts::Tried;
use crate::access_log::Client;

/// What there is to say of a request beside what its client said.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) client: Client,
    pub(crate) method: &'a Method,
    pub(crate) status: StatusCode,
    pub(crate) took: Duration,
    /// Gateway, listener and rule.
    pub(crate) names: [Value; 3],
    pub(crate) error: Option<&'static str>,
    pub(crate) websocket: bool,
    pub(crate) close_reason: Option<&'static str>,
}

/// One for the client's side, and behind it one for each attempt.
pub(crate) fn spans(trace: Trace, facts: Facts<'_>) -> Vec<Span> {
    let Trace { context, began, attempts } = trace;
    let (method, name) = known(facts.method);
    let took = facts.took;
    let server = Span {
        trace: context.trace,
        id: context.span,
        origin: context.parent.map_or(Origin::Root, Origin::Remote),
        name,
        kind: Kind::Server,
        began,
        ended: after(began, took),
        // 4xx is the client's mistake, and no error of whoever answers it.
        failed: facts.status.is_server_error(),
        attributes: Vec::new(),
    };
    let client = |(number, tried): (usize, Tried)| {
        let mut attributes = vec![
            ("http.request.method", Value::Static(method)),
            ("server.address", Value::Text(tried.address.ip().to_string())),
            ("server.port", Value::Number(tried.address.port().into())),
            ("penstock.pool", Value::Shared(tried.pool)),
        ];
        if !tried.settings.is_empty() {
            attributes.push(("penstock.settings", Value::Shared(tried.settings)));
        }
        if number > 0 {
            attributes.push(("http.request.resend_count", Value::Number(number as i64)));
        }
        if let Some(status) = tried.status {
            attributes.push(("http.response.status_code", Value::Number(status.as_u16().into())));
        }
        let refused = tried.status.filter(|status| status.is_client_error() || status.is_server_error());
        let error = tried.error.map(Value::Static).or(refused.map(code));
        let failed = error.is_some();
        attributes.extend(error.map(|error| ("error.type", error)));
        Span {
            trace: context.trace,
            id: tried.span,
            origin: Origin::Local(context.span),
            name,
            kind: Kind::Client,
            began: after(began, tried.began),
            ended: after(began, tried.failed.unwrap_or(took)),
            failed,
            attributes,
        }
    };
    let attempts = attempts.end(facts.error);
    let server = Span { attributes: attributes(method, facts), ..server };
    std::iter::once(server).chain(attempts.into_iter().enumerate().map(client)).collect()
}

/// What the span of the client's side says.
fn attributes(method: &'static str, facts: Facts<'_>) -> Vec<(&'static str, Value)> {
    let client = facts.client;
    let [gateway, listener, rule] = facts.names;
    let (host, port) = server(&client.host);
    let mut all = Vec::with_capacity(20);
    all.extend([
        ("http.request.method", Value::Static(method)),
        ("url.path", Value::text(client.path)),
        ("url.scheme", Value::Static(client.scheme)),
        ("client.address", Value::Text(client.address)),
        ("network.protocol.version", Value::Static(client.protocol.trim_start_matches("HTTP/"))),
        ("http.response.status_code", Value::Number(facts.status.as_u16().into())),
        ("penstock.gateway", gateway),
        ("penstock.listener", listener),
        ("penstock.rule", rule),
        ("penstock.request_id", Value::text(client.request_id)),
    ]);
    if method == OTHER {
        all.push(("http.request.method_original", Value::text(facts.method.as_str().to_owned())));
    }
    if !host.is_empty() {
        all.push(("server.address", Value::text(host.to_owned())));
    }
    all.extend(port.map(|port| ("server.port", Value::Number(port.into()))));
    all.extend(client.peer.map(|peer| ("network.peer.address", Value::Text(peer))));
    all.extend(client.user_agent.map(|agent| ("user_agent.original", Value::text(agent))));
    if facts.status.is_server_error() {
        all.push(("error.type", facts.error.map_or_else(|| code(facts.status), Value::Static)));
    }
    all.extend(facts.error.map(|error| ("penstock.error", Value::Static(error))));
    if facts.websocket {
        all.push(("penstock.upgrade", Value::Static("websocket")));
    }
    all.extend(facts.close_reason.map(|reason| ("penstock.close_reason", Value::Static(reason))));
    all
}

/// What stands for any method that is not well-known.
const OTHER: &str = "_OTHER";

/// A method as an attribute, and the name of a span with it: both of few values, whatever clients send.
fn known(method: &Method) -> (&'static str, &'static str) {
    let methods = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
    let found = methods.into_iter().find(|known| *known == method.as_str());
    found.map_or((OTHER, "HTTP"), |method| (method, method))
}

fn code(status: StatusCode) -> Value {
    Value::Text(status.as_str().to_owned())
}

/// Host and port of a Host header.
fn server(host: &str) -> (&str, Option<u16>) {
    let split = host.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?)));
    let (name, port) = split.map_or((host, None), |(name, port)| (name, Some(port)));
    (name.trim_start_matches('[').trim_end_matches(']'), port)
}

fn after(began: u64, time: Duration) -> u64 {
    began.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_port_or_not() {
        for (host, expected) in [
            ("a.example", ("a.example", None)),
            ("a.example:81", ("a.example", Some(81))),
            ("[::1]", ("::1", None)),
            ("[::1]:81", ("::1", Some(81))),
            ("", ("", None)),
        ] {
            assert_eq!(server(host), expected);
        }
    }

    #[test]
    fn methods_of_a_clients_choosing_are_no_names() {
        assert_eq!(known(&Method::PATCH), ("PATCH", "PATCH"));
        assert_eq!(known(&Method::from_bytes(b"get").unwrap()), (OTHER, "HTTP"));
    }
}
