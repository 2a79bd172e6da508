//! Durations as Kubernetes writes them: the Gateway API's GEP-2257 subset of Go's format.
//!
//! The text is kept as written, so that an object goes back as it came; [`Duration::parse`] is the border to numbers.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The pattern that the schema demands (GEP-2257).
pub(crate) const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
/// The longest text that the pattern admits: four times five digits and a unit of two letters.
const MAX_LENGTH: usize = 28;

/// A duration such as `500ms`, `20s` or `1h30m`. `0s` turns a timeout off.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Duration(Cow<'static, str>);

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "duration {0:?} is not of the form of 500ms, 20s, 5m or 1h30m: one to four numbers of at most five digits, each with h, m, s or ms"
)]
pub struct DurationError(String);

impl Duration {
    /// A duration from a text, which is checked only by [`Duration::parse`].
    pub fn new(text: impl Into<String>) -> Self {
        Self(Cow::Owned(text.into()))
    }

    /// A duration known at compile time.
    pub const fn literal(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The length in time. Parts add up: `1h30m` is 5400 seconds.
    ///
    /// # Errors
    /// When the text is not of that form; the API server lets no such object through, a file may have one.
    pub fn parse(&self) -> Result<std::time::Duration, DurationError> {
        let refuse = || DurationError(self.0.to_string());
        let mut rest = self.as_str();
        let mut total = std::time::Duration::ZERO;
        let mut parts = 0;
        while !rest.is_empty() {
            parts += 1;
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if parts > 4 || !(1..=5).contains(&digits) {
                return Err(refuse());
            }
            let number: u64 = rest[..digits].parse().map_err(|_| refuse())?;
            rest = &rest[digits..];
            let units = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
            let (unit, millis) = units.into_iter().find(|(unit, _)| rest.starts_with(unit)).ok_or_else(refuse)?;
            rest = &rest[unit.len()..];
            total += std::time::Duration::from_millis(number * millis);
        }
        if parts == 0 { Err(refuse()) } else { Ok(total) }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Duration({})", self.0)
    }
}

impl From<&str> for Duration {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PATTERN, "maxLength": MAX_LENGTH})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up() {
        let millis = |text| Duration::literal(text).parse().map(|d| d.as_millis());
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("20s"), Ok(20_000));
        assert_eq!(millis("1h30m"), Ok(5_400_000));
        assert_eq!(millis("1m1s1ms"), Ok(61_001));
        assert_eq!(millis("0s"), Ok(0));
        assert_eq!(millis("99999h99999h99999h99999h"), Ok(4 * 99_999 * 3_600_000));
    }

    #[test]
    fn what_the_pattern_refuses_is_refused() {
        let pattern = regex::Regex::new(PATTERN).expect("the pattern is a regular expression");
        for text in ["", "1", "s", "1.5s", "-1s", "123456s", "1d", "1s2s3s4s5s", "1 s", "1us", "1S"] {
            assert!(!pattern.is_match(text), "{text}");
            let error = Duration::literal(text).parse().expect_err(text).to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
