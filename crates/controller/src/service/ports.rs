//! Which local port a listener port gets: the decision alone, without an API server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use penstock_model::GatewayId;
use tokio::time::Instant;

use super::names::hash;

/// Local ports that gateways get.
pub(super) const RANGE: std::ops::RangeInclusive<u16> = 10000..=19999;

/// How long a freed port goes to no other gateway: kube-proxy may lag, and one tenant's clients must never reach
/// another's listener.
const QUARANTINE: Duration = Duration::from_secs(600);

/// Ports that were freed not long ago, and by whom.
#[derive(Debug, Default)]
pub(super) struct Quarantine(BTreeMap<u16, (GatewayId, Instant)>);

impl Quarantine {
    pub(super) fn free(&mut self, local: u16, gateway: GatewayId, now: Instant) {
        self.0.insert(local, (gateway, now));
    }

    /// Whether a gateway may have a port now.
    fn permits(&self, local: u16, gateway: &GatewayId, now: Instant) -> bool {
        self.0.get(&local).is_none_or(|(last, freed)| last == gateway || *freed + QUARANTINE <= now)
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.0.retain(|_, (_, freed)| *freed + QUARANTINE > now);
    }
}

/// A local port for a listener port: its first choice, else the next free one; `None`: all are taken.
pub(super) fn choose(
    class: &str,
    gateway: &GatewayId,
    port: u16,
    taken: &BTreeSet<u16>,
    quarantine: &Quarantine,
    now: Instant,
) -> Option<u16> {
    let size = u64::from(RANGE.end() - RANGE.start()) + 1;
    let first = hash(&[class, &gateway.namespace, &gateway.name, &port.to_string()]) % size;
    (0..size)
        .map(|step| RANGE.start() + ((first + step) % size) as u16)
        .find(|local| !taken.contains(local) && quarantine.permits(*local, gateway, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(name: &str) -> GatewayId {
        GatewayId::new("edge", name)
    }

    fn pick(gateway: &GatewayId, taken: &[u16], quarantine: &Quarantine, now: Instant) -> Option<u16> {
        choose("penstock", gateway, 443, &taken.iter().copied().collect(), quarantine, now)
    }

    #[test]
    fn the_first_choice_is_always_the_same_and_the_next_one_follows() {
        let (now, none) = (Instant::now(), Quarantine::default());
        let first = pick(&gateway("a"), &[], &none, now).unwrap();
        assert_eq!(pick(&gateway("a"), &[], &none, now), Some(first));
        assert!(RANGE.contains(&first));
        let next = if first == *RANGE.end() { *RANGE.start() } else { first + 1 };
        assert_eq!(pick(&gateway("a"), &[first], &none, now), Some(next));
    }

    #[test]
    fn a_freed_port_goes_to_no_other_gateway_for_ten_minutes() {
        let now = Instant::now();
        let mut quarantine = Quarantine::default();
        let first = pick(&gateway("a"), &[], &quarantine, now).unwrap();
        quarantine.free(first, gateway("b"), now);
        assert_ne!(pick(&gateway("a"), &[], &quarantine, now), Some(first));
        assert_eq!(pick(&gateway("a"), &[], &quarantine, now + QUARANTINE), Some(first));
        quarantine.free(first, gateway("a"), now);
        assert_eq!(pick(&gateway("a"), &[], &quarantine, now), Some(first), "it may go back to the same");
        quarantine.expire(now + QUARANTINE);
        assert!(quarantine.0.is_empty());
    }

    #[test]
    fn a_full_range_has_none() {
        let all: Vec<u16> = RANGE.collect();
        assert_eq!(pick(&gateway("a"), &all, &Quarantine::default(), Instant::now()), None);
    }
}
