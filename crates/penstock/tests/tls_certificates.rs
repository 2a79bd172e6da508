//! Certificates of HTTPS listeners: which one a client gets, and their age.

mod support;

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use penstock_testkit::{Backend, Ca, DEADLINE, Identity, TlsClient};
use rustls::SignatureScheme;
use support::Gateway;
use support::tls::{listener, objects, peer_certificate, who};

#[tokio::test]
async fn the_end_of_a_certificate_is_shown_and_warned_of() {
    let ca = Ca::new("test");
    let app = Backend::start("app").await;
    let now = SystemTime::now();
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    // Of a life of 30 seconds the last six are left in three.
    let short = ca.server_between(&["a.example"], now - Duration::from_secs(21), now + Duration::from_secs(9));
    let secrets = [short.secret_yaml("edge", "short"), ca.server(&["b.example"]).secret_yaml("edge", "long")];
    let gateway = Gateway::start(&objects(&[listener("app", "", "short long")], &[&app], &secrets)).await;
    let labels = [("gateway", "edge/shop"), ("listener", "app"), ("secret", "edge/short")];
    #[allow(clippy::cast_precision_loss, reason = "seconds of this century")]
    gateway.wait_metric("penstock_certificate_expiry_timestamp_seconds", &labels, (seconds + 9) as f64).await;
    gateway.wait_for_problem("CertificateExpiresSoon", "edge/short ends at").await;
    gateway.process.wait_for_stderr("edge/short ends at", DEADLINE).await;
    gateway.wait_for_problem("CertificateExpired", "edge/short has expired at").await;
    let lines = gateway.process.stderr();
    let told = lines.iter().filter(|line| line.contains("ends at") && line.contains("CertificateExpiresSoon"));
    assert_eq!(told.count(), 1, "{lines:#?}");
    // A renewed one takes the warning and the old end along.
    let renewed = ca.server(&["a.example"]).secret_yaml("edge", "short");
    gateway.replace(&objects(&[listener("app", "", "short long")], &[&app], &[renewed, secrets[1].clone()]));
    let solved = |status: &serde_json::Value| status["problems"].as_array().is_some_and(Vec::is_empty);
    gateway.wait_for_status("no problem any more", solved).await;
    // Without the listener's reference there is no series.
    gateway.replace(&objects(&[listener("app", "", "long")], &[&app], &secrets[1..]));
    let look = || async { gateway.metrics().await };
    let gone = |metrics: &penstock_testkit::Metrics| {
        metrics.value("penstock_certificate_expiry_timestamp_seconds", &labels).is_none()
    };
    penstock_testkit::until("the series to go", DEADLINE, look, gone).await;
}

#[tokio::test]
async fn of_several_certificates_a_client_gets_one_that_fits_name_and_key_type() {
    let ca = Ca::new("test");
    let app = Backend::start("app").await;
    let made: [(&str, Identity); 5] = [
        ("other", ca.server(&["other.example"])),
        ("wild", ca.server(&["*.shop.example"])),
        ("exact", ca.server(&["a.shop.example", "A.Upper.Example"])),
        ("exact-rsa", ca.server_rsa(&["a.shop.example"])),
        ("other-rsa", ca.server_rsa(&["other.example", "c.d.shop.example"])),
    ];
    let secrets: Vec<_> = made.iter().map(|(name, identity)| identity.secret_yaml("edge", name)).collect();
    let names = made.each_ref().map(|(name, _)| *name).join(" ");
    let gateway = Gateway::start(&objects(&[listener("app", "", &names)], &[&app], &secrets)).await;
    let any = TlsClient::new(&ca);
    let only_rsa = any.offering(&[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256]);
    let old = TlsClient::tls12(&ca);
    let old_rsa = old.offering(&[SignatureScheme::RSA_PKCS1_SHA256]);
    let gets = async |tls: &TlsClient, host: &str| {
        let leaf = peer_certificate(&gateway, tls, host).await;
        made.iter().find(|(_, identity)| identity.chain()[0].as_ref() == &leaf[..]).map(|(name, _)| *name)
    };
    for tls in [&any, &old] {
        assert_eq!(gets(tls, "a.shop.example").await, Some("exact"));
        assert_eq!(gets(tls, "b.shop.example").await, Some("wild"));
        assert_eq!(gets(tls, "other.example").await, Some("other"));
        assert_eq!(gets(tls, "a.upper.example").await, Some("exact"));
    }
    for tls in [&only_rsa, &old_rsa] {
        assert_eq!(gets(tls, "a.shop.example").await, Some("exact-rsa"));
        assert_eq!(gets(tls, "other.example").await, Some("other-rsa"));
        // An asterisk stands for one label; and a wildcard that the client cannot check is none for it.
        assert_eq!(gets(tls, "c.d.shop.example").await, Some("other-rsa"));
        assert_eq!(gets(tls, "b.shop.example").await, None);
    }
    assert_eq!(who(&gateway, &any.alpn(&["http/1.1"]), "a.shop.example").await, "app");
}

#[tokio::test]
async fn a_policy_decides_about_versions_and_cipher_suites() {
    let ca = Ca::new("test");
    let app = Backend::start("app").await;
    let secret = ca.server(&["a.example", "b.example", "c.example", "d.example"]).secret_yaml("edge", "cert");
    let with = |name: &str, policy: &str| {
        listener(name, &format!("hostNames: [{name}.example],"), "cert")
            .replace("tls: {", &format!("tls: {{policy: {{{policy}}}, "))
    };
    let listeners = [
        with("a", "name: AppGwSslPolicy20170401S"),
        with("b", "name: AppGwSslPolicy20220101S"),
        with("c", "minProtocolVersion: TLSv1_3, cipherSuites: [TLS_CHACHA20_POLY1305_SHA256]"),
        with("d", "cipherSuites: [TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]"),
    ];
    let rules: Vec<_> = ["a", "b", "c", "d"].map(|name| support::tls::to(name, name, "app")).into();
    let mut all = objects(&listeners, &[], &rules);
    all.extend([support::service("app", &[&app]), secret]);
    let gateway = Gateway::start(&all).await;
    let agreed = async |tls: &TlsClient, host: &str| {
        let stream = tokio::net::TcpStream::connect(gateway.addr_of("https")).await.unwrap();
        let stream = tls.connect(stream, host).await.ok()?;
        stream.get_ref().1.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str())
    };
    let (any, old) = (TlsClient::new(&ca), TlsClient::tls12(&ca));
    assert_eq!(agreed(&any, "a.example").await, Some("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"), "no TLS 1.3");
    // The first of the list, though the client would rather have AES-256.
    assert_eq!(agreed(&any, "b.example").await, Some("TLS13_AES_128_GCM_SHA256"));
    assert_eq!(agreed(&old, "b.example").await, Some("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"));
    assert_eq!(agreed(&any, "c.example").await, Some("TLS13_CHACHA20_POLY1305_SHA256"));
    assert_eq!(agreed(&old, "c.example").await, None);
    assert_eq!(agreed(&old, "d.example").await, Some("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"));
    gateway.wait_for_problem("UnsupportedValue", "not offered: TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256").await;
    gateway
        .wait_for_problem("UnsupportedValue", "\"AppGwSslPolicy20170401S\": of it are not offered: TLS_ECDHE_RSA")
        .await;
}

#[tokio::test]
async fn an_ocsp_response_in_the_secret_is_stapled() {
    let ca = Ca::new("test");
    let app = Backend::start("app").await;
    let plain = ca.server(&["a.example"]).secret_yaml("edge", "cert");
    // Successful, and nothing else: what is in it is between authority and client.
    let response = [0x30, 0x03, 0x0a, 0x01, 0x00];
    let stapled = plain.replace("data:\n", "data:\n  tls.ocsp-staple: MAMKAQA=\n");
    let gateway = Gateway::start(&objects(&[listener("app", "", "cert")], &[&app], std::slice::from_ref(&plain))).await;
    let staple = || async {
        let stream = tokio::net::TcpStream::connect(gateway.addr_of("https")).await.unwrap();
        TlsClient::new(&ca).staple(stream, "a.example").await.unwrap()
    };
    assert!(staple().await.is_empty());
    gateway.replace(&objects(&[listener("app", "", "cert")], &[&app], &[stapled]));
    penstock_testkit::until("the response", DEADLINE, staple, |seen| *seen == response).await;
}

#[tokio::test]
async fn no_handshake_fails_while_a_certificate_is_replaced_50_times() {
    let ca = Ca::new("test");
    let app = Backend::start("app").await;
    let made: Vec<Identity> = (0..51).map(|_| ca.server(&["a.example"])).collect();
    let listeners = [listener("app", "", "cert")];
    let gateway = Gateway::start(&objects(&listeners, &[&app], &[])).await;
    gateway.write("secret.yaml", &made[0].secret_yaml("edge", "cert"));
    let first = || async { who(&gateway, &TlsClient::new(&ca), "a.example").await };
    penstock_testkit::until("the first certificate", DEADLINE, first, |seen| seen == "app").await;
    // Before there was a certificate, handshakes failed.
    let refused = || async { gateway.metrics().await.sum("penstock_refused_total", &[("reason", "tls")]).to_string() };
    let before = refused().await;
    let stop = AtomicBool::new(false);
    let seen = Mutex::new(HashSet::new());
    let handshakes = async {
        let mut made = 0_u32;
        while !stop.load(Ordering::Relaxed) {
            // A client of its own has no session: every handshake is a full one. A failed one panics.
            let leaf = peer_certificate(&gateway, &TlsClient::new(&ca), "a.example").await;
            assert!(!leaf.is_empty(), "handshake {made} failed");
            seen.lock().unwrap().insert(leaf);
            made += 1;
        }
        made
    };
    let replacing = async {
        for identity in &made[1..] {
            gateway.write("secret.yaml", &identity.secret_yaml("edge", "cert"));
            let leaf = identity.chain()[0].to_vec();
            let shown = || async { seen.lock().unwrap().contains(&leaf) };
            penstock_testkit::until("the next certificate", DEADLINE, shown, |shown| *shown).await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let ((), one, two) = tokio::join!(replacing, handshakes, async {
        let mut made = 0_u32;
        while !stop.load(Ordering::Relaxed) {
            assert_eq!(who(&gateway, &TlsClient::new(&ca), "a.example").await, "app");
            made += 1;
        }
        made
    });
    assert_eq!(seen.lock().unwrap().len(), 51);
    assert!(one >= 51 && two > 0, "{one} {two}");
    assert_eq!(refused().await, before, "also by the gateway's own count");
}
