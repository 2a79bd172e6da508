//! Penstock: an ingress controller with the semantics of an application gateway.

fn main() {}
