//! Redirects: to another listener of the gateway, or to a URL.

use http::{StatusCode, Uri};
use penstock_api::gateway::ListenerProtocol;
use penstock_api::reasons::RuleReason;
use penstock_api::rule::{self, RedirectType};
use penstock_model::{HostPattern, Redirect, RedirectTarget};

use crate::finding::Finding;
use crate::gateway::Gateway;

/// Lowers a redirect of a rule that is attached to the listeners with the indices `attached`.
///
/// # Errors
/// Why requests for it are answered with 502.
pub(crate) fn lower(
    redirect: &rule::Redirect,
    place: &str,
    gateway: &Gateway,
    attached: &[usize],
) -> Result<Redirect, Finding> {
    let rule::Redirect { type_, listener, url, include_path, include_query_string } = redirect;
    let (target, keep) = match (listener, url) {
        (Some(name), _) => (to_listener(name, place, gateway, attached)?, true),
        (None, Some(url)) => (to_url(url, place)?, false),
        (None, None) => {
            let message = format!("{place} has neither listener nor url: give one; requests are answered with 502");
            return Err(Finding::partial(RuleReason::InvalidValue.as_str(), message));
        }
    };
    let status = match type_ {
        RedirectType::Permanent => StatusCode::MOVED_PERMANENTLY,
        RedirectType::Found => StatusCode::FOUND,
        RedirectType::SeeOther => StatusCode::SEE_OTHER,
        RedirectType::Temporary => StatusCode::TEMPORARY_REDIRECT,
    };
    Ok(Redirect {
        status,
        target,
        include_path: include_path.unwrap_or(keep),
        include_query: include_query_string.unwrap_or(keep),
    })
}

fn to_listener(name: &str, place: &str, gateway: &Gateway, attached: &[usize]) -> Result<RedirectTarget, Finding> {
    let invalid = |why: &str| {
        let message = format!("{place}.listener {name:?} {why}; requests are answered with 502");
        Finding::partial(RuleReason::InvalidValue.as_str(), message)
    };
    let Some((index, target)) = gateway.listeners.iter().enumerate().find(|(_, listener)| *listener.name == *name)
    else {
        let message = format!(
            "{place}.listener {name:?} is not one of the listeners of ApplicationGateway {}: add it there, or correct the name; requests are answered with 502",
            gateway.key
        );
        return Err(Finding::partial(RuleReason::ListenerNotFound.as_str(), message));
    };
    if attached.contains(&index) {
        return Err(invalid(
            "is one of the rule's own listeners, so clients would come back for ever: name the others in `listeners`",
        ));
    }
    if target.hosts.iter().any(|host| !matches!(host, HostPattern::Exact(_))) {
        return Err(invalid(
            "has a host with a wildcard, which is no place to send clients to: name another listener or a url",
        ));
    }
    let host = match target.hosts.as_slice() {
        [HostPattern::Exact(host)] => Some(host.clone()),
        _ => None,
    };
    Ok(RedirectTarget::Listener { https: target.protocol == ListenerProtocol::Https, port: target.port, host })
}

fn to_url(url: &str, place: &str) -> Result<RedirectTarget, Finding> {
    let invalid = |what: &str| {
        let message = format!("{place}.url {url:?} {what}; requests are answered with 502");
        Finding::partial(RuleReason::InvalidValue.as_str(), message)
    };
    let (address, fragment) = url.split_once('#').map_or((url, None), |(url, fragment)| (url, Some(fragment)));
    let parsed: Option<Uri> = address.parse().ok();
    let absolute = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some();
    let url = parsed.filter(absolute).ok_or_else(|| invalid("is no absolute http or https URL: correct it"))?;
    if fragment.is_some_and(|fragment| !fragment.bytes().all(in_fragment)) {
        return Err(invalid("has a character behind the # that must be percent-encoded (RFC 3986 3.5): encode it"));
    }
    Ok(RedirectTarget::Url { url, fragment: fragment.map(Into::into) })
}

/// RFC 3986 3.5: `pchar`, `/` and `?`; percent-encoded is everything else.
fn in_fragment(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte)
}
