//! What is refused before it is routed. Nothing of it reaches a backend, and other connections do not notice.

mod support;

use penstock_testkit::{Backend, Ca, Connection, DEADLINE};
use support::{Gateway, gateway, rule_to, service};

/// Each gets this status, the connection is usable or closed afterwards, and the backend saw nothing.
async fn refused(status: u16, requests: &[(&str, &[u8])]) -> (Backend, Gateway) {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    for (what, bytes) in requests {
        let answer = gateway.raw(bytes).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
    }
    assert_eq!(gateway.get("a.example", "/good").await.status, 200);
    let reached: Vec<_> = backend.requests().into_iter().filter(|r| !matches!(r.path(), "/" | "/good")).collect();
    assert!(reached.is_empty(), "{reached:?}");
    (backend, gateway)
}

#[tokio::test]
async fn hosts_that_are_not_one_host() {
    let (_backend, gateway) = refused(
        400,
        &[
            ("no Host on HTTP/1.1", b"GET /x HTTP/1.1\r\n\r\n"),
            ("two Hosts", b"GET /x HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n"),
            ("the same Host twice", b"GET /x HTTP/1.1\r\nHost: a.example\r\nhost: a.example\r\n\r\n"),
            ("a list", b"GET /x HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n"),
            ("a path in it", b"GET /x HTTP/1.1\r\nHost: a.example/x\r\n\r\n"),
            ("user information", b"GET /x HTTP/1.1\r\nHost: user@a.example\r\n\r\n"),
            ("user information in the target", b"GET http://user@a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n"),
            ("a space", b"GET /x HTTP/1.1\r\nHost: a example\r\n\r\n"),
            ("bytes above ASCII", b"GET /x HTTP/1.1\r\nHost: gr\xfcn.example\r\n\r\n"),
            ("two Hosts on HTTP/1.0", b"GET /x HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
        ],
    )
    .await;
    gateway.wait_metric("penstock_refused_total", &[("reason", "bad_request")], 10.0).await;
}

#[tokio::test]
async fn paths_that_mean_something_else_to_others() {
    refused(
        400,
        &[
            ("a hidden dot segment", b"GET /x/..%2fadmin HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("the same in upper case", b"GET /x/%2E%2E%2Fadmin HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("behind an escaped slash", b"GET /x%2f.. HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("behind an escaped backslash", b"GET /x%5C..%5cadmin HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("a single dot", b"GET /x%2F./y HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("a backslash", b"GET /x\\..\\admin HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("an incomplete escape", b"GET /x%2 HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("no escape", b"GET /x%zz HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("an escaped NUL", b"GET /x%00 HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("an absolute target, too", b"GET http://a/x/..%2fadmin HTTP/1.1\r\nHost: a\r\n\r\n"),
        ],
    )
    .await;
}

#[tokio::test]
async fn framing_that_could_be_understood_in_two_ways() {
    refused(
        400,
        &[
            ("an unknown coding", b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"),
            ("an unknown coding first", b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
            ("chunked twice", b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
            (
                "chunked on two lines",
                b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            ("chunked, not last", b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
            ("chunked on HTTP/1.0", b"POST /x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            ("a word like it", b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
            ("two lengths", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
            ("a length list", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabcd"),
            ("a length with a sign", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc"),
            ("a negative length", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"),
            ("a length in hexadecimal", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc"),
            ("a length above 64 bits", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"),
        ],
    )
    .await;
}

#[tokio::test]
async fn heads_that_are_no_heads() {
    refused(
        400,
        &[
            ("no request line", b"nonsense\r\n\r\n"),
            ("a space before the colon", b"GET /x HTTP/1.1\r\nHost: a\r\nX-A : 1\r\n\r\n"),
            ("no colon", b"GET /x HTTP/1.1\r\nHost: a\r\nX-A\r\n\r\n"),
            ("a NUL in a value", b"GET /x HTTP/1.1\r\nHost: a\r\nX-A: 1\0\r\n\r\n"),
            ("a bare CR in a value", b"GET /x HTTP/1.1\r\nHost: a\r\nX-A: 1\r2\r\n\r\n"),
            ("a folded line", b"GET /x HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n 2\r\n\r\n"),
            ("a line before the first header", b"GET /x HTTP/1.1\r\n X-A: 1\r\nHost: a\r\n\r\n"),
            ("an empty name", b"GET /x HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n"),
            ("a target without slash", b"GET x HTTP/1.1\r\nHost: a\r\n\r\n"),
            ("an unknown version", b"GET /x HTTP/3.7\r\nHost: a\r\n\r\n"),
        ],
    )
    .await;
}

#[tokio::test]
async fn methods_that_no_gateway_serves() {
    refused(
        405,
        &[
            ("CONNECT", b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"),
            ("TRACE", b"TRACE /x HTTP/1.1\r\nHost: a\r\n\r\n"),
        ],
    )
    .await;
}

#[tokio::test]
async fn targets_and_heads_that_are_too_long() {
    let long = |bytes: usize| "x".repeat(bytes);
    let target = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", long(bytes)).into_bytes();
    let header = |bytes: usize| format!("GET /x HTTP/1.1\r\nHost: a\r\nX-A: {}\r\n\r\n", long(bytes)).into_bytes();
    let many = |count: usize| {
        let lines: String = (0..count).map(|n| format!("X-{n}: 1\r\n")).collect();
        format!("GET /x HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
    };
    let (_backend, gateway) =
        refused(414, &[("a little over 32 KiB", &target(33_000)), ("far over", &target(60_000))]).await;
    gateway.wait_metric("penstock_refused_total", &[("reason", "uri_too_long")], 2.0).await;
    let (_backend, gateway) = refused(
        431,
        &[("a little over 32 KiB", &header(33_000)), ("far over", &header(200_000)), ("many lines", &many(3_000))],
    )
    .await;
    gateway.wait_metric("penstock_refused_total", &[("reason", "header_too_large")], 3.0).await;
    for fits in [target(31_000), header(31_000), many(90)] {
        assert_eq!(gateway.raw(fits).await.status, 200);
    }
}

#[tokio::test]
async fn chunks_that_are_none_break_only_their_own_request() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    for body in
        ["zz\r\nabc\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n", "fffffffffffffffff\r\nabc", "-1\r\nabc\r\n0\r\n\r\n"]
    {
        let mut connection = gateway.connect().await;
        let head = "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        connection.send_raw(format!("{head}{body}").as_bytes()).await.unwrap();
        let end = String::from_utf8_lossy(&connection.closed(DEADLINE).await.unwrap()).into_owned();
        assert!(end.is_empty() || end.starts_with("HTTP/1.1 400 "), "{body:?}: {end}");
    }
    assert_eq!(gateway.get("a", "/good").await.status, 200);
}

#[tokio::test]
async fn nothing_is_smuggled_behind_a_refused_request() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    let mut connection = gateway.connect().await;
    let bytes = "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nContent-Length: 0\r\n\r\n\
                 GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    connection.send_raw(bytes.as_bytes()).await.unwrap();
    assert_eq!(connection.response("POST").await.unwrap().status, 400);
    connection.closed(DEADLINE).await.unwrap();
    // Both lengths: chunks count (RFC 9112 6.3), and what follows them is not taken for a request.
    let mut connection = gateway.connect().await;
    let bytes = "POST /both HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
                 GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    connection.send_raw(bytes.as_bytes()).await.unwrap();
    let answer = connection.response("POST").await.unwrap();
    assert_eq!((answer.status, answer.json()["body_length"].as_u64()), (200, Some(0)));
    connection.closed(DEADLINE).await.unwrap();
    assert_eq!((backend.count("/both"), backend.count("/smuggled")), (1, 0));
}

#[tokio::test]
async fn plain_http_on_an_https_port() {
    let backend = Backend::start("one").await;
    let identity = Ca::new("test").server(&["a.example"]);
    let listener = "listeners: [{name: https, port: $https, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}]";
    let objects =
        [gateway(listener), rule_to("all", "app"), service("app", &[&backend]), identity.secret_yaml("edge", "cert")];
    let gateway = Gateway::start(&objects).await;
    let mut connection = Connection::open(gateway.addr_of("https")).await.unwrap();
    connection.send_raw(b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let answer = connection.response("GET").await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (400, Some("close")));
    assert!(answer.text().contains("https"), "says why: {}", answer.text());
    connection.closed(DEADLINE).await.unwrap();
    assert_eq!(backend.count("/x"), 0);
    gateway.wait_metric("penstock_refused_total", &[("reason", "plain_http")], 1.0).await;
}
