//! Certificates made on the spot: a CA of one's own, server and client certificates signed by it.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_RSA_SHA256, RsaKeySize, SanType, date_time_ymd,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate authority.
#[derive(Debug)]
pub struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, as a `kubernetes.io/tls` Secret holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `tls.crt`.
    pub cert_pem: String,
    /// `tls.key`.
    pub key_pem: String,
}

impl Ca {
    /// A CA with this common name and an ECDSA P-256 key.
    ///
    /// # Panics
    /// When the name is no valid one.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a P-256 key can be made");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let pem = params.self_signed(&key).expect("a CA can sign itself").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// The CA's certificate.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A server certificate for these DNS names and IP addresses, with an ECDSA P-256 key.
    ///
    /// # Panics
    /// When a name is neither.
    #[must_use]
    pub fn server(&self, names: &[&str]) -> Identity {
        self.sign(&server_params(names), &KeyPair::generate().expect("a P-256 key can be made"))
    }

    /// The same with these URIs beside the names.
    ///
    /// # Panics
    /// When a name or URI is none.
    #[must_use]
    pub fn server_with_uris(&self, names: &[&str], uris: &[&str]) -> Identity {
        let mut params = server_params(names);
        let uris = uris.iter().map(|&uri| SanType::URI(uri.try_into().expect("a URI of ASCII")));
        params.subject_alt_names.extend(uris);
        self.sign(&params, &KeyPair::generate().expect("a P-256 key can be made"))
    }

    /// The same with an RSA key of 2048 bits (some tenths of a second to make).
    ///
    /// # Panics
    /// When a name is neither a DNS name nor an address.
    #[must_use]
    pub fn server_rsa(&self, names: &[&str]) -> Identity {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("an RSA key can be made");
        self.sign(&server_params(names), &key)
    }

    /// A server certificate that ended in 2001.
    ///
    /// # Panics
    /// When a name is neither a DNS name nor an address.
    #[must_use]
    pub fn expired(&self, names: &[&str]) -> Identity {
        let mut params = server_params(names);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
        self.sign(&params, &KeyPair::generate().expect("a P-256 key can be made"))
    }

    /// A server certificate with this life, in whole seconds.
    ///
    /// # Panics
    /// When a name is neither a DNS name nor an address, or a time before 1970.
    #[must_use]
    pub fn server_between(&self, names: &[&str], from: SystemTime, to: SystemTime) -> Identity {
        let mut params = server_params(names);
        set_life(&mut params, from, to);
        self.sign(&params, &KeyPair::generate().expect("a P-256 key can be made"))
    }

    /// A client certificate with this common name.
    ///
    /// # Panics
    /// When the name is no valid one.
    #[must_use]
    pub fn client(&self, name: &str) -> Identity {
        self.sign(&client_params(name), &KeyPair::generate().expect("a P-256 key can be made"))
    }

    /// The same with this life, in whole seconds.
    ///
    /// # Panics
    /// When the name is no valid one, or a time before 1970.
    #[must_use]
    pub fn client_between(&self, name: &str, from: SystemTime, to: SystemTime) -> Identity {
        let mut params = client_params(name);
        set_life(&mut params, from, to);
        self.sign(&params, &KeyPair::generate().expect("a P-256 key can be made"))
    }

    /// A ConfigMap with the CA's certificate as a manifest.
    #[must_use]
    pub fn config_map_yaml(&self, namespace: &str, name: &str) -> String {
        let lines: String = self.pem.lines().map(|line| format!("    {line}\n")).collect();
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\ndata:\n  ca.crt: |\n{lines}"
        )
    }

    fn sign(&self, params: &CertificateParams, key: &KeyPair) -> Identity {
        let cert = params.signed_by(key, &self.issuer).expect("the CA can sign");
        Identity { cert_pem: cert.pem(), key_pem: key.serialize_pem() }
    }
}

fn set_life(params: &mut CertificateParams, from: SystemTime, to: SystemTime) {
    let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).expect("a time since 1970");
    params.not_before = date_time_ymd(1970, 1, 1) + since(from);
    params.not_after = date_time_ymd(1970, 1, 1) + since(to);
}

fn client_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn server_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
    let mut params = CertificateParams::new(names.clone()).unwrap_or_else(|e| panic!("names {names:?}: {e}"));
    params.distinguished_name.push(DnType::CommonName, names.first().map_or("server", String::as_str));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

impl Identity {
    /// The certificate chain.
    ///
    /// # Panics
    /// When the PEM is not one.
    #[must_use]
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.cert_pem.as_bytes()).collect::<Result<_, _>>().expect("PEM certificates")
    }

    /// The private key.
    ///
    /// # Panics
    /// When the PEM is not one.
    #[must_use]
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).expect("a PEM key")
    }

    /// What a TLS server with this certificate needs; no client certificates, no ALPN.
    ///
    /// # Panics
    /// When certificate and key do not belong together.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("the provider has TLS 1.2 and 1.3");
        Arc::new(
            builder.with_no_client_auth().with_single_cert(self.chain(), self.key()).expect("certificate and key fit"),
        )
    }

    /// The same for a server that wants certificates of its clients from this CA.
    ///
    /// # Panics
    /// When certificate and key do not belong together.
    #[must_use]
    pub fn server_config_asking(&self, clients: &Ca) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(clients.pem().as_bytes()).expect("a CA's PEM")).expect("a CA");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().expect("the provider has TLS 1.2 and 1.3");
        let builder = builder.with_client_cert_verifier(verifier.expect("a CA to verify with"));
        Arc::new(builder.with_single_cert(self.chain(), self.key()).expect("certificate and key fit"))
    }

    /// A Secret of type `kubernetes.io/tls` as a manifest.
    #[must_use]
    pub fn secret_yaml(&self, namespace: &str, name: &str) -> String {
        let (cert, key) = (STANDARD.encode(&self.cert_pem), STANDARD.encode(&self.key_pem));
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: {namespace}}}\ntype: kubernetes.io/tls\n\
             data:\n  tls.crt: {cert}\n  tls.key: {key}\n"
        )
    }
}
