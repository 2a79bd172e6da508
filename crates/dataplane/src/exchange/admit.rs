//! Phase two: whether the listener that takes a request may take it from this connection.

use http::StatusCode;

use super::Tls;
use super::validate::Refusal;
use crate::route_state::ListenerState;
use crate::tls::Verdict;

/// Compares what the client proved and was shown in the handshake with the listener that its Host leads to.
pub(crate) fn admit(tls: Option<&Tls>, listener: &ListenerState) -> Result<(), Refusal> {
    // A port speaks TLS or it does not: without it there is nothing to compare.
    let Some(tls) = tls else { return Ok(()) };
    // RFC 9110 15.5.20: the client may ask again on a connection for the right name. Without this, a client could pass by
    // what the other listener asks of clients, such as a certificate.
    let asked = listener.listener.tls.as_ref().and_then(|tls| tls.client_auth.as_ref());
    // Also when the listener asks something else since: a new handshake is the only way to be asked.
    if tls.listener != listener.number || tls.client.as_ref().map(|client| &client.asked) != asked {
        return Err(Refusal {
            status: StatusCode::MISDIRECTED_REQUEST,
            reason: "misdirected",
            detail: "this connection was not opened for this host as it is now; open a new one",
        });
    }
    match tls.client.as_ref().filter(|client| client.asked.strict).map(|client| client.verdict) {
        None | Some(Verdict::Good) => Ok(()),
        Some(Verdict::Missing) => Err(refused("this host needs a client certificate")),
        Some(Verdict::Bad(reason)) => Err(refused(reason)),
    }
}

/// Azure's answer, too: the handshake was fine, the request is not.
const fn refused(detail: &'static str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, reason: "client_certificate", detail }
}
