//! Tests of the codec: tables by clause of RFC 9112, then properties checked against hyper.

mod bodies;
mod connection;
mod heads;
mod properties;
mod requests;
mod script;
