//! What can go wrong with a backend that speaks HTTP/1.1: a closed list, so that logs and metrics can name every reason.

use std::io;

/// Why an exchange with a backend failed on the backend's side.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// End of the stream before the first byte of the answer: the usual fate of a request on a connection that was idle
    /// for too long.
    #[error("the backend closed the connection before it answered")]
    ClosedBeforeHead,
    /// End of the stream inside the response head.
    #[error("the backend closed the connection inside the response head")]
    ClosedInHead,
    /// End of the stream inside a body whose end was announced (RFC 9112 8: incomplete).
    #[error("the backend closed the connection inside the response body")]
    ClosedInBody,
    /// Status line and headers are longer than [`MAX_HEAD`](super::decode::MAX_HEAD).
    #[error("the response head is longer than {} bytes", super::decode::MAX_HEAD)]
    HeadTooLarge,
    /// More header lines than [`MAX_HEADERS`](super::decode::MAX_HEADERS).
    #[error("the response has more than {} headers", super::decode::MAX_HEADERS)]
    TooManyHeaders,
    /// Not a status line of HTTP/1.0 or HTTP/1.1, or a status below 100.
    #[error("the response does not start with an HTTP/1 status line")]
    BadStatusLine,
    /// A header line that RFC 9112 5 does not allow: a space before the colon, a folded line, control bytes.
    #[error("the response has a malformed header line")]
    BadHeader,
    /// A line that does not end in CR LF.
    #[error("a line of the response ends in a bare line feed")]
    BareLineFeed,
    /// Content-Length is not a number, or numbers that differ.
    #[error("the response has an invalid or contradictory Content-Length")]
    BadContentLength,
    /// Transfer-Encoding is anything but one `chunked`, or the response is HTTP/1.0.
    #[error("the response has a Transfer-Encoding other than `chunked`")]
    BadTransferEncoding,
    /// More 1xx answers than [`MAX_INTERIM`](super::decode::MAX_INTERIM) before the final one.
    #[error("the backend sent more than {} interim responses", super::decode::MAX_INTERIM)]
    TooManyInterim,
    /// 101 although no upgrade was asked for.
    #[error("the backend switched protocols although no upgrade was asked for")]
    UnexpectedUpgrade,
    /// A chunk-size line that is not hexadecimal digits, or a number that does not fit.
    #[error("the response body has an invalid chunk size")]
    BadChunkSize,
    /// A chunk extension with control bytes, or extensions of one body beyond
    /// [`MAX_EXTENSIONS`](super::chunked::MAX_EXTENSIONS).
    #[error("the response body has invalid or too long chunk extensions")]
    BadChunkExtension,
    /// The data of a chunk is not followed by CR LF.
    #[error("a chunk of the response body does not end where its size says")]
    BadChunkEnd,
    /// A malformed trailer section.
    #[error("the response has malformed trailers")]
    BadTrailers,
    /// A trailer section longer than [`MAX_TRAILERS`](super::chunked::MAX_TRAILERS).
    #[error("the response trailers are longer than {} bytes", super::chunked::MAX_TRAILERS)]
    TrailersTooLarge,
    /// An answer was asked for while none is due: a mistake of the caller's.
    #[error("no response is due on this connection")]
    NotDue,
    /// A stream of HTTP/2, or its connection, failed: the same list for both protocols.
    #[error("the backend's stream failed: {0}")]
    Http2(#[source] h2::Error),
    /// The socket failed while reading.
    #[error("reading from the backend failed: {0}")]
    Read(#[source] io::Error),
    /// The socket failed while writing. The backend may have answered before it stopped reading: look for a head.
    #[error("writing to the backend failed: {0}")]
    Write(#[source] io::Error),
}

impl Error {
    /// A short fixed name, fit for a log field or a metric label.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ClosedBeforeHead => "closed_before_head",
            Self::ClosedInHead => "closed_in_head",
            Self::ClosedInBody => "closed_in_body",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyHeaders => "too_many_headers",
            Self::BadStatusLine => "bad_status_line",
            Self::BadHeader => "bad_header",
            Self::BareLineFeed => "bare_line_feed",
            Self::BadContentLength => "bad_content_length",
            Self::BadTransferEncoding => "bad_transfer_encoding",
            Self::TooManyInterim => "too_many_interim",
            Self::UnexpectedUpgrade => "unexpected_upgrade",
            Self::BadChunkSize => "bad_chunk_size",
            Self::BadChunkExtension => "bad_chunk_extension",
            Self::BadChunkEnd => "bad_chunk_end",
            Self::BadTrailers => "bad_trailers",
            Self::TrailersTooLarge => "trailers_too_large",
            Self::NotDue => "not_due",
            Self::Http2(_) => "stream",
            Self::Read(_) => "read",
            Self::Write(_) => "write",
        }
    }

    /// Whether TLS ended it: in version 1.3 that is how a backend refuses our certificate, or its absence (RFC 8446 4.4.2.4).
    #[must_use]
    pub fn is_tls(&self) -> bool {
        match self {
            Self::Read(error) | Self::Write(error) => {
                error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
            }
            // The library keeps no more of it than the kind, and TLS alone has this one.
            Self::Http2(error) => error.get_io().is_some_and(|error| error.kind() == io::ErrorKind::InvalidData),
            _ => false,
        }
    }

    /// Whether the connection ended (closed or failed), as opposed to an answer that breaks the protocol.
    #[must_use]
    pub fn is_disconnect(&self) -> bool {
        if let Self::Http2(error) = self {
            return error.is_io() || error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM);
        }
        matches!(
            self,
            Self::ClosedBeforeHead | Self::ClosedInHead | Self::ClosedInBody | Self::Read(_) | Self::Write(_)
        )
    }
}

/// Why a request could not be sent to its end: whose fault it is decides about the answer and about a retry.
#[derive(Debug, thiserror::Error)]
pub enum SendError<E> {
    /// The body failed at its source, which is the client.
    #[error("the request body failed: {0}")]
    Body(E),
    /// The source gave more bytes than were announced; the surplus was not sent.
    #[error("the request body is longer than its Content-Length")]
    BodyTooLong,
    /// The source ended before the announced length.
    #[error("the request body is {missing} bytes shorter than its Content-Length")]
    BodyTooShort {
        /// How many bytes are missing.
        missing: u64,
    },
    /// The backend's side failed.
    #[error(transparent)]
    Backend(#[from] Error),
}
