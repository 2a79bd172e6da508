//! The route table: compiled once per configuration, asked once per request.
//!
//! A request goes port → listener (the host that fits best) → route (the smallest [`Rank`](penstock_model::Rank) of
//! those that take it). What a look-up costs depends on the labels of the host and the bytes of the path, never on the
//! number of routes, and it allocates nothing.
//!
//! Compiling takes the previous table, too: hosts whose routes did not change are shared, so one new host among
//! thousands costs little.

mod explain;
mod hosts;
mod names;
mod paths;
mod request;
mod table;

pub use explain::{Explanation, ListenerVerdict, RouteVerdict, Verdict};
pub use request::RouteRequest;
pub use table::{Found, ListenerTable, Miss, RouteTable};
