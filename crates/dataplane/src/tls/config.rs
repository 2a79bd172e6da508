//! From the TLS part of a listener to rustls.

use std::sync::Arc;

use penstock_model::{ListenerId, ListenerTls, TicketSecrets, TlsVersion};
use rustls::server::NoServerSessionStorage;
use rustls::{CipherSuite, ServerConfig, SupportedCipherSuite};

use super::certificates::Certificates;
use super::client_auth::ClientAuthority;
use super::provider;
use super::tickets::Ticketer;

/// Why a listener has no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// PEM that holds no chain or no key.
    #[error("Secret {secret}: {what} is no valid PEM: {error}")]
    Pem {
        /// `namespace/name` of the Secret.
        secret: Arc<str>,
        /// `tls.crt` or `tls.key`.
        what: &'static str,
        /// What the parser says.
        error: rustls_pki_types::pem::Error,
    },
    /// Key and certificate do not fit, or the library refuses them.
    #[error("Secret {secret}: {error}")]
    Key {
        /// `namespace/name` of the Secret.
        secret: Arc<str>,
        /// What the library says.
        error: rustls::Error,
    },
    /// The versions and suites leave nothing.
    #[error("TLS versions and cipher suites: {0}")]
    Policy(rustls::Error),
}

/// The server side of a listener.
#[derive(Debug)]
pub(crate) struct ServerTls {
    pub(super) config: Arc<ServerConfig>,
    /// `None`: clients are not asked for a certificate.
    pub(super) clients: Option<ClientAuthority>,
    pub(crate) tickets: Arc<Ticketer>,
}

/// Builds the server side of a listener.
pub(crate) fn server_tls(
    listener: &ListenerId,
    tls: &ListenerTls,
    secrets: &TicketSecrets,
) -> Result<Arc<ServerTls>, TlsError> {
    let certificates = Certificates::new(&tls.certificates)?;
    let mut provider = (*provider()).clone();
    let listed = !tls.cipher_suites.is_empty();
    if listed {
        let suite = |name: &Arc<str>| provider.cipher_suites.iter().copied().find(|suite| has_name(*suite, name));
        provider.cipher_suites = tls.cipher_suites.iter().filter_map(suite).collect();
    }
    let versions: &[&rustls::SupportedProtocolVersion] = match tls.min_version {
        TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let clients = tls.client_auth.as_ref().map(ClientAuthority::new);
    let builder = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .map_err(TlsError::Policy)?;
    let builder = match &clients {
        Some(clients) => builder.with_client_cert_verifier(clients.asks()),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    // Who lists suites means their order; else a client without AES in hardware has its way.
    config.ignore_client_order = listed;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tickets = Arc::new(Ticketer::new(listener, tls.client_auth.as_ref(), secrets));
    config.ticketer = Arc::clone(&tickets) as _;
    // A client without tickets makes a full handshake: a store of sessions would be one of this replica alone.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(ServerTls { config: Arc::new(config), clients, tickets }))
}

/// Whether a suite has this registered name; the library writes those of TLS 1.3 as `TLS13_...`.
fn has_name(suite: SupportedCipherSuite, name: &str) -> bool {
    let plain = |suite: CipherSuite| suite.as_str().map(|known| known.strip_prefix("TLS13_").unwrap_or(known));
    plain(suite.suite()).is_some_and(|known| name == known || name.strip_prefix("TLS_") == Some(known))
}
