//! `traceparent`, read and written (<https://www.w3.org/TR/trace-context/>, 3.2).

use http::{HeaderMap, HeaderName};
use penstock_otlp::{SpanId, TraceId};

/// The header that says where in a trace a request is.
const TRACEPARENT: &str = "traceparent";
/// What others say of that trace; it makes no sense in another one.
const TRACESTATE: &str = "tracestate";
/// version "-" trace-id "-" parent-id "-" trace-flags
const LENGTH: usize = 55;
/// The one flag that level 1 of the specification has.
const SAMPLED: u8 = 1;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Where a request is in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) trace: TraceId,
    /// Of the span that the request has here.
    pub(crate) span: SpanId,
    /// Of the client's, if it said which; else the trace begins here.
    pub(crate) parent: Option<SpanId>,
    /// Whether spans are sent.
    pub(crate) sampled: bool,
}

/// What a request came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    pub(crate) sampled: bool,
}

/// What goes on to a backend in the place of the client's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Onward {
    traceparent: [u8; LENGTH],
    /// The trace is not that of the client's `tracestate`.
    begun: bool,
}

impl Parent {
    /// Reads the header; `None`: there is none, or more than one, or it is not valid.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(TRACEPARENT).iter();
        let only = all.next().filter(|_| all.next().is_none())?;
        Self::parse(only.as_bytes())
    }

    /// 3.2.2, and 3.2.4 for versions to come: what is behind the flags is theirs.
    fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(LENGTH)?;
        let [version] = hex(&known[..2])?;
        let dashes = [2, 35, 52].iter().all(|place| known[*place] == b'-');
        let ends = rest.is_empty() || (version > 0 && rest[0] == b'-');
        if !dashes || !ends || version == 0xff {
            return None;
        }
        let trace = hex(&known[3..35]).filter(|trace| *trace != [0; 16])?;
        let span = hex(&known[36..52]).filter(|span| *span != [0; 8])?;
        let [flags] = hex(&known[53..])?;
        Some(Self { trace, span, sampled: flags & SAMPLED != 0 })
    }
}

impl Context {
    /// For a request to a backend, which this span is the parent of.
    pub(crate) fn onward(&self, span: SpanId) -> Onward {
        let mut traceparent = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write(&self.trace, &mut traceparent[3..35]);
        write(&span, &mut traceparent[36..52]);
        write(&[u8::from(self.sampled) * SAMPLED], &mut traceparent[53..]);
        Onward { traceparent, begun: self.parent.is_none() }
    }

    /// The trace as logs write it.
    pub(crate) fn trace_text(&self) -> String {
        let mut text = [0; 32];
        write(&self.trace, &mut text);
        text.iter().map(|digit| char::from(*digit)).collect()
    }
}

impl Onward {
    /// Name and value of the header.
    pub(crate) fn header(&self) -> (&'static str, &[u8]) {
        (TRACEPARENT, &self.traceparent)
    }

    /// Whether a header of the client's goes on beside it (3.3: without a valid traceparent there is no tracestate).
    pub(crate) fn keeps(&self, name: &HeaderName) -> bool {
        *name != TRACEPARENT && !(self.begun && *name == TRACESTATE)
    }
}

/// Bytes from digits, of which the upper case is not valid (3.2.2).
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn write(bytes: &[u8], digits: &mut [u8]) {
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn parse(value: &str) -> Option<Parent> {
        Parent::parse(value.as_bytes())
    }

    #[test]
    fn reads_what_is_valid() {
        let parent = parse(&format!("00-{TRACE}-b7ad6b7169203331-01")).unwrap();
        assert_eq!((parent.trace[0], parent.trace[15], parent.span[7], parent.sampled), (0x0a, 0x9c, 0x31, true));
        assert!(!parse(&format!("00-{TRACE}-b7ad6b7169203331-00")).unwrap().sampled);
        // 3.2.4: of a version to come, what is known, and of its flags the one that is.
        for later in ["cc-{}-b7ad6b7169203331-01-more", "01-{}-b7ad6b7169203331-ff"] {
            assert_eq!(parse(&later.replace("{}", TRACE)), Some(parent), "{later}");
        }
    }

    #[test]
    fn refuses_what_is_not() {
        for bad in [
            "",
            "00",
            "00-{}-b7ad6b7169203331-0",
            "00-{}-b7ad6b7169203331-01-",
            "00-{}-b7ad6b7169203331-01-more",
            "01-{}-b7ad6b7169203331-01more",
            "ff-{}-b7ad6b7169203331-01",
            "0x-{}-b7ad6b7169203331-01",
            "00-{}-b7ad6b716920333g-01",
            "00-{}-B7AD6B7169203331-01",
            "00-{}-0000000000000000-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00_{}-b7ad6b7169203331-01",
            "00-{}-b7ad6b7169203331-0x",
        ] {
            assert_eq!(parse(&bad.replace("{}", TRACE)), None, "{bad}");
        }
    }

    #[test]
    fn none_and_several_are_not_valid() {
        let mut headers = HeaderMap::new();
        assert_eq!(Parent::of(&headers), None);
        let value = http::HeaderValue::from_str(&format!("00-{TRACE}-b7ad6b7169203331-01")).unwrap();
        headers.append(TRACEPARENT, value.clone());
        assert!(Parent::of(&headers).is_some());
        headers.append(TRACEPARENT, value);
        assert_eq!(Parent::of(&headers), None, "which would it be?");
    }

    #[test]
    fn writes_what_it_reads() {
        let value = format!("00-{TRACE}-b7ad6b7169203331-01");
        let Parent { trace, span, sampled } = parse(&value).unwrap();
        let context = Context { trace, span: [1; 8], parent: Some(span), sampled };
        assert_eq!(context.onward(span).header(), ("traceparent", value.as_bytes()));
        assert_eq!(context.trace_text(), TRACE);
    }
}
