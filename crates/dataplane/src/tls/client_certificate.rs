//! What is known of a client's certificate: put together once per connection, sent to backends with each request.
//!
//! The headers are named after the server variables of Azure Application Gateway (`client_certificate` and so on,
//! <https://learn.microsoft.com/azure/application-gateway/rewrite-http-headers-url#mutual-authentication-server-variables>).

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use penstock_model::ClientAuth;
use x509_parser::prelude::{ASN1Time, X509Certificate, X509Name};

/// What all of these headers begin with. No client may send one.
pub(crate) const PREFIX: &str = "x-client-certificate";

/// A client's certificate, or that it showed none.
#[derive(Debug)]
pub(crate) struct ClientCertificate {
    /// What it was judged by.
    pub(crate) asked: ClientAuth,
    /// An authority of the listener vouches for it.
    pub(crate) verdict: Verdict,
    /// Name and value of each header.
    pub(crate) headers: Vec<(&'static str, Box<[u8]>)>,
}

/// What was found out about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    Missing,
    /// With a reason from a closed list.
    Bad(&'static str),
}

impl ClientCertificate {
    pub(super) fn none(asked: ClientAuth) -> Self {
        Self { asked, verdict: Verdict::Missing, headers: vec![(VERIFICATION, (*b"NONE").into())] }
    }

    /// `refused`: why it is not good.
    pub(super) fn new(asked: ClientAuth, leaf: &[u8], refused: Option<&'static str>) -> Self {
        let (verdict, verification) = match refused {
            None => (Verdict::Good, "SUCCESS".to_owned()),
            Some(reason) => (Verdict::Bad(reason), format!("FAILED:{reason}")),
        };
        let mut headers = vec![(VERIFICATION, verification.into_bytes().into_boxed_slice())];
        let mut put = |name, value: String| headers.push((name, visible(&value)));
        put(PREFIX, escaped_pem(leaf));
        put("x-client-certificate-fingerprint", hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, leaf).as_ref()));
        if let Ok((_, certificate)) = x509_parser::parse_x509_certificate(leaf) {
            let X509Certificate { tbs_certificate: certificate, .. } = certificate;
            put("x-client-certificate-subject", name(&certificate.subject));
            put("x-client-certificate-issuer", name(&certificate.issuer));
            put("x-client-certificate-serial", hex(certificate.raw_serial()));
            put("x-client-certificate-start-date", date(certificate.validity.not_before));
            put("x-client-certificate-end-date", date(certificate.validity.not_after));
        }
        Self { asked, verdict, headers }
    }
}

const VERIFICATION: &str = "x-client-certificate-verification";

fn name(name: &X509Name<'_>) -> String {
    name.to_string()
}

/// RFC 3339.
fn date(time: ASN1Time) -> String {
    jiff::Timestamp::from_second(time.timestamp()).map_or_else(|_| String::new(), |time| time.to_string())
}

/// PEM with everything percent-encoded that a header or a URL decoder would stumble over: nginx and Azure send it so.
fn escaped_pem(der: &[u8]) -> String {
    let base64 = BASE64.encode(der);
    let mut text = String::with_capacity(base64.len() + base64.len() / 8 + 80);
    text.push_str("-----BEGIN%20CERTIFICATE-----%0A");
    for (index, letter) in base64.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            text.push_str("%0A");
        }
        match letter {
            '+' => text.push_str("%2B"),
            '/' => text.push_str("%2F"),
            '=' => text.push_str("%3D"),
            other => text.push(other),
        }
    }
    text.push_str("%0A-----END%20CERTIFICATE-----%0A");
    text
}

/// As a header's value: a name in a certificate may hold anything (RFC 9110 5.5 takes visible ASCII, space and tab).
fn visible(text: &str) -> Box<[u8]> {
    text.chars().map(|letter| if letter.is_ascii_graphic() || letter == ' ' { letter as u8 } else { b'?' }).collect()
}

/// Bytes in hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
