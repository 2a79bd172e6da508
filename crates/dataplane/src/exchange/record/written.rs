//! What is written of a request at its end: counters, a line of the access log, spans.

use http::StatusCode;
use penstock_model::Name;
use penstock_otlp::Value;

use super::super::closed_by;
use super::Record;
use crate::access_log::{Client, Entry};
use crate::trace::{Facts, Trace, spans};
use crate::tunnel::CloseReason;

/// What is said of a request whose client went away before the answer's head.
const CLIENT_CLOSED: u16 = 499;

impl Drop for Record {
    fn drop(&mut self) {
        let gone = StatusCode::from_u16(CLIENT_CLOSED).unwrap_or(StatusCode::BAD_REQUEST);
        let status = self.status.unwrap_or(gone);
        if !self.websocket {
            self.count(status);
        }
        let Some(client) = self.client.take() else { return };
        self.log(&client, status);
        if let Some(trace) = self.trace.take() {
            self.send(*trace, *client, status);
        }
    }
}

impl Record {
    /// Its line of the access log.
    fn log(&self, client: &Client, status: StatusCode) {
        let always = self.websocket || self.error.is_some() || status.is_client_error() || status.is_server_error();
        if !self.worker.log.takes(always) {
            return;
        }
        let [gateway, listener, rule] = self.labels();
        let forward = self.route.as_ref().and_then(|route| route.forward());
        let closed_by = self.close_reason.and_then(|reason| {
            let settings = forward.map(|forward| &*forward.origin);
            closed_by::of(reason, settings, self.endpoint.as_deref(), self.listener.as_deref())
        });
        self.worker.log.write(&Entry {
            client,
            gateway,
            listener,
            rule,
            pool: forward.map(|forward| &*forward.pool),
            backend: self.endpoint.as_deref().map(|endpoint| &*endpoint.address),
            method: self.method.as_str(),
            status: status.as_u16(),
            bytes_received: self.received,
            bytes_sent: self.sent,
            duration: self.took(),
            backend_time: self.backend_time,
            attempts: self.attempts,
            upgrade: self.websocket.then_some("websocket"),
            close_reason: self.close_reason.map(CloseReason::as_str),
            closed_by,
            error: self.error,
        });
    }

    /// Its spans.
    fn send(&self, trace: Trace, client: Client, status: StatusCode) {
        let name = |name: Option<&Name>| name.map_or(Value::Static("none"), |name| Value::Shared(Name::clone(name)));
        let listener = self.listener.as_ref();
        let facts = Facts {
            client,
            method: &self.method,
            status,
            took: self.took(),
            names: [
                name(listener.map(|listener| &listener.gateway)),
                name(listener.map(|listener| &listener.listener.id.name)),
                name(self.route.as_ref().map(|route| &route.rule)),
            ],
            error: self.error,
            websocket: self.websocket,
            close_reason: self.close_reason.map(CloseReason::as_str),
        };
        self.worker.tracer.offer(spans(trace, facts));
    }
}
