//! Listeners: as parsed from the gateway alone, and which of two that want the same keeps it.

use std::collections::BTreeMap;

use penstock_api::gateway::{self, ClientAuth, CustomErrorPage, ListenerProtocol, SecretRef};
use penstock_api::reasons::{ListenerReason, RuleReason};
use penstock_model::{HostPattern, ListenerId, Name};

use crate::finding::Finding;
use crate::policy::{self, Policy};

/// A listener as parsed.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) name: Name,
    pub(crate) port: u16,
    pub(crate) protocol: ListenerProtocol,
    /// None: any.
    pub(crate) hosts: Vec<HostPattern>,
    pub(crate) tls: Option<ListenerTls>,
    /// Holds its hosts, and no handshake is made for them: without it their requests would go to a listener that asks less of
    /// its clients.
    pub(crate) closed: bool,
    pub(crate) error_pages: Vec<CustomErrorPage>,
    /// What is wrong with it by itself.
    pub(crate) findings: Vec<Finding>,
}

/// TLS of a listener, its Secrets not looked up yet.
#[derive(Debug)]
pub(crate) struct ListenerTls {
    pub(crate) certificates: Vec<SecretRef>,
    /// `None`: there is no such policy, and no handshake.
    pub(crate) policy: Option<Policy>,
    pub(crate) client_auth: Option<ClientAuth>,
}

/// Parses a listener.
pub(crate) fn parse(spec: &gateway::Listener) -> Listener {
    let gateway::Listener { name, port, protocol, host_names, tls, custom_error_pages } = spec;
    let mut findings = Vec::new();
    let refuse = |message: String| Finding::refused(ListenerReason::UnsupportedValue.as_str(), message);
    let mut closed = false;
    if tls.is_some() != (*protocol == ListenerProtocol::Https) {
        let message =
            format!("listeners[{name}]: tls goes with protocol HTTPS, always and only: add tls, or change protocol");
        findings.push(refuse(message));
    }
    let mut hosts = Vec::new();
    for text in host_names {
        match HostPattern::parse(text) {
            Ok(host) => hosts.push(host),
            Err(error) => {
                let message = format!("listeners[{name}].hostNames: {error}; correct or remove it");
                findings.push(Finding::partial(RuleReason::InvalidValue.as_str(), message));
            }
        }
    }
    let tls = tls.as_ref().map(|tls| ListenerTls {
        certificates: tls.certificate_refs.clone(),
        client_auth: tls.client_auth.clone(),
        policy: policy::parse(tls.policy.as_ref(), name, &mut findings),
    });
    closed |= tls.as_ref().is_some_and(|tls| tls.policy.is_none());
    if hosts.is_empty() && !host_names.is_empty() {
        // No hosts would mean any host.
        closed = false;
        findings.push(refuse(format!("listeners[{name}].hostNames has no valid host: correct it")));
    }
    Listener {
        name: name.as_str().into(),
        port: *port,
        protocol: *protocol,
        hosts,
        tls,
        closed,
        error_pages: custom_error_pages.clone(),
        findings,
    }
}

/// Who has which host on which port. Ask in the order of age: who comes first keeps it.
#[derive(Debug, Default)]
pub(crate) struct Claims(BTreeMap<u16, Port>);

#[derive(Debug)]
struct Port {
    protocol: ListenerProtocol,
    owner: ListenerId,
    hosts: BTreeMap<HostPattern, ListenerId>,
}

impl Claims {
    /// The hosts of a listener that are still free on a port (its own where it has none), and what is said about the others.
    /// `None`: nothing is left.
    pub(crate) fn claim(
        &mut self,
        port: u16,
        id: &ListenerId,
        listener: &Listener,
    ) -> (Option<Vec<HostPattern>>, Vec<Finding>) {
        let claimed = self.0.entry(port).or_insert_with(|| Port {
            protocol: listener.protocol,
            owner: id.clone(),
            hosts: BTreeMap::new(),
        });
        let conflicted = ListenerReason::Conflicted.as_str();
        let Listener { name, port: public, protocol, hosts, .. } = listener;
        if claimed.protocol != *protocol {
            let message = format!(
                "listeners[{name}].protocol {} on port {public}: listener {} speaks {} there; use another port or the same protocol",
                protocol_name(*protocol),
                claimed.owner,
                protocol_name(claimed.protocol)
            );
            return (None, vec![Finding::refused(conflicted, message)]);
        }
        let any = [HostPattern::Any];
        let wanted = if hosts.is_empty() { any.as_slice() } else { hosts.as_slice() };
        let mut free = Vec::new();
        let mut findings = Vec::new();
        for host in wanted {
            match claimed.hosts.get(host) {
                None => {
                    claimed.hosts.insert(host.clone(), id.clone());
                    free.push(host.clone());
                }
                Some(owner) if owner == id => {}
                Some(owner) => findings.push(Finding::partial(
                    conflicted,
                    format!(
                        "listeners[{name}] port {public}, host {host}: listener {owner} has it already; use another port or host"
                    ),
                )),
            }
        }
        if !free.is_empty() {
            return (Some(if hosts.is_empty() { Vec::new() } else { free }), findings);
        }
        let refused = findings.into_iter().map(|finding| Finding::refused(conflicted, finding.message)).collect();
        (None, refused)
    }
}

fn protocol_name(protocol: ListenerProtocol) -> &'static str {
    match protocol {
        ListenerProtocol::Http => "HTTP",
        ListenerProtocol::Https => "HTTPS",
    }
}
