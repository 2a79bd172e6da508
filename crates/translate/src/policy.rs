//! TLS policies: Azure's predefined ones and custom ones, as far as the library can carry them out.
//!
//! The table is that of <https://learn.microsoft.com/azure/application-gateway/application-gateway-ssl-policy-overview>.
//! What it has and the library lacks (TLS below 1.2, CBC, DHE, RSA key exchange) is left out and said; all of it is advised
//! against by RFC 9325 4.1 and 4.2, and clients of the last ten years have something better.

use std::sync::Arc;

use penstock_api::gateway::{TlsPolicy, TlsVersion};
use penstock_api::reasons::ListenerReason;
use penstock_model as model;
use rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;

use crate::finding::Finding;

/// What a listener offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) min_version: model::TlsVersion,
    /// IANA names, best first; none: the library's default.
    pub(crate) cipher_suites: Vec<Arc<str>>,
}

/// The names of the predefined policies, and the versions of each that are too old for the library.
const NAMES: [(&str, &str); 5] = [
    ("AppGwSslPolicy20150501", "TLS 1.0 and 1.1"),
    ("AppGwSslPolicy20170401", "TLS 1.1"),
    ("AppGwSslPolicy20170401S", ""),
    ("AppGwSslPolicy20220101", ""),
    ("AppGwSslPolicy20220101S", ""),
];

/// Cipher suites in the order of their priority, and which of [`NAMES`] have them.
const SUITES: [(&str, [u8; 5]); 30] = [
    ("TLS_AES_128_GCM_SHA256", [0, 0, 0, 1, 1]),
    ("TLS_AES_256_GCM_SHA384", [0, 0, 0, 1, 1]),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", [1, 1, 1, 1, 1]),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", [1, 1, 1, 1, 1]),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", [1, 0, 0, 1, 0]),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", [1, 0, 0, 1, 0]),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", [1, 1, 1, 0, 0]),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", [1, 1, 1, 0, 0]),
    ("TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", [1, 0, 0, 0, 0]),
    ("TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", [1, 0, 0, 0, 0]),
    ("TLS_DHE_RSA_WITH_AES_256_CBC_SHA", [1, 0, 0, 0, 0]),
    ("TLS_DHE_RSA_WITH_AES_128_CBC_SHA", [1, 0, 0, 0, 0]),
    ("TLS_RSA_WITH_AES_256_GCM_SHA384", [1, 1, 1, 0, 0]),
    ("TLS_RSA_WITH_AES_128_GCM_SHA256", [1, 1, 1, 0, 0]),
    ("TLS_RSA_WITH_AES_256_CBC_SHA256", [1, 1, 1, 0, 0]),
    ("TLS_RSA_WITH_AES_128_CBC_SHA256", [1, 1, 1, 0, 0]),
    ("TLS_RSA_WITH_AES_256_CBC_SHA", [1, 1, 1, 0, 0]),
    ("TLS_RSA_WITH_AES_128_CBC_SHA", [1, 1, 1, 0, 0]),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", [1, 1, 1, 1, 1]),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", [1, 1, 1, 1, 1]),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", [1, 1, 1, 1, 0]),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", [1, 1, 1, 1, 0]),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", [1, 1, 1, 0, 0]),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", [1, 1, 1, 0, 0]),
    ("TLS_DHE_DSS_WITH_AES_256_CBC_SHA256", [1, 0, 0, 0, 0]),
    ("TLS_DHE_DSS_WITH_AES_128_CBC_SHA256", [1, 0, 0, 0, 0]),
    ("TLS_DHE_DSS_WITH_AES_256_CBC_SHA", [1, 0, 0, 0, 0]),
    ("TLS_DHE_DSS_WITH_AES_128_CBC_SHA", [1, 0, 0, 0, 0]),
    ("TLS_RSA_WITH_3DES_EDE_CBC_SHA", [1, 0, 0, 0, 0]),
    ("TLS_DHE_DSS_WITH_3DES_EDE_CBC_SHA", [1, 0, 0, 0, 0]),
];

/// What TLS 1.3 offers where a list names no suite of it, as in Azure's CustomV2 policies.
const TLS13: [&str; 2] = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"];

/// Reads the policy of a listener. `None`: there is no such policy, and the findings say so.
pub(crate) fn parse(policy: Option<&TlsPolicy>, listener: &str, findings: &mut Vec<Finding>) -> Option<Policy> {
    let Some(TlsPolicy { name, min_protocol_version, cipher_suites }) = policy else {
        return Some(Policy { min_version: model::TlsVersion::V1_2, cipher_suites: Vec::new() });
    };
    if let Some(name) = name {
        return predefined(name, listener, findings);
    }
    let min_version = match min_protocol_version {
        Some(TlsVersion::V1_3) => model::TlsVersion::V1_3,
        Some(TlsVersion::V1_2) | None => model::TlsVersion::V1_2,
    };
    let named = cipher_suites.iter().map(|suite| iana(suite));
    let (mut known, unknown): (Vec<_>, Vec<_>) = named.partition(|suite| is_supported(suite));
    if !unknown.is_empty() {
        let message = format!("listeners[{listener}].tls.policy.cipherSuites: not offered: {}", unknown.join(", "));
        findings.push(Finding::partial(ListenerReason::UnsupportedValue.as_str(), message));
    }
    if !cipher_suites.is_empty() && !known.iter().any(|suite| is_tls13(suite)) {
        known.extend(TLS13.map(str::to_owned));
    }
    Some(Policy { min_version, cipher_suites: known.into_iter().map(Into::into).collect() })
}

fn predefined(name: &str, listener: &str, findings: &mut Vec<Finding>) -> Option<Policy> {
    let Some(column) = NAMES.iter().position(|(known, _)| *known == name) else {
        let known = NAMES.map(|(name, _)| name).join(", ");
        let message = format!(
            "listeners[{listener}].tls.policy.name {name:?} is no predefined policy: use one of {known}, or \
             minProtocolVersion and cipherSuites"
        );
        findings.push(Finding::refused(ListenerReason::UnsupportedValue.as_str(), message));
        return None;
    };
    let suites = SUITES.iter().filter(|(_, of)| of[column] == 1).map(|(suite, _)| *suite);
    let (known, unknown): (Vec<_>, Vec<_>) = suites.partition(|suite| is_supported(suite));
    let old = Some(NAMES[column].1).filter(|old| !old.is_empty());
    let missing: Vec<&str> = old.into_iter().chain(unknown).collect();
    if !missing.is_empty() {
        let message =
            format!("listeners[{listener}].tls.policy.name {name:?}: of it are not offered: {}", missing.join(", "));
        findings.push(Finding::partial(ListenerReason::UnsupportedValue.as_str(), message));
    }
    let cipher_suites = known.into_iter().map(Into::into).collect();
    Some(Policy { min_version: model::TlsVersion::V1_2, cipher_suites })
}

/// The registered name: the library, and OpenSSL's tools of old, write the suites of TLS 1.3 in their own way.
fn iana(suite: &str) -> String {
    suite.strip_prefix("TLS13_").map_or_else(|| suite.to_owned(), |rest| format!("TLS_{rest}"))
}

fn is_supported(suite: &str) -> bool {
    ALL_CIPHER_SUITES.iter().any(|known| known.suite().as_str().is_some_and(|known| iana(known) == suite))
}

/// Suites of TLS 1.3 name no key exchange (RFC 8446 B.4).
fn is_tls13(suite: &str) -> bool {
    !suite.contains("_WITH_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(policy: &TlsPolicy) -> (Vec<String>, Vec<String>) {
        let mut findings = Vec::new();
        let suites = parse(Some(policy), "x", &mut findings).map(|policy| policy.cipher_suites).unwrap_or_default();
        let suites = suites.iter().map(ToString::to_string).collect();
        (suites, findings.into_iter().map(|finding| finding.message).collect())
    }

    fn custom(suites: &[&str]) -> (Vec<String>, Vec<String>) {
        let cipher_suites = suites.iter().map(|&suite| suite.to_owned()).collect();
        parsed(&TlsPolicy { name: None, min_protocol_version: None, cipher_suites })
    }

    #[test]
    fn every_predefined_policy_leaves_suites_for_both_kinds_of_certificates() {
        for (name, _) in NAMES {
            let policy = TlsPolicy { name: Some(name.to_owned()), ..TlsPolicy::default() };
            let (suites, _) = parsed(&policy);
            for kind in ["ECDHE_RSA", "ECDHE_ECDSA"] {
                assert!(suites.iter().any(|suite| suite.contains(kind)), "{name}: {suites:?}");
            }
            assert_eq!(suites.iter().any(|suite| is_tls13(suite)), name.contains("2022"), "{name}");
        }
    }

    #[test]
    fn a_list_keeps_its_order_and_says_what_is_missing() {
        let wanted = ["TLS13_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "TLS_AES_128_GCM_SHA256"];
        let (suites, said) = custom(&wanted);
        assert_eq!(suites, ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"]);
        assert_eq!(said, ["listeners[x].tls.policy.cipherSuites: not offered: TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"]);
    }

    #[test]
    fn a_list_without_a_suite_of_tls_1_3_gets_those_of_azure() {
        let (suites, said) = custom(&["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"]);
        assert_eq!(suites[1..], TLS13);
        assert!(said.is_empty(), "{said:?}");
        assert!(custom(&[]).0.is_empty(), "the library's default has them");
    }
}
