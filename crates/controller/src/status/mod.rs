//! Statuses and Events: what the leader tells the API server about the objects.

mod addresses;
mod compare;
mod complete;
mod conditions;
mod event;
mod front;
mod pace;
mod unread;
mod warnings;
mod writer;

pub(crate) use front::Fronts;
pub use warnings::warnings;
pub(crate) use writer::Writer;
