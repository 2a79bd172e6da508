//! What is shown of certificates: when each one in use ends. Owned by the plane; a series leaves with its certificate.

use std::collections::BTreeMap;

use penstock_model::Config;

use crate::metrics::Metrics;

/// Values of the labels gateway, listener and secret. What we show to backends has no listener, and is shared by gateways.
type Labels = [String; 3];

/// Series of `penstock_certificate_expiry_timestamp_seconds` that are there.
#[derive(Debug, Default)]
pub(super) struct Expiries(BTreeMap<Labels, i64>);

impl Expiries {
    /// Shows the certificates of a configuration and no others.
    pub(super) fn show(&mut self, config: &Config, metrics: &Metrics) {
        let mut now = BTreeMap::new();
        for listener in &config.listeners {
            for certificate in listener.tls.iter().flat_map(|tls| &tls.certificates) {
                let labels =
                    [listener.id.gateway.to_string(), listener.id.name.to_string(), certificate.secret.to_string()];
                now.insert(labels, certificate.not_after);
            }
        }
        let identities = config.clusters.values().filter_map(|cluster| cluster.tls.as_ref()?.identity.as_ref());
        for certificate in identities {
            now.insert([String::new(), String::new(), certificate.secret.to_string()], certificate.not_after);
        }
        for labels in self.0.keys().filter(|labels| !now.contains_key(*labels)) {
            // It can only be gone already.
            let _ = metrics.certificate_expiry.remove_label_values(labels);
        }
        for (labels, end) in &now {
            metrics.certificate_expiry.with_label_values(labels).set(*end);
        }
        self.0 = now;
    }
}
