//! Phase two: whether the listener that takes a request may take it from this connection.

use http::StatusCode;

use super::Tls;
use super::validate::Refusal;
use crate::route_state::ListenerState;

/// Compares what the client proved and was shown in the handshake with the listener that its Host leads to.
pub(crate) fn admit(tls: Option<&Tls>, listener: &ListenerState) -> Result<(), Refusal> {
    // A port speaks TLS or it does not: without it there is nothing to compare.
    let Some(tls) = tls else { return Ok(()) };
    // RFC 9110 15.5.20: the client may ask again on a connection for the right name. Without this, a client could pass by
    // what the other listener asks of clients, such as a certificate.
    if tls.listener != listener.number {
        return Err(Refusal {
            status: StatusCode::MISDIRECTED_REQUEST,
            reason: "misdirected",
            detail: "this connection was opened for another host; open one for this host",
        });
    }
    Ok(())
}
