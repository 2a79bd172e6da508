//! Session affinity on the request path: the token of a request's cookie, and the cookies of the answer that begins a
//! session.

use http::header::{COOKIE, HeaderValue, SET_COOKIE};
use http::{HeaderMap, request};
use penstock_model::Affinity;

use crate::cluster::Token;

/// What Azure puts behind the name of the cookie that browsers also send to other sites.
const CORS: &str = "CORS";

/// The token of the first cookie of either name.
pub(crate) fn token(affinity: &Affinity, parts: &request::Parts) -> Option<Token> {
    let lines = parts.headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let ours = |name: &str| name.strip_prefix(&*affinity.cookie).is_some_and(|rest| rest.is_empty() || rest == CORS);
    pairs.filter(|(name, _)| ours(name)).find_map(|(_, value)| Token::parse(value))
}

/// Both cookies: one for the site itself, one for requests from other sites, which browsers take by TLS only.
pub(crate) fn begin(affinity: &Affinity, token: Token, headers: &mut HeaderMap) {
    let (name, token) = (&affinity.cookie, token.hex());
    let secure = if affinity.secure { "; Secure" } else { "" };
    let cookies = [
        format!("{name}={token}; Path=/; HttpOnly{secure}"),
        format!("{name}{CORS}={token}; Path=/; HttpOnly; SameSite=None; Secure"),
    ];
    for cookie in cookies {
        if let Ok(value) = HeaderValue::from_str(&cookie) {
            headers.append(SET_COOKIE, value);
        }
    }
}
