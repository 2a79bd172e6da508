//! PROXY protocol: whose address a connection has when a trusted proxy says so, and what happens to everything else.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use penstock_testkit::{Backend, Ca, DEADLINE, Request, TlsClient};
use support::{Gateway, gateway, http_gateway, rule_to, service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const REFUSED: &str = "penstock_refused_total";
const TCP4: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";

/// A header of version 2.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("a short header").to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20 | command, family], &length, rest].concat()
}

/// Addresses and ports of an IPv4 connection from 192.0.2.8.
fn inet() -> Vec<u8> {
    vec![192, 0, 2, 8, 198, 51, 100, 1, 0xdc, 4, 1, 187]
}

/// The same of IPv6, from 2001:db8::8.
fn inet6() -> Vec<u8> {
    let address = |last| [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[last]].concat();
    [address(8), address(1), vec![0xdc, 4, 1, 187]].concat()
}

async fn start(flags: &[&str], more: &str) -> (Backend, Gateway) {
    let backend = Backend::start("one").await;
    let objects = [http_gateway(more), rule_to("all", "app"), service("app", &[&backend])];
    let gateway = Gateway::start_with(flags, &objects).await;
    (backend, gateway)
}

async fn required() -> (Backend, Gateway) {
    start(&["--proxy-protocol", "required", "--trusted-proxies", "127.0.0.1"], "").await
}

async fn from(gateway: &Gateway, last: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))).expect("an address of this machine");
    socket.connect(gateway.addr()).await.expect("a connection")
}

/// What comes back for these bytes and a request, until the end.
async fn answer(gateway: &Gateway, last: u8, header: &[u8]) -> String {
    let mut stream = from(gateway, last).await;
    let request = b"GET /x HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n";
    let _ = stream.write_all(&[header, request].concat()).await;
    let mut came = Vec::new();
    let read = stream.read_to_end(&mut came);
    // Bytes that were not read make it a reset.
    let _ = tokio::time::timeout(DEADLINE, read).await.expect("an end");
    String::from_utf8_lossy(&came).into_owned()
}

/// What the backend was told about the client of the last request.
fn told(backend: &Backend) -> String {
    let requests = backend.requests();
    let last = requests.iter().rfind(|request| request.path() == "/x").expect("a request");
    last.header("x-forwarded-for").unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_address_of_a_header_is_the_clients() {
    let (backend, gateway) = required().await;
    let tlvs = [vec![4, 0, 3], b"abc".to_vec(), vec![0xe0, 0x0f, 0], vec![0; 0xf00]].concat();
    for (what, header, client) in [
        ("version 1", TCP4.as_bytes().to_vec(), "192.0.2.7"),
        ("version 1, IPv6", b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n".to_vec(), "2001:db8::7"),
        ("version 1, IPv4 in IPv6", b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n".to_vec(), "192.0.2.7"),
        ("version 2", v2(1, 0x11, &inet()), "192.0.2.8"),
        ("version 2, IPv6", v2(1, 0x21, &inet6()), "2001:db8::8"),
        ("TLVs are skipped", v2(1, 0x11, &[inet(), tlvs].concat()), "192.0.2.8"),
        ("LOCAL", v2(0, 0, &[]), "127.0.0.1"),
        ("LOCAL with an address", v2(0, 0x11, &inet()), "127.0.0.1"),
        ("UNKNOWN", b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        ("UNKNOWN with more", b"PROXY UNKNOWN ffff:f...f whatever\r\n".to_vec(), "127.0.0.1"),
        ("UNSPEC", v2(1, 0, &[]), "127.0.0.1"),
        ("UNIX", v2(1, 0x31, &[b'/'; 216]), "127.0.0.1"),
        ("datagrams", v2(1, 0x12, &inet()), "127.0.0.1"),
    ] {
        let came = answer(&gateway, 1, &header).await;
        assert!(came.starts_with("HTTP/1.1 200 "), "{what}: {came}");
        // The header X-Forwarded-For is the client's own, and the client is no trusted proxy.
        let expected = if client == "127.0.0.1" { "203.0.113.9, 127.0.0.1" } else { client };
        assert_eq!(told(&backend), expected, "{what}");
    }
}

#[tokio::test]
async fn a_header_may_come_in_pieces() {
    let (backend, gateway) = required().await;
    for header in [TCP4.as_bytes().to_vec(), v2(1, 0x11, &[inet(), vec![4, 0, 1, 0]].concat())] {
        let mut stream = from(&gateway, 1).await;
        stream.set_nodelay(true).unwrap();
        for piece in header.chunks(9) {
            stream.write_all(piece).await.unwrap();
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        let known = backend.count("/x");
        stream.write_all(b"GET /x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut came = String::new();
        stream.read_to_string(&mut came).await.unwrap();
        assert!(came.starts_with("HTTP/1.1 200 "), "{came}");
        assert_eq!(backend.count("/x"), known + 1);
        assert!(told(&backend).starts_with("192.0.2."), "{}", told(&backend));
    }
}

#[tokio::test]
async fn what_is_no_header_is_closed_and_counted() {
    let (backend, gateway) = required().await;
    let long = format!("PROXY TCP4 192.0.2.7 198.51.100.1 1 2{}\r\n", " ".repeat(100));
    let wrong_version = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x11, 0x11, 0, 12], &inet()].concat();
    let cases: [(&str, Vec<u8>); 16] = [
        ("none", Vec::new()),
        ("another word", b"PROXYTCP4 192.0.2.7 198.51.100.1 1 2\r\n".to_vec()),
        ("an unknown family", b"PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n".to_vec()),
        ("no address", b"PROXY TCP4 a.example 198.51.100.1 1 2\r\n".to_vec()),
        ("the other family", b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n".to_vec()),
        ("a port with a sign", b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 2\r\n".to_vec()),
        ("a port above 16 bits", b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 2\r\n".to_vec()),
        ("two blanks", b"PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n".to_vec()),
        ("one word too many", b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n".to_vec()),
        ("a bare LF", b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n".to_vec()),
        ("too long", long.into_bytes()),
        ("another version", wrong_version),
        ("an unknown command", v2(2, 0x11, &inet())),
        ("shorter than its addresses", v2(1, 0x21, &inet())),
        ("nothing but the fixed part", v2(1, 0x11, &[])),
        ("longer than 4096", v2(1, 0x11, &[inet(), vec![0; 5000]].concat())),
    ];
    for (what, header) in &cases {
        assert_eq!(answer(&gateway, 1, header).await, "", "{what}");
    }
    let count = f64::from(u32::try_from(cases.len()).unwrap());
    gateway.wait_metric(REFUSED, &[("listener", "http"), ("reason", "proxy_protocol")], count).await;
    assert_eq!(backend.count("/x"), 0);
}

#[tokio::test]
async fn only_trusted_proxies_are_believed() {
    let (backend, gateway) = required().await;
    assert_eq!(answer(&gateway, 2, TCP4.as_bytes()).await, "", "required, and not to be believed");
    assert_eq!(answer(&gateway, 2, b"").await, "");
    gateway.wait_metric(REFUSED, &[("reason", "proxy_protocol")], 2.0).await;
    let (optional, gateway) = start(&["--proxy-protocol", "optional", "--trusted-proxies", "127.0.0.1"], "").await;
    let came = answer(&gateway, 2, TCP4.as_bytes()).await;
    assert!(came.starts_with("HTTP/1.1 400 "), "to strangers it is no HTTP: {came}");
    assert_eq!((backend.count("/x"), optional.count("/x")), (0, 0));
    assert!(answer(&gateway, 2, b"").await.starts_with("HTTP/1.1 200 "));
    assert_eq!(told(&optional), "127.0.0.2");
}

#[tokio::test]
async fn optional_takes_both_and_off_takes_none() {
    let (backend, gateway) = start(&["--proxy-protocol", "optional", "--trusted-proxies", "127.0.0.1"], "").await;
    assert!(answer(&gateway, 1, &v2(1, 0x11, &inet())).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(told(&backend), "192.0.2.8");
    assert!(answer(&gateway, 1, b"").await.starts_with("HTTP/1.1 200 "));
    assert_eq!(told(&backend), "203.0.113.9, 127.0.0.1", "the trusted proxy itself");
    let (_backend, gateway) = start(&["--trusted-proxies", "127.0.0.1"], "").await;
    assert!(answer(&gateway, 1, TCP4.as_bytes()).await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn what_a_gateway_says_goes_before_the_flags() {
    let spec = "clientAddress: {trustedProxies: [127.0.0.0/30], proxyProtocol: Required}";
    let (backend, gateway) = start(&["--proxy-protocol", "off", "--trusted-proxies", "10.0.0.0/8"], spec).await;
    assert!(answer(&gateway, 1, TCP4.as_bytes()).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(told(&backend), "192.0.2.7");
    assert_eq!(answer(&gateway, 1, b"").await, "");
    let status = gateway.status().await;
    assert_eq!(status["problems"].as_array().map(Vec::len), Some(0), "{}", status["problems"]);
}

#[tokio::test]
async fn limits_count_the_clients_and_not_the_proxy() {
    let flags = ["--proxy-protocol", "required", "--trusted-proxies", "127.0.0.1", "--max-connections-per-client", "1"];
    let (_backend, gateway) = start(&flags, "").await;
    let mut held = from(&gateway, 1).await;
    held.write_all(&[TCP4.as_bytes(), b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"].concat()).await.unwrap();
    let mut first = [0; 12];
    held.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    assert_eq!(answer(&gateway, 1, TCP4.as_bytes()).await, "");
    gateway.wait_metric(REFUSED, &[("reason", "client_limit")], 1.0).await;
    assert!(answer(&gateway, 1, &v2(1, 0x11, &inet())).await.starts_with("HTTP/1.1 200 "), "another client");
}

#[tokio::test]
async fn tls_begins_behind_it() {
    let (backend, ca) = (Backend::start("one").await, Ca::new("test"));
    let listener = "listeners: [{name: https, port: $https, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}]";
    let secret = ca.server(&["a.example"]).secret_yaml("edge", "cert");
    let flags = ["--proxy-protocol", "required", "--trusted-proxies", "127.0.0.1"];
    let objects = [gateway(listener), rule_to("all", "app"), service("app", &[&backend]), secret];
    let gateway = Gateway::start_with(&flags, &objects).await;
    let mut stream = TcpStream::connect(gateway.addr_of("https")).await.unwrap();
    stream.write_all(&v2(1, 0x21, &inet6())).await.unwrap();
    let mut stream = TlsClient::new(&ca).connect(stream, "a.example").await.unwrap();
    stream.write_all(&Request::get("a.example", "/x").with("Connection", "close").head_bytes()).await.unwrap();
    let mut came = String::new();
    stream.read_to_string(&mut came).await.unwrap();
    assert!(came.starts_with("HTTP/1.1 200 "), "{came}");
    assert_eq!(told(&backend), "2001:db8::8");
}

#[tokio::test]
async fn a_header_has_ten_seconds() {
    let (_backend, gateway) = required().await;
    let since = Instant::now();
    let mut streams = [from(&gateway, 1).await, from(&gateway, 1).await];
    streams[1].write_all(b"PROXY TCP4 192.0.2.7").await.unwrap();
    for stream in &mut streams {
        let mut came = Vec::new();
        let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut came)).await.expect("an end");
        assert!(came.is_empty());
    }
    assert!(since.elapsed() >= Duration::from_secs(9), "{:?}", since.elapsed());
    gateway.wait_metric(REFUSED, &[("listener", "http"), ("reason", "timeout")], 2.0).await;
}
