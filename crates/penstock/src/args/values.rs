//! Values of flags: one type or parser for each form.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use ipnet::IpNet;

/// Whose Service is in front of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GatewayService {
    /// One for each gateway, kept by the leader
    Own,
    /// None of ours: listeners bind their own ports
    Shared,
}

/// PROXY protocol of gateways that do not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProxyProtocolMode {
    /// Not read
    Off,
    /// Read where it is there
    Optional,
    /// A connection without it is closed
    Required,
}

/// Access log to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccessLogForm {
    /// None
    Off,
    /// One JSON object for each request
    Json,
}

/// Form of the log on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogForm {
    /// For people
    Text,
    /// One JSON object for each event
    Json,
}

impl From<ProxyProtocolMode> for penstock_model::ProxyProtocol {
    fn from(mode: ProxyProtocolMode) -> Self {
        match mode {
            ProxyProtocolMode::Off => Self::Off,
            ProxyProtocolMode::Optional => Self::Optional,
            ProxyProtocolMode::Required => Self::Required,
        }
    }
}

impl From<LogForm> for penstock_runtime::LogFormat {
    fn from(form: LogForm) -> Self {
        match form {
            LogForm::Text => Self::Text,
            LogForm::Json => Self::Json,
        }
    }
}

/// A listener port and the port that is bound in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortMapping {
    /// What the listener says.
    pub(crate) port: u16,
    /// What is bound.
    pub(crate) local: u16,
}

impl FromStr for PortMapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse().ok().filter(|port| *port != 0);
        text.split_once('=')
            .and_then(|(port, local)| Some(Self { port: number(port)?, local: number(local)? }))
            .ok_or_else(|| "it must be PORT=LOCAL with ports from 1 to 65535, such as 80=8080".to_owned())
    }
}

/// `namespace/name` of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamespacedName {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
}

impl FromStr for NamespacedName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if is_label(namespace) && is_label(name) => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err("it must be NAMESPACE/NAME".to_owned()),
        }
    }
}

/// A DNS server: an address, and a port where it is not 53.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResolverAddress(pub(crate) SocketAddr);

impl FromStr for ResolverAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        /// RFC 1035 4.2.
        const PORT: u16 = 53;
        let with_port = text.parse().or_else(|_| text.parse().map(|address: IpAddr| SocketAddr::new(address, PORT)));
        with_port
            .ok()
            .filter(|server| server.port() != 0)
            .map(Self)
            .ok_or_else(|| "it must be an address such as 10.96.0.10, 10.96.0.10:5353 or [fd00::a]:53".to_owned())
    }
}

/// RFC 1123, as namespaces and Services are named.
fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// The name of a namespace.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    if is_label(text) {
        Ok(text.to_owned())
    } else {
        Err("it must be the name of a namespace: lower-case letters, digits and dashes".to_owned())
    }
}

/// A duration in the form that the resources use.
pub(super) fn duration(text: &str) -> Result<Duration, penstock_api::DurationError> {
    penstock_api::Duration::new(text).parse()
}

/// A share of a whole.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    number.ok_or_else(|| "it must be a number from 0 to 1, such as 0.01".to_owned())
}

/// A network; an address alone is a network of one.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse().or_else(|_| text.parse().map(|address: std::net::IpAddr| IpNet::from(address)));
    network.map_err(|_| "it must be a network such as 10.0.0.0/8 or fd00::/8, or an address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_network_of_one() {
        assert_eq!(network("192.0.2.1").unwrap().to_string(), "192.0.2.1/32");
        assert_eq!(network("2001:db8::/32").unwrap().to_string(), "2001:db8::/32");
        assert!(network("example.com").is_err());
    }

    #[test]
    fn names_have_two_parts() {
        let name: NamespacedName = "edge/front".parse().unwrap();
        assert_eq!((name.namespace.as_str(), name.name.as_str()), ("edge", "front"));
        for bad in ["front", "/front", "edge/", "a/b/c", "Edge/front"] {
            assert!(bad.parse::<NamespacedName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_those_of_the_resources() {
        assert_eq!(duration("1m30s").unwrap(), Duration::from_secs(90));
        assert!(duration("90").unwrap_err().to_string().contains("\"90\""));
    }
}
