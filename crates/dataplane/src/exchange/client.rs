//! Whose request it is where proxies stand in front.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use penstock_model::ClientAddress;

/// The client that a trusted proxy names: of the addresses in X-Forwarded-For the last that is no trusted proxy's. What
/// stands before it is its own word. Where all are trusted it is the first; what is no address ends the search. So nginx
/// does it: <https://nginx.org/en/docs/http/ngx_http_realip_module.html#real_ip_recursive>.
pub(super) fn behind(proxies: &ClientAddress, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
    let mut client = peer;
    for line in headers.get_all("x-forwarded-for").iter().rev() {
        for hop in line.as_bytes().rsplit(|byte| *byte == b',') {
            let Some(hop) = address(hop) else { return client };
            client = hop;
            if !proxies.trusts(hop) {
                return client;
            }
        }
    }
    client
}

/// An address, in brackets or not, with or without the port that Azure puts behind it.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let plain = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let found = plain.parse().or_else(|_| text.parse::<SocketAddr>().map(|hop| hop.ip()));
    found.ok().map(|hop: IpAddr| hop.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_is_an_address_with_or_without_a_port() {
        let hop = |text: &str| address(text.as_bytes()).map(|hop| hop.to_string());
        for (text, expected) in [
            (" 192.0.2.1 ", "192.0.2.1"),
            ("192.0.2.1:443", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(hop(text).as_deref(), Some(expected), "{text}");
        }
        for bad in ["", "unknown", "_hidden", "192.0.2.1:", "[192.0.2.1", "192.0.2.1:443:443"] {
            assert_eq!(hop(bad), None, "{bad}");
        }
    }
}
