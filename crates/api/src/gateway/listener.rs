//! Listeners: ports, hosts, certificates, client certificates and error pages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::constraint::{HOST_LEN, HOST_PATTERN, NAME, NAME_LEN, NAMESPACE, NAMESPACE_LEN, OBJECT, OBJECT_LEN, rules};
use crate::defaults;

/// One place where the gateway accepts requests: a port, a protocol and the hosts it answers for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "(self.protocol == 'HTTPS') == has(self.tls)",
    "tls goes with protocol HTTPS, always and only: add tls, or make the protocol HTTP"
)])))]
pub struct Listener {
    /// Name by which rules refer to the listener; unique in the gateway.
    #[schemars(length(min = 1, max = NAME_LEN), regex(pattern = NAME))]
    pub name: String,

    /// Port that clients connect to, 1 to 65535. Listeners may share one when their protocol agrees: the host decides.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,

    /// HTTP or HTTPS.
    pub protocol: ListenerProtocol,

    /// Hosts that the listener answers for, compared without case. `*.example.com` takes any depth below; `*` and `?` may stand anywhere. None: any host. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = HOST_LEN), regex(pattern = HOST_PATTERN)), extend("x-kubernetes-list-type" = "atomic"))]
    pub host_names: Vec<String>,

    /// Certificates and TLS policy; with protocol HTTPS, and only then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,

    /// Pages sent in place of the gateway's own error answers. Default: those of the gateway. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub custom_error_pages: Vec<CustomErrorPage>,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ListenerProtocol {
    /// HTTP/1.1 and HTTP/2 without TLS.
    Http,
    /// HTTP/1.1 and HTTP/2 over TLS, chosen by ALPN.
    Https,
}

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerTls {
    /// Secrets of type kubernetes.io/tls, 1 to 32. Of several, the client's server name and key types decide; the first is the fallback. An OCSP response in DER under the key `tls.ocsp-staple` is stapled.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub certificate_refs: Vec<SecretRef>,

    /// Versions and cipher suites. Default: TLS 1.2 and 1.3 with every suite that is safe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<TlsPolicy>,

    /// Mutual TLS. Default: clients are not asked for a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuth>,
}

/// A Secret of type kubernetes.io/tls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = OBJECT_LEN), regex(pattern = OBJECT))]
    pub name: String,

    /// Namespace of the Secret; another than that of the referring object needs a ReferenceGrant there. Default: that of the referring object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = NAMESPACE_LEN), regex(pattern = NAMESPACE))]
    pub namespace: Option<String>,
}

/// Versions and cipher suites, by the name of an Azure policy or spelt out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "has(self.name) != (has(self.minProtocolVersion) || has(self.cipherSuites))",
    "give either name, or minProtocolVersion and cipherSuites"
)])))]
pub struct TlsPolicy {
    /// A predefined policy of Azure Application Gateway, such as AppGwSslPolicy20220101S. TLS below 1.2, and suites with CBC, DHE or RSA key exchange are left out of it, which is said in status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = "^AppGwSslPolicy[0-9]{8}S?$"))]
    pub name: Option<String>,

    /// Oldest version accepted: TLSv1_2 or TLSv1_3. Default: TLSv1_2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_protocol_version: Option<TlsVersion>,

    /// Cipher suites by their IANA names, best first. Without one of TLS 1.3, that version has TLS_AES_128_GCM_SHA256 and TLS_AES_256_GCM_SHA384. Default: all that are safe. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 64), regex(pattern = "^TLS(13)?_[A-Z0-9_]+$")), extend("x-kubernetes-list-type" = "atomic"))]
    pub cipher_suites: Vec<String>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "TLSv1_2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "TLSv1_3")]
    V1_3,
}

/// Mutual TLS: certificates asked of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "self.mode != 'Strict' || has(self.caCertificateRefs) && size(self.caCertificateRefs) > 0",
    "mode Strict needs at least one entry in caCertificateRefs to check certificates by"
)])))]
pub struct ClientAuth {
    /// Strict: a bad or missing certificate gets HTTP 400. Passthrough: it is forwarded and the backend decides. Default: Strict.
    #[serde(default)]
    pub mode: ClientAuthMode,

    /// Certificate authorities that sign the clients' certificates; needed in mode Strict. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub ca_certificate_refs: Vec<CaRef>,
}

/// What happens to a client without a good certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClientAuthMode {
    #[default]
    /// HTTP 400.
    Strict,
    /// Forwarded; the backend decides.
    Passthrough,
}

/// A ConfigMap, or a Secret of type kubernetes.io/tls, that holds certificate authorities in PEM under the key `ca.crt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaRef {
    /// ConfigMap or Secret. Default: ConfigMap.
    #[serde(default = "defaults::ca_kind")]
    pub kind: CaKind,

    /// Name of the object.
    #[schemars(length(min = 1, max = OBJECT_LEN), regex(pattern = OBJECT))]
    pub name: String,

    /// Namespace of the object; another than that of the referring object needs a ReferenceGrant there. Default: that of the referring object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = NAMESPACE_LEN), regex(pattern = NAMESPACE))]
    pub namespace: Option<String>,
}

/// Kind of object that holds certificate authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CaKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret of type kubernetes.io/tls.
    Secret,
}

/// A page sent in place of one of the gateway's own error answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomErrorPage {
    /// Status code whose answers get the page, 400 to 599.
    #[schemars(range(min = 400, max = 599))]
    pub status_code: u16,

    /// Where the page is: a ConfigMap of the gateway's namespace. A key that ends with .json or .txt is sent as that, any other as HTML.
    pub config_map_ref: ConfigMapKeyRef,
}

/// A key of a ConfigMap in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKeyRef {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = OBJECT_LEN), regex(pattern = OBJECT))]
    pub name: String,

    /// Key in its data.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}
