//! Whose name a probe sends and, over TLS, asks for: its own, that of the settings, or the one in the pool. A request has the
//! client's Host where nobody says another; a probe has no client.

use penstock_model::{HostRewrite, Name, Probe, ProbeHost, UpstreamTls};

/// Host header of a probe for which nobody names one. As the host of a named probe it names none: that is its default.
pub(crate) const LOCALHOST: &str = "127.0.0.1";

/// The host of a named probe: its own, else that of the settings where it is picked, else 127.0.0.1.
pub(crate) fn picked(probe: &Probe, picks: bool, settings: &HostRewrite) -> ProbeHost {
    let picked = (picks && is_nobody(&probe.host)).then(|| of_settings(settings)).flatten();
    picked.unwrap_or_else(|| probe.host.clone())
}

fn is_nobody(host: &ProbeHost) -> bool {
    matches!(host, ProbeHost::Named(host) if **host == *LOCALHOST)
}

/// Over TLS, where neither probe nor settings have a name, the one in the pool is asked for (Azure: "custom probe > HTTP settings >
/// backend pool").
pub(crate) fn ask_for(mut probe: Probe, name: &Name) -> Probe {
    if is_nobody(&probe.host)
        && let Some(tls) = &mut probe.tls
    {
        tls.server_name.get_or_insert_with(|| Name::clone(name));
    }
    probe
}

/// Which host settings give to a probe that has none of its own (`pickHostNameFromBackendHttpSettings` of Azure).
pub(crate) fn of_settings(host: &HostRewrite) -> Option<ProbeHost> {
    match host {
        HostRewrite::Keep => None,
        HostRewrite::Set(authority) => Some(ProbeHost::Named(authority.as_str().into())),
        HostRewrite::FromBackend => Some(ProbeHost::OfBackend),
    }
}

/// Whether a probe looks for a name in the certificate that nobody gave to it: it fails, whoever answers.
pub(crate) fn lacks_name(probe: &Probe) -> bool {
    let verifies = |tls: &UpstreamTls| tls.verify && tls.server_name.is_none() && tls.subject_alt_names.is_empty();
    probe.tls.as_ref().is_some_and(verifies) && is_nobody(&probe.host)
}
