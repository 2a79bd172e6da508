//! The Service of each gateway: the only record of which local port belongs to which listener port.
//!
//! Every replica reads them ([`table`]); the leader alone keeps them ([`keeper`]).

mod desired;
mod keeper;
mod names;
mod ports;
mod table;

use std::collections::BTreeMap;

use penstock_api::gateway::{ApplicationGatewaySpec, GatewayService};
use penstock_translate::Key;

pub(crate) use keeper::{Keeper, Refusals};
pub(crate) use table::{Table, watch};

/// Whether and how gateways have Services of their own.
#[derive(Clone, Debug)]
pub enum GatewayServices {
    /// One Service per gateway, in Penstock's own namespace.
    Own(OwnServices),
    /// Listeners bind their own ports; the addresses of this Service go into statuses.
    Shared(Option<Key>),
}

/// What the Services of gateways have in common.
#[derive(Clone, Debug, Default)]
pub struct OwnServices {
    /// Labels of the Pods of this release.
    pub selector: BTreeMap<String, String>,
    /// ConfigMap in Penstock's namespace that owns them; they go when it goes.
    pub owner: Option<String>,
    /// What a gateway's `spec.service` leaves open.
    pub defaults: GatewayService,
}

/// Labels `k=v,k=v`, as the chart passes them.
pub fn parse_labels(text: &str) -> Option<BTreeMap<String, String>> {
    let pair = |pair: &str| pair.trim().split_once('=').filter(|(key, _)| !key.is_empty()).map(own);
    text.split(',').filter(|pair| !pair.trim().is_empty()).map(pair).collect()
}

fn own((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// The ports of a gateway's listeners, each once.
fn listener_ports(spec: &ApplicationGatewaySpec) -> Vec<u16> {
    let mut ports: Vec<u16> = spec.listeners.iter().map(|listener| listener.port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_the_environment() {
        let labels = parse_labels("app.kubernetes.io/name=penstock, app.kubernetes.io/instance=edge").unwrap();
        assert_eq!(labels.get("app.kubernetes.io/instance").map(String::as_str), Some("edge"));
        assert_eq!(parse_labels("no label"), None);
        assert_eq!(parse_labels(""), Some(BTreeMap::new()));
    }
}
