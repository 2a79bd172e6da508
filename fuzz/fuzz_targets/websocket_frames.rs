//! Any bytes as frames: no panic, where reads end makes no difference, and a boundary that is announced is one.
#![no_main]

#[path = "../../crates/dataplane/src/tunnel/frames.rs"]
pub mod frames;

use frames::{Follower, Sender};
use libfuzzer_sys::fuzz_target;

fn state(follower: &Follower) -> (bool, bool, bool) {
    (follower.at_boundary(), follower.is_broken(), follower.has_closed())
}

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (masked, size, bytes) = input;
    let sender = if masked { Sender::Client } else { Sender::Server };
    let mut whole = Follower::new(sender);
    whole.feed(bytes);
    let mut split = Follower::new(sender);
    for piece in bytes.chunks(usize::from(size).max(1)) {
        if let Some(place) = split.boundary_in(piece) {
            let mut there = split;
            there.feed(&piece[..place]);
            assert!(there.at_boundary());
        }
        split.feed(piece);
    }
    assert_eq!(state(&whole), state(&split));
    let mut again = Follower::new(sender);
    again.feed(frames::going_away(sender));
    assert_eq!(state(&again), (true, false, true), "our own Close is a whole frame");
});
