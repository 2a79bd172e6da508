//! Tests of whom a listener trusts, and of what it never shows.

use super::*;

fn trusting(networks: &[&str]) -> ClientAddress {
    let trusted_proxies = networks.iter().map(|net| net.parse().expect("a network")).collect();
    ClientAddress { trusted_proxies, proxy_protocol: ProxyProtocol::Off }
}

fn trusts(networks: &[&str], peer: &str) -> bool {
    trusting(networks).trusts(peer.parse().expect("an address"))
}

#[test]
fn nobody_is_trusted_unless_listed() {
    assert!(!ClientAddress::default().trusts("127.0.0.1".parse().unwrap()));
    assert!(!trusts(&["10.0.0.0/8"], "11.0.0.1"));
    assert!(!trusts(&["10.0.0.0/8"], "::1"));
}

#[test]
fn a_network_takes_its_first_and_its_last_address() {
    for peer in ["10.0.0.0", "10.255.255.255"] {
        assert!(trusts(&["192.0.2.1/32", "10.0.0.0/8"], peer), "{peer}");
    }
    assert!(trusts(&["2001:db8::/32"], "2001:db8:ffff::1"));
    assert!(!trusts(&["2001:db8::/32"], "2001:db9::1"));
    // Host bits of the network do not count.
    assert!(trusts(&["10.1.2.3/8"], "10.9.9.9"));
}

#[test]
fn an_ipv4_peer_of_a_dual_stack_socket_is_ipv4() {
    assert!(trusts(&["10.0.0.0/8"], "::ffff:10.1.2.3"));
    assert!(!trusts(&["10.0.0.0/8"], "::ffff:11.1.2.3"));
    // `::/0` means IPv6: it must not take every IPv4 client by way of the mapping.
    assert!(!trusts(&["::/0"], "::ffff:10.1.2.3"));
    assert!(!trusts(&["::/0"], "10.1.2.3"));
}

#[test]
fn debug_output_never_shows_a_key() {
    let (chain, key) = (b"CHAIN"[..].into(), b"KEY"[..].into());
    let shown = format!("{:?}", Certificate { secret: "shop/tls".into(), chain, key, not_after: 0, ocsp: None });
    assert_eq!(shown, "Certificate { secret: \"shop/tls\", .. }");
}
