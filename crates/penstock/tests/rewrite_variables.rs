//! Every server variable of Azure's list, as a rewrite hands it to a backend; those that are left out are in
//! docs/coming-from-azure.md.

mod support;

use penstock_testkit::{Backend, Ca, Request, TlsClient};
use support::tls::{listener, objects, open};
use support::{Gateway, gateway, rule};

/// Those that are known before the answer.
const OF_REQUESTS: [&str; 24] = [
    "add_x_forwarded_for_proxy",
    "ciphers_used",
    "client_certificate",
    "client_certificate_end_date",
    "client_certificate_fingerprint",
    "client_certificate_issuer",
    "client_certificate_serial",
    "client_certificate_start_date",
    "client_certificate_subject",
    "client_certificate_verification",
    "client_ip",
    "client_port",
    "client_user",
    "host",
    "http_method",
    "http_version",
    "query_string",
    "request_query",
    "request_scheme",
    "request_uri",
    "server_port",
    "ssl_connection_protocol",
    "ssl_enabled",
    "uri_path",
];

/// The header that a variable is sent in.
fn header(variable: &str) -> String {
    format!("x-v-{}", variable.replace('_', "-"))
}

#[tokio::test]
async fn every_server_variable_has_its_value() {
    let (ca, partners, backend) = (Ca::new("test"), Ca::new("partners"), Backend::start("strict").await);
    let auth = "tls: {clientAuth: {mode: Strict, caCertificateRefs: [{name: partners}]}, ";
    let listener = listener("strict", "hostNames: [a.example],", "cert").replace("tls: {", auth);
    let edits: Vec<String> =
        OF_REQUESTS.iter().map(|name| format!("{{name: {}, value: '{{var_{name}}}'}}", header(name))).collect();
    let set = format!(
        "rewriteRuleSets: [{{name: all, rules: [{{name: a, actions: {{requestHeaders: [{}], \
         responseHeaders: [{{name: X-Status, value: '{{var_http_status}} {{http_resp_X-Backend}} {{http_req_X-Own}} {{var_cookie_c}}'}}]}}}}]}}]\n",
        edits.join(", ")
    );
    let secrets = [ca.server(&["a.example"]).secret_yaml("edge", "cert"), partners.config_map_yaml("edge", "partners")];
    let mut all = objects(std::slice::from_ref(&listener), &[&backend], &secrets);
    all[0] = gateway(&format!("listeners:\n{listener}{set}"));
    all[1] = rule("strict", "rewriteRuleSet: all\nbackend: {services: [{name: strict, port: 80}]}");
    let gateway = Gateway::start(&all).await;
    let identity = partners.client("alice");
    let mut connection = open(&gateway, &TlsClient::with_identity(&ca, &identity), "a.example").await.unwrap();
    let port = connection.local_addr().port().to_string();
    let request = Request::get("a.example", "/x/y?a=1&b=2")
        .with("Authorization", "Basic YWxpY2U6c2VjcmV0")
        .with("X-Own", "mine")
        .with("Cookie", "c=crumb");
    let answer = connection.exchange(&request).await.unwrap();
    assert_eq!(answer.header("x-status"), Some("200 strict mine crumb"));
    let seen = |name: &str| answer.echoed(&header(name)).join("|");
    let server_port = gateway.port("https").to_string();
    for (name, value) in [
        ("add_x_forwarded_for_proxy", "127.0.0.1"),
        ("client_certificate_issuer", "CN=partners"),
        ("client_certificate_subject", "CN=alice"),
        ("client_certificate_verification", "SUCCESS"),
        ("client_ip", "127.0.0.1"),
        ("client_port", &port),
        ("client_user", "alice"),
        ("host", "a.example"),
        ("http_method", "GET"),
        ("http_version", "HTTP/1.1"),
        ("query_string", "a=1&b=2"),
        ("request_query", "a=1&b=2"),
        ("request_scheme", "https"),
        ("request_uri", "/x/y?a=1&b=2"),
        ("server_port", &server_port),
        ("ssl_connection_protocol", "TLSv1.3"),
        ("ssl_enabled", "On"),
        ("uri_path", "/x/y"),
    ] {
        assert_eq!(seen(name), value, "{name}");
    }
    assert!(seen("ciphers_used").starts_with("TLS_"), "{}", seen("ciphers_used"));
    assert!(seen("client_certificate").contains("BEGIN%20CERTIFICATE"), "{}", seen("client_certificate"));
    assert_eq!(seen("client_certificate_fingerprint").len(), 40);
    for name in ["client_certificate_serial", "client_certificate_start_date", "client_certificate_end_date"] {
        assert!(!seen(name).is_empty(), "{name}");
    }
}
