//! What all connections of a thread share: used and done with inside one poll.

use std::cell::RefCell;

/// The plaintext of one record (RFC 8446 5.1).
pub(super) const PLAIN: usize = 16 * 1024;
/// The largest record that the library takes: that of TLS 1.2 (RFC 5246 6.2.3).
pub(super) const RECORD: usize = 5 + PLAIN + 2048;
/// The most plaintext that is encrypted at once, and the most that one read is to bring.
pub(super) const MOST: usize = 4 * PLAIN;
/// What may wait to be sent and still go out together with what is written next.
pub(super) const JOINED: usize = 4 * 1024;
/// What a record is longer than its plaintext, at most: header, explicit nonce or type, tag.
const AROUND: usize = 5 + 8 + 1 + 16;
/// Room for an update of keys and an alert beside the records.
const ASIDE: usize = 256;

/// The length of [`INCOMING`].
pub(super) const READ: usize = MOST + 4 * AROUND;

thread_local! {
    /// Read from a socket, and decrypted in place.
    pub(super) static INCOMING: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
    /// Encrypted, and written to a socket at once.
    pub(super) static OUTGOING: RefCell<Box<[u8]>> =
        RefCell::new(vec![0; JOINED + MOST + 5 * AROUND + ASIDE].into_boxed_slice());
    /// Small pieces that become one record.
    pub(super) static GATHERED: RefCell<Box<[u8]>> = RefCell::new(vec![0; PLAIN].into_boxed_slice());
}
