//! `POST /probe`: asks backends at once, and says what was found.
//!
//! Whoever reaches the admin port may have asked what the configuration asks anyway. Another path or host is a request that the
//! gateway would not make: it can reach what no rule forwards to, with the gateway's own certificate. So it is taken over loopback
//! only, from those who are on the machine, or may forward ports into the Pod.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use http::StatusCode;
use penstock_dataplane::{DataPlane, Found, ProbeNow, Probed};
use penstock_runtime::{Answer, Order};
use serde_json::{Value, json};

use crate::order;

/// The most names of pools in an answer.
const SOME: usize = 50;

/// Whom to ask; nobody until the data plane runs.
#[derive(Clone, Default)]
pub(super) struct Probing(Arc<OnceLock<Arc<DataPlane>>>);

impl Probing {
    /// From now on there are backends.
    pub(super) fn connect(&self, plane: Arc<DataPlane>) {
        // Only ever called once, by the start.
        let _ = self.0.set(plane);
    }

    /// Carries out an order.
    pub(super) fn take(&self, order: Order) -> Answer {
        let plane = self.0.get().cloned();
        Box::pin(async move {
            match carry_out(plane, &order).await {
                Ok(found) => (StatusCode::OK, format!("{:#}\n", json!({"backends": found}))),
                Err((code, why)) => (code, format!("{why}\n")),
            }
        })
    }
}

async fn carry_out(plane: Option<Arc<DataPlane>>, order: &Order) -> Result<Vec<Value>, (StatusCode, String)> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, why);
    let asked: order::Order = serde_json::from_slice(&order.body).map_err(|error| bad(error.to_string()))?;
    let asked = asked.read().map_err(bad)?;
    if asked.asks_otherwise() && !order.local {
        let why = "only the probes of the configuration can be asked for from here; protocol, host, path, timeout, statusCodes \
                   and body are taken over loopback: kubectl port-forward POD 9090, then penstock probe --admin http://127.0.0.1:9090";
        return Err((StatusCode::FORBIDDEN, why.to_owned()));
    }
    let plane = plane.ok_or((StatusCode::SERVICE_UNAVAILABLE, "the data plane has not begun yet".to_owned()))?;
    known(&plane, &asked).map_err(|why| (StatusCode::NOT_FOUND, why))?;
    let found = plane.probe(asked).await.ok_or_else(|| {
        let why = "backends are being probed for somebody else, or were a moment ago: ask again in a second";
        (StatusCode::TOO_MANY_REQUESTS, why.to_owned())
    })?;
    Ok(found.into_iter().map(row).collect())
}

/// Whether there is somebody of that name to be asked.
fn known(plane: &DataPlane, asked: &ProbeNow) -> Result<(), String> {
    let view = plane.view().borrow().clone();
    let (mut pools, mut settings) = (BTreeSet::new(), BTreeSet::new());
    let mut none = true;
    for cluster in view.clusters.values() {
        let config = cluster.config();
        none &= !asked.is_about(&config);
        pools.insert(config.pool.to_string());
        settings.insert(config.settings.to_string());
    }
    if !none || (asked.pool.is_none() && asked.settings.is_none()) {
        return Ok(());
    }
    let some = |names: BTreeSet<String>| {
        let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).take(SOME).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    Err(format!(
        "nothing is forwarded to this pool under these settings; pools: {}; settings: {}",
        some(pools),
        some(settings)
    ))
}

fn row(Probed { pool, settings, address, probe, health, found }: Probed) -> Value {
    let (result, took, status, reason) = match found {
        Found::Asked { took, status, reason } => {
            let result = if reason.is_none() { "Up" } else { "Down" };
            (result, Some(took.as_secs_f64() * 1e3), status, reason.unwrap_or_default())
        }
        Found::NotAsked(why) => ("NotAsked", None, None, why.to_owned()),
    };
    json!({
        "pool": &*pool,
        "settings": &*settings,
        "address": address,
        "probe": probe.as_deref(),
        "health": health,
        "result": result,
        "status": status,
        "duration_ms": took.map(|took| (took * 1e3).round() / 1e3),
        "reason": reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(body: &'static str, local: bool) -> u16 {
        let order = Order { body: body.into(), local };
        carry_out(None, &order).await.expect_err("there is no data plane").0.as_u16()
    }

    #[tokio::test]
    async fn what_is_asked_otherwise_comes_over_loopback() {
        for body in [r#"{"path": "/x"}"#, r#"{"host": "a"}"#, r#"{"body": "x"}"#, r#"{"protocol": "HTTP"}"#] {
            assert_eq!((refused(body, false).await, refused(body, true).await), (403, 503), "{body}");
        }
        assert_eq!((refused("{}", false).await, refused(r#"{"pool": "web"}"#, false).await), (503, 503));
        assert_eq!((refused("", true).await, refused(r#"{"path": "x"}"#, false).await), (400, 400));
    }
}
