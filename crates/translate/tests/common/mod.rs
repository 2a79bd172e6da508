//! Golden cases: YAML documents in, a readable rendering of the outcome out.

pub(crate) mod load;
pub(crate) mod render;
