//! HTTPS listeners on `$https`, and clients of them.

use penstock_testkit::client::send_tls;
use penstock_testkit::{Backend, Connection, Request, TlsClient};

use super::{Gateway, gateway, rule, service};

/// An HTTPS listener on `$https`.
pub(crate) fn listener(name: &str, hosts: &str, secrets: &str) -> String {
    let refs: Vec<_> = secrets.split_whitespace().map(|secret| format!("{{name: {secret}}}")).collect();
    format!(
        "- {{name: {name}, port: $https, protocol: HTTPS, {hosts} tls: {{certificateRefs: [{}]}}}}\n",
        refs.join(", ")
    )
}

/// A rule for this listener, to this Service.
pub(crate) fn to(name: &str, listener: &str, service: &str) -> String {
    rule(name, &format!("listeners: [{listener}]\nbackend: {{services: [{{name: {service}, port: 80}}]}}"))
}

/// The gateway, a rule for each listener of that name to the Service of that name, and these objects.
pub(crate) fn objects(listeners: &[String], backends: &[&Backend], more: &[String]) -> Vec<String> {
    let mut objects = vec![gateway(&format!("listeners:\n{}", listeners.concat()))];
    for backend in backends {
        objects.push(to(backend.name(), backend.name(), backend.name()));
        objects.push(service(backend.name(), &[backend]));
    }
    objects.extend_from_slice(more);
    objects
}

/// A connection, or what the client's TLS library says.
pub(crate) async fn open(gateway: &Gateway, tls: &TlsClient, name: &str) -> Result<Connection, String> {
    Connection::open_tls(gateway.addr_of("https"), tls, name).await.map_err(|error| format!("{error:#}"))
}

/// Which backend answers, or the status, or why there is no connection.
pub(crate) async fn who(gateway: &Gateway, tls: &TlsClient, host: &str) -> String {
    match send_tls(gateway.addr_of("https"), tls, &Request::get(host, "/x")).await {
        Ok(answer) => answer.header("x-backend").map_or_else(|| answer.status.to_string(), str::to_owned),
        Err(error) => format!("{error:#}"),
    }
}

/// The certificate that a client is shown; empty when there is no handshake.
pub(crate) async fn peer_certificate(gateway: &Gateway, tls: &TlsClient, host: &str) -> Vec<u8> {
    let stream = tokio::net::TcpStream::connect(gateway.addr_of("https")).await.expect("a connection to the gateway");
    let Ok(stream) = tls.connect(stream, host).await else { return Vec::new() };
    let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).expect("a certificate");
    leaf.to_vec()
}
