//! What the schema takes and the data plane does not do yet. It is said in status, never passed over in silence.
//!
//! Delete a line here when the data plane has learnt it; nothing else knows that something is missing.

use penstock_api::gateway::BackendProtocol;

use crate::finding::Finding;

/// Reason of everything here.
pub const UNSUPPORTED_FIELD: &str = "UnsupportedField";

fn unsupported(field: &str, what: &str, instead: &str) -> Finding {
    Finding::partial(UNSUPPORTED_FIELD, format!("{field}{what} is not supported yet: {instead}"))
}

/// Whether a probe cannot be made; then endpoints count as healthy.
pub(crate) fn probe(protocol: BackendProtocol, field: &str) -> Option<Finding> {
    (protocol == BackendProtocol::H2c).then(|| {
        let what = format!(" {}", protocol_name(protocol));
        unsupported(field, &what, "its endpoints are not probed and count as healthy")
    })
}

/// As users write it.
pub(crate) fn protocol_name(protocol: BackendProtocol) -> &'static str {
    match protocol {
        BackendProtocol::Http => "HTTP",
        BackendProtocol::Https => "HTTPS",
        BackendProtocol::H2c => "H2C",
    }
}
