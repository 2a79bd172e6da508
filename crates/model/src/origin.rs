//! Where settings stand: what is told to somebody who wants to change them.

use std::fmt;

use crate::ids::Name;
use crate::problem::ObjectRef;

/// Where the settings of a backend stand. One for all routes that go by them: what is open refers to it by its route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SettingsOrigin {
    /// The object that has them, or would have them if somebody wrote them.
    pub object: ObjectRef,
    /// The field of the object, such as `spec.backendSettings[chat]`.
    pub field: Name,
    /// The field in it that says how long a WebSocket may be idle: another one where that is not set.
    pub idle: &'static str,
}

impl SettingsOrigin {
    /// A field of the settings by its whole path.
    pub fn path(&self, field: &'static str) -> FieldPath<'_> {
        FieldPath { settings: &self.field, field }
    }
}

/// A field of settings; it prints as its path in the object.
#[derive(Clone, Copy, Debug)]
pub struct FieldPath<'a> {
    settings: &'a str,
    field: &'static str,
}

impl fmt::Display for FieldPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.settings, self.field)
    }
}
