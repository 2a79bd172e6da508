//! What is to be said about an object: why it, or a part of it, is not in force. Findings become conditions of its
//! status and [`Problem`]s; nothing is refused without one.

use penstock_api::reasons::ConditionType;
use penstock_model::{ObjectRef, Problem};

/// One thing to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What follows from it.
    pub(crate) effect: Effect,
    /// Reason of the condition.
    pub(crate) reason: &'static str,
    /// Field, value and remedy.
    pub(crate) message: String,
}

/// What follows from a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The whole object is out of force: `Accepted` is false.
    Refused,
    /// A reference leads nowhere: `ResolvedRefs` is false, and what needs it answers 502.
    Unresolved,
    /// A part of the object is out of force, the rest is in: `PartiallyInvalid` is true.
    Partial,
    /// To be acted on before something breaks, nothing is refused yet: the reason of a true `ResolvedRefs`.
    Warning,
    /// Worth knowing, nothing is refused: the reason of a true `ResolvedRefs`.
    Note,
}

/// Type of the condition that says that a part of an object is not in force (a name of Gateway API).
pub const PARTIALLY_INVALID: &str = "PartiallyInvalid";

impl Finding {
    pub(crate) fn refused(reason: &'static str, message: impl Into<String>) -> Self {
        Self { effect: Effect::Refused, reason, message: message.into() }
    }

    pub(crate) fn unresolved(reason: &'static str, message: impl Into<String>) -> Self {
        Self { effect: Effect::Unresolved, reason, message: message.into() }
    }

    pub(crate) fn partial(reason: &'static str, message: impl Into<String>) -> Self {
        Self { effect: Effect::Partial, reason, message: message.into() }
    }

    pub(crate) fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { effect: Effect::Warning, reason, message: message.into() }
    }

    pub(crate) fn note(reason: &'static str, message: impl Into<String>) -> Self {
        Self { effect: Effect::Note, reason, message: message.into() }
    }

    /// The problem it is, unless nobody has to act.
    pub(crate) fn problem(&self, object: &ObjectRef) -> Option<Problem> {
        let condition = match self.effect {
            Effect::Refused => ConditionType::Accepted.as_str(),
            Effect::Unresolved | Effect::Warning => ConditionType::ResolvedRefs.as_str(),
            Effect::Partial => PARTIALLY_INVALID,
            Effect::Note => return None,
        };
        Some(Problem { object: object.clone(), condition, reason: self.reason, message: self.message.clone() })
    }
}
