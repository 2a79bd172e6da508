//! The way of one request through a configuration, with the reason at every turn, in words.
//!
//! The same table as in a running process, asked route by route; only the sockets are missing.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use http::{HeaderMap, Method};
use penstock_model::uri::normalize;
use penstock_model::{
    Action, BackendTarget, ClusterId, Config, Forward, Host, HostPattern, Listener, PathMatch, RedirectTarget, Route,
    ValueMatch,
};
use penstock_routing::{Explanation, RouteRequest, Verdict};

use crate::cli::Question;

/// Endpoints of a cluster as they are at this moment, in words.
pub(crate) type Endpoints<'a> = dyn Fn(&ClusterId) -> Vec<String> + 'a;

/// Those that a configuration was made with.
pub(crate) fn configured(config: &Config) -> impl Fn(&ClusterId) -> Vec<String> {
    |id| {
        let endpoints = config.clusters.get(id).map(|cluster| cluster.endpoints.as_slice()).unwrap_or_default();
        endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect()
    }
}

/// What is printed, and whether a route takes the request.
pub(crate) fn answer(config: &Config, asked: &Question, endpoints: &Endpoints<'_>) -> anyhow::Result<(String, bool)> {
    let url = &asked.url;
    let https = match url.scheme_str() {
        Some("http" | "ws") => false,
        Some("https" | "wss") => true,
        _ => bail!("URL {url}: it must be absolute, such as http://shop.example.com/cart"),
    };
    let authority = url.authority().with_context(|| format!("URL {url}: it has no host"))?;
    let port = authority.port_u16().unwrap_or(if https { 443 } else { 80 });
    let mut text = format!("{} {url}\n", asked.method);
    if matches!(asked.method, Method::CONNECT | Method::TRACE) {
        text.push_str("\nrefused with 405: this method is not allowed\n");
        return Ok((text, false));
    }
    let host = Host::parse(authority.as_str()).with_context(|| format!("URL {url}: the host"))?;
    let path = match normalize(if url.path().is_empty() { "/" } else { url.path() }) {
        Ok(normalized) => normalized.path,
        Err(error) => {
            let _ = writeln!(text, "\nrefused with 400: {error}");
            return Ok((text, false));
        }
    };
    let headers: HeaderMap = asked.headers.iter().cloned().collect();
    let mut taken = false;
    for local in local_ports(config, port) {
        let request = RouteRequest {
            port: local,
            host: host.as_str(),
            path: &path,
            query: url.query(),
            method: &asked.method,
            headers: &headers,
        };
        taken |= on_port(&mut text, config, (port, https), &request, endpoints);
    }
    Ok((text, taken))
}

/// The ports that listeners of this public port are bound to. In a cluster each gateway has one of its own, and whose address
/// a client asks decides. One that no listener has by its public port may be known by the local one.
fn local_ports(config: &Config, port: u16) -> BTreeSet<u16> {
    let public = config.listeners.iter().filter(|listener| listener.port == port);
    let local: BTreeSet<u16> = public.map(|listener| listener.bind_port).collect();
    if local.is_empty() { BTreeSet::from([port]) } else { local }
}

/// What the listeners of one port say; and whether a route takes the request.
fn on_port(
    text: &mut String,
    config: &Config,
    (port, https): (u16, bool),
    request: &RouteRequest<'_>,
    endpoints: &Endpoints<'_>,
) -> bool {
    let explanation = Explanation::of(config, request);
    listeners(text, config, (port, request.port), &explanation);
    let Some(listener) = chosen(config, &explanation) else {
        text.push_str("\nanswered with 404: no listener takes this host on this port\n");
        return false;
    };
    if listener.tls.is_some() != https {
        let (wanted, sent) = if https { ("plain HTTP", "TLS") } else { ("HTTPS", "plain HTTP") };
        let _ = writeln!(text, "\nrefused: listener {} expects {wanted}, and this is {sent}", listener.id);
        return false;
    }
    rules(text, listener, &explanation);
    match explanation.winner() {
        Some(route) => end(text, route, endpoints),
        None => text.push_str("\nanswered with 404: no rule takes this request\n"),
    }
    explanation.winner().is_some()
}

fn chosen<'c>(config: &'c Config, explanation: &Explanation) -> Option<&'c Listener> {
    let id = &explanation.listeners.iter().find(|listener| listener.verdict == Verdict::Takes)?.id;
    config.listeners.iter().find(|listener| listener.id == *id).map(AsRef::as_ref)
}

fn listeners(text: &mut String, config: &Config, (port, local): (u16, u16), explanation: &Explanation) {
    if explanation.listeners.is_empty() {
        let mut ports: Vec<u16> = config.listeners.iter().map(|listener| listener.port).collect();
        ports.sort_unstable();
        ports.dedup();
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        let others = if ports.is_empty() { "none at all".to_owned() } else { format!("only on {}", ports.join(", ")) };
        let _ = writeln!(text, "\nno listener on port {port} ({others})");
        return;
    }
    let bound = if local == port { String::new() } else { format!(", which is {local} here") };
    let _ = writeln!(text, "\nlisteners on port {port}{bound}");
    for verdict in &explanation.listeners {
        let _ = writeln!(text, "  {} {}: {}", mark(&verdict.verdict), verdict.id, verdict.verdict);
    }
}

fn rules(text: &mut String, listener: &Listener, explanation: &Explanation) {
    if explanation.routes.is_empty() {
        let _ = writeln!(text, "\nno rules at {}", listener.id);
        return;
    }
    let _ = writeln!(text, "\nrules at {}, in the order in which they are asked", listener.id);
    for verdict in &explanation.routes {
        let _ = writeln!(text, "  {} {}: {}", mark(&verdict.verdict), condition(&verdict.route), verdict.verdict);
    }
}

fn mark(verdict: &Verdict) -> char {
    if *verdict == Verdict::Takes { '>' } else { ' ' }
}

/// A route as its owner knows it: rule, name of the path entry, host and path.
fn condition(route: &Route) -> String {
    let name = route.path_name.as_ref().map(|name| format!(" path {name}")).unwrap_or_default();
    format!("{}{name} ({})", route.rule, takes(route))
}

/// The same with the values of all conditions: what is equal takes the same requests.
pub(crate) fn takes_exactly(route: &Route) -> String {
    let value = |value: &ValueMatch| match value {
        ValueMatch::Exact(text) => format!("={text}"),
        ValueMatch::Regex(pattern) => format!("~{}", pattern.as_str()),
    };
    let headers = route.headers.iter().map(|header| format!(" {}{}", header.name, value(&header.value)));
    let queries = route.queries.iter().map(|(name, wanted)| format!(" {name}{}", value(wanted)));
    let values: String = headers.chain(queries).collect();
    format!("{}{values}", takes(route))
}

/// What a route takes: host, path, and further conditions.
pub(crate) fn takes(route: &Route) -> String {
    let host = match &route.host {
        HostPattern::Any => "any host".to_owned(),
        HostPattern::Suffix(suffix) => format!("*{suffix}"),
        HostPattern::Glob(pattern) | HostPattern::Exact(pattern) => pattern.to_string(),
    };
    let path = match &route.path {
        PathMatch::Any => "any path".to_owned(),
        PathMatch::Exact { path, .. } => path.to_string(),
        PathMatch::Prefix { prefix, .. } => format!("{prefix}*"),
        PathMatch::SegmentPrefix { prefix, .. } => format!("{prefix}/*"),
        PathMatch::Regex(pattern) => pattern.as_str().to_owned(),
    };
    let method = route.method.as_ref().map(|method| format!(", {method}")).unwrap_or_default();
    let headers: String = route.headers.iter().map(|header| format!(", header {}", header.name)).collect();
    let queries: String = route.queries.iter().map(|(name, _)| format!(", query {name}")).collect();
    format!("{host}, {path}{method}{headers}{queries}")
}

/// What becomes of the request.
fn end(text: &mut String, route: &Route, endpoints: &Endpoints<'_>) {
    text.push('\n');
    match &*route.action {
        Action::Forward(forward) => forwarded(text, forward, endpoints),
        Action::Respond(status) => {
            let _ = writeln!(text, "answered with {status}");
        }
        Action::Redirect(redirect) => {
            let to = match &redirect.target {
                RedirectTarget::Url { url, fragment } => match fragment {
                    Some(fragment) => format!("{url}#{fragment}"),
                    None => url.to_string(),
                },
                RedirectTarget::Listener { https, port, host } => format!(
                    "{}://{}:{port}",
                    if *https { "https" } else { "http" },
                    host.as_deref().unwrap_or("(the same host)")
                ),
            };
            let kept = match (redirect.include_path, redirect.include_query) {
                (true, true) => " with path and query",
                (true, false) => " with the path",
                (false, true) => " with the query",
                (false, false) => "",
            };
            let _ = writeln!(text, "redirected with {} to {to}{kept}", redirect.status);
        }
    }
}

fn forwarded(text: &mut String, forward: &Forward, endpoints: &Endpoints<'_>) {
    let _ = writeln!(text, "forwarded to pool {} with settings {}", forward.pool, forward.settings);
    if forward.backends.is_empty() {
        text.push_str("  answered with 502: the pool is empty\n");
    }
    for backend in &forward.backends {
        let addresses = match &backend.target {
            BackendTarget::Unavailable(unavailable) => {
                let _ = writeln!(
                    text,
                    "  weight {}: answered with {}: {}",
                    backend.weight, unavailable.status, unavailable.reason
                );
                continue;
            }
            BackendTarget::Cluster(id) => {
                let _ = write!(text, "  weight {}: {}", backend.weight, id.backend);
                endpoints(id)
            }
        };
        let _ = match addresses.as_slice() {
            [] => writeln!(text, ": no ready endpoint, answered with 502"),
            _ => writeln!(text, " at {}", addresses.join(", ")),
        };
    }
}
