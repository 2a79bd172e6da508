//! Interim answers (1xx, RFC 9110 15.2) on their way to the client, where its side of the proxy can send them: HTTP/2.
//! hyper's HTTP/1 server sends 100 by itself and no other.

use std::cell::RefCell;

use bytes::Bytes;
use h2::server::SendResponse;
use http::header::EXPECT;
use http::{HeaderMap, Response, StatusCode};

use super::headers::strip_response;

/// Where interim answers of a request go.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Interim<'a>(Option<&'a RefCell<SendResponse<Bytes>>>);

impl<'a> Interim<'a> {
    /// To a client that speaks HTTP/2.
    pub(crate) fn http2(respond: &'a RefCell<SendResponse<Bytes>>) -> Self {
        Self(Some(respond))
    }

    /// Lets a client that waits for 100 send its body (RFC 9110 10.1.1). The gateway does so itself: Expect is not sent on.
    pub(crate) fn go_on(self, headers: &HeaderMap) {
        if headers.get(EXPECT).is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
            self.send(StatusCode::CONTINUE, HeaderMap::new());
        }
    }

    /// Passes on what the backend says before its answer; its 100 is for us.
    pub(crate) fn pass(self, status: StatusCode, mut headers: HeaderMap) {
        if status != StatusCode::CONTINUE {
            strip_response(&mut headers);
            self.send(status, headers);
        }
    }

    fn send(self, status: StatusCode, headers: HeaderMap) {
        let Some(respond) = self.0 else { return };
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        // A stream that takes none any more is noticed where the answer is sent.
        let _ = respond.borrow_mut().send_informational(response);
    }
}
