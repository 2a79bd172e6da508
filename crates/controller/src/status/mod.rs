//! Statuses and Events: what the leader tells the API server about the objects.

mod addresses;
mod complete;
mod conditions;
mod event;
mod pace;
mod writer;

pub(crate) use writer::{Fronts, Writer};
