//! Phase one: what is refused before anything is routed.

use std::borrow::Cow;

use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, request};
use penstock_model::Host;
use penstock_model::uri::{Normalized, normalize};

/// Limit of a request head and of its target, each (proxy.md: 431 and 414).
pub(crate) const MAX_HEAD: usize = 32 * 1024;

/// A request that is refused: what the client gets, and under which reason it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// Label `reason` of `penstock_refused_total`.
    pub(crate) reason: &'static str,
    /// For the client, in a sentence.
    pub(crate) detail: &'static str,
}

/// What routing needs to know of a request, all of it checked.
#[derive(Debug)]
pub(crate) struct Valid<'a> {
    /// Host without port; empty where HTTP/1.0 has none.
    pub(crate) host: &'a str,
    /// Host as received, with its port.
    pub(crate) authority: &'a [u8],
    /// The normalized path.
    pub(crate) path: Normalized<'a>,
    /// The query, without the question mark.
    pub(crate) query: Option<&'a str>,
}

const fn bad(detail: &'static str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, reason: "bad_request", detail }
}

/// Checks a request (RFC 9112 3.2 for hosts, 6.1 for codings).
pub(crate) fn validate(parts: &request::Parts) -> Result<Valid<'_>, Refusal> {
    if matches!(parts.method, Method::CONNECT | Method::TRACE) {
        let detail = "this method is not allowed here";
        return Err(Refusal { status: StatusCode::METHOD_NOT_ALLOWED, reason: "method", detail });
    }
    let lines = Lines::of(&parts.headers);
    check_sizes(&parts.uri, lines.size)?;
    if lines.coded {
        check_coding(&parts.headers)?;
    }
    let authority = authority(&parts.uri, &lines, parts.version)?;
    let host = match std::str::from_utf8(authority) {
        Ok("") => "",
        Ok(text) => Host::parse(text).map_err(|_| bad("the Host header is no valid host name"))?.as_str(),
        Err(_) => return Err(bad("the Host header is no valid host name")),
    };
    let target = parts.uri.path_and_query().map_or("/", PathAndQuery::path);
    let path = match normalize(target) {
        Ok(path) => path,
        Err(_) if target.is_empty() => Normalized { path: Cow::Borrowed("/"), dots_removed: false },
        Err(_) => return Err(bad("the path is not valid")),
    };
    Ok(Valid { host, authority, path, query: parts.uri.query() })
}

/// What one pass over the header lines finds: cheaper than a look-up for each name, as most heads are short.
struct Lines<'a> {
    /// Bytes of all lines.
    size: usize,
    /// The first Host and whether there are more.
    host: Option<&'a HeaderValue>,
    more_hosts: bool,
    /// There is a Transfer-Encoding.
    coded: bool,
}

impl<'a> Lines<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut lines = Self { size: 0, host: None, more_hosts: false, coded: false };
        for (name, value) in headers {
            lines.size += name.as_str().len() + value.len() + 4;
            if *name == HOST {
                lines.more_hosts = lines.host.replace(value).is_some();
            } else if *name == TRANSFER_ENCODING {
                lines.coded = true;
            }
        }
        lines
    }
}

fn check_sizes(uri: &Uri, lines: usize) -> Result<(), Refusal> {
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_HEAD {
        let detail = "the request target is longer than 32 KiB";
        return Err(Refusal { status: StatusCode::URI_TOO_LONG, reason: "uri_too_long", detail });
    }
    if target + lines > MAX_HEAD {
        let detail = "the request head is longer than 32 KiB";
        return Err(Refusal {
            status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            reason: "header_too_large",
            detail,
        });
    }
    Ok(())
}

/// The only transfer coding is chunked, said once.
fn check_coding(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut lines = headers.get_all(TRANSFER_ENCODING).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(bad("the only transfer coding understood is chunked")),
    }
}

/// The authority of an absolute target counts, else the one Host header.
fn authority<'a>(uri: &'a Uri, lines: &Lines<'a>, version: Version) -> Result<&'a [u8], Refusal> {
    let host = lines.host;
    if lines.more_hosts {
        return Err(bad("there is more than one Host header"));
    }
    match (uri.authority(), host) {
        // RFC 9113 8.3.1: a Host that names another entity than :authority makes the request malformed.
        (Some(authority), Some(host))
            if version == Version::HTTP_2 && !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) =>
        {
            Err(bad("Host and :authority differ"))
        }
        // RFC 9112 3.2.3: the authority alone is a target for CONNECT only.
        (Some(_), _) if uri.scheme().is_none() => Err(bad("the target is neither a path nor a URL")),
        (Some(authority), _) if authority.as_str().contains('@') => Err(bad("the target has user information")),
        (Some(authority), _) => Ok(authority.as_str().as_bytes()),
        (None, Some(host)) => Ok(host.as_bytes()),
        (None, None) if version == Version::HTTP_10 => Ok(b""),
        (None, None) => Err(bad("there is no Host header")),
    }
}
