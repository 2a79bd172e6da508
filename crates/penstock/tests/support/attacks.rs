//! Clients that want to do harm, of HTTP/1.1, HTTP/2 and TLS: what each sends, and how it is counted.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use penstock_testkit::client::frames::{END_STREAM, header_block, kind};
use penstock_testkit::{Frame, Frames, TlsClient};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::WHILE;

pub(crate) const HOST: &str = "a.example";
/// How many clients of each kind; fewer where each has a hundred requests under way, or as many connections to backends.
const CLIENTS: usize = 300;
const FEWER: usize = 100;
const FEW: usize = 10;
/// A stream of HTTP/2 may have so much under way unless it is told otherwise (RFC 9113 6.9.2).
const WINDOW: usize = 65_535;

/// One of many clients, and what it has from the gateway when it is over.
pub(crate) enum Client {
    Raw(TcpStream),
    Frames(Frames),
}

/// Where clients go, and whom they believe.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) tls: TlsClient,
}

pub(crate) type Begin = fn(Site) -> Pin<Box<dyn Future<Output = Client>>>;

pub(crate) struct Attack {
    /// What each client sends.
    pub(crate) sent: &'static str,
    /// The most memory for each, in bytes.
    pub(crate) limit: f64,
    /// How it must be counted in the end.
    pub(crate) reason: Option<&'static str>,
    pub(crate) begin: Begin,
    pub(crate) clients: usize,
}

fn attack(sent: &'static str, limit: f64, reason: Option<&'static str>, begin: Begin) -> Attack {
    Attack { sent, limit, reason, begin, clients: CLIENTS }
}

impl Attack {
    fn by(self, clients: usize) -> Self {
        Self { clients, ..self }
    }
}

async fn raw(addr: SocketAddr, bytes: Vec<u8>) -> Client {
    let mut stream = TcpStream::connect(addr).await.expect("a connection");
    // One that is refused is closed while it still sends.
    let _ = timeout(WHILE, stream.write_all(&bytes)).await;
    Client::Raw(stream)
}

fn post(bytes: usize, head: &str) -> Vec<u8> {
    [format!("POST /x HTTP/1.1\r\nHost: {HOST}\r\n{head}").into_bytes(), vec![b'x'; bytes]].concat()
}

/// With the client's windows for answers: of each stream, and of the connection.
async fn frames(site: &Site, window: u32, more: u32) -> Frames {
    let mut frames = Frames::open(site.http, &[(4, window)]).await.expect("a connection");
    if more > 0 {
        frames.send(&[Frame::new(kind::WINDOW_UPDATE, 0, 0, &more.to_be_bytes())]).await.expect("the gateway reads");
    }
    frames
}

/// Begins a hundred requests.
fn hundred(method: &str, path: &str) -> Vec<Frame> {
    let head = [(":method", method), (":scheme", "http"), (":authority", HOST), (":path", path)];
    (0..100).map(|n| Frame::headers(1 + 2 * n, method == "GET", &head)).collect()
}

/// Sends frames for as long as they are taken.
async fn flood(site: Site, opening: Vec<Frame>, round: impl Fn(u32) -> Vec<Frame>) -> Client {
    let mut frames = frames(&site, 65_535, 0).await;
    let sending = async {
        frames.send(&opening).await?;
        for number in 0..40 {
            frames.send(&round(number)).await?;
        }
        anyhow::Ok(())
    };
    let _ = timeout(WHILE, sending).await;
    Client::Frames(frames)
}

/// A hundred uploads to where nobody takes them, in pieces of this size: as many bytes as the connection's window allows.
async fn uploads(site: Site, piece: usize, most: usize) -> Client {
    let mut frames = frames(&site, 65_535, 0).await;
    frames.send(&hundred("POST", "/full")).await.expect("the gateway reads");
    let mut room = WINDOW;
    let (mut left, mut sent) = ([WINDOW; 100], 0);
    'window: loop {
        for (left, stream) in left.iter_mut().zip((1..).step_by(2)) {
            let length = piece.min(*left);
            if length == 0 {
                break 'window;
            }
            while room < length || sent >= most {
                let update = frames.wait_for(|frame| frame.kind == kind::WINDOW_UPDATE && frame.stream == 0);
                let Ok(Ok(update)) = timeout(WHILE, update).await else { break 'window };
                room += update.payload.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            }
            (room, *left, sent) = (room - length, *left - length, sent + length);
            if frames.send(&[Frame::new(kind::DATA, 0, stream, &vec![b'x'; length])]).await.is_err() {
                break 'window;
            }
        }
    }
    Client::Frames(frames)
}

/// Asks for an answer over TLS, or for nothing, and then reads nothing.
async fn over_tls(site: Site, request: &'static str) -> Client {
    let stream = TcpStream::connect(site.https).await.expect("a connection");
    let mut stream = site.tls.connect(stream, HOST).await.expect("a handshake");
    stream.write_all(request.as_bytes()).await.expect("the gateway reads");
    stream.flush().await.expect("the gateway reads");
    Client::Raw(stream.into_inner().0)
}

pub(crate) fn attacks() -> Vec<Attack> {
    vec![
        attack("nothing", 40e3, None, |site| Box::pin(raw(site.http, Vec::new()))),
        attack("half a head", 64e3, None, |site| {
            Box::pin(raw(site.http, b"GET /x HTTP/1.1\r\nHost: a\r\nX-".to_vec()))
        }),
        attack("30 KB of a head", 256e3, None, |site| Box::pin(raw(site.http, post(30_000, "X-A: ")))),
        attack("a head without end", 256e3, Some("header_too_large"), |site| {
            Box::pin(raw(site.http, post(300_000, "X-A: ")))
        }),
        attack("half a body", 96e3, None, |site| Box::pin(raw(site.http, post(3, "Content-Length: 1000000\r\n\r\n")))),
        attack("a chunk without end", 256e3, None, |site| {
            Box::pin(raw(site.http, post(300_000, "Transfer-Encoding: chunked\r\n\r\n3;")))
        }),
        attack("GET of 3 MB, not read", 256e3, None, |site| {
            Box::pin(raw(site.http, b"GET /x?do=size=3000000 HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec()))
        }),
        attack("100 GETs of 30 KB, not read", 256e3, None, |site| {
            Box::pin(raw(site.http, b"GET /x?do=size=30000 HTTP/1.1\r\nHost: a.example\r\n\r\n".repeat(100)))
        }),
        attack("bad requests", 96e3, Some("bad_request"), |site| {
            Box::pin(raw(site.http, b"GET /x HTTP/1.1\r\nHost: a, b\r\n\r\n".to_vec()))
        }),
        attack("h2: nothing", 96e3, None, |site| {
            Box::pin(async move { Client::Frames(frames(&site, 65_535, 0).await) })
        }),
        attack("h2: 100 uploads nobody takes", 2e6, None, |site| Box::pin(uploads(site, 16_000, usize::MAX))).by(FEWER),
        attack("h2: the same, byte by byte", 2e6, Some("data_flood"), |site| Box::pin(uploads(site, 1, 20_000)))
            .by(FEWER),
        attack("h2: 100 GETs of 300 KB, not read", 7e6, None, |site| {
            Box::pin(async move {
                let mut frames = frames(&site, 1 << 24, 1 << 30).await;
                frames.send(&hundred("GET", "/x?do=size=300000")).await.expect("the gateway reads");
                Client::Frames(frames)
            })
        })
        .by(FEW),
        attack("h2: the same, no window", 7e6, None, |site| {
            Box::pin(async move {
                let mut frames = frames(&site, 0, 0).await;
                frames.send(&hundred("GET", "/x?do=size=300000")).await.expect("the gateway reads");
                Client::Frames(frames)
            })
        })
        .by(FEW),
        attack("h2: rapid reset", 256e3, Some("rapid_reset"), |site| {
            Box::pin(flood(site, Vec::new(), |round| {
                let streams = (0..50).map(|n| 1 + 2 * (round * 50 + n));
                let reset = |stream| Frame::new(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes());
                streams.flat_map(|stream| [Frame::get(stream, HOST, "/x"), reset(stream)]).collect()
            }))
        }),
        attack("h2: CONTINUATION without end", 256e3, Some("continuation_flood"), |site| {
            let block = header_block(&[(":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", "/x")]);
            let more = Frame::new(kind::CONTINUATION, 0, 1, &header_block(&[("x-more", "1")]));
            let opening = vec![Frame::new(kind::HEADERS, END_STREAM, 1, &block)];
            Box::pin(flood(site, opening, move |_| vec![more.clone(); 50]))
        }),
        attack("h2: PING without end", 96e3, Some("ping_flood"), |site| {
            Box::pin(flood(site, Vec::new(), |_| vec![Frame::new(kind::PING, 0, 0, &[0; 8]); 50]))
        }),
        attack("TLS: half a ClientHello", 64e3, None, |site| {
            // A record that says it is 500 bytes long, and a message of 496 in it.
            Box::pin(raw(site.https, [&[22, 3, 1, 1, 244, 1, 0, 1, 240, 3, 3][..], &[7; 100]].concat()))
        }),
        attack("TLS: a handshake and nothing", 64e3, None, |site| Box::pin(over_tls(site, ""))),
        attack("TLS: GET of 3 MB, not read", 256e3, None, |site| {
            Box::pin(over_tls(site, "GET /x?do=size=3000000 HTTP/1.1\r\nHost: a.example\r\n\r\n"))
        }),
    ]
}

impl Client {
    /// What came, in a word.
    pub(crate) async fn came(self) -> String {
        match self {
            Self::Raw(mut stream) => {
                let mut bytes = vec![0; 64];
                match timeout(WHILE, stream.read(&mut bytes)).await {
                    Err(_) => "nothing".to_owned(),
                    Ok(Err(_)) => "reset".to_owned(),
                    Ok(Ok(0)) => "closed".to_owned(),
                    Ok(Ok(_)) if bytes.starts_with(b"HTTP/1.1 ") => String::from_utf8_lossy(&bytes[9..12]).into_owned(),
                    Ok(Ok(_)) => "TLS".to_owned(),
                }
            }
            Self::Frames(mut frames) => {
                let mut seen = BTreeSet::new();
                let read = async {
                    while let Ok(Some(frame)) = frames.next().await {
                        match frame.kind {
                            kind::HEADERS => seen.insert("answers".to_owned()),
                            kind::RST_STREAM => seen.insert(format!("RST_STREAM {}", frame.error_code().unwrap_or(0))),
                            kind::GOAWAY => seen.insert(format!("GOAWAY {}", frame.error_code().unwrap_or(0))),
                            _ => false,
                        };
                    }
                    seen.insert("closed".to_owned());
                };
                let _ = timeout(WHILE, read).await;
                if seen.is_empty() { "nothing".to_owned() } else { Vec::from_iter(seen).join(", ") }
            }
        }
    }
}
