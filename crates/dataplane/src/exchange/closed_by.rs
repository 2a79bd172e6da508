//! Whose doing the end of a WebSocket was: the object and the field behind it, for the access log.
//!
//! Nothing of it is kept while a WebSocket is open, nor made before its line is written: its route knows where its settings
//! stand, and its endpoint where it came from.

use penstock_model::SettingsOrigin;
use serde::Serialize;

use crate::cluster::LiveEndpoint;
use crate::route_state::ListenerState;
use crate::tunnel::{CloseReason, Leaving};

/// What decided when a WebSocket ends.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ClosedBy {
    /// Such as `RoutingRule shop/chat`; `Penstock`: the process itself.
    object: String,
    /// The field of the object, or the flag, that set the time.
    field: String,
    /// With a drain: what went away.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
}

/// What is behind a reason; `None`: the client, the backend or the network, so no object.
pub(crate) fn of(
    reason: CloseReason,
    settings: Option<&SettingsOrigin>,
    endpoint: Option<&LiveEndpoint>,
    listener: Option<&ListenerState>,
) -> Option<ClosedBy> {
    let setting = |field: &'static str, cause| {
        let settings = settings?;
        Some(ClosedBy { object: settings.object.to_string(), field: settings.path(field).to_string(), cause })
    };
    let flag = |cause: String| {
        let (object, field) = ("Penstock".to_owned(), "--drain-timeout".to_owned());
        Some(ClosedBy { object, field, cause: Some(cause) })
    };
    match reason {
        CloseReason::Client | CloseReason::Backend | CloseReason::Error => None,
        CloseReason::Idle => setting(settings?.idle, None),
        CloseReason::Duration => setting("webSocket.maxDuration", None),
        CloseReason::Drain(Leaving::Endpoint) => {
            let left = |endpoint: &LiveEndpoint| format!("endpoint {} of {} left", endpoint.address, endpoint.source);
            setting("connectionDraining.timeout", endpoint.map(left))
        }
        CloseReason::Drain(Leaving::Listener) => {
            let listener = listener?;
            flag(format!(
                "listener {} of ApplicationGateway {} was removed",
                listener.listener.id.name, listener.gateway
            ))
        }
        CloseReason::Drain(Leaving::Process) => flag("the process was told to stop".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use penstock_model::{Endpoint, ObjectRef};

    use super::*;

    fn closed(reason: CloseReason) -> Option<(String, String, Option<String>)> {
        let object = ObjectRef { kind: "RoutingRule", namespace: "shop".into(), name: "chat".into() };
        let settings = SettingsOrigin { object, field: "spec.backend.inlineSettings".into(), idle: "requestTimeout" };
        let address = "10.0.0.1:80".parse().unwrap();
        let endpoint = LiveEndpoint::new(Endpoint { address, host: None, weight: 1 }, &"Service shop/chat".into());
        of(reason, Some(&settings), Some(&endpoint), None).map(|by| (by.object, by.field, by.cause))
    }

    #[test]
    fn a_limit_is_named_by_the_field_that_set_it() {
        let rule = "RoutingRule shop/chat".to_owned();
        let at = |field: &str| format!("spec.backend.inlineSettings.{field}");
        assert_eq!(closed(CloseReason::Idle), Some((rule.clone(), at("requestTimeout"), None)));
        assert_eq!(closed(CloseReason::Duration), Some((rule.clone(), at("webSocket.maxDuration"), None)));
        let left = Some("endpoint 10.0.0.1:80 of Service shop/chat left".to_owned());
        assert_eq!(closed(CloseReason::Drain(Leaving::Endpoint)), Some((rule, at("connectionDraining.timeout"), left)));
    }

    #[test]
    fn what_no_object_decided_has_none() {
        for reason in [CloseReason::Client, CloseReason::Backend, CloseReason::Error] {
            assert_eq!(closed(reason), None, "{reason:?}");
        }
        let by = closed(CloseReason::Drain(Leaving::Process)).unwrap();
        assert_eq!((by.0.as_str(), by.1.as_str()), ("Penstock", "--drain-timeout"));
    }

    #[test]
    fn an_open_tunnel_keeps_no_more_for_it_than_a_byte_or_two() {
        assert!(size_of::<CloseReason>() <= 2);
    }
}
