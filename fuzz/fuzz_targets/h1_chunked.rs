//! Any bytes as a chunked body: no panic, no byte invented, and where reads end makes no difference.
#![no_main]

#[path = "../../crates/dataplane/src/upstream/h1/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the data plane uses more of it")]
pub mod h1;

use bytes::BytesMut;
use h1::chunked::ChunkedDecoder;
use libfuzzer_sys::fuzz_target;

/// Data, trailers as text, and how many bytes behind the body were left alone; nothing when it breaks or does not end.
fn decode(input: &[u8], size: usize) -> Option<(Vec<u8>, String, usize)> {
    let (mut decoder, mut buf, mut data) = (ChunkedDecoder::default(), BytesMut::new(), Vec::new());
    let mut left = input.len();
    for piece in input.chunks(size) {
        left -= piece.len();
        buf.extend_from_slice(piece);
        while let Some(piece) = decoder.data(&mut buf).ok()? {
            data.extend_from_slice(&piece);
        }
        if decoder.is_done() {
            return Some((data, format!("{:?}", decoder.take_trailers()), left + buf.len()));
        }
    }
    None
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let whole = decode(bytes, bytes.len().max(1));
    assert_eq!(whole, decode(bytes, usize::from(size).max(1)));
    assert_eq!(whole, decode(bytes, 1));

    let (mut buf, mut decoder) = (BytesMut::from(bytes), ChunkedDecoder::default());
    if let Some(data) = decoder.whole(&mut buf) {
        let (expected, trailers, rest) = whole.expect("what is taken whole is a body");
        assert_eq!((expected.as_slice(), trailers.as_str(), rest), (&data[..], "None", buf.len()));
    }
});
