//! The commands, one file each; `run` is big enough for a folder of its own.

mod ask;
pub(crate) mod check;
pub(crate) mod completion;
pub(crate) mod crds;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod man;
pub(crate) mod probe;
pub(crate) mod status;
pub(crate) mod version;
pub(crate) mod why;
