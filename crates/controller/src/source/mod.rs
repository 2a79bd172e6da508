//! Where objects come from: an API server, or a folder of manifests. Both tell the store the same way.

pub(crate) mod cluster;
pub mod folder;
