//! The health service of gRPC (grpc/doc/health-checking.md): one call, whose two messages are small enough to be written and
//! read here.

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;

use super::check::Answer;

/// The method.
pub(super) const PATH: &str = "/grpc.health.v1.Health/Check";
/// Of the request.
pub(super) const CONTENT_TYPE: &str = "application/grpc";
/// Not compressed, and the length of the message (grpc/doc/PROTOCOL-HTTP2.md, Length-Prefixed-Message).
const PREFIX: usize = 5;

/// Why a server is not healthy.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotServing {
    #[error("the health service says {0}")]
    Says(&'static str),
    #[error("the call ended with grpc-status {0}")]
    Failed(String),
    #[error("the answer of the health service cannot be read")]
    Unreadable,
    #[error("gRPC needs HTTP/2, which the endpoint did not pick in the handshake")]
    NoHttp2,
}

/// A `HealthCheckRequest`, whose field 1 is the name of the service.
pub(super) fn request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8((1 << 3) | 2);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut body = BytesMut::with_capacity(PREFIX + message.len());
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    body.put(message);
    body.freeze()
}

/// Whether the answer is a `HealthCheckResponse` that says SERVING, and the call succeeded.
pub(super) fn judge(answer: &Answer) -> Result<(), NotServing> {
    // Without a message the status is in the head (Trailers-Only).
    match status(&answer.trailers).or_else(|| status(&answer.headers)) {
        Some("0") => {}
        code => {
            let message = [&answer.trailers, &answer.headers].into_iter().find_map(|from| text(from, "grpc-message"));
            let said = message.map(|message| format!(": {message}")).unwrap_or_default();
            return Err(NotServing::Failed(format!("{}{said}", code.unwrap_or("missing"))));
        }
    }
    match serving_status(&answer.body).ok_or(NotServing::Unreadable)? {
        1 => Ok(()),
        0 => Err(NotServing::Says("UNKNOWN")),
        2 => Err(NotServing::Says("NOT_SERVING")),
        3 => Err(NotServing::Says("SERVICE_UNKNOWN")),
        _ => Err(NotServing::Unreadable),
    }
}

fn status(from: &HeaderMap) -> Option<&str> {
    text(from, "grpc-status")
}

fn text<'a>(from: &'a HeaderMap, name: &str) -> Option<&'a str> {
    from.get(name)?.to_str().ok()
}

/// Field 1 of the message, 0 when it is not there; `None` for what is no message. Fields that are not known are passed over.
fn serving_status(body: &[u8]) -> Option<u64> {
    let (prefix, mut message) = body.split_at_checked(PREFIX)?;
    let (compressed, length) = prefix.split_first()?;
    if *compressed != 0 || usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()? != message.len() {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match (tag >> 3, tag & 7) {
            (1, 0) => status = varint(&mut message)?,
            (_, 0) => drop(varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn put_varint(to: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        to.put_u8(((value & 0x7f) as u8) | 0x80);
        value >>= 7;
    }
    to.put_u8(value as u8);
}

fn varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn answer(body: &[u8], trailers: &[(&'static str, &'static str)]) -> Answer {
        let trailers = trailers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        let body = Bytes::copy_from_slice(body);
        Answer { status: 200, headers: HeaderMap::new(), body, trailers: trailers.collect() }
    }

    #[test]
    fn the_service_is_field_one() {
        assert_eq!(&request("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&request("chat")[..], b"\0\0\0\0\x06\x0a\x04chat");
        let long = request(&"x".repeat(200));
        assert_eq!(&long[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 0x01]);
    }

    #[test]
    fn serving_alone_is_good() {
        let ok: &[(&str, &str)] = &[("grpc-status", "0")];
        assert_eq!(judge(&answer(b"\0\0\0\0\x02\x08\x01", ok)), Ok(()));
        // After fields of kinds that nobody has thought of yet.
        assert_eq!(judge(&answer(b"\0\0\0\0\x0a\x12\x02ab\x1d1234\x08\x01", ok)), Err(NotServing::Unreadable));
        assert_eq!(judge(&answer(b"\0\0\0\0\x0b\x12\x02ab\x1d1234\x08\x01", ok)), Ok(()));
        assert_eq!(judge(&answer(b"\0\0\0\0\x02\x08\x02", ok)), Err(NotServing::Says("NOT_SERVING")));
        assert_eq!(judge(&answer(b"\0\0\0\0\0", ok)), Err(NotServing::Says("UNKNOWN")));
        assert_eq!(judge(&answer(b"", ok)), Err(NotServing::Unreadable));
        assert_eq!(judge(&answer(b"\x01\0\0\0\x02\x08\x01", ok)), Err(NotServing::Unreadable));
        let missing = answer(b"", &[("grpc-status", "12"), ("grpc-message", "no such method")]);
        assert_eq!(judge(&missing), Err(NotServing::Failed("12: no such method".to_owned())));
        assert_eq!(judge(&answer(b"", &[])), Err(NotServing::Failed("missing".to_owned())));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = judge(&answer(&body, &[("grpc-status", "0")]));
        }
    }
}
