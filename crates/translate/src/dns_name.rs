//! DNS names as backends: read here, resolved by the data plane.

use std::net::IpAddr;

use penstock_model::Name;

/// The longest name, without its last dot (RFC 1035 2.3.4: 255 bytes on the wire).
const LONGEST: usize = 253;
/// The longest label (the same).
const LONGEST_LABEL: usize = 63;

/// Reads a name: lower case, and complete when it ends with a dot.
///
/// # Errors
/// What is wrong with it, as the rest of a sentence that begins with it.
pub(crate) fn parse(text: &str) -> Result<Name, &'static str> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.parse::<IpAddr>().is_ok() {
        return Err("is an IP address, not a DNS name");
    }
    if name.is_empty() || name.len() > LONGEST {
        return Err("is not a DNS name: it has 1 to 253 characters");
    }
    let label = |label: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=LONGEST_LABEL).contains(&label.len()) && label.bytes().all(known)
    };
    if !name.split('.').all(label) {
        return Err("is not a DNS name: between its dots are 1 to 63 letters, digits, `-` and `_`");
    }
    Ok(text.to_ascii_lowercase().into())
}

/// The same name without a search list.
pub(crate) fn complete(name: &str) -> Name {
    if name.ends_with('.') { name.into() } else { format!("{name}.").into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_keep_their_last_dot() {
        assert_eq!(parse("Legacy.Example.net").as_deref(), Ok("legacy.example.net"));
        assert_eq!(parse("legacy.example.net.").as_deref(), Ok("legacy.example.net."));
        assert_eq!(parse("_srv.db-1").as_deref(), Ok("_srv.db-1"));
        assert_eq!(&*complete("a.b"), "a.b.");
        assert_eq!(&*complete("a.b."), "a.b.");
    }

    #[test]
    fn what_no_server_can_be_asked_for_is_refused() {
        let (label, long) = ("a".repeat(64), "a.".repeat(128));
        for bad in
            ["", ".", "a..b", ".a", "a b", "a/b", "a:80", "é.example", "10.0.0.1", "10.0.0.1.", "::1", &label, &long]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
