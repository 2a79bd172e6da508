//! A backend that speaks HTTP/2, as gRPC servers do: it echoes bodies as they come and ends with trailers. Over TLS it may
//! give connections that pick HTTP/1.1 to another backend.
#![allow(dead_code, reason = "each test file uses a part")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use penstock_testkit::{Backend, Identity};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// The backend; it ends with the test's runtime.
pub(crate) struct H2c {
    addr: SocketAddr,
    state: Arc<State>,
    command: watch::Sender<Command>,
}

#[derive(Default)]
struct State {
    connections: AtomicUsize,
    handshakes: AtomicUsize,
    tls: Mutex<Option<Arc<ServerConfig>>>,
    http1: Option<SocketAddr>,
    not_serving: AtomicBool,
    only_calls: AtomicBool,
}

/// The method of gRPC's health service that probes call.
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// What its connections are told.
#[derive(Clone, Copy)]
enum Command {
    Serve,
    GoAway,
    Cut,
}

impl H2c {
    /// Without TLS, on a free port of 127.0.0.1.
    pub(crate) async fn start() -> Self {
        Self::listen(State::default()).await
    }

    /// Over TLS, picking one of these protocols by ALPN; `http1` serves what is not HTTP/2.
    pub(crate) async fn start_tls(config: &ServerConfig, protocols: &[&str], http1: Option<&Backend>) -> Self {
        let backend = Self::listen(State { http1: http1.map(Backend::addr), ..State::default() }).await;
        backend.configure(config, protocols);
        backend
    }

    /// The same with this certificate, for HTTP/2 alone.
    pub(crate) async fn start_h2(identity: &Identity) -> Self {
        Self::start_tls(&identity.server_config(), &["h2"], None).await
    }

    /// Other TLS for the connections to come.
    pub(crate) fn configure(&self, config: &ServerConfig, protocols: &[&str]) {
        let mut config = config.clone();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        *self.state.tls.lock().expect("no panic while held") = Some(Arc::new(config));
    }

    /// Its connections take no new streams and end with those that they have.
    pub(crate) fn go_away(&self) {
        self.command.send_replace(Command::GoAway);
    }

    /// Its connections end at once.
    pub(crate) fn cut(&self) {
        self.command.send_replace(Command::Cut);
    }

    /// What its health service says of the server and of the service `chat`, the only one that it knows.
    pub(crate) fn set_serving(&self, serving: bool) {
        self.state.not_serving.store(!serving, Ordering::Relaxed);
    }

    /// A GET is reset from now on, as gRPC's C core does it.
    pub(crate) fn take_only_calls(&self) {
        self.state.only_calls.store(true, Ordering::Relaxed);
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many connections it has accepted.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// How many of them became connections of HTTP/2.
    pub(crate) fn handshakes(&self) -> usize {
        self.state.handshakes.load(Ordering::Relaxed)
    }

    async fn listen(state: State) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let (state, command) = (Arc::new(state), watch::Sender::new(Command::Serve));
        let (accepting, commands) = (Arc::clone(&state), command.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepting.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(accept(stream, Arc::clone(&accepting), commands.subscribe()));
            }
        });
        Self { addr, state, command }
    }
}

async fn accept(stream: TcpStream, state: Arc<State>, commands: watch::Receiver<Command>) {
    let tls = state.tls.lock().expect("no panic while held").clone();
    let Some(tls) = tls else { return serve(stream, &state, commands).await };
    let Ok(mut stream) = TlsAcceptor::from(tls).accept(stream).await else { return };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        return serve(stream, &state, commands).await;
    }
    let Some(http1) = state.http1 else { return };
    if let Ok(mut backend) = TcpStream::connect(http1).await {
        let _ = copy_bidirectional(&mut stream, &mut backend).await;
    }
}

async fn serve<S>(stream: S, state: &State, mut commands: watch::Receiver<Command>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    state.handshakes.fetch_add(1, Ordering::Relaxed);
    loop {
        tokio::select! {
            request = connection.accept() => match request {
                Some(Ok((request, mut respond))) => {
                    if request.method() == Method::GET && state.only_calls.load(Ordering::Relaxed) {
                        respond.send_reset(Reason::INTERNAL_ERROR);
                        continue;
                    }
                    let serving = !state.not_serving.load(Ordering::Relaxed);
                    tokio::spawn(answer(request, respond, serving));
                }
                _ => return,
            },
            Ok(()) = commands.changed() => match *commands.borrow() {
                Command::Serve => {}
                Command::GoAway => connection.graceful_shutdown(),
                Command::Cut => return,
            },
        }
    }
}

/// `/never` gets no answer, `/reset` a reset, a call of the health service its own, everything else its own head and body.
async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, serving: bool) {
    let (parts, mut body) = request.into_parts();
    match parts.uri.path() {
        "/never" => return std::future::pending().await,
        "/reset" => return respond.send_reset(Reason::INTERNAL_ERROR),
        HEALTH => return health(&parts, body, respond, serving).await,
        _ => {}
    }
    let mut response = Response::new(());
    for (name, value) in &parts.headers {
        if let Ok(name) = http::HeaderName::try_from(format!("echo-{name}")) {
            response.headers_mut().append(name, value.clone());
        }
    }
    let uri = HeaderValue::try_from(parts.uri.to_string()).expect("a URI is a header");
    response.headers_mut().insert("echo-uri", uri);
    let Ok(mut send) = respond.send_response(response, false) else { return };
    while let Some(Ok(piece)) = body.data().await {
        let _ = body.flow_control().release_capacity(piece.len());
        if send.send_data(piece, false).is_err() {
            return;
        }
    }
    let mut trailers = body.trailers().await.ok().flatten().unwrap_or_else(HeaderMap::new);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let _ = send.send_trailers(trailers);
}

/// SERVING or NOT_SERVING; for a service that it does not know NOT_FOUND without a message.
async fn health(parts: &Parts, mut body: RecvStream, mut respond: SendResponse<Bytes>, serving: bool) {
    assert_eq!((&parts.method, parts.headers["content-type"].as_bytes()), (&Method::POST, &b"application/grpc"[..]));
    let mut asked = Vec::new();
    while let Some(Ok(piece)) = body.data().await {
        asked.extend_from_slice(&piece);
    }
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    if asked != b"\0\0\0\0\0" && asked != b"\0\0\0\0\x06\x0a\x04chat" {
        response.headers_mut().insert("grpc-status", HeaderValue::from_static("5"));
        drop(respond.send_response(response, true));
        return;
    }
    let Ok(mut send) = respond.send_response(response, false) else { return };
    let says = if serving { 1 } else { 2 };
    let _ = send.send_data(Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, says]), false);
    let _ = send.send_trailers(HeaderMap::from_iter([("grpc-status".parse().expect("a name"), HeaderValue::from(0))]));
}
