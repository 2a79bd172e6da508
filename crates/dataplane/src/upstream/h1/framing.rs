//! How long a response body is (RFC 9112 6.3), decided while the headers go by.
//!
//! A wrong guess here is a smuggled response, so everything ambiguous is refused or ends the connection.

use std::time::Duration;

use http::{HeaderValue, StatusCode, Version};

use super::error::Error;

/// Where the body of a response ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFraming {
    /// No body, whatever the headers say: an answer to HEAD, 204, 304.
    None,
    /// Exactly so many bytes.
    Length(u64),
    /// Chunks (RFC 9112 7.1).
    Chunked,
    /// All until the backend closes; a body cut short cannot be told from a whole one.
    UntilClose,
    /// 101: what follows is not HTTP. Take the connection apart.
    Upgrade,
}

/// What the connection-related headers of one head say.
#[derive(Debug, Default)]
pub(super) struct Facts {
    content_length: Option<u64>,
    transfer_encoding: bool,
    /// Something other than one `chunked` was said.
    unknown_encoding: bool,
    close: bool,
    keep_alive: bool,
    pub(super) keep_alive_timeout: Option<Duration>,
}

impl Facts {
    /// Takes in one Content-Length line. `Some` is the value to put into the header map: only of the first line, lists of
    /// equal numbers collapsed (RFC 9112 6.3 rule 5).
    pub(super) fn content_length(&mut self, value: &HeaderValue) -> Result<Option<HeaderValue>, Error> {
        let first = self.content_length.is_none();
        let mut elements = 0;
        for element in list(value.as_bytes()) {
            let number = parse_number(element).ok_or(Error::BadContentLength)?;
            if self.content_length.is_some_and(|known| known != number) {
                return Err(Error::BadContentLength);
            }
            self.content_length = Some(number);
            elements += 1;
        }
        Ok(match self.content_length {
            Some(_) if first && elements == 1 => Some(value.clone()),
            Some(number) if first => Some(HeaderValue::from(number)),
            _ => None,
        })
    }

    /// Takes in one Transfer-Encoding line.
    pub(super) fn transfer_encoding(&mut self, value: &[u8]) {
        self.unknown_encoding |= self.transfer_encoding || !value.eq_ignore_ascii_case(b"chunked");
        self.transfer_encoding = true;
    }

    /// Takes in one Connection line.
    pub(super) fn connection(&mut self, value: &[u8]) {
        for option in list(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// Takes in one Keep-Alive line (`timeout=5, max=100`); what cannot be read is no promise.
    pub(super) fn keep_alive(&mut self, value: &[u8]) {
        for parameter in list(value) {
            if let Some((name, seconds)) = split_once(parameter, b'=')
                && name.trim_ascii().eq_ignore_ascii_case(b"timeout")
                && let Some(seconds) = parse_number(seconds.trim_ascii())
            {
                self.keep_alive_timeout = Some(Duration::from_secs(seconds));
            }
        }
    }

    /// Whether Content-Length must not be passed on: Transfer-Encoding overrides it (RFC 9112 6.3 rule 3), 1xx and 204
    /// cannot have one (RFC 9110 8.6).
    pub(super) fn drops_content_length(&self, status: StatusCode) -> bool {
        self.content_length.is_some()
            && (self.transfer_encoding || status == StatusCode::NO_CONTENT || status.is_informational())
    }

    /// The rules of RFC 9112 6.3 in their order, and whether the connection can carry another request.
    pub(super) fn decide(
        &self,
        status: StatusCode,
        version: Version,
        to_head: bool,
    ) -> Result<(BodyFraming, bool), Error> {
        let keep_alive = !self.close && (version == Version::HTTP_11 || self.keep_alive);
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok((BodyFraming::Upgrade, false));
        }
        if status == StatusCode::NO_CONTENT {
            // A 204 that announces a body may well send it; whatever comes belongs to no answer.
            let empty = !self.transfer_encoding && self.content_length.unwrap_or(0) == 0;
            return Ok((BodyFraming::None, keep_alive && empty));
        }
        // Said twice, or said wrongly: whoever wrote this may disagree with us about where it ends.
        let clear = !(self.transfer_encoding && (self.content_length.is_some() || version != Version::HTTP_11));
        if to_head || status == StatusCode::NOT_MODIFIED {
            return Ok((BodyFraming::None, keep_alive && clear && !self.unknown_encoding));
        }
        if self.transfer_encoding {
            if self.unknown_encoding || version != Version::HTTP_11 {
                return Err(Error::BadTransferEncoding);
            }
            return Ok((BodyFraming::Chunked, keep_alive && clear));
        }
        Ok(match self.content_length {
            Some(length) => (BodyFraming::Length(length), keep_alive),
            None => (BodyFraming::UntilClose, false),
        })
    }
}

/// The elements of a comma-separated list, without the white space around them.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = bytes.iter().position(|&byte| byte == at)?;
    Some((&bytes[..position], &bytes[position + 1..]))
}

/// Digits only: no sign, no space, nothing that does not fit.
fn parse_number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}
