//! What the user typed: the commands and their arguments.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::args::RunArgs;
use crate::output;

/// Kubernetes ingress controller with the semantics of an application gateway.
#[derive(Debug, Parser)]
#[command(name = "penstock", disable_version_flag = true, max_term_width = 120, subcommand_required = true)]
pub(crate) struct Cli {
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve what the cluster says, or what the files of a folder say
    Run(Box<RunArgs>),
    /// Say what would be refused, and why
    Check(CheckArgs),
    /// Say which listener, rule, path and backend takes a request, and why the others do not
    Explain(ExplainArgs),
    /// Show listeners, backend health and open WebSockets of a running instance
    Status(StatusArgs),
    /// Print the CustomResourceDefinitions as YAML
    Crds(CrdsArgs),
    /// Serve two embedded backends behind a gateway, ready to try
    Demo,
    /// Print the version and the revision
    Version,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 nothing is refused, 1 something is, 2 wrong usage or a path that does not exist")]
pub(crate) struct CheckArgs {
    /// Files and folders, read as one whole; - is standard input
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Fail on warnings, too
    #[arg(long)]
    pub(crate) strict: bool,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 a rule takes the request, 1 none does, 2 wrong usage")]
pub(crate) struct ExplainArgs {
    /// Folder of YAML and JSON files
    #[arg(long, value_name = "DIR")]
    pub(crate) manifests: PathBuf,
    /// Which ApplicationGateways are ours
    #[arg(long, value_name = "NAME", default_value = penstock_api::DEFAULT_CLASS, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) class: String,
    /// Method of the request
    pub(crate) method: http::Method,
    /// Absolute URL of the request, such as http://shop.example.com:8080/cart
    pub(crate) url: http::Uri,
    /// Header of the request, such as 'X-Tenant: a'; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) headers: Vec<(http::HeaderName, http::HeaderValue)>,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Where its admin server is
    #[arg(long, env = "PENSTOCK_ADMIN", value_name = "URL", default_value = "http://127.0.0.1:9090")]
    pub(crate) admin: http::Uri,
    /// Form of the answer
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(crate) output: StatusForm,
}

/// Forms of `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusForm {
    /// For people
    Table,
    /// As the admin server says it
    Json,
}

/// Arguments of `crds`.
#[derive(Debug, Args)]
pub(crate) struct CrdsArgs {
    /// Write a file for each into this folder instead of printing them
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

fn header(text: &str) -> Result<(http::HeaderName, http::HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("it has no colon: write 'Name: value'")?;
    let name = name.trim().parse().map_err(|_| format!("{:?} is no header name", name.trim()))?;
    let value = value.trim().parse().map_err(|_| format!("{:?} is no header value", value.trim()))?;
    Ok((name, value))
}

/// Help to standard output with 0; wrong usage as one sentence to standard error with 2.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if !error.use_stderr() {
        let _ = output::print(&text);
        return ExitCode::SUCCESS;
    }
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        output::error(&format!("no command is given: choose one of these\n\n{}", text.trim_end()));
        return ExitCode::from(2);
    }
    output::error(&sentence(&text));
    ExitCode::from(2)
}

/// clap's paragraphs as one sentence: without the usage line, which is in the help.
fn sentence(text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        }
        parts.push(line.strip_prefix("error: ").unwrap_or(line));
    }
    format!("{}; see penstock --help", parts.join(" ").trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_usage_is_one_sentence() {
        let error = Cli::try_parse_from(["penstock", "run", "--workers", "none"]).unwrap_err();
        let text = sentence(&error.render().to_string());
        assert!(text.starts_with("invalid value 'none' for '--workers <N>': "), "{text}");
        assert!(!text.contains('\n') && !text.contains("Usage"), "{text}");
        let error = Cli::try_parse_from(["penstock", "run", "--access-log", "xml"]).unwrap_err();
        assert!(sentence(&error.render().to_string()).contains("[possible values: off, json]"));
    }

    #[test]
    fn headers_have_a_name_and_a_value() {
        let (name, value) = header("X-Tenant:  a:b ").unwrap();
        assert_eq!((name.as_str(), value.as_bytes()), ("x-tenant", &b"a:b"[..]));
        assert!(header("nothing").is_err());
        assert!(header("a b: c").unwrap_err().contains("no header name"));
    }
}
