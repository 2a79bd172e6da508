//! What was refused, and why: one [`Problem`] for each refused input.

use std::fmt;

use crate::ids::Name;

/// An object of the API server or of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Its kind, such as `RoutingRule`.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
}

/// One refused input. The rest of that object and all others go on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Problem {
    /// Whose.
    pub object: ObjectRef,
    /// Type of the status condition that becomes false.
    pub condition: &'static str,
    /// Its reason, from a closed list.
    pub reason: &'static str,
    /// Field, value and remedy in a sentence.
    pub message: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.object, self.reason, self.message)
    }
}
