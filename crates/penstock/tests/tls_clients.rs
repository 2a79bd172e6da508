//! Certificates of clients: who is let in, what backends learn, and what nobody can pretend.

mod support;

use std::time::{Duration, SystemTime};

use penstock_testkit::{Backend, Ca, DEADLINE, Request, Response, TlsClient, until};
use support::Gateway;
use support::tls::{listener, objects, open};

/// A listener with this name, and that name below `example` as its host, that asks for certificates.
fn asking(name: &str, auth: &str) -> String {
    let plain = listener(name, &format!("hostNames: [{name}.example],"), "cert");
    plain.replace("tls: {", &format!("tls: {{clientAuth: {{{auth}}}, "))
}

const CA: &str = "caCertificateRefs: [{name: partners}]";

/// A server certificate for every host here, and the partners' authority.
fn secrets(ca: &Ca, partners: &Ca) -> [String; 2] {
    let hosts = ["strict.example", "pass.example", "ca.example", "open.example", "lost.example"];
    [ca.server(&hosts).secret_yaml("edge", "cert"), partners.config_map_yaml("edge", "partners")]
}

async fn get(gateway: &Gateway, tls: &TlsClient, host: &str) -> Response {
    let mut connection = open(gateway, tls, host).await.expect("a handshake");
    // Headers of ours, as a client would forge them.
    let forged = Request::get(host, "/x")
        .with("X-Client-Certificate-Verification", "SUCCESS")
        .with("x_client_certificate_subject", "CN=root")
        .with("X-Client-Certificate-Role", "admin");
    connection.exchange(&forged).await.expect("an answer")
}

/// The header `x-client-certificate-NAME` as the backend saw it; none and several are told apart from one.
fn seen(answer: &Response, name: &str) -> String {
    answer.echoed(&format!("x-client-certificate{name}")).join("|")
}

#[tokio::test]
async fn a_strict_listener_answers_400_without_a_good_certificate() {
    let (ca, partners, others) = (Ca::new("test"), Ca::new("partners"), Ca::new("others"));
    let strict = Backend::start("strict").await;
    let listeners = [asking("strict", &format!("mode: Strict, {CA}"))];
    let mut all = objects(&listeners, &[&strict], &secrets(&ca, &partners));
    let listed = listeners.concat();
    let set = "rewriteRuleSets: [{name: who, rules: [{name: a, actions: {requestHeaders: [{name: X-Who, \
               value: '{var_client_certificate_subject}'}]}}]}]\n";
    all[0] = support::gateway(&format!("listeners:\n{listed}{set}"));
    all[1] = support::rule(
        "strict",
        "listeners: [strict]\nrewriteRuleSet: who\nbackend: {services: [{name: strict, port: 80}]}",
    );
    let gateway = Gateway::start(&all).await;
    let now = SystemTime::now();
    let expired = partners.client_between("late", now - Duration::from_secs(90), now - Duration::from_secs(30));
    for (what, tls, text) in [
        ("none", TlsClient::new(&ca), "needs a client certificate"),
        ("another authority", TlsClient::with_identity(&ca, &others.client("eve")), "issuer"),
        ("an expired one", TlsClient::with_identity(&ca, &expired), "expired"),
        ("one for servers", TlsClient::with_identity(&ca, &partners.server(&["x.example"])), "purpose"),
    ] {
        let answer = get(&gateway, &tls, "strict.example").await;
        assert_eq!(answer.status, 400, "{what}");
        assert!(answer.text().contains(text), "{what}: {}", answer.text());
    }
    gateway.wait_metric("penstock_refused_total", &[("reason", "client_certificate")], 4.0).await;
    // Probes ask for another path.
    assert!(strict.requests().iter().all(|request| request.path() != "/x"));
    let identity = partners.client("alice");
    let answer = get(&gateway, &TlsClient::with_identity(&ca, &identity), "strict.example").await;
    assert_eq!(answer.status, 200);
    assert_eq!(seen(&answer, "-verification"), "SUCCESS");
    assert_eq!(seen(&answer, "-subject"), "CN=alice");
    assert_eq!(answer.echoed("x-who"), ["CN=alice"], "Azure's server variables are known, too");
    assert_eq!(seen(&answer, "-issuer"), "CN=partners");
    assert_eq!(seen(&answer, "-role"), "", "no client says anything of certificates");
    assert_eq!(answer.echoed("x_client_certificate_subject"), Vec::<String>::new());
    assert_eq!(seen(&answer, "-fingerprint").len(), 40);
    assert!(!seen(&answer, "-serial").is_empty());
    assert!(seen(&answer, "-end-date").ends_with('Z') && seen(&answer, "-start-date").ends_with('Z'));
    let pem = seen(&answer, "").replace("%20", " ").replace("%0A", "\n");
    let pem = pem.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
    assert_eq!(pem.trim(), identity.cert_pem.replace("\r\n", "\n").trim());
    // In TLS 1.2, too.
    let tls12 = get(&gateway, &TlsClient::tls12(&ca), "strict.example").await;
    assert_eq!(tls12.status, 400);
}

#[tokio::test]
async fn passthrough_lets_the_backend_decide() {
    let (ca, partners, others) = (Ca::new("test"), Ca::new("partners"), Ca::new("others"));
    let (pass, with_ca, plain) =
        (Backend::start("pass").await, Backend::start("ca").await, Backend::start("open").await);
    let listeners = [
        asking("pass", "mode: Passthrough"),
        asking("ca", &format!("mode: Passthrough, {CA}")),
        listener("open", "hostNames: [open.example],", "cert"),
    ];
    let all = objects(&listeners, &[&pass, &with_ca, &plain], &secrets(&ca, &partners));
    let gateway = Gateway::start(&all).await;
    let (nobody, alice, eve) = (
        TlsClient::new(&ca),
        TlsClient::with_identity(&ca, &partners.client("alice")),
        TlsClient::with_identity(&ca, &others.client("eve")),
    );
    let verification = async |tls: &TlsClient, host: &str| {
        let answer = get(&gateway, tls, host).await;
        assert_eq!(answer.status, 200);
        (seen(&answer, "-verification"), seen(&answer, "-subject"))
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let unknown = "FAILED:unable to get local issuer certificate";
    assert_eq!(verification(&nobody, "pass.example").await, pair("NONE", ""));
    assert_eq!(verification(&eve, "pass.example").await, pair(unknown, "CN=eve"));
    assert_eq!(verification(&alice, "ca.example").await, pair("SUCCESS", "CN=alice"));
    assert_eq!(verification(&eve, "ca.example").await, pair(unknown, "CN=eve"));
    // Where nobody is asked, nothing is said, whatever the client says.
    assert_eq!(verification(&alice, "open.example").await, pair("", ""));
}

#[tokio::test]
async fn nobody_passes_by_a_strict_listener() {
    let (ca, partners) = (Ca::new("test"), Ca::new("partners"));
    let (strict, plain, lost) =
        (Backend::start("strict").await, Backend::start("open").await, Backend::start("lost").await);
    let listeners = [
        asking("strict", &format!("mode: Strict, {CA}")),
        listener("open", "", "cert"),
        asking("lost", "mode: Strict, caCertificateRefs: [{name: nowhere}]"),
    ];
    let secrets = secrets(&ca, &partners);
    let backends = [&strict, &plain, &lost];
    let gateway = Gateway::start(&objects(&listeners, &backends, &secrets)).await;
    let (nobody, alice) = (TlsClient::new(&ca), TlsClient::with_identity(&ca, &partners.client("alice")));
    // A connection for another server name is the wrong one, with a certificate or without.
    for tls in [&nobody, &alice] {
        let mut connection = open(&gateway, tls, "open.example").await.unwrap();
        assert_eq!(connection.exchange(&Request::get("open.example", "/x")).await.unwrap().status, 200);
        assert_eq!(connection.exchange(&Request::get("strict.example", "/x")).await.unwrap().status, 421);
    }
    // Without an authority nobody is known.
    assert_eq!(get(&gateway, &alice, "lost.example").await.status, 400);
    gateway.wait_for_problem("InvalidCertificateRef", "ConfigMap edge/nowhere does not exist").await;
    // An authority that goes takes its clients along, also those that are connected: they have to be asked again.
    let mut connection = open(&gateway, &alice, "strict.example").await.unwrap();
    assert_eq!(connection.exchange(&Request::get("strict.example", "/x")).await.unwrap().status, 200);
    let changed = [secrets[0].clone(), Ca::new("new partners").config_map_yaml("edge", "partners")];
    gateway.replace(&objects(&listeners, &backends, &changed));
    let look = || async { get(&gateway, &alice, "strict.example").await.status };
    until("the new authority to count", DEADLINE, look, |status| *status == 400).await;
    assert_eq!(connection.exchange(&Request::get("strict.example", "/x")).await.unwrap().status, 421);
    // A broken server certificate does not hand the host to the listener that takes any.
    gateway.replace(&objects(&listeners, &backends, &[secrets[1].clone(), String::new()]));
    let look = || async { open(&gateway, &nobody, "strict.example").await.is_err() };
    until("no handshake any more", DEADLINE, look, |refused| *refused).await;
    let mut passed = strict.requests().into_iter().filter(|request| request.path() == "/x");
    assert!(passed.all(|request| request.header("host") == Some("strict.example")));
}
