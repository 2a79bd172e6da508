//! The commands, one file each; `run` is big enough for a folder of its own.

pub(crate) mod check;
pub(crate) mod crds;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod status;
pub(crate) mod version;
