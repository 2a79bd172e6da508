//! Values of variables.

use std::borrow::Cow;

use base64::Engine as _;
use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderName, HeaderValue, SET_COOKIE};
use http::{HeaderMap, StatusCode, Version, request};
use penstock_model::rewrite::Variable;

use super::Rewritten;
use crate::exchange::Downstream;

/// What is known of a request and stays as it is.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) downstream: &'a Downstream,
    /// As received.
    pub(crate) parts: &'a request::Parts,
    /// Host without port.
    pub(crate) host: &'a str,
    /// Host as received.
    pub(crate) authority: &'a [u8],
    /// The listener's public port.
    pub(crate) port: u16,
}

/// Everything that has a value at one moment.
#[derive(Clone, Copy)]
pub(super) struct Values<'s> {
    pub(super) facts: &'s Facts<'s>,
    pub(super) request: &'s Rewritten<'s>,
    pub(super) answer: Option<(StatusCode, &'s HeaderMap)>,
    /// The one cookie of the answer that it is about.
    pub(super) cookie: Option<&'s HeaderValue>,
}

impl<'s> Values<'s> {
    /// The value of a variable; absent: empty.
    pub(super) fn of(&self, variable: &Variable) -> Cow<'s, str> {
        let Facts { downstream, parts, host, port, .. } = self.facts;
        match variable {
            Variable::RequestHeader(name) if *name == HOST => match &self.request.host {
                Some(host) => String::from_utf8_lossy(host.as_bytes()),
                None => String::from_utf8_lossy(self.facts.authority),
            },
            Variable::RequestHeader(name) => lines(&self.request.headers, name),
            Variable::ResponseHeader(name) => self.response_header(name),
            Variable::Cookie(name) => cookie(&self.request.headers, name),
            Variable::ForwardedFor => lines(&self.request.headers, &HeaderName::from_static("x-forwarded-for")),
            // Also of a proxy in front, as in Azure; who is behind it is in X-Forwarded-For.
            Variable::ClientIp => Cow::Borrowed(&downstream.peer_text),
            Variable::ClientPort => downstream.peer.port().to_string().into(),
            Variable::ClientCertificate(header) => client_certificate(downstream, header),
            Variable::ClientUser => user(&self.request.headers),
            Variable::Host => Cow::Borrowed(host),
            Variable::Method => Cow::Borrowed(parts.method.as_str()),
            Variable::HttpVersion => Cow::Borrowed(version(parts.version)),
            Variable::Status => self.answer.map_or(Cow::Borrowed(""), |(status, _)| status.as_str().to_owned().into()),
            Variable::Query => Cow::Borrowed(self.request.query.as_deref().unwrap_or_default()),
            Variable::Scheme => Cow::Borrowed(if downstream.tls.is_some() { "https" } else { "http" }),
            Variable::RequestUri => Cow::Borrowed(parts.uri.path_and_query().map_or("/", |target| target.as_str())),
            Variable::Path => Cow::Borrowed(&self.request.path),
            Variable::ServerPort => port.to_string().into(),
            // As Azure writes it: TLSv1.3.
            Variable::TlsVersion => {
                downstream.tls.as_ref().and_then(|tls| tls.version).unwrap_or_default().replace('_', ".").into()
            }
            // By its IANA name.
            Variable::TlsCipher => {
                let suite = downstream.tls.as_ref().and_then(|tls| tls.cipher).unwrap_or_default();
                suite.strip_prefix("TLS13_").map_or(suite.into(), |rest| format!("TLS_{rest}").into())
            }
            Variable::TlsEnabled => Cow::Borrowed(if downstream.tls.is_some() { "On" } else { "" }),
        }
    }

    fn response_header(&self, name: &HeaderName) -> Cow<'s, str> {
        match (self.cookie, self.answer) {
            (Some(line), _) if *name == SET_COOKIE => String::from_utf8_lossy(line.as_bytes()),
            (_, Some((_, headers))) => lines(headers, name),
            _ => Cow::Borrowed(""),
        }
    }
}

/// All lines of a header, joined (RFC 9110 5.3).
fn lines<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Cow<'h, str> {
    let mut lines = headers.get_all(name).iter().map(|line| String::from_utf8_lossy(line.as_bytes()));
    let Some(first) = lines.next() else { return Cow::Borrowed("") };
    lines.fold(first, |mut joined, line| {
        joined.to_mut().push_str(", ");
        joined.to_mut().push_str(&line);
        joined
    })
}

/// The first cookie of this name (RFC 6265 4.2.1).
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Cow<'h, str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    Cow::Borrowed(pairs.find(|(found, _)| *found == name).map_or("", |(_, value)| value))
}

/// What a header says of the client's certificate, where one was asked for.
fn client_certificate<'d>(downstream: &'d Downstream, header: &str) -> Cow<'d, str> {
    let client = downstream.tls.as_ref().and_then(|tls| tls.client.as_ref());
    let found = client.and_then(|client| client.headers.iter().find(|(name, _)| *name == header));
    found.map_or(Cow::Borrowed(""), |(_, value)| String::from_utf8_lossy(value))
}

/// The user of Basic authentication (RFC 7617).
fn user(headers: &HeaderMap) -> Cow<'static, str> {
    let decoded = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(token.trim()).ok()?;
        scheme.eq_ignore_ascii_case("basic").then(|| String::from_utf8(bytes).ok())?
    });
    decoded.and_then(|pair| pair.split_once(':').map(|(user, _)| user.to_owned())).unwrap_or_default().into()
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}
