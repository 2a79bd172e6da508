//! Any text as a host and as a pattern of hosts: no panic, and patterns mean the same when they are written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use penstock_model::{Host, HostPattern};

fuzz_target!(|input: (&str, &str)| {
    let (pattern, authority) = input;
    let host = Host::parse(authority).ok();
    let Ok(pattern) = HostPattern::parse(pattern) else { return };
    assert!(pattern.covers(&pattern));
    assert_eq!(HostPattern::parse(&pattern.to_string()).as_ref(), Ok(&pattern));
    if let Some(host) = host {
        let matched = pattern.matches(host.as_str());
        if let Ok(exact) = HostPattern::parse(host.as_str()) {
            assert!(!pattern.covers(&exact) || matched || host.as_str().contains(['*', '?']), "{pattern} {}", host.as_str());
        }
    }
});
