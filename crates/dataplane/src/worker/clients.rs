//! Connections by the address of the client, over all workers: one client cannot take them all.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use ahash::RandomState;
use hashbrown::HashMap;

/// How many connections each client has. Asked once for each connection, and only where there is a limit.
#[derive(Debug)]
pub(crate) struct Clients {
    limit: u32,
    open: Mutex<HashMap<IpAddr, u32, RandomState>>,
}

/// A connection of a client, for as long as this lives.
#[derive(Debug)]
pub(crate) struct OfClient {
    clients: Arc<Clients>,
    client: IpAddr,
}

impl Clients {
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit, open: Mutex::default() }
    }

    /// One more; `None` when the client has as many as it may have.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<OfClient> {
        let client = who(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(client).or_insert(0);
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(OfClient { clients: Arc::clone(self), client })
    }
}

impl Drop for OfClient {
    fn drop(&mut self) {
        let mut open = self.clients.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}

/// An IPv6 client has at least a /64 to choose addresses from (RFC 6177).
fn who(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_64_bits_is_one_client() {
        let clients = Arc::new(Clients::new(2));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = clients.admit(address("2001:db8::1")).unwrap();
        let _second = clients.admit(address("2001:db8::ffff:1")).unwrap();
        assert!(clients.admit(address("2001:db8::2")).is_none());
        assert!(clients.admit(address("2001:db8:0:1::1")).is_some());
        drop(first);
        assert!(clients.admit(address("2001:db8::3")).is_some());
        assert_eq!(clients.open.lock().unwrap().len(), 1, "who has none takes no memory");
    }

    #[test]
    fn an_ipv4_client_is_the_same_in_both_notations() {
        let clients = Arc::new(Clients::new(1));
        let _first = clients.admit("192.0.2.1".parse().unwrap()).unwrap();
        assert!(clients.admit("::ffff:192.0.2.1".parse().unwrap()).is_none());
        assert!(clients.admit("192.0.2.2".parse().unwrap()).is_some());
    }
}
