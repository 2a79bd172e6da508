//! An outcome as text that a reader can check by eye.

use std::fmt::Write as _;

use http::HeaderMap;
use penstock_model::rewrite::{Condition, HeaderChange, HeaderRewrite, RewriteRule, UrlRewrite};
use penstock_model::{
    Action, BackendTarget, Cluster, Config, ErrorPage, Forward, HostRewrite, Limits, Listener, OutlierDetection,
    PathOverride, Probe, ProbeHost, Protocol, Question, Rank, Redirect, RedirectTarget, Route, UpstreamTls,
};
use penstock_routing::{RouteRequest, RouteTable};
use penstock_translate::Outcome;
use serde_yaml::{Mapping, Value};

/// The whole outcome as YAML.
pub(crate) fn render(outcome: &Outcome, requests: &[String]) -> String {
    let mut root = Mapping::new();
    let mut put = |name: &str, value: Value| root.insert(name.into(), value);
    put("listeners", list(outcome.config.listeners.iter().map(|item| listener(item))));
    put("clusters", list(outcome.config.clusters.values().map(|item| cluster(item))));
    if !requests.is_empty() {
        put("requests", list(requests.iter().map(|request| answer(&outcome.config, request).into())));
    }
    let mut gateways = Mapping::new();
    for (key, gateway) in &outcome.gateways {
        gateways.insert(key.to_string().into(), status(&gateway.status));
    }
    put("gateways", gateways.into());
    let mut rules = Mapping::new();
    for (key, rule) in &outcome.rules {
        rules.insert(key.to_string().into(), status(&**rule));
    }
    put("rules", rules.into());
    let problems = outcome.problems.iter();
    put("problems", list(problems.map(|p| format!("{} [{}/{}]", p.object, p.condition, p.reason).into())));
    let keys = |keys: &std::collections::BTreeSet<penstock_translate::Key>| {
        list(keys.iter().map(|key| key.to_string().into()))
    };
    let mut wants = Mapping::new();
    wants.insert("secrets".into(), keys(&outcome.wants.secrets));
    wants.insert("pods".into(), keys(&outcome.wants.pods));
    wants.insert("configMaps".into(), keys(&outcome.wants.config_maps));
    put("wants", wants.into());
    serde_yaml::to_string(&root).expect("YAML")
}

fn list(items: impl Iterator<Item = Value>) -> Value {
    Value::Sequence(items.collect())
}

/// A status, conditions on one line each.
fn status<T: serde::Serialize>(status: &T) -> Value {
    let mut value = serde_yaml::to_value(status).expect("a status");
    shorten(&mut value);
    value
}

fn shorten(value: &mut Value) {
    let text =
        |condition: &Value, field: &str| condition.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    match value {
        Value::Mapping(map) => {
            for (name, part) in map.iter_mut() {
                if name.as_str() == Some("conditions") {
                    let conditions = part.as_sequence().expect("conditions").iter().map(|c| {
                        assert_eq!(text(c, "lastTransitionTime"), "1970-01-01T00:00:00Z");
                        let generation = c.get("observedGeneration").and_then(Value::as_i64);
                        let generation = generation.map(|number| format!("@{number}")).unwrap_or_default();
                        let (kind, holds, reason) = (text(c, "type"), text(c, "status"), text(c, "reason"));
                        format!("{kind}{generation}={holds}/{reason}: {}", text(c, "message")).into()
                    });
                    *part = list(conditions.collect::<Vec<Value>>().into_iter());
                } else {
                    shorten(part);
                }
            }
        }
        Value::Sequence(items) => items.iter_mut().for_each(shorten),
        _ => {}
    }
}

fn listener(listener: &Listener) -> Value {
    let Listener { id, port, bind_port, tls, hosts, routes, client_address, error_pages } = listener;
    let mut map = Mapping::new();
    map.insert("id".into(), id.to_string().into());
    map.insert("port".into(), format!("{port} at {bind_port}").into());
    if let Some(tls) = tls {
        let named = |certificate: &std::sync::Arc<penstock_model::Certificate>| {
            format!("{}{}", certificate.secret, if certificate.ocsp.is_some() { " (stapled)" } else { "" })
        };
        let secrets: Vec<String> = tls.certificates.iter().map(named).collect();
        let secrets = if secrets.is_empty() { "no certificate".to_owned() } else { secrets.join(", ") };
        let suites = if tls.cipher_suites.is_empty() { "" } else { " with " };
        let text = format!("{secrets} from {:?}{suites}{}", tls.min_version, tls.cipher_suites.join(" "));
        map.insert("tls".into(), text.into());
        if let Some(auth) = &tls.client_auth {
            let count = String::from_utf8_lossy(&auth.authorities).matches("BEGIN CERTIFICATE").count();
            let mode = if auth.strict { "strict" } else { "passthrough" };
            map.insert("clientAuth".into(), format!("{mode}, {count} authorities").into());
        }
    }
    if !error_pages.is_empty() {
        let page =
            |(code, page): (&u16, &ErrorPage)| format!("{code} {} of {} bytes", page.content_type, page.body.len());
        map.insert("errorPages".into(), list(error_pages.iter().map(|entry| page(entry).into())));
    }
    if !client_address.trusted_proxies.is_empty() || client_address.proxy_protocol != Default::default() {
        let blocks: Vec<String> = client_address.trusted_proxies.iter().map(ToString::to_string).collect();
        let text = format!("trusts {}, PROXY {:?}", blocks.join(", "), client_address.proxy_protocol);
        map.insert("clientAddress".into(), text.into());
    }
    map.insert("hosts".into(), list(hosts.iter().map(|host| host.to_string().into())));
    map.insert("routes".into(), list(routes.iter().map(|item| route(item).into())));
    map.into()
}

fn route(route: &Route) -> String {
    let priority = match route.rank.priority {
        Rank::UNPRIORITIZED => String::new(),
        priority => format!("[{priority}] "),
    };
    let name = route.path_name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let path = match &route.path {
        penstock_model::PathMatch::Exact { path, .. } => format!("={path}"),
        other => other.to_string(),
    };
    format!("{priority}{} {path} by {}{name} -> {}", route.host, route.rule, action(&route.action))
}

fn action(action: &Action) -> String {
    match action {
        Action::Forward(forward) => forwarded(forward),
        Action::Redirect(redirect) => redirected(redirect),
        Action::Respond(status) => format!("answer {}", status.as_u16()),
    }
}

fn forwarded(forward: &Forward) -> String {
    let Forward {
        pool,
        settings,
        backends,
        request_timeout,
        connect_timeout,
        per_try_timeout,
        stream_idle_timeout,
        websocket,
        origin: _,
        retry,
        host,
        path,
        affinity,
        balancing,
        max_body,
        rewrites,
    } = forward;
    assert_eq!(per_try_timeout, &None);
    let backends: Vec<String> = backends
        .iter()
        .map(|backend| match &backend.target {
            BackendTarget::Cluster(id) => format!("{}x {} under {}", backend.weight, id.backend, id.settings),
            BackendTarget::Unavailable(why) => format!("{}x {} {}", backend.weight, why.status.as_u16(), why.reason),
        })
        .collect();
    let mut text = format!("pool {pool} [{}]", backends.join("; "));
    let seconds = |limit: Option<std::time::Duration>| limit.map_or("none".to_owned(), |limit| format!("{limit:?}"));
    let default = |value: &str, usual: &str, name: &str, text: &mut String| {
        if value != usual {
            let _ = write!(text, ", {name} {value}");
        }
    };
    default(settings, "", "settings", &mut text);
    default(&seconds(*request_timeout), "20s", "request", &mut text);
    default(&seconds(*connect_timeout), "5s", "connect", &mut text);
    default(&seconds(*stream_idle_timeout), "300s", "stream idle", &mut text);
    default(&seconds(websocket.idle), &seconds(*request_timeout), "websocket idle", &mut text);
    default(&seconds(websocket.max_duration), "none", "websocket max", &mut text);
    default(
        &format!("{}{}", retry.attempts, if retry.on_timeout { " on timeout" } else { "" }),
        "1",
        "retries",
        &mut text,
    );
    match host {
        HostRewrite::Keep => {}
        HostRewrite::Set(host) => text.push_str(&format!(", host {host}")),
        HostRewrite::FromBackend => text.push_str(", host of the backend"),
    }
    if let PathOverride::ReplacePrefix { literal, with } = path {
        let _ = write!(text, ", path {with} for the first {literal}");
    }
    if let Some(affinity) = affinity {
        let secure = if affinity.secure { " secure" } else { "" };
        let _ = write!(text, ",{secure} cookie {} with key {}", affinity.cookie, affinity.key);
    }
    if let Some(bytes) = max_body {
        let _ = write!(text, ", body at most {bytes}");
    }
    default(&format!("{balancing:?}"), "RoundRobin", "balancing", &mut text);
    if let Some(set) = rewrites {
        let rules: Vec<String> = set.rules.iter().map(rewrite).collect();
        let _ = write!(text, ", rewrites {} [{}]", set.name, rules.join("; "));
    }
    text
}

/// `if`s, then edits, as in a line of a program.
fn rewrite(rule: &RewriteRule) -> String {
    let RewriteRule { conditions, request, response, url } = rule;
    let condition = |condition: &Condition| {
        let Condition { variable, pattern, negate } = condition;
        format!("if {variable:?} {}~ {} ", if *negate { "!" } else { "" }, pattern)
    };
    let header = |side: &str, header: &HeaderRewrite| match &header.edit {
        HeaderChange::Set(value) => format!("{side} {} = {value}", header.name),
        HeaderChange::Append(value) => format!("{side} {} += {value}", header.name),
        HeaderChange::Remove => format!("{side} {} goes", header.name),
    };
    let mut edits: Vec<String> = request.iter().map(|edit| header("request", edit)).collect();
    if let Some(UrlRewrite { path, query, reroute }) = url {
        edits.extend(path.iter().map(|path| format!("path = {path}")));
        edits.extend(query.iter().map(|query| format!("query = {query}")));
        edits.extend(reroute.then(|| "reroute".to_owned()));
    }
    edits.extend(response.iter().map(|edit| header("response", edit)));
    conditions.iter().map(condition).collect::<String>() + &edits.join(", ")
}

fn redirected(redirect: &Redirect) -> String {
    let target = match &redirect.target {
        RedirectTarget::Listener { https, port, host } => {
            let host = host.as_deref().unwrap_or("<host>");
            format!("{}://{host}:{port}", if *https { "https" } else { "http" })
        }
        RedirectTarget::Url { url, fragment } => match fragment {
            Some(fragment) => format!("{url}#{fragment}"),
            None => url.to_string(),
        },
    };
    let kept = |kept: bool, what: &str| if kept { format!(" with {what}") } else { String::new() };
    let (path, query) = (kept(redirect.include_path, "path"), kept(redirect.include_query, "query"));
    format!("{} to {target}{path}{query}", redirect.status.as_u16())
}

fn cluster(cluster: &Cluster) -> Value {
    let Cluster {
        id,
        pool,
        settings,
        source,
        endpoints,
        protocol,
        tls,
        balancing,
        slow_start,
        affinity,
        probe: health,
        draining,
        outlier,
        limits,
    } = cluster;
    let mut map = Mapping::new();
    map.insert("id".into(), format!("{} under {}", id.backend, id.settings).into());
    map.insert("labels".into(), format!("pool {pool}, settings {settings:?}").into());
    map.insert("source".into(), format!("{source:?}").into());
    let endpoints = endpoints.as_slice().iter().map(|endpoint| {
        format!("{}x {} ({})", endpoint.weight, endpoint.address, endpoint.host.as_deref().unwrap_or("-")).into()
    });
    map.insert("endpoints".into(), list(endpoints));
    let how = format!("{protocol:?}, {balancing:?}, drains {:?} spread {:?}", draining.timeout, draining.spread);
    map.insert("how".into(), how.into());
    if let Some(tls) = tls {
        map.insert("tls".into(), trust(tls).into());
    }
    if let Some(key) = affinity {
        map.insert("sessions".into(), format!("key {key}").into());
    }
    if *outlier != OutlierDetection::default() {
        let OutlierDetection { consecutive_failures, ejection_time, max_percent } = outlier;
        let text = format!("out after {consecutive_failures} failures for {ejection_time:?}, at most {max_percent} %");
        map.insert("outliers".into(), text.into());
    }
    if let Some(window) = slow_start {
        map.insert("slowStart".into(), format!("over {window:?}").into());
    }
    if *limits != Limits::default() {
        let text = format!("{:?} connections, {} pending", limits.max_connections, limits.max_pending);
        map.insert("limits".into(), text.into());
    }
    map.insert("probe".into(), health.as_ref().map_or("none".to_owned(), probe).into());
    map.into()
}

fn trust(UpstreamTls { verify, authorities, server_name, subject_alt_names, http2, identity }: &UpstreamTls) -> String {
    let name = server_name.as_deref().unwrap_or("the Host sent");
    let whom = match authorities {
        _ if !verify => "anybody".to_owned(),
        None => "the system's authorities".to_owned(),
        Some(pem) => format!("{} authorities", String::from_utf8_lossy(pem).matches("BEGIN").count()),
    };
    let offers = if *http2 { "" } else { ", in HTTP/1.1" };
    let shows = identity.as_ref().map(|shown| format!(", shows {}", shown.secret)).unwrap_or_default();
    let named = if subject_alt_names.is_empty() { String::new() } else { format!(" named {subject_alt_names:?}") };
    format!("to {name}, trusts {whom}{named}{offers}{shows}")
}

fn probe(probe: &Probe) -> String {
    let Probe {
        name,
        tls,
        protocol,
        host,
        headers,
        question,
        port,
        interval,
        timeout,
        unhealthy_threshold,
        min_servers,
    } = probe;
    let how = match (tls, protocol) {
        (Some(tls), _) => format!(" over TLS {}", trust(tls)),
        (None, Protocol::Http2) => " in HTTP/2".to_owned(),
        (None, Protocol::Http1) => String::new(),
    };
    let host = match host {
        ProbeHost::Named(host) => host,
        ProbeHost::OfBackend => "(backend)",
    };
    let port = port.map(|port| format!(" port {port}")).unwrap_or_default();
    let headers: String = headers.iter().map(|(name, value)| format!(" {name}: {value:?}")).collect();
    let (asked, good) = match question {
        Question::Get { path, accept } => {
            let statuses = accept.statuses.iter().map(|range| format!("{}-{}", range.first, range.last));
            let body = accept.body.as_ref().map(|body| format!(" body {body:?}")).unwrap_or_default();
            (format!("GET {host}{path}"), format!("{}{body}", statuses.collect::<Vec<_>>().join(",")))
        }
        Question::Lives => (format!("GET {host}/"), "100-499".to_owned()),
        Question::Grpc { service } => (format!("gRPC health of {service:?} at {host}"), "SERVING".to_owned()),
    };
    format!(
        "{name}: {asked}{port}{headers}{how} every {interval:?} in {timeout:?}, down after {unhealthy_threshold}, good {good}, at least {min_servers}"
    )
}

/// Which route takes `port host path`.
fn answer(config: &Config, request: &str) -> String {
    let parts: Vec<&str> = request.split(' ').collect();
    let [port, host, path] = parts[..] else { panic!("{request:?} is not `port host path`") };
    let table: RouteTable<()> = RouteTable::compile(config, &RouteTable::default(), |_, _| ());
    let (method, headers) = (http::Method::GET, HeaderMap::new());
    let asked = RouteRequest {
        port: port.parse().expect("a port"),
        host,
        path,
        query: None,
        method: &method,
        headers: &headers,
    };
    let found = match table.find(&asked) {
        Ok(found) => {
            let route = found.route;
            format!("{} {} by {}", route.host, route.path, route.rule)
        }
        Err(penstock_routing::Miss::NoListener) => "no listener".to_owned(),
        Err(penstock_routing::Miss::NoRoute(listener)) => format!("nothing of {}", listener.listener.id),
    };
    format!("{request}: {found}")
}
