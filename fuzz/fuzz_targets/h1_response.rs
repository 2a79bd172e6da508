//! Any bytes as responses: no panic, and where reads end makes no difference to what is understood.
#![no_main]

// The codec alone, by its path: the fuzzer then builds in seconds.
#[path = "../../crates/dataplane/src/upstream/h1/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the data plane uses more of it")]
pub mod h1;

use bytes::{Bytes, BytesMut};
use h1::body::BodyDecoder;
use h1::decode::HeadDecoder;
use h1::{BodyFraming, Error};
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;

/// One message: status, headers, body, trailers.
type Message = (u16, HeaderMap, Vec<u8>, Option<HeaderMap>);

/// Decodes messages until the input ends; `size` bytes come with each read.
fn decode(input: &[u8], size: usize, to_head: bool) -> Result<Vec<Message>, Error> {
    let (mut messages, mut buf, mut pieces) = (Vec::new(), BytesMut::new(), input.chunks(size));
    'messages: loop {
        let mut decoder = HeadDecoder::default();
        let head = loop {
            if let Some(head) = decoder.decode(&mut buf, to_head)? {
                break head;
            }
            match pieces.next() {
                Some(piece) => buf.extend_from_slice(piece),
                None if buf.is_empty() => break 'messages,
                None => return Err(Error::ClosedInHead),
            }
        };
        assert!(head.headers.get_all("content-length").iter().count() <= 1);
        assert!(!head.headers.contains_key("transfer-encoding"));
        let mut body = BodyDecoder::from(head.framing);
        let (mut data, mut trailers) = (Vec::new(), None);
        loop {
            if size % 2 == 0
                && let Some(whole) = body.whole(&mut buf)
            {
                data.extend_from_slice(&whole);
            }
            match body.decode(&mut buf)?.map(http_body::Frame::<Bytes>::into_data) {
                Some(Ok(piece)) => data.extend_from_slice(&piece),
                Some(Err(frame)) => trailers = frame.into_trailers().ok(),
                None if body.is_done() => break,
                None => match pieces.next() {
                    Some(piece) => buf.extend_from_slice(piece),
                    None => body.end_of_stream()?,
                },
            }
        }
        messages.push((head.status.as_u16(), head.headers, data, trailers));
        if head.framing == BodyFraming::Upgrade {
            break;
        }
    }
    Ok(messages)
}

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (size, to_head, bytes) = input;
    let whole = decode(bytes, bytes.len() | 1, to_head);
    let split = decode(bytes, usize::from(size).max(1), to_head);
    match (whole, split) {
        (Ok(whole), Ok(split)) => assert_eq!(whole, split),
        (whole, split) => assert_eq!(whole.is_err(), split.is_err(), "{whole:?} {split:?}"),
    }
});
