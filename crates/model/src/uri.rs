//! The path of a request, normalized once before anything is matched (RFC 3986 6.2.2).
//!
//! Dot segments go (also when written `%2e`), escaped unreserved characters are unescaped, other escapes get
//! upper-case digits. `%2F` is no slash and `//` stays. What was matched is what is sent: [`Normalized::sent`]
//! says which bytes that is.

use std::borrow::Cow;

/// Why a path is refused with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Only `*` and absolute paths are targets of requests to a gateway.
    #[error("the path does not start with a slash")]
    NotAbsolute,
    /// `%` without two hexadecimal digits.
    #[error("the path has an incomplete percent escape")]
    BadEscape,
    /// A backslash: some backends take it for a slash.
    #[error("the path has a backslash")]
    Backslash,
    /// A segment that becomes `.` or `..` only when `%2F` or `%5C` is decoded.
    #[error("the path hides a dot segment behind an escaped slash")]
    HiddenDotSegment,
    /// Control characters, also escaped NUL.
    #[error("the path has a control character")]
    Control,
}

/// A path after normalization.
#[derive(Debug, PartialEq, Eq)]
pub struct Normalized<'a> {
    /// What routes are matched against.
    pub path: Cow<'a, str>,
    /// Whether dot segments were removed: then the normalized path is sent, else the bytes as received.
    pub dots_removed: bool,
}

/// Normalizes a path without its query. Borrows when there is nothing to do.
pub fn normalize(path: &str) -> Result<Normalized<'_>, PathError> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(PathError::NotAbsolute);
    }
    let mut plain = true;
    let mut previous = b'/';
    for &byte in bytes {
        match byte {
            b'\\' => return Err(PathError::Backslash),
            0..=0x1f | 0x7f => return Err(PathError::Control),
            b'%' => plain = false,
            // A dot at the start of a segment may be a dot segment.
            b'.' if previous == b'/' => plain = false,
            _ => {}
        }
        previous = byte;
    }
    if plain {
        return Ok(Normalized { path: Cow::Borrowed(path), dots_removed: false });
    }
    let unescaped = unescape(path)?;
    if unescaped.split('/').any(hides_dots) {
        return Err(PathError::HiddenDotSegment);
    }
    if !unescaped.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Ok(Normalized { path: unescaped, dots_removed: false });
    }
    Ok(Normalized { path: Cow::Owned(remove_dot_segments(&unescaped)), dots_removed: true })
}

/// Unescapes unreserved characters (RFC 3986 2.3) and writes the other escapes in upper case.
fn unescape(path: &str) -> Result<Cow<'_, str>, PathError> {
    let mut out = String::new();
    // `path[..copied]` is in `out`; `path[..at]` has been looked at.
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = path[at..].find('%') {
        let escape = at + found;
        at = escape + 3;
        let digits = path.as_bytes().get(escape + 1..at).ok_or(PathError::BadEscape)?;
        let byte = hex(digits[0]).zip(hex(digits[1])).map(|(high, low)| high << 4 | low).ok_or(PathError::BadEscape)?;
        let unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if byte == 0 {
            return Err(PathError::Control);
        }
        if !unreserved && !digits.iter().any(u8::is_ascii_lowercase) {
            continue;
        }
        out.push_str(&path[copied..escape]);
        copied = at;
        if unreserved {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend(digits.iter().map(|digit| char::from(digit.to_ascii_uppercase())));
        }
    }
    if copied == 0 {
        return Ok(Cow::Borrowed(path));
    }
    out.push_str(&path[copied..]);
    Ok(Cow::Owned(out))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Whether a segment has a part between escaped slashes or backslashes that is a dot segment.
fn hides_dots(segment: &str) -> bool {
    if !(segment.contains("%2F") || segment.contains("%5C")) {
        return false;
    }
    segment.replace("%5C", "%2F").split("%2F").any(|part| matches!(part, "." | ".."))
}

/// RFC 3986 5.2.4 on an absolute path; empty segments stay.
fn remove_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    if out.is_empty() {
        out.push('/');
    }
    out
}

#[cfg(test)]
mod tests;
