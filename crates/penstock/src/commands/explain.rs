//! `penstock explain`: the way of one request through what a folder says, read and translated as in a running process.

use std::process::ExitCode;

use anyhow::Context as _;
use penstock_controller::load_folder;
use penstock_translate::{Options, Translator};

use crate::cli::ExplainArgs;
use crate::explanation::{answer, configured};
use crate::output;

pub(crate) fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let loaded = load_folder(std::slice::from_ref(&args.manifests)).context("--manifests")?;
    let options = Options { class: args.class.clone(), standalone: true, ..Options::default() };
    let outcome = Translator::default().translate(&loaded.snapshot(), &options);
    let refused = loaded.problems.len() + outcome.problems.len();
    if refused > 0 {
        output::error(&format!(
            "{refused} problems in these files may be the reason of what follows: penstock check {} lists them",
            args.manifests.display()
        ));
    }
    let (text, taken) = answer(&outcome.config, &args.question, &configured(&outcome.config))?;
    output::print(&text)?;
    Ok(if taken { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
