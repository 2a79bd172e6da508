//! Where a collector is.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, PathAndQuery};

/// What a request for traces is sent to, below the base of an endpoint.
const TRACES: &str = "/v1/traces";

/// A collector's base URL, `http` or `https`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub(crate) https: bool,
    pub(crate) authority: Authority,
    pub(crate) path: PathAndQuery,
}

/// A text that is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be the base URL of a collector that takes OTLP over HTTP, such as http://collector:4318")]
pub struct BadEndpoint;

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        let parts = text.parse::<Uri>().map_err(|_| BadEndpoint)?.into_parts();
        let https = match parts.scheme.as_ref().map(http::uri::Scheme::as_str) {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(BadEndpoint),
        };
        let authority = parts.authority.ok_or(BadEndpoint)?;
        let base = parts.path_and_query.as_ref().map_or("", PathAndQuery::as_str);
        if authority.as_str().contains('@') || authority.host().is_empty() || base.contains('?') {
            return Err(BadEndpoint);
        }
        let path = format!("{}{TRACES}", base.trim_end_matches('/')).parse().map_err(|_| BadEndpoint)?;
        Ok(Self { https, authority, path })
    }
}

impl Endpoint {
    /// Name or address, without brackets.
    pub(crate) fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    pub(crate) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.https { 443 } else { 80 })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_go_below_the_base() {
        for (base, url, host, port) in [
            ("http://collector:4318", "http://collector:4318/v1/traces", "collector", 4318),
            ("http://[::1]:4318/", "http://[::1]:4318/v1/traces", "::1", 4318),
            ("https://example.com/otlp/", "https://example.com/otlp/v1/traces", "example.com", 443),
            ("http://10.0.0.1", "http://10.0.0.1/v1/traces", "10.0.0.1", 80),
        ] {
            let endpoint: Endpoint = base.parse().unwrap();
            assert_eq!((endpoint.to_string().as_str(), endpoint.host(), endpoint.port()), (url, host, port));
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for bad in ["", "collector:4318", "/v1", "grpc://collector:4317", "http://a:b@c", "http://c/?x", "http://:4318"]
        {
            assert_eq!(bad.parse::<Endpoint>(), Err(BadEndpoint), "{bad}");
        }
    }
}
