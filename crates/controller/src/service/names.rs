//! Names and labels of the Services of gateways, and the hash that they and the ports go by.

use penstock_translate::Key;

pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub(super) const CLASS: &str = "penstock.dev/class";
pub(super) const GATEWAY_UID: &str = "penstock.dev/gateway-uid";
pub(super) const GATEWAY_NAMESPACE: &str = "penstock.dev/gateway-namespace";
pub(super) const GATEWAY_NAME: &str = "penstock.dev/gateway-name";

/// FNV-1a with 64 bits: the same in every version of every replica, which no hash of a library promises.
fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The hash of some names; none of them has a slash.
pub(super) fn hash(parts: &[&str]) -> u64 {
    fnv(parts.iter().flat_map(|part| part.bytes().chain(std::iter::once(b'/'))))
}

/// The name of a gateway's Service: the gateway's, cut, and a hash that keeps two apart.
///
/// A Service's name is narrower than a gateway's (RFC 1035): no dots, and a letter first.
pub(super) fn service_name(class: &str, gateway: &Key) -> String {
    let mut name: String = gateway.name.chars().map(|c| if c == '.' { '-' } else { c }).take(40).collect();
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.insert_str(0, "g-");
        name.truncate(40);
    }
    let hash = hash(&[class, &gateway.namespace, &gateway.name]);
    format!("{name}-{:08x}", (hash ^ (hash >> 32)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_services_and_stay_the_same() {
        let name = |gateway: &str| service_name("penstock", &Key::new("edge", gateway));
        assert_eq!(name("shop"), name("shop"));
        assert_ne!(name("shop"), service_name("penstock", &Key::new("other", "shop")));
        assert_ne!(name("shop"), service_name("other", &Key::new("edge", "shop")));
        for gateway in ["shop", "3scale.example.com", &"long.".repeat(50)] {
            let name = name(gateway);
            assert!(name.len() <= 49, "{name}");
            assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name}");
        }
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv("".bytes()), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv("foobar".bytes()), 0x8594_4171_f739_67e8);
        assert_eq!(hash(&["a", "b"]), fnv("a/b/".bytes()));
    }
}
