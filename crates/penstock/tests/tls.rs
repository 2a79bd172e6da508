//! HTTPS listeners: chosen by server name, their certificates changed under way, broken ones, and what a backend and a
//! WebSocket see of TLS.

mod support;

use penstock_testkit::client::send_tls;
use penstock_testkit::{Backend, Ca, DEADLINE, Identity, Request, TlsClient, WebSocket, until};
use support::tls::{listener, objects, open, who};
use support::{Gateway, rule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn the_server_name_chooses_the_listener() {
    let ca = Ca::new("test");
    let tls = TlsClient::new(&ca);
    let (exact, wild, basic) =
        (Backend::start("exact").await, Backend::start("wild").await, Backend::start("basic").await);
    let listeners = [
        listener("exact", "hostNames: [a.shop.example],", "exact"),
        listener("wild", "hostNames: ['*.shop.example'],", "wild"),
        listener("basic", "", "basic"),
    ];
    let secrets = [
        ca.server(&["a.shop.example"]).secret_yaml("edge", "exact"),
        ca.server(&["*.shop.example"]).secret_yaml("edge", "wild"),
        ca.server(&["other.example"]).secret_yaml("edge", "basic"),
    ];
    let gateway = Gateway::start(&objects(&listeners, &[&exact, &wild, &basic], &secrets)).await;
    assert_eq!(who(&gateway, &tls, "a.shop.example").await, "exact");
    assert_eq!(who(&gateway, &tls, "b.shop.example").await, "wild");
    assert_eq!(who(&gateway, &tls, "other.example").await, "basic");
    // The certificate is the basic listener's, which a client that looks at it does not take.
    let refused = open(&gateway, &tls, "elsewhere.example").await.map(|_| ()).unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");
    let echo = send_tls(gateway.addr_of("https"), &tls, &Request::get("a.shop.example", "/x")).await.unwrap();
    assert_eq!(echo.echoed("x-forwarded-proto"), ["https"]);
    assert_eq!(echo.echoed("x-forwarded-port"), [gateway.port("https").to_string()]);
}

#[tokio::test]
async fn without_a_listener_for_the_name_there_is_no_certificate() {
    let ca = Ca::new("test");
    let tls = TlsClient::new(&ca);
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let secret = ca.server(&["one.example", "two.example", "other.example"]).secret_yaml("edge", "cert");
    let listeners =
        [listener("one", "hostNames: [one.example],", "cert"), listener("two", "hostNames: [two.example],", "cert")];
    let gateway = Gateway::start(&objects(&listeners, &[&one, &two], std::slice::from_ref(&secret))).await;
    assert_eq!(who(&gateway, &tls, "one.example").await, "one");
    for tls in [&tls, &TlsClient::tls12(&ca)] {
        let refused = who(&gateway, tls, "other.example").await;
        assert!(refused.contains("UnrecognisedName"), "RFC 6066 3: {refused}");
    }
    gateway.wait_metric("penstock_refused_total", &[("listener", "none"), ("reason", "tls")], 2.0).await;
    // On the connection of one name, a request for one that nobody has.
    let mut connection = open(&gateway, &tls, "one.example").await.unwrap();
    assert_eq!(connection.exchange(&Request::get("other.example", "/x")).await.unwrap().status, 404);
    assert_eq!(connection.exchange(&Request::get("one.example", "/x")).await.unwrap().status, 200);
    // Where the port has only one listener, clients of any name, or none, at least get to read why.
    gateway.replace(&objects(&listeners[..1], &[&one], &[secret]));
    let look = || async { who(&gateway, &tls, "other.example").await };
    until("an answer", DEADLINE, look, |seen| seen == "404").await;
}

#[tokio::test]
async fn a_request_for_the_host_of_another_listener_is_misdirected() {
    let ca = Ca::new("test");
    let tls = TlsClient::new(&ca);
    let (one, wild, basic) = (Backend::start("one").await, Backend::start("wild").await, Backend::start("basic").await);
    // A client would reuse the connection for each of these names.
    let secret = ca.server(&["one.example", "*.wild.example", "other.example"]).secret_yaml("edge", "cert");
    let listeners = [
        listener("one", "hostNames: [one.example],", "cert"),
        listener("wild", "hostNames: ['*.wild.example'],", "cert"),
        listener("basic", "", "cert"),
    ];
    let gateway = Gateway::start(&objects(&listeners, &[&one, &wild, &basic], &[secret])).await;
    let mut connection = open(&gateway, &tls, "a.wild.example").await.unwrap();
    for (host, status) in [
        ("a.wild.example", 200),
        ("b.wild.example", 200),
        ("one.example", 421),
        ("other.example", 421),
        ("A.Wild.Example", 200),
    ] {
        let answer = connection.exchange(&Request::get(host, "/x")).await.unwrap();
        assert_eq!(answer.status, status, "{host}");
    }
    // Probes ask for another path.
    let asked = |backend: &Backend| backend.requests().iter().any(|request| request.path() == "/x");
    assert!(!asked(&one) && !asked(&basic));
    let labels = [("listener", "one"), ("reason", "misdirected")];
    gateway.wait_metric("penstock_refused_total", &labels, 1.0).await;
    // The handshake of a WebSocket is a request, too.
    let upgrade = Request::get("one.example", "/ws")
        .with("Connection", "Upgrade")
        .with("Upgrade", "websocket")
        .with("Sec-WebSocket-Version", "13")
        .with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(connection.exchange(&upgrade).await.unwrap().status, 421);
}

#[tokio::test]
async fn a_certificate_is_changed_without_breaking_what_is_open() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let app = Backend::start("app").await;
    let listeners = [listener("app", "", "cert")];
    let gateway = Gateway::start(&objects(&listeners, &[&app], &[])).await;
    let secret = |ca: &Ca| ca.server(&["a.example"]).secret_yaml("edge", "cert");
    let (believes_old, believes_new) = (TlsClient::new(&old), TlsClient::new(&new));
    gateway.write("secret.yaml", &secret(&old));
    let first = || async { who(&gateway, &believes_old, "a.example").await };
    until("the first certificate", DEADLINE, first, |seen| seen == "app").await;

    let mut kept = open(&gateway, &believes_old, "a.example").await.unwrap();
    let mut socket = WebSocket::open_tls(gateway.addr_of("https"), &believes_old, "a.example", "/ws").await.unwrap();
    let mut slow = open(&gateway, &believes_old, "a.example").await.unwrap();
    slow.send(&Request::get("a.example", "/slow").behaviour("sse")).await.unwrap();
    assert_eq!(slow.head("GET").await.unwrap().status, 200);

    gateway.write("secret.yaml", &secret(&new));
    let second = || async { who(&gateway, &believes_new, "a.example").await };
    until("the second certificate", DEADLINE, second, |seen| seen == "app").await;
    // A client without a session: one that has a ticket is shown no certificate at all.
    let fresh = TlsClient::new(&old);
    assert!(open(&gateway, &fresh, "a.example").await.is_err(), "new connections get the new one");

    assert_eq!(kept.exchange(&Request::get("a.example", "/x")).await.unwrap().status, 200);
    assert_eq!(socket.echo("still here").await.unwrap(), "still here");
    app.send_event("still here");
    assert_eq!(slow.piece().await.unwrap().unwrap(), b"data: still here\n\n");
}

#[tokio::test]
async fn a_broken_secret_leaves_other_listeners_working() {
    let ca = Ca::new("test");
    let tls = TlsClient::new(&ca);
    let (good, bad) = (Backend::start("good").await, Backend::start("bad").await);
    let fine = ca.server(&["good.example"]).secret_yaml("edge", "good");
    let (identity, other) = (ca.server(&["bad.example"]), ca.server(&["bad.example"]));
    let mismatch = Identity { cert_pem: identity.cert_pem.clone(), key_pem: other.key_pem };
    let no_pem = Identity { cert_pem: "not PEM".to_owned(), key_pem: identity.key_pem.clone() };
    let listeners = [
        listener("good", "hostNames: [good.example],", "good"),
        listener("bad", "hostNames: [bad.example],", "bad"),
        "- {name: http, port: $http, protocol: HTTP}\n".to_owned(),
    ];
    let plain = rule("plain", "listeners: [http]\nbackend: {services: [{name: good, port: 80}]}");
    for (what, broken) in [
        ("a key that does not fit", mismatch.secret_yaml("edge", "bad")),
        ("no PEM", no_pem.secret_yaml("edge", "bad")),
        ("another type", identity.secret_yaml("edge", "bad").replace("kubernetes.io/tls", "Opaque")),
        ("none at all", String::new()),
    ] {
        let more = [plain.clone(), fine.clone(), broken];
        let gateway = Gateway::start(&objects(&listeners, &[&good, &bad], &more)).await;
        assert_eq!(who(&gateway, &tls, "good.example").await, "good", "{what}");
        assert_eq!(gateway.who("bad.example", "/x").await, "good", "{what}");
        let seen = who(&gateway, &tls, "bad.example").await;
        assert!(seen.contains("HandshakeFailure"), "{what}: {seen}");
        gateway.wait_metric("penstock_refused_total", &[("listener", "bad"), ("reason", "tls")], 1.0).await;
        gateway.wait_for_problem("InvalidCertificateRef", "edge/bad").await;
        // Repaired, it works.
        gateway.replace(&objects(
            &listeners,
            &[&good, &bad],
            &[plain.clone(), fine.clone(), identity.secret_yaml("edge", "bad")],
        ));
        let look = || async { who(&gateway, &tls, "bad.example").await };
        until("the repaired listener", DEADLINE, look, |seen| seen == "bad").await;
    }
}

#[tokio::test]
async fn websockets_and_large_bodies_pass() {
    let ca = Ca::new("test");
    let app = Backend::start("app").await;
    let secret = ca.server(&["a.example"]).secret_yaml("edge", "cert");
    let gateway = Gateway::start(&objects(&[listener("app", "", "cert")], &[&app], &[secret])).await;
    for tls in [TlsClient::new(&ca), TlsClient::tls12(&ca)] {
        let mut socket = WebSocket::open_tls(gateway.addr_of("https"), &tls, "a.example", "/ws").await.unwrap();
        let large = "x".repeat(300_000);
        assert_eq!(socket.echo("hello").await.unwrap(), "hello");
        assert!(socket.echo(&large).await.unwrap() == large);
        socket.close(1000, "bye").await.unwrap();
        let mut connection = open(&gateway, &tls, "a.example").await.unwrap();
        let request = Request::post("a.example", "/x", vec![b'x'; 1_000_000]);
        assert_eq!(connection.exchange(&request).await.unwrap().json()["body_length"], 1_000_000);
        let answer = connection.exchange(&Request::get("a.example", "/x").behaviour("size=1000000")).await.unwrap();
        assert_eq!(answer.body.len(), 1_000_000);
    }
    let handshake = app.requests().into_iter().find(|r| r.path() == "/ws").unwrap();
    assert_eq!(handshake.header("x-forwarded-proto"), Some("https"));
}

#[tokio::test]
async fn a_failed_handshake_is_counted_under_its_listener_and_a_connection_without_a_byte_nowhere() {
    const REFUSED: &str = "penstock_refused_total";
    let ca = Ca::new("test");
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let secret = ca.server(&["one.example", "two.example"]).secret_yaml("edge", "cert");
    let listeners =
        [listener("one", "hostNames: [one.example],", "cert"), listener("two", "hostNames: [two.example],", "cert")];
    let gateway = Gateway::start(&objects(&listeners, &[&one, &two], std::slice::from_ref(&secret))).await;
    // No protocol in common: known only when the listener is.
    let picky = TlsClient::new(&ca).alpn(&["nobody-speaks-this"]);
    assert!(open(&gateway, &picky, "two.example").await.is_err());
    gateway.wait_metric(REFUSED, &[("listener", "two"), ("reason", "tls")], 1.0).await;
    // A health check of a load balancer's.
    for reset in [false, true] {
        let check = TcpStream::connect(gateway.addr_of("https")).await.unwrap();
        if reset {
            check.set_zero_linger().unwrap();
        }
    }
    gateway.wait_metric("penstock_connections_total", &[], 3.0).await;
    gateway.wait_metric("penstock_connections_open", &[], 0.0).await;
    assert_eq!(gateway.metrics().await.sum(REFUSED, &[]), 1.0);
    // Where a port has only one listener, all of it is that one's.
    gateway.replace(&objects(&listeners[..1], &[&one], &[secret]));
    let said = || async {
        let mut stream = TcpStream::connect(gateway.addr_of("https")).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: one.example\r\n\r\n").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        gateway.metrics().await.sum(REFUSED, &[("listener", "one"), ("reason", "plain_http")])
    };
    until("plain HTTP to be counted under the listener", DEADLINE, said, |count| *count > 0.5).await;
}

#[tokio::test]
async fn the_end_of_a_connection_is_said_in_tls() {
    let ca = Ca::new("test");
    let app = Backend::start("app").await;
    let secret = ca.server(&["a.example"]).secret_yaml("edge", "cert");
    let gateway = Gateway::start(&objects(&[listener("app", "", "cert")], &[&app], &[secret])).await;
    let tls = TlsClient::new(&ca);
    let mut connection = open(&gateway, &tls, "a.example").await.unwrap();
    let request = Request::get("a.example", "/x").with("Connection", "close").behaviour("body=bye");
    assert_eq!(connection.exchange(&request).await.unwrap().text(), "bye");
    // Without close_notify rustls calls it an error: the end could be anybody's.
    assert!(connection.read_raw().await.unwrap().is_empty());
}
