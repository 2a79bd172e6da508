//! Any bytes from the network into the server's side of TLS: no panic, and no bytes for the application that no client sent.
#![no_main]

// The stream alone, by its path: the fuzzer then builds without the data plane.
#[path = "../../crates/dataplane/src/tls/stream/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the data plane uses more of it")]
pub mod stream;

use std::future::poll_fn;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use stream::{Begun, Opening, ServerStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_rustls::TlsConnector;

/// What may wait for a client that takes nothing: 64 KB in records, and 4 KB from before.
const MOST_UNSENT: usize = 70 * 1024;

/// What happens on a connection.
#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// A client has made its handshake, and the bytes come instead of what it would say next.
    after_handshake: bool,
    tls12: bool,
    /// The configuration is chosen by the ClientHello.
    with_hello: bool,
    /// Bytes that the pipe holds.
    capacity: u16,
    steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    /// Bytes as they are.
    Raw(&'a [u8]),
    /// A record, whole, of bytes.
    Record(u8, &'a [u8]),
    /// The server says something.
    Answer(u16),
}

static CONFIGS: LazyLock<(Arc<ServerConfig>, [Arc<ClientConfig>; 2])> = LazyLock::new(|| {
    let identity = rcgen::generate_simple_self_signed(["a.example".to_owned()]).expect("a certificate");
    let chain = vec![identity.cert.der().clone()];
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(chain.clone());
    let key = PrivateKeyDer::try_from(identity.signing_key.serialize_der()).expect("a key");
    let mut server = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("a pair");
    server.ticketer = rustls::crypto::ring::Ticketer::new().expect("a ticketer");
    let client = |version| {
        let builder = ClientConfig::builder_with_protocol_versions(&[version]);
        Arc::new(builder.with_root_certificates(roots.clone()).with_no_client_auth())
    };
    (Arc::new(server), [client(&rustls::version::TLS13), client(&rustls::version::TLS12)])
});

async fn accept(io: DuplexStream, with_hello: bool) -> std::io::Result<ServerStream<DuplexStream>> {
    let Begun::Tls(mut opening) = Opening::begin(io).await? else { return Err(std::io::ErrorKind::Other.into()) };
    if with_hello {
        let _ = opening.client_hello().await?.client_hello();
    }
    opening.accept(Arc::clone(&CONFIGS.0)).await
}

/// The server's end.
enum Side {
    Open(ServerStream<DuplexStream>),
    New(DuplexStream),
}

async fn run(input: Input<'_>) {
    let (near, far) = duplex(usize::from(input.capacity).max(1));
    let (io, side) = if input.after_handshake {
        let config = Arc::clone(&CONFIGS.1[usize::from(input.tls12)]);
        let name = ServerName::try_from("a.example").expect("a name");
        let connector = TlsConnector::from(config);
        let (client, server) = tokio::join!(connector.connect(name, near), accept(far, input.with_hello));
        (client.expect("a handshake").into_inner().0, Side::Open(server.expect("a handshake")))
    } else {
        (near, Side::New(far))
    };
    let (mut answers, mut raw) = (Vec::new(), Vec::new());
    for step in &input.steps {
        match step {
            Step::Raw(bytes) => raw.extend_from_slice(bytes),
            Step::Record(kind, bytes) => {
                let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
                raw.extend_from_slice(&[*kind, 3, 3]);
                raw.extend_from_slice(&length.to_be_bytes());
                raw.extend_from_slice(bytes);
            }
            Step::Answer(length) => answers.push(usize::from(*length)),
        }
    }
    let network = async {
        let (mut from, mut to) = tokio::io::split(io);
        let send = async {
            let _ = to.write_all(&raw).await;
            let _ = to.shutdown().await;
        };
        let mut seen = Vec::new();
        let _ = tokio::join!(send, from.read_to_end(&mut seen));
    };
    let server = async {
        let mut stream = match side {
            Side::Open(stream) => stream,
            Side::New(far) => match accept(far, input.with_hello).await {
                Ok(stream) => stream,
                Err(_) => return,
            },
        };
        let mut seen = Vec::new();
        for length in answers {
            let _ = stream.write(&vec![0; length]).await;
            assert!(stream.unsent() <= MOST_UNSENT, "{} bytes wait", stream.unsent());
            let _ = stream.read_buf(&mut seen).await;
        }
        let _ = poll_fn(|cx| stream.poll_readable(cx)).await;
        let _ = stream.read_to_end(&mut seen).await;
        let _ = stream.shutdown().await;
        assert!(seen.is_empty(), "nobody has the keys");
    };
    tokio::join!(network, server);
}

fuzz_target!(|input: Input<'_>| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(run(input));
});
