//! `penstock crds`: the definitions as they are installed, to standard output or a file each.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::cli::CrdsArgs;
use crate::output;

pub(crate) fn crds(args: &CrdsArgs) -> anyhow::Result<ExitCode> {
    match &args.dir {
        Some(dir) => write(dir)?,
        None => output::print(&penstock_api::crds_yaml())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn write(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    for crd in penstock_api::crds() {
        let path = dir.join(format!("{}.yaml", crd.spec.names.plural));
        std::fs::write(&path, penstock_api::crd_yaml(&crd))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
