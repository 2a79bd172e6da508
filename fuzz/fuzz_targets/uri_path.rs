//! Any text as a path: no panic, what is normal stays as it is, and no dot segment is left.
#![no_main]

use libfuzzer_sys::fuzz_target;
use penstock_model::uri::normalize;

fuzz_target!(|text: &str| {
    let Ok(once) = normalize(text) else { return };
    assert!(once.path.starts_with('/'));
    assert!(once.path.split('/').all(|segment| segment != "." && segment != ".."), "{text:?}: {:?}", once.path);
    assert!(!once.path.contains('\\') && !once.path.bytes().any(|byte| byte < 0x20));
    let twice = normalize(&once.path).expect("what is normal is valid");
    assert_eq!(once.path, twice.path, "{text:?}");
    assert!(!twice.dots_removed);
});
