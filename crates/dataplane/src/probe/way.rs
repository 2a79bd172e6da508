//! How endpoints are asked: one value for all that are asked alike.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use penstock_model::Probe;

use crate::upstream::Connector;

/// A probe definition, ready to be used.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) probe: Probe,
    /// With TLS: made once, because it holds every authority that is trusted.
    pub(super) connector: Option<Arc<Connector>>,
}

impl Way {
    pub(super) fn new(probe: Probe) -> Self {
        let connector = probe.tls.as_ref().map(|tls| Arc::new(Connector::new(tls)));
        Self { probe, connector }
    }
}

impl PartialEq for Way {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.probe == other.probe
    }
}

impl Eq for Way {}

impl Hash for Way {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.probe.hash(state);
    }
}

/// Every way that is in use. Thousands of clusters have few.
#[derive(Debug, Default)]
pub(super) struct Ways(HashMap<Probe, Arc<Way>>);

impl Ways {
    /// The way of this definition.
    pub(super) fn of(&mut self, probe: &Probe) -> Arc<Way> {
        if let Some(way) = self.0.get(probe) {
            return Arc::clone(way);
        }
        // The place of those that nobody uses any more: few are ever new.
        self.0.retain(|_, way| Arc::strong_count(way) > 1);
        let way = Arc::new(Way::new(probe.clone()));
        self.0.insert(probe.clone(), Arc::clone(&way));
        way
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use penstock_model::{ProbeHost, Protocol, Question, UpstreamTls};

    use super::*;

    fn probe(name: &str) -> Probe {
        Probe {
            name: name.into(),
            tls: Some(UpstreamTls::UNVERIFIED),
            protocol: Protocol::Http1,
            host: ProbeHost::OfBackend,
            headers: Vec::new(),
            question: Question::Lives,
            port: None,
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            unhealthy_threshold: 3,
            min_servers: 0,
        }
    }

    #[test]
    fn equal_definitions_share_one_way_and_its_tls() {
        let mut ways = Ways::default();
        let (one, same, other) = (ways.of(&probe("a")), ways.of(&probe("a")), ways.of(&probe("b")));
        assert!(Arc::ptr_eq(&one, &same));
        assert!(!Arc::ptr_eq(&one, &other));
        assert!(one.connector.is_some());
    }

    #[test]
    fn a_way_that_nobody_uses_is_forgotten_when_another_comes() {
        let mut ways = Ways::default();
        let kept = ways.of(&probe("kept"));
        drop(ways.of(&probe("gone")));
        let _new = ways.of(&probe("new"));
        assert_eq!(ways.0.len(), 2);
        assert!(Arc::ptr_eq(&kept, &ways.of(&probe("kept"))));
    }
}
