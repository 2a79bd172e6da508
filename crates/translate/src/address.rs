//! Which addresses may be backends: what a tenant writes must lead neither to ourselves nor to the node.

use std::net::{IpAddr, SocketAddr};

use crate::snapshot::{Key, Options, Snapshot};

/// Reason of an address that may not be a backend.
pub(crate) const ADDRESS_NOT_ALLOWED: &str = "AddressNotAllowed";

impl Options {
    /// Whether an address may be a backend; if not, what it is. Ask again after each resolution of a name.
    ///
    /// # Errors
    /// What kind of address it is, such as `a loopback address`.
    pub fn permits(&self, address: IpAddr) -> Result<(), &'static str> {
        let address = address.to_canonical();
        let link_local = match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
        let own = self.forbidden_addresses.iter().any(|forbidden| forbidden.to_canonical() == address);
        let refused = [
            (address.is_loopback() && !self.standalone, "a loopback address"),
            (link_local, "a link-local address"),
            (address.is_unspecified(), "the unspecified address"),
            (address.is_multicast() || broadcast, "a multicast or broadcast address"),
            (own, "the gateway's own or the API server's address"),
        ];
        refused.into_iter().find(|(is, _)| *is).map_or(Ok(()), |(_, what)| Err(what))
    }

    /// The same where the port is known. The API server's own port is refused and no other: on its machine there may be
    /// backends, too.
    ///
    /// # Errors
    /// What kind of address it is.
    pub fn permits_at(&self, address: SocketAddr) -> Result<(), &'static str> {
        if self.api_server.contains(&SocketAddr::new(address.ip().to_canonical(), address.port())) {
            return Err("the API server's address");
        }
        self.permits(address.ip())
    }

    /// These options, and where the API server is: it says so in the endpoints of Service `default/kubernetes`, which can be
    /// read where that namespace is watched.
    #[must_use]
    pub fn with_api_server(&self, snapshot: &Snapshot) -> Self {
        let slices = snapshot.endpoint_slices.get(&Key::new("default", "kubernetes"));
        let slices = slices.into_iter().flatten().filter(|_| !self.standalone);
        let addresses = slices.flat_map(|slice| {
            let ports = slice.ports.iter().flatten().filter_map(|port| u16::try_from(port.port?).ok());
            let ips = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
            let ips: Vec<IpAddr> = ips.filter_map(|ip| ip.parse().ok()).collect();
            ports.flat_map(move |port| ips.clone().into_iter().map(move |ip| SocketAddr::new(ip.to_canonical(), port)))
        });
        Self { api_server: addresses.collect(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_to_ourselves_is_never_a_backend() {
        let options = Options { forbidden_addresses: vec!["10.0.0.9".parse().unwrap()], ..Options::default() };
        let refused =
            ["127.0.0.1", "127.8.0.1", "::1", "169.254.169.254", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1"];
        for text in refused.into_iter().chain(["::ffff:127.0.0.1", "255.255.255.255", "10.0.0.9", "::ffff:10.0.0.9"]) {
            assert!(options.permits(text.parse().unwrap()).is_err(), "{text}");
        }
        for text in ["10.0.0.4", "192.0.2.1", "2001:db8::1", "fd00::1"] {
            assert_eq!(options.permits(text.parse().unwrap()), Ok(()), "{text}");
        }
    }

    #[test]
    fn standalone_allows_loopback_and_nothing_else() {
        let options = Options { standalone: true, ..Options::default() };
        assert_eq!(options.permits("127.0.0.1".parse().unwrap()), Ok(()));
        assert_eq!(options.permits("::1".parse().unwrap()), Ok(()));
        assert!(options.permits("169.254.0.1".parse().unwrap()).is_err());
    }
}
