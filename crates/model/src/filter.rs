//! What happens to a request and its answer on the way: rewrites of our own resources, filters of Gateway API.

use http::header::{HeaderName, HeaderValue};

use crate::cluster::ClusterId;

/// One step, applied in the listed order.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Changes headers of the request.
    RequestHeaders(Vec<HeaderEdit>),
    /// Changes headers of the answer.
    ResponseHeaders(Vec<HeaderEdit>),
    /// Sends a copy of some requests to another cluster and forgets the answer.
    Mirror {
        /// Where the copy goes.
        cluster: ClusterId,
        /// Share in thousandths.
        per_mille: u16,
    },
}

/// One change of one header.
#[derive(Clone, Debug, PartialEq)]
pub enum HeaderEdit {
    /// In place of every line of that name.
    Set(HeaderName, HeaderValue),
    /// One line more.
    Append(HeaderName, HeaderValue),
    /// Every line of that name goes.
    Remove(HeaderName),
}
