//! TLS sessions that are resumed: after a change of the certificate, never on another listener or under another setting, and
//! never past the life of the client's certificate.

mod support;

use std::time::{Duration, SystemTime};

use penstock_testkit::client::send_tls;
use penstock_testkit::{Backend, Ca, DEADLINE, Request, TlsClient, until};
use rustls::HandshakeKind::{self, Full, Resumed};
use support::Gateway;
use support::tls::{listener, objects};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Makes a request on a connection of its own; how its handshake went, and what came of it.
async fn ask(gateway: &Gateway, tls: &TlsClient, port: &str) -> (HandshakeKind, String) {
    let stream = tokio::net::TcpStream::connect(gateway.addr_of(port)).await.expect("a connection");
    let mut stream = tls.connect(stream, "a.example").await.expect("a handshake");
    stream.write_all(b"GET /x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").await.expect("a request");
    let mut answer = String::new();
    // Tickets of TLS 1.3 come with the answer.
    stream.read_to_string(&mut answer).await.expect("an answer");
    let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
    (stream.get_ref().1.handshake_kind().expect("the handshake is over"), status)
}

/// How the next handshake goes.
async fn kind(gateway: &Gateway, tls: &TlsClient, port: &str) -> HandshakeKind {
    let (kind, status) = ask(gateway, tls, port).await;
    assert_eq!(status, "200");
    kind
}

#[tokio::test]
async fn sessions_are_resumed_on_their_listener_only() {
    let ca = Ca::new("test");
    let app = Backend::start("app").await;
    let other = listener("other", "hostNames: [a.example],", "cert").replace("$https", "$other");
    let listeners = [listener("app", "hostNames: [a.example],", "cert"), other.clone()];
    let secret = || ca.server(&["a.example"]).secret_yaml("edge", "cert");
    let more = || vec![support::tls::to("other", "other", "app"), ca.config_map_yaml("edge", "partners"), secret()];
    let gateway = Gateway::start(&objects(&listeners, &[&app], &more())).await;
    for tls in [TlsClient::new(&ca), TlsClient::tls12(&ca)] {
        assert_eq!(kind(&gateway, &tls, "https").await, Full);
        assert_eq!(kind(&gateway, &tls, "https").await, Resumed);
        // The client has a session for this server name, which this listener does not know.
        assert_eq!(kind(&gateway, &tls, "other").await, Full);
        assert_eq!(kind(&gateway, &tls, "other").await, Resumed);
    }
    // A new certificate does not end sessions.
    let (old, fresh) = (TlsClient::new(&ca), TlsClient::new(&ca));
    kind(&gateway, &old, "https").await;
    let leaf = || support::tls::peer_certificate(&gateway, &fresh, "a.example");
    let before = leaf().await;
    gateway.replace(&objects(&listeners, &[&app], &more()));
    let look = || async { support::tls::peer_certificate(&gateway, &TlsClient::new(&ca), "a.example").await };
    until("the new certificate", DEADLINE, look, |leaf| *leaf != before).await;
    assert_eq!(kind(&gateway, &old, "https").await, Resumed);
    // Another setting of client certificates does.
    let auth = "tls: {clientAuth: {mode: Passthrough, caCertificateRefs: [{name: partners}]}, ";
    let asking = [listeners[0].replace("tls: {", auth), other];
    gateway.replace(&objects(&asking, &[&app], &more()));
    let changed = || async {
        let request = Request::get("a.example", "/x");
        let answer = send_tls(gateway.addr_of("https"), &fresh, &request).await;
        answer.map(|answer| answer.echoed("x-client-certificate-verification").len()).unwrap_or_default()
    };
    until("clients to be asked", DEADLINE, changed, |told| *told == 1).await;
    assert_eq!(kind(&gateway, &old, "https").await, Full);
    assert_eq!(kind(&gateway, &old, "https").await, Resumed);
}

#[tokio::test]
async fn a_resumed_session_is_judged_by_its_certificate_anew() {
    let (ca, partners) = (Ca::new("test"), Ca::new("partners"));
    let app = Backend::start("app").await;
    let auth = "tls: {clientAuth: {caCertificateRefs: [{name: partners}]}, ";
    let listeners = [listener("app", "", "cert").replace("tls: {", auth)];
    let secrets = [ca.server(&["a.example"]).secret_yaml("edge", "cert"), partners.config_map_yaml("edge", "partners")];
    let gateway = Gateway::start(&objects(&listeners, &[&app], &secrets)).await;
    let now = SystemTime::now();
    let short = partners.client_between("alice", now - Duration::from_secs(60), now + Duration::from_secs(4));
    let tls = TlsClient::with_identity(&ca, &short);
    assert_eq!(ask(&gateway, &tls, "https").await, (Full, "200".to_owned()));
    assert_eq!(ask(&gateway, &tls, "https").await, (Resumed, "200".to_owned()), "the ticket brings the certificate");
    let look = || ask(&gateway, &tls, "https");
    let (kind, _) = until("the certificate to expire", DEADLINE, look, |(_, status)| status == "400").await;
    assert_eq!(kind, Resumed);
}
