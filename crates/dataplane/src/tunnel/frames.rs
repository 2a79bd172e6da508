//! Follows the frame headers of one direction of a WebSocket (RFC 6455 5.2) through a stream of bytes.
//!
//! Keeps no bytes, only where it stands: a few fields of a header that is not complete, and how much of the payload is to
//! come, which is skipped in one step. That tells a tunnel where one frame ends, so that a Close fits in between, and who
//! said Close first. Bytes that are no frames end it: nothing is refused for that, a tunnel relays whatever it gets.

/// Who sends the frames: a client's are masked, a server's are not (RFC 6455 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Frames with a mask.
    Client,
    /// Frames without.
    Server,
}

/// Where in a frame the next byte lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Between two frames.
    Start,
    /// The byte with the mask bit and the short length.
    Length,
    /// In the 16 or 64 bits of a long length; so many bytes to come.
    Extended(u8),
    /// In the mask; so many bytes to come.
    Mask(u8),
    /// In the payload.
    Payload,
    /// The bytes are no frames.
    Broken,
}

/// A follower of one direction.
#[derive(Clone, Copy, Debug)]
pub struct Follower {
    /// The payload to come, or the part of its length that was read.
    length: u64,
    place: Place,
    sender: Sender,
    /// The frame is a Close.
    closing: bool,
    /// A Close has passed.
    closed: bool,
}

const FIN: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const CONTROL: u8 = 0x08;
const CLOSE: u8 = 0x08;
const MASKED: u8 = 0x80;
/// The longest payload of a control frame (RFC 6455 5.5).
const CONTROL_MAX: u8 = 125;

impl Follower {
    /// Stands before the first frame.
    pub fn new(sender: Sender) -> Self {
        Self { length: 0, place: Place::Start, sender, closing: false, closed: false }
    }

    /// Goes over all of `bytes`.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.place != Place::Broken {
            let taken = self.step(bytes);
            bytes = &bytes[taken..];
        }
    }

    /// Whether one frame is complete and the next has not begun.
    pub fn at_boundary(&self) -> bool {
        self.place == Place::Start
    }

    /// The index of the first boundary in `bytes`, which come next: 0 if it is here, `bytes.len()` if it is right behind.
    pub fn boundary_in(&self, bytes: &[u8]) -> Option<usize> {
        if self.at_boundary() {
            return Some(0);
        }
        let mut probe = *self;
        let taken = probe.step(bytes);
        probe.at_boundary().then_some(taken)
    }

    /// Whether the bytes turned out to be no frames. There are no boundaries from then on.
    pub fn is_broken(&self) -> bool {
        self.place == Place::Broken
    }

    /// Whether a whole Close frame has passed.
    pub fn has_closed(&self) -> bool {
        self.closed
    }

    /// Goes on to the end of the frame, of `bytes`, or of sense; returns how many bytes that took.
    fn step(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(&byte) = bytes.get(taken) {
            if self.place == Place::Payload {
                let rest = (bytes.len() - taken) as u64;
                let skipped = self.length.min(rest);
                self.length -= skipped;
                taken += skipped as usize;
                if self.length == 0 {
                    self.end_frame();
                }
                return taken;
            }
            self.header(byte);
            taken += 1;
            if matches!(self.place, Place::Start | Place::Broken) {
                return taken;
            }
        }
        taken
    }

    /// Takes one byte of a header.
    fn header(&mut self, byte: u8) {
        self.place = match self.place {
            Place::Start => {
                let opcode = byte & OPCODE;
                self.closing = opcode == CLOSE;
                // The three reserved bits belong to extensions, which the two ends agreed on without us.
                let known = matches!(opcode, 0..=2 | 8..=10);
                let fragmented_control = opcode & CONTROL != 0 && byte & FIN == 0;
                // Until the length is known, `length` says whether this is a control frame.
                self.length = u64::from(opcode & CONTROL != 0);
                if known && !fragmented_control { Place::Length } else { Place::Broken }
            }
            Place::Length => {
                let control = self.length != 0;
                let short = byte & !MASKED;
                if (byte & MASKED != 0) != (self.sender == Sender::Client) || (control && short > CONTROL_MAX) {
                    Place::Broken
                } else {
                    self.length = 0;
                    match short {
                        126 => Place::Extended(2),
                        127 => Place::Extended(8),
                        short => {
                            self.length = u64::from(short);
                            self.after_length()
                        }
                    }
                }
            }
            // The top bit of a 64-bit length must be 0 (5.2).
            Place::Extended(8) if byte & 0x80 != 0 => Place::Broken,
            Place::Extended(left) => {
                self.length = self.length << 8 | u64::from(byte);
                if left > 1 { Place::Extended(left - 1) } else { self.after_length() }
            }
            Place::Mask(left) if left > 1 => Place::Mask(left - 1),
            Place::Mask(_) => Place::Payload,
            place @ (Place::Payload | Place::Broken) => place,
        };
        if self.place == Place::Payload && self.length == 0 {
            self.end_frame();
        }
    }

    fn after_length(&self) -> Place {
        match self.sender {
            Sender::Client => Place::Mask(4),
            Sender::Server => Place::Payload,
        }
    }

    fn end_frame(&mut self) {
        self.place = Place::Start;
        self.closed |= self.closing;
    }
}

/// A Close frame with the status 1001, "going away" (RFC 6455 7.4.1), as `sender` writes it.
///
/// The mask of a client's is a constant: masks guard caches against payloads that a script chose, and this one it did not.
pub fn going_away(sender: Sender) -> &'static [u8] {
    const MASK: [u8; 4] = [0x5a, 0xc3, 0x1f, 0x96];
    const CODE: [u8; 2] = 1001u16.to_be_bytes();
    match sender {
        Sender::Server => &[FIN | CLOSE, 2, CODE[0], CODE[1]],
        Sender::Client => {
            &[FIN | CLOSE, MASKED | 2, MASK[0], MASK[1], MASK[2], MASK[3], CODE[0] ^ MASK[0], CODE[1] ^ MASK[1]]
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(sender: Sender, first: u8, length: usize, wide: u8) -> Vec<u8> {
        let mask = if sender == Sender::Client { MASKED } else { 0 };
        let mut bytes = vec![first];
        match (length, wide) {
            (0..=125, 0) => bytes.push(mask | length as u8),
            (0..=65_535, 0..=1) => {
                bytes.push(mask | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        if mask != 0 {
            bytes.extend([0x81, 0x88, 0xff, 0x00]);
        }
        bytes.extend((0..length).map(|i| 0x88 ^ i as u8));
        bytes
    }

    fn any_frame() -> impl Strategy<Value = (u8, usize, u8)> {
        let length = prop_oneof![0..4usize, 120..130usize, 65_530..65_540usize];
        prop_oneof![
            (prop::sample::select(vec![0x00u8, 0x01, 0x02, 0x80, 0x81, 0x82, 0xc1, 0x41]), length, 0..3u8),
            (prop::sample::select(vec![0x89u8, 0x8a]), 0..126usize, Just(0u8)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn boundaries_do_not_depend_on_how_the_bytes_come(
            client in any::<bool>(),
            frames in prop::collection::vec(any_frame(), 1..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let sender = if client { Sender::Client } else { Sender::Server };
            let mut bytes = Vec::new();
            let mut ends = vec![0];
            for (first, length, wide) in frames {
                bytes.extend(frame(sender, first, length, wide));
                ends.push(bytes.len());
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let mut follower = Follower::new(sender);
            let mut at = 0;
            for cut in cuts {
                let next = *ends.iter().find(|end| **end >= at).unwrap();
                prop_assert_eq!(follower.at_boundary(), next == at);
                prop_assert_eq!(follower.boundary_in(&bytes[at..cut]), (next <= cut).then(|| next - at));
                follower.feed(&bytes[at..cut]);
                at = cut;
            }
            prop_assert!(follower.at_boundary() && !follower.has_closed() && !follower.is_broken());
        }

        #[test]
        fn any_bytes_are_safe(client in any::<bool>(), bytes in prop::collection::vec(any::<u8>(), 0..200), cut in any::<prop::sample::Index>()) {
            let sender = if client { Sender::Client } else { Sender::Server };
            let cut = cut.index(bytes.len() + 1);
            let (mut whole, mut parts) = (Follower::new(sender), Follower::new(sender));
            whole.feed(&bytes);
            parts.feed(&bytes[..cut]);
            parts.feed(&bytes[cut..]);
            prop_assert_eq!((whole.place, whole.length, whole.closed), (parts.place, parts.length, parts.closed));
        }
    }

    #[test]
    fn sees_a_close_when_it_is_complete() {
        for sender in [Sender::Client, Sender::Server] {
            let close = going_away(sender);
            let mut follower = Follower::new(sender);
            follower.feed(&close[..close.len() - 1]);
            assert!(!follower.has_closed() && !follower.at_boundary());
            follower.feed(&close[close.len() - 1..]);
            assert!(follower.has_closed() && follower.at_boundary());
        }
        let mut empty = Follower::new(Sender::Server);
        empty.feed(&[0x88, 0]);
        assert!(empty.has_closed());
    }

    #[test]
    fn bytes_that_are_no_frames_break_it() {
        let no_frames: [(Sender, &[u8]); 7] = [
            (Sender::Server, b"HTTP/1.1 400 Bad Request"),
            (Sender::Server, &[0x83, 0]),
            (Sender::Server, &[0x8b, 0]),
            (Sender::Server, &[0x82, 0x80]),
            (Sender::Client, &[0x82, 0x00]),
            (Sender::Server, &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            (Sender::Server, &[0x08, 2]),
        ];
        for (sender, bytes) in no_frames {
            let mut follower = Follower::new(sender);
            follower.feed(bytes);
            assert!(follower.is_broken(), "{bytes:?}");
            follower.feed(&[0; 100]);
            assert!(!follower.at_boundary() && follower.boundary_in(&[0; 100]).is_none(), "{bytes:?}");
        }
        let mut long_ping = Follower::new(Sender::Server);
        long_ping.feed(&[0x89, 126]);
        assert!(long_ping.is_broken());
    }

    #[test]
    fn is_small() {
        assert!(size_of::<Follower>() <= 16, "{}", size_of::<Follower>());
    }
}
