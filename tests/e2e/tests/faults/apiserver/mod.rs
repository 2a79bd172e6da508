//! What happens to a gateway that has its objects from a real API server.

mod away;
mod clocks;
mod expired;
mod flood;
mod link;
mod place;
