//! What a span says, in the form that costs its maker least.

use std::sync::Arc;

/// Sixteen bytes, not all zero (W3C Trace Context 3.2.2.3).
pub type TraceId = [u8; 16];
/// Eight bytes, not all zero (W3C Trace Context 3.2.2.4).
pub type SpanId = [u8; 8];

/// Something that took its time, complete.
#[derive(Clone, Debug)]
pub struct Span {
    /// The trace that it is a part of.
    pub trace: TraceId,
    /// Its own.
    pub id: SpanId,
    /// What it is a part of.
    pub origin: Origin,
    /// Few different ones: never a path.
    pub name: &'static str,
    /// Which side of an exchange it is.
    pub kind: Kind,
    /// In nanoseconds since 1970.
    pub began: u64,
    /// The same.
    pub ended: u64,
    /// By the names of the semantic conventions, and ours.
    pub attributes: Vec<(&'static str, Value)>,
    /// Its status is an error; else it is not set.
    pub failed: bool,
}

/// What a span is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing: it is the first of its trace.
    Root,
    /// A span of somebody else's.
    Remote(SpanId),
    /// A span of this process.
    Local(SpanId),
}

/// Which side of an exchange a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It answers.
    Server,
    /// It asks.
    Client,
}

/// Value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// One of ours.
    Static(&'static str),
    /// A name that others have, too.
    Shared(Arc<str>),
    /// Anything.
    Text(String),
    /// A number.
    Number(i64),
}

impl Value {
    /// The longest text, in bytes: a span in the queue shall not be as large as a head may be.
    const LONGEST: usize = 1024;

    /// Text, cut where it is longer than 1,024 bytes.
    pub fn text(mut text: String) -> Self {
        if text.len() > Self::LONGEST {
            text.truncate(text.floor_char_boundary(Self::LONGEST));
            text.shrink_to_fit();
        }
        Self::Text(text)
    }
}

#[cfg(test)]
mod tests {
    use super::Value;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(Value::text("x".repeat(1024)), Value::Text("x".repeat(1024)));
        assert_eq!(Value::text("ü".repeat(600)), Value::Text("ü".repeat(512)));
        assert_eq!(Value::text(format!("x{}", "ü".repeat(600))), Value::Text(format!("x{}", "ü".repeat(511))));
    }
}
