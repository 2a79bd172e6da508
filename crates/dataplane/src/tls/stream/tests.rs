//! Against the client of the library's buffered side: bytes split anywhere, ends, breaches, and what an idle stream owns.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::Poll;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use penstock_testkit::{Ca, TlsClient};
use proptest::prelude::*;
use rustls::{ClientConfig, ConnectionTrafficSecrets, HandshakeKind, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Begun, Opening, ServerStream};

pub(crate) static CA: LazyLock<Ca> = LazyLock::new(|| Ca::new("test"));
static SERVER: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| {
    let mut config = ServerConfig::clone(&CA.server(&["a.example"]).server_config());
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    Arc::new(config)
});

async fn accept(io: DuplexStream, with_hello: bool) -> io::Result<ServerStream<DuplexStream>> {
    let Begun::Tls(mut opening) = Opening::begin(io).await? else { panic!("the client speaks TLS") };
    if with_hello {
        assert_eq!(opening.client_hello().await?.client_hello().server_name(), Some("a.example"));
    }
    opening.accept(Arc::clone(&SERVER)).await
}

async fn connect(io: DuplexStream, config: Arc<ClientConfig>) -> io::Result<TlsStream<DuplexStream>> {
    TlsConnector::from(config).connect(ServerName::try_from("a.example").unwrap(), io).await
}

/// Both ends after a handshake, over a pipe that holds so many bytes.
pub(crate) async fn pair(capacity: usize, client: &TlsClient) -> (TlsStream<DuplexStream>, ServerStream<DuplexStream>) {
    let (near, far) = duplex(capacity);
    let (client, server) = tokio::join!(connect(near, client.config()), accept(far, true));
    (client.unwrap(), server.unwrap())
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(std::time::Duration::from_secs(60), test).await.expect("in time") })
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

/// Sends back what it gets, until its end, then one word more.
async fn echo(mut stream: ServerStream<DuplexStream>, read: usize, vectored: bool) -> ServerStream<DuplexStream> {
    let mut buffer = vec![0; read];
    loop {
        let count = stream.read(&mut buffer).await.unwrap();
        if count == 0 {
            break;
        }
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let (one, two) = rest.split_at(rest.len() / 3);
            let pieces = [IoSlice::new(one), IoSlice::new(&[]), IoSlice::new(two)];
            let written = if vectored {
                poll_fn(|cx| Pin::new(&mut stream).poll_write_vectored(cx, &pieces)).await.unwrap()
            } else {
                stream.write(rest).await.unwrap()
            };
            rest = &rest[written..];
        }
        stream.flush().await.unwrap();
    }
    // Without a message the tickets may still be there.
    stream.flush().await.unwrap();
    assert_eq!(stream.held(), 0, "nothing is kept for an idle client");
    stream.write_all(b"bye").await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(stream.write(b"too late").await.is_err());
    stream
}

/// Messages of these sizes are sent back over a pipe that holds `capacity` bytes, by a server that reads `read` at a time.
fn bytes_arrive(capacity: usize, read: usize, sizes: &[usize], tls12: bool, with_hello: bool, vectored: bool) {
    // Byte by byte only as much as is quick.
    let most = if capacity < 40 || read < 100 { 1_000 } else { 40_000 };
    let messages: Vec<Vec<u8>> = sizes.iter().map(|size| pattern(*size.min(&most))).collect();
    let client = if tls12 { TlsClient::tls12(&CA) } else { TlsClient::new(&CA) };
    run(async {
        let (near, far) = duplex(capacity);
        let server = async { echo(accept(far, with_hello).await.unwrap(), read, vectored).await };
        let client = async {
            let (mut from, mut to) = tokio::io::split(connect(near, client.config()).await.unwrap());
            let send = async {
                for message in &messages {
                    to.write_all(message).await.unwrap();
                    to.flush().await.unwrap();
                }
                to.shutdown().await.unwrap();
            };
            let mut seen = Vec::new();
            // An end without close_notify would be an error.
            let receive = async { from.read_to_end(&mut seen).await.unwrap() };
            tokio::join!(send, receive);
            seen
        };
        let (_, seen) = tokio::join!(server, client);
        assert!(seen == [messages.concat(), b"bye".to_vec()].concat());
    });
}

/// The client has a message to send, which does not fit into the pipe, before it reads on in the server's flight.
#[test]
fn both_sides_of_a_handshake_may_be_under_way() {
    for (capacity, sizes) in [(1, &[][..]), (2, &[35, 8804, 39, 35725, 30190]), (5, &[100])] {
        for with_hello in [true, false] {
            bytes_arrive(capacity, 8, sizes, false, with_hello, true);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn bytes_arrive_wherever_they_are_split(
        capacity in prop_oneof![1..40_usize, 40..2_000_usize, 2_000..200_000_usize],
        read in prop_oneof![1..100_usize, 100..100_000_usize],
        sizes in prop::collection::vec(prop_oneof![0..40_usize, 0..40_000_usize], 0..5),
        (tls12, with_hello, vectored) in any::<(bool, bool, bool)>(),
    ) {
        bytes_arrive(capacity, read, &sizes, tls12, with_hello, vectored);
    }

    #[test]
    fn any_first_bytes_are_an_error_or_an_alert(bytes in prop::collection::vec(any::<u8>(), 1..400), with_hello: bool) {
        run(async {
            let (mut near, far) = duplex(64 * 1024);
            near.write_all(&[&[22, 3, 1][..], &bytes].concat()).await.unwrap();
            near.shutdown().await.unwrap();
            accept(far, with_hello).await.map(drop).unwrap_err();
        });
    }
}

#[test]
fn an_end_without_close_notify_is_an_error() {
    run(async {
        let (client, mut server) = pair(64 * 1024, &TlsClient::new(&CA)).await;
        drop(client.into_inner());
        assert_eq!(server.read(&mut [0; 10]).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    });
}

#[test]
fn a_record_that_was_touched_ends_the_connection_with_an_alert() {
    run(async {
        let (client, mut server) = pair(64 * 1024, &TlsClient::new(&CA)).await;
        let (mut io, mut connection) = client.into_inner();
        io.write_all(&[23, 3, 3, 0, 20]).await.unwrap();
        io.write_all(&[7; 20]).await.unwrap();
        assert_eq!(server.read(&mut [0; 10]).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(server.write(b"on").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(server.read(&mut [0; 10]).await.is_err());
        server.shutdown().await.unwrap();
        let mut answer = Vec::new();
        io.read_to_end(&mut answer).await.unwrap();
        let mut answer = answer.as_slice();
        connection.read_tls(&mut answer).unwrap();
        assert_eq!(
            connection.process_new_packets().unwrap_err(),
            rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac)
        );
    });
}

#[test]
fn a_client_that_reads_nothing_holds_no_more_than_one_block() {
    run(async {
        let (mut client, mut server) = pair(2_000, &TlsClient::new(&CA)).await;
        let bytes = pattern(500_000);
        let mut taken = 0;
        loop {
            let written = poll_fn(|cx| Poll::Ready(Pin::new(&mut server).poll_write(cx, &bytes[taken..]))).await;
            match written {
                Poll::Ready(count) => taken += count.unwrap(),
                Poll::Pending => break,
            }
        }
        assert!(taken > 0 && taken <= 64 * 1024, "{taken}");
        assert!(server.held() <= 70 * 1024, "{}", server.held());
        assert!(poll_fn(|cx| Poll::Ready(Pin::new(&mut server).poll_flush(cx))).await.is_pending());
        let mut seen = vec![0; taken];
        let (read, flushed) = tokio::join!(client.read_exact(&mut seen), server.flush());
        read.unwrap();
        flushed.unwrap();
        assert!(seen == bytes[..taken]);
        assert_eq!(server.held(), 0);
    });
}

#[test]
fn tickets_come_when_the_client_has_nothing_to_say() {
    run(async {
        let client = TlsClient::new(&CA);
        let (mut stream, mut server) = pair(64 * 1024, &client).await;
        assert!(server.held() > 0, "they wait for something to go with");
        assert!(read_now(&mut server).await.is_none());
        assert_eq!(server.held(), 0);
        assert!(read_now(&mut stream).await.is_none(), "they are no data");
        let (stream, _server) = pair(64 * 1024, &client).await;
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    });
}

/// What a read gives without waiting.
async fn read_now(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut block = [0; 1_000];
    let mut buf = ReadBuf::new(&mut block);
    match poll_fn(|cx| Poll::Ready(Pin::new(&mut *stream).poll_read(cx, &mut buf))).await {
        Poll::Ready(result) => result.map(|()| Some(buf.filled().to_vec())).unwrap(),
        Poll::Pending => None,
    }
}

/// A record of TLS 1.3 as a client would send it under these secrets (RFC 8446 5.2).
fn record(kind: u8, content: &[u8], sequence: u64, secrets: &ConnectionTrafficSecrets) -> Vec<u8> {
    let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else { panic!("the first suite of the library") };
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap());
    let mut nonce: [u8; 12] = iv.as_ref().try_into().unwrap();
    nonce.iter_mut().rev().zip(sequence.to_le_bytes()).for_each(|(byte, count)| *byte ^= count);
    let mut bytes = [content, &[kind]].concat();
    let header = [23, 3, 3, 0, u8::try_from(bytes.len() + 16).unwrap()];
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(header), &mut bytes).unwrap();
    [&header[..], &bytes].concat()
}

/// Half a message is kept by the stream, while the library knows where it has stopped: it has to be shown the half again with
/// every write.
#[test]
fn an_update_of_keys_in_two_records_with_an_answer_between() {
    run(async {
        let mut config = ClientConfig::clone(&TlsClient::new(&CA).config());
        config.enable_secret_extraction = true;
        let (near, far) = duplex(64 * 1024);
        let (client, server) = tokio::join!(connect(near, Arc::new(config)), accept(far, false));
        let (mut server, (mut io, connection)) = (server.unwrap(), client.unwrap().into_inner());
        let (sequence, secrets) = connection.dangerous_extract_secrets().unwrap().tx;
        // KeyUpdate, and it asks for one in return (RFC 8446 4.6.3).
        let (one, two) = ([24, 0], [0, 1, 1]);
        io.write_all(&record(22, &one, sequence, &secrets)).await.unwrap();
        assert!(read_now(&mut server).await.is_none());
        assert!(server.held() > 0);
        server.write_all(b"between").await.unwrap();
        io.write_all(&record(22, &two, sequence + 1, &secrets)).await.unwrap();
        assert!(read_now(&mut server).await.is_none());
        assert_eq!(server.held(), 0);
        let mut answers = vec![0; 64 * 1024];
        let before = io.read(&mut answers).await.unwrap();
        server.write_all(b"after").await.unwrap();
        let after = io.read(&mut answers[before..]).await.unwrap();
        // An update of the server's own keys goes before what it says next.
        assert_eq!(after, (5 + 5 + 1 + 16) + (5 + 5 + 1 + 16));
        // Whoever goes on with the old keys is no client any more.
        io.write_all(&record(23, b"old", sequence + 2, &secrets)).await.unwrap();
        assert_eq!(server.read(&mut [0; 10]).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    });
}
