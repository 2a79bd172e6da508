//! One refusal: where, what, and what to do.

use std::fmt;

use serde_json::Value;

/// A value that the schema refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field: `spec.listeners[0].port`.
    pub path: String,
    /// The value as JSON, shortened when it is long; empty when it is missing.
    pub value: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Violation {
    /// A refusal of a value that is there.
    pub(super) fn new(path: &str, value: &Value, message: impl Into<String>) -> Self {
        const LONGEST: usize = 100;
        let text = value.to_string();
        let value = if text.chars().count() > LONGEST {
            text.chars().take(LONGEST).chain("...".chars()).collect()
        } else {
            text
        };
        Self { path: path.to_owned(), value, message: message.into() }
    }

    /// A refusal of a value that is not there.
    pub(super) fn missing(path: String, message: impl Into<String>) -> Self {
        Self { path, value: String::new(), message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value.is_empty() {
            write!(f, "{}: {}", self.path, self.message)
        } else {
            write!(f, "{}: {}: {}", self.path, self.value, self.message)
        }
    }
}
