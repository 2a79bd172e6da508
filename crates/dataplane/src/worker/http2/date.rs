//! The Date header (RFC 9110 6.6.1), written once a second. hyper does the same for HTTP/1.

use std::cell::RefCell;

use http::HeaderValue;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

thread_local! {
    static NOW: RefCell<(i64, HeaderValue)> = const { RefCell::new((i64::MIN, HeaderValue::from_static(""))) };
}

/// The time as a header.
pub(super) fn now() -> Option<HeaderValue> {
    let time = Timestamp::now();
    NOW.with_borrow_mut(|(second, value)| {
        if *second != time.as_second() {
            let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok()?;
            *value = HeaderValue::try_from(text).ok()?;
            *second = time.as_second();
        }
        Some(value.clone())
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn is_written_as_rfc_9110_wants_it() {
        let text = super::now().unwrap();
        let text = text.to_str().unwrap();
        // Sun, 06 Nov 1994 08:49:37 GMT
        assert_eq!((text.len(), &text[3..5], &text[25..]), (29, ", ", " GMT"), "{text}");
    }
}
