//! Azure's names of server variables and headers.

use http::header::HeaderName;
use penstock_model::rewrite::Variable;

/// Server variables that have no argument. Azure's `ciphers_supported`, `client_tcp_rtt`, `received_bytes` and
/// `sent_bytes` are not among them: the first two are not known here, the others not before the request is over.
const NAMED: [(&str, Variable); 25] = [
    ("add_x_forwarded_for_proxy", Variable::ForwardedFor),
    ("ciphers_used", Variable::TlsCipher),
    ("client_certificate", Variable::ClientCertificate("x-client-certificate")),
    ("client_certificate_end_date", Variable::ClientCertificate("x-client-certificate-end-date")),
    ("client_certificate_fingerprint", Variable::ClientCertificate("x-client-certificate-fingerprint")),
    ("client_certificate_issuer", Variable::ClientCertificate("x-client-certificate-issuer")),
    ("client_certificate_serial", Variable::ClientCertificate("x-client-certificate-serial")),
    ("client_certificate_start_date", Variable::ClientCertificate("x-client-certificate-start-date")),
    ("client_certificate_subject", Variable::ClientCertificate("x-client-certificate-subject")),
    ("client_certificate_verification", Variable::ClientCertificate("x-client-certificate-verification")),
    ("client_ip", Variable::ClientIp),
    ("client_port", Variable::ClientPort),
    ("client_user", Variable::ClientUser),
    ("host", Variable::Host),
    ("http_method", Variable::Method),
    ("http_status", Variable::Status),
    ("http_version", Variable::HttpVersion),
    ("query_string", Variable::Query),
    ("request_query", Variable::Query),
    ("request_scheme", Variable::Scheme),
    ("request_uri", Variable::RequestUri),
    ("server_port", Variable::ServerPort),
    ("ssl_connection_protocol", Variable::TlsVersion),
    ("ssl_enabled", Variable::TlsEnabled),
    ("uri_path", Variable::Path),
];

/// A variable as Azure spells it: `uri_path` or `var_uri_path`, `http_req_NAME`, `http_resp_NAME`, `cookie_NAME`.
pub(super) fn parse(text: &str) -> Result<Variable, String> {
    if let Some(name) = text.strip_prefix("http_req_") {
        return header(text, name).map(Variable::RequestHeader);
    }
    if let Some(name) = text.strip_prefix("http_resp_") {
        return header(text, name).map(Variable::ResponseHeader);
    }
    let bare = text.strip_prefix("var_").unwrap_or(text);
    if let Some(cookie) = bare.strip_prefix("cookie_").filter(|name| !name.is_empty()) {
        return Ok(Variable::Cookie(cookie.into()));
    }
    let named = NAMED.iter().find(|(name, _)| *name == bare).map(|(_, variable)| variable.clone());
    named.ok_or_else(|| {
        let names = NAMED.map(|(name, _)| name).join(", ");
        format!("{text:?} is no variable: use http_req_NAME, http_resp_NAME, cookie_NAME or one of {names}")
    })
}

fn header(text: &str, name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("{text:?} names no header: write its name after the prefix"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn azure_writes_them_with_and_without_a_prefix() {
        assert_eq!(parse("uri_path"), Ok(Variable::Path));
        assert_eq!(parse("var_uri_path"), Ok(Variable::Path));
        assert_eq!(parse("var_cookie_session"), Ok(Variable::Cookie("session".into())));
        assert_eq!(parse("http_req_User-Agent"), Ok(Variable::RequestHeader(http::header::USER_AGENT)));
        assert_eq!(parse("http_resp_Location"), Ok(Variable::ResponseHeader(http::header::LOCATION)));
    }

    #[test]
    fn what_is_unknown_is_said_with_what_is_known() {
        for text in ["path", "http_req_", "cookie_", "var_"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("path").unwrap_err().contains("uri_path"));
    }
}
