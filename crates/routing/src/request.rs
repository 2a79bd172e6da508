//! What a route may ask of a request.

use http::{HeaderMap, Method};
use penstock_model::{Route, ValueMatch};

/// The parts of a request that decide its way.
#[derive(Clone, Copy, Debug)]
pub struct RouteRequest<'a> {
    /// The local port of the connection.
    pub port: u16,
    /// The host, without port and trailing dot, in any case.
    pub host: &'a str,
    /// The normalized path, without query.
    pub path: &'a str,
    /// The query, without the question mark.
    pub query: Option<&'a str>,
    /// The method.
    pub method: &'a Method,
    /// The headers as received.
    pub headers: &'a HeaderMap,
}

impl RouteRequest<'_> {
    /// Whether the conditions beyond host and path fit.
    pub(crate) fn fits(&self, route: &Route) -> bool {
        self.method_fits(route) && self.headers_fit(route) && self.queries_fit(route)
    }

    pub(crate) fn method_fits(&self, route: &Route) -> bool {
        route.method.as_ref().is_none_or(|method| method == self.method)
    }

    pub(crate) fn headers_fit(&self, route: &Route) -> bool {
        route.headers.iter().all(|wanted| {
            let mut lines = self.headers.get_all(&wanted.name).iter();
            match (lines.next(), lines.next()) {
                (None, _) => false,
                (Some(only), None) => only.to_str().is_ok_and(|value| wanted.value.matches(value)),
                // Several lines are one value (RFC 9110 5.3): rare enough to allocate.
                _ => {
                    let lines: Option<Vec<&str>> =
                        self.headers.get_all(&wanted.name).iter().map(|line| line.to_str().ok()).collect();
                    lines.is_some_and(|lines| wanted.value.matches(&lines.join(",")))
                }
            }
        })
    }

    pub(crate) fn queries_fit(&self, route: &Route) -> bool {
        route.queries.iter().all(|(name, value)| self.query_fits(name, value))
    }

    /// The first parameter of a name counts (Gateway API, HTTPQueryParamMatch).
    fn query_fits(&self, name: &str, wanted: &ValueMatch) -> bool {
        let pairs = self.query.unwrap_or_default().split('&');
        let mut decoded = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        decoded.find(|(key, _)| decode(key) == name).is_some_and(|(_, value)| wanted.matches(&decode(value)))
    }
}

/// Percent- and plus-decoding of a query component; bytes that are no UTF-8 are replaced.
fn decode(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return text.into();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        // Digits are asked for, because `from_str_radix` takes a plus sign, too.
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let escaped = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match (byte, escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'+', _) => out.push(b' '),
            (b'%', Some(value)) => {
                out.push(value);
                rest = &after[2..];
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned().into()
}
