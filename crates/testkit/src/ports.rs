//! Free ports that two parallel tests never share.
//!
//! They lie below the ephemeral range, so neither an outgoing connection nor a bind to port 0 can take one between
//! the moment it is handed out and the moment the program under test binds it; and above 19999, which are Penstock's
//! own local ports. A process never hands out a port twice.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static NEXT: Mutex<Option<u16>> = Mutex::new(None);

/// A port that nothing listens on, on any address.
///
/// # Panics
/// When all ports of the range are taken.
#[must_use]
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of `count` free ports in a row.
///
/// # Panics
/// When there is no such row.
#[must_use]
pub fn free_ports(count: u16) -> u16 {
    let mut next = NEXT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // Processes of different ids start at different places, so that test binaries that do run at once stay apart.
    let mut offset =
        next.unwrap_or_else(|| u16::try_from(u64::from(std::process::id()) * 211 % u64::from(COUNT)).unwrap_or(0));
    for _ in 0..COUNT {
        if offset + count > COUNT {
            offset = 0;
        }
        let start = FIRST + offset;
        if (start..start + count).all(is_free) {
            *next = Some(offset + count);
            return start;
        }
        offset += 1;
    }
    panic!("no {count} free ports in a row between {FIRST} and {}", FIRST + COUNT);
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn never_hands_out_a_port_twice() {
        let threads: Vec<_> =
            (0..4).map(|_| std::thread::spawn(|| (0..50).map(|_| free_port()).collect::<Vec<_>>())).collect();
        let ports: Vec<u16> = threads.into_iter().flat_map(|t| t.join().expect("no panic")).collect();
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len());
    }

    #[test]
    fn skips_a_port_in_use() {
        let first = free_port();
        let _held: Vec<_> =
            (first + 1..first + 20).filter_map(|p| TcpListener::bind((Ipv4Addr::LOCALHOST, p)).ok()).collect();
        let row = free_ports(3);
        assert!((row..row + 3).all(is_free));
    }
}
