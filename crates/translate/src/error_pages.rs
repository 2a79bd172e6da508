//! Custom error pages: from ConfigMaps of the gateway's namespace. A page that is not there is said; the built-in answer is
//! sent until it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_api::gateway::CustomErrorPage;
use penstock_api::reasons::ListenerReason;
use penstock_model::ErrorPage;

use crate::finding::Finding;
use crate::gateway::Gateway;
use crate::listener::Listener;
use crate::snapshot::{Key, Snapshot};

/// Pages of a listener: the gateway's, and before them its own.
fn pages<'a>(gateway: &'a Gateway, listener: &'a Listener) -> impl Iterator<Item = (String, &'a CustomErrorPage)> {
    let of_all = gateway.error_pages.iter().map(|page| ("customErrorPages".to_owned(), page));
    let own = listener.error_pages.iter();
    of_all.chain(own.map(|page| (format!("listeners[{}].customErrorPages", listener.name), page)))
}

/// The ConfigMaps that a listener's pages are in.
pub(crate) fn keys<'a>(gateway: &'a Gateway, listener: &'a Listener) -> impl Iterator<Item = Key> {
    pages(gateway, listener).map(|(_, page)| key(gateway, page))
}

fn key(gateway: &Gateway, page: &CustomErrorPage) -> Key {
    Key::new(gateway.key.namespace.clone(), page.config_map_ref.name.as_str())
}

/// The pages of a listener, by status code.
pub(crate) fn resolve(
    gateway: &Gateway,
    listener: &Listener,
    snapshot: &Snapshot,
    findings: &mut Vec<Finding>,
) -> BTreeMap<u16, ErrorPage> {
    let mut found = BTreeMap::new();
    for (field, page) in pages(gateway, listener) {
        let (key, name) = (key(gateway, page), page.config_map_ref.key.as_str());
        let map = snapshot.config_maps.get(&key);
        let text = map.and_then(|map| map.data.as_ref()?.get(name)).map(String::as_bytes);
        let body =
            text.or_else(|| map.and_then(|map| map.binary_data.as_ref()?.get(name)).map(|bytes| bytes.0.as_slice()));
        match body {
            Some(body) => {
                found.insert(page.status_code, ErrorPage { content_type: content_type(name), body: Arc::from(body) });
            }
            None => {
                let what = if map.is_some() { format!("has no key {name:?}") } else { "does not exist".to_owned() };
                let message = format!(
                    "{field} for {}: ConfigMap {key} {what}: create it, or correct the reference; the built-in answer is sent",
                    page.status_code
                );
                findings.push(Finding::partial(ListenerReason::ErrorPageNotFound.as_str(), message));
            }
        }
    }
    found
}

/// By the end of the key, as for files.
fn content_type(key: &str) -> &'static str {
    match key.rsplit_once('.').map(|(_, end)| end) {
        Some("json") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "text/html; charset=utf-8",
    }
}
