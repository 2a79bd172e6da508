//! PROXY protocol v1 and v2, as bytes (the specification of HAProxy, "The PROXY protocol", versions 1 and 2). Needs nothing
//! but the standard library, so that the fuzzer builds it alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What begins a header of version 2. No request of HTTP and no handshake of TLS begins so.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What begins a header of version 1.
const PREFIX: &[u8; 6] = b"PROXY ";
/// The longest line of version 1, with its CRLF (section 2.1).
pub(crate) const MAX_LINE: usize = 107;
/// What stands before the addresses in version 2.
pub(crate) const FIXED: usize = 16;
/// The longest rest of a header of version 2 that is taken: addresses and TLVs.
pub(crate) const MAX_REST: usize = 4096;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// Something else.
    Absent,
    /// A header so far; more must come.
    Partial,
    /// A header.
    Header(Header),
    /// It begins like one and is none.
    Invalid(&'static str),
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// How many bytes it takes; of version 2 more than have come, where the rest is TLVs.
    pub(crate) length: usize,
    /// The client's address; `None` where the proxy speaks for itself (LOCAL), or does not say (UNKNOWN, UNSPEC, UNIX).
    pub(crate) client: Option<SocketAddr>,
}

/// Looks at the bytes that have come so far.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    if begins(bytes, PREFIX) {
        if bytes.len() < PREFIX.len() { Parsed::Partial } else { line(bytes) }
    } else if begins(bytes, SIGNATURE) {
        if bytes.len() < SIGNATURE.len() { Parsed::Partial } else { binary(bytes) }
    } else {
        Parsed::Absent
    }
}

/// Whether `bytes` are the beginning of `all`, or begin with it.
fn begins(bytes: &[u8], all: &[u8]) -> bool {
    let compared = bytes.len().min(all.len());
    compared > 0 && bytes[..compared] == all[..compared]
}

/// Version 1: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n`.
fn line(bytes: &[u8]) -> Parsed {
    let window = &bytes[..bytes.len().min(MAX_LINE)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        let over = window.len() == MAX_LINE;
        return if over { Parsed::Invalid("no end of the line within 107 bytes") } else { Parsed::Partial };
    };
    let header = |client| Parsed::Header(Header { length: end + 2, client });
    let Ok(text) = std::str::from_utf8(&window[PREFIX.len()..end]) else {
        return Parsed::Invalid("the line is not ASCII");
    };
    let mut words = text.split(' ');
    let (family, rest) = (words.next(), [words.next(), words.next(), words.next(), words.next()]);
    match (family, rest) {
        // Whatever follows is not looked at.
        (Some("UNKNOWN"), _) => header(None),
        (Some(family @ ("TCP4" | "TCP6")), [Some(from), Some(to), Some(from_port), Some(to_port)])
            if words.next().is_none() =>
        {
            let address = |text: &str| -> Option<IpAddr> {
                if family == "TCP4" {
                    text.parse::<Ipv4Addr>().ok().map(Into::into)
                } else {
                    text.parse::<Ipv6Addr>().ok().map(Into::into)
                }
            };
            match (address(from), address(to), port(from_port), port(to_port)) {
                (Some(from), Some(_), Some(port), Some(_)) => header(Some(SocketAddr::new(from, port))),
                _ => Parsed::Invalid("an address or a port of the line is none"),
            }
        }
        _ => Parsed::Invalid("the line is neither UNKNOWN, nor TCP4 or TCP6 with two addresses and two ports"),
    }
}

/// Digits only, without leading zeros.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| digits)
}

/// Version 2: the signature, version and command, family, length, addresses, TLVs.
fn binary(bytes: &[u8]) -> Parsed {
    let Some(&[version_command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED) else { return Parsed::Partial };
    let rest = usize::from(u16::from_be_bytes([high, low]));
    if version_command >> 4 != 2 {
        return Parsed::Invalid("the version is not 2");
    }
    if rest > MAX_REST {
        return Parsed::Invalid("it is longer than 4096 bytes");
    }
    let header = |client| Parsed::Header(Header { length: FIXED + rest, client });
    let addresses = match (version_command & 0xf, family) {
        (0, _) => return header(None),
        (1, 0x11) => 12,
        (1, 0x21) => 36,
        // Other families and datagrams: the address of the connection counts (section 2.2).
        (1, _) => return header(None),
        _ => return Parsed::Invalid("the command is neither LOCAL nor PROXY"),
    };
    if rest < addresses {
        return Parsed::Invalid("it is shorter than its addresses");
    }
    let Some(addresses) = bytes.get(FIXED..FIXED + addresses) else { return Parsed::Partial };
    let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
    header(Some(if family == 0x11 {
        let ip: [u8; 4] = [addresses[0], addresses[1], addresses[2], addresses[3]];
        SocketAddr::new(Ipv4Addr::from(ip).into(), port(8))
    } else {
        let mut ip = [0; 16];
        ip.copy_from_slice(&addresses[..16]);
        SocketAddr::new(Ipv6Addr::from(ip).into(), port(32))
    }))
}
