//! A collector of traces: takes OTLP over HTTP, and reads it with what is generated from the protocol's own files.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span as Sent;
use penstock_testkit::{DEADLINE, eventually};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A running collector.
pub(crate) struct Collector {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    spans: Vec<Span>,
    /// Of the last batch.
    resource: BTreeMap<String, String>,
    /// Head lines and bodies of all requests.
    requests: Vec<(String, Bytes)>,
    /// What the next requests get, before all others get 200.
    answers: VecDeque<StatusCode>,
}

/// A span that came, with its ids as headers write them.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty: it has none.
    pub(crate) parent: String,
    /// Numbers as text.
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) sent: Sent,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self::start_over(None).await
    }

    /// The same over TLS.
    pub(crate) async fn start_over(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (tls, state) = (tls.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    match tls {
                        None => serve(socket, state).await,
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                serve(socket, state).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, state }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// What `--otlp-endpoint` is to be.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers the next requests with these, and takes nothing then.
    pub(crate) fn refuse(&self, answers: &[u16]) {
        let answers = answers.iter().map(|code| StatusCode::from_u16(*code).expect("a status"));
        self.state.lock().expect("no panic while held").answers.extend(answers);
    }

    /// Everything that came so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.state.lock().expect("no panic while held").spans.clone()
    }

    pub(crate) fn resource(&self) -> BTreeMap<String, String> {
        self.state.lock().expect("no panic while held").resource.clone()
    }

    pub(crate) fn requests(&self) -> Vec<(String, Bytes)> {
        self.state.lock().expect("no panic while held").requests.clone()
    }

    /// Waits for the spans of the request for this path: that of its client's side, and those of its attempts.
    pub(crate) async fn request(&self, path: &str) -> (Span, Vec<Span>) {
        let found = || async {
            let spans = self.spans();
            let server = spans.iter().find(|span| span.attributes.get("url.path").is_some_and(|found| found == path));
            server.cloned().map(|server| {
                let attempts = spans.into_iter().filter(|span| span.parent == server.id).collect();
                (server, attempts)
            })
        };
        eventually(&format!("spans of {path}"), DEADLINE, found).await
    }
}

impl Span {
    /// The value of an attribute; empty: it has none.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }

    /// Its status is an error.
    pub(crate) fn failed(&self) -> bool {
        self.sent.status.as_ref().is_some_and(|status| status.code == 2)
    }
}

async fn serve(socket: impl AsyncRead + AsyncWrite + Unpin, state: Arc<Mutex<State>>) {
    let answer = service_fn(|request: http::Request<Incoming>| {
        let state = Arc::clone(&state);
        async move {
            let kind = request.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            let line = format!("{} {} {kind}", request.method(), request.uri());
            let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            let mut state = state.lock().expect("no panic while held");
            let status = state.answers.pop_front().unwrap_or(StatusCode::OK);
            if status == StatusCode::OK {
                take(&mut state, body.clone());
            }
            state.requests.push((line, body));
            let mut response = http::Response::new(Full::new(Bytes::new()));
            *response.status_mut() = status;
            Ok::<_, Infallible>(response)
        }
    });
    // Whoever sent has seen what became of it.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer).await;
}

fn take(state: &mut State, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).expect("a request as OTLP has it");
    for spans in request.resource_spans {
        state.resource = attributes(spans.resource.expect("a resource").attributes);
        state.spans.extend(spans.scope_spans.into_iter().flat_map(|scope| scope.spans).map(|sent| Span {
            trace: hex(&sent.trace_id),
            id: hex(&sent.span_id),
            parent: hex(&sent.parent_span_id),
            attributes: attributes(sent.attributes.clone()),
            sent,
        }));
    }
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |pair: KeyValue| match pair.value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => (pair.key, text),
        Some(Value::IntValue(number)) => (pair.key, number.to_string()),
        other => (pair.key, format!("{other:?}")),
    };
    let count = pairs.len();
    let all: BTreeMap<_, _> = pairs.into_iter().map(text).collect();
    assert_eq!(all.len(), count, "no key twice: {all:?}");
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
