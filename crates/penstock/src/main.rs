//! Penstock: an ingress controller with the semantics of an application gateway.
//!
//! Wiring only: what the user typed is in [`cli`] and [`args`], each command in a file of [`commands`], and the process
//! that serves in [`run`].

mod args;
mod cli;
mod commands;
mod explanation;
mod order;
mod output;
mod run;

use std::process::ExitCode;

use crate::cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => return cli::refuse(&error),
    };
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            output::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => serving()?.block_on(run::run(*args)),
        Command::Demo => serving()?.block_on(commands::demo::demo()),
        Command::Status(args) => asking()?.block_on(commands::status::status(&args)),
        Command::Probe(args) => asking()?.block_on(commands::probe::probe(&args)),
        Command::Diff(args) => asking()?.block_on(commands::diff::diff(&args)),
        Command::Why(args) => asking()?.block_on(commands::why::why(&args)),
        Command::Check(args) => commands::check::check(&args),
        Command::Explain(args) => commands::explain::explain(&args),
        Command::Crds(args) => commands::crds::crds(&args),
        Command::Version => commands::version::version(),
        Command::Completion(args) => commands::completion::completion(&args),
        Command::Man(args) => commands::man::man(&args),
    }
}

/// For the controller; the data plane and the admin server have runtimes of their own. Two threads, so that a
/// translation of thousands of objects does not hold up the watches.
fn serving() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("controller").enable_all().build()
}

fn asking() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
