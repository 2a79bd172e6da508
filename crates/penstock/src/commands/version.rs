//! `penstock version`.

use std::process::ExitCode;

use penstock_runtime::build_info::{REVISION, VERSION};

use crate::output;

pub(crate) fn version() -> anyhow::Result<ExitCode> {
    output::print(&format!("penstock {VERSION} ({REVISION})\n"))?;
    Ok(ExitCode::SUCCESS)
}
