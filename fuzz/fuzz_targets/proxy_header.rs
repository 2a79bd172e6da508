//! Any bytes as a PROXY header: no panic, and bytes that come later take nothing back.
#![no_main]

#[path = "../../crates/dataplane/src/proxy_protocol/parse.rs"]
pub mod parse;

use libfuzzer_sys::fuzz_target;
use parse::{FIXED, MAX_LINE, MAX_REST, Parsed, parse};

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    if let Parsed::Header(header) = whole {
        assert!(header.length <= MAX_LINE.max(FIXED + MAX_REST));
        assert!(bytes[0] == b'\r' || header.length <= bytes.len(), "a line is there to its end");
    }
    for end in 1..bytes.len().min(MAX_LINE + FIXED) {
        match parse(&bytes[..end]) {
            Parsed::Partial => {}
            decided => assert_eq!(decided, whole, "after {end} bytes"),
        }
    }
});
