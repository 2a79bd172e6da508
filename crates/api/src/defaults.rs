//! Every default of the schema, once. `serde` uses these functions for objects read from files, `schemars` prints what they return into
//! the CRD, so an object means the same on both ways.

use crate::duration::Duration;
use crate::gateway::{BackendProtocol, CaKind, ConnectionDraining, OutlierDetection, ProbeMatch, Retry};

pub(crate) fn class_name() -> String {
    crate::DEFAULT_CLASS.to_owned()
}

pub(crate) fn affinity_cookie() -> String {
    "ApplicationGatewayAffinity".to_owned()
}

pub(crate) fn probe_host() -> String {
    "127.0.0.1".to_owned()
}

pub(crate) fn probe_path() -> String {
    "/".to_owned()
}

pub(crate) fn status_codes() -> Vec<String> {
    vec!["200-399".to_owned()]
}

pub(crate) fn probe_match() -> ProbeMatch {
    ProbeMatch { status_codes: status_codes(), body: None }
}

pub(crate) const fn request_timeout() -> Duration {
    Duration::literal("20s")
}

pub(crate) const fn connect_timeout() -> Duration {
    Duration::literal("5s")
}

pub(crate) const fn stream_idle_timeout() -> Duration {
    Duration::literal("5m")
}

pub(crate) const fn draining_timeout() -> Duration {
    Duration::literal("30s")
}

pub(crate) const fn connection_draining() -> ConnectionDraining {
    ConnectionDraining { timeout: draining_timeout(), spread: None }
}

pub(crate) const fn probe_interval() -> Duration {
    Duration::literal("30s")
}

pub(crate) const fn probe_timeout() -> Duration {
    Duration::literal("30s")
}

pub(crate) const fn unhealthy_threshold() -> u32 {
    3
}

pub(crate) const fn weight() -> u32 {
    1
}

pub(crate) const fn retry_attempts() -> u32 {
    1
}

pub(crate) const fn retry() -> Retry {
    Retry { attempts: retry_attempts(), on_timeout: false }
}

pub(crate) const fn consecutive_5xx_errors() -> u32 {
    5
}

pub(crate) const fn base_ejection_time() -> Duration {
    Duration::literal("30s")
}

pub(crate) const fn max_ejection_percent() -> u32 {
    50
}

pub(crate) const fn outlier_detection() -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx_errors: consecutive_5xx_errors(),
        base_ejection_time: base_ejection_time(),
        max_ejection_percent: max_ejection_percent(),
    }
}

pub(crate) const fn backend_protocol() -> BackendProtocol {
    BackendProtocol::Http
}

pub(crate) const fn ca_kind() -> CaKind {
    CaKind::ConfigMap
}

pub(crate) const fn sequence() -> u32 {
    100
}

pub(crate) const fn yes() -> bool {
    true
}
