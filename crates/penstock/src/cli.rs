//! What the user typed: the commands and their arguments.

mod probe;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::args::RunArgs;
use crate::output;

pub(crate) use probe::ProbeArgs;

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
    /// Have a running instance probe its backends now, and show what it finds
    Probe(ProbeArgs),
    /// Say what files would change about a running instance, before anything is applied
    Diff(DiffArgs),
    /// Say what became of one request or WebSocket, and why
    Why(WhyArgs),
    /// Print the CustomResourceDefinitions as YAML
    Crds(CrdsArgs),
    /// Serve two embedded backends behind a gateway, ready to try
    Demo,
    /// Print the version and the revision
    Version,
    /// Print a completion script for a shell
    Completion(CompletionArgs),
    /// Print the manual page, or write one for each command into a folder
    Man(ManArgs),
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
    #[command(flatten)]
    pub(crate) question: Question,
}

/// A request that is asked about.
#[derive(Clone, Debug, Args)]
pub(crate) struct Question {
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
#[command(after_help = STATUS_NOTES)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) instance: InstanceArgs,
    /// Form of the answer
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(crate) output: StatusForm,
}

const STATUS_NOTES: &str = "A file named kubectl-penstock in the PATH, such as a link to this program, makes it `kubectl penstock`.
With --cluster each Pod is asked through the API server's proxy: that takes the rights to list pods and to get pods/proxy.";

/// Which running instance is asked, or which Pods of which cluster.
#[derive(Debug, Args)]
pub(crate) struct InstanceArgs {
    /// Where its admin server is
    #[arg(long, env = "PENSTOCK_ADMIN", value_name = "URL", default_value = "http://127.0.0.1:9090")]
    pub(crate) admin: http::Uri,
    /// Ask the Pods of a cluster instead [default when called as `kubectl penstock`]
    #[arg(long, conflicts_with = "admin")]
    pub(crate) cluster: bool,
    /// With --cluster: how to reach the API server [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// With --cluster: context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// With --cluster: namespace of the Pods [default: all]
    #[arg(short, long, value_name = "NS")]
    pub(crate) namespace: Option<String>,
    /// With --cluster: labels of the Pods
    #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "app.kubernetes.io/name=penstock")]
    pub(crate) selector: String,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
#[command(after_help = DIFF_NOTES)]
pub(crate) struct DiffArgs {
    /// File of YAML or JSON documents, as for kubectl apply; may be given several times; - is standard input
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) instance: InstanceArgs,
    /// Form of the answer
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(crate) output: StatusForm,
}

const DIFF_NOTES: &str = "Nothing is applied: the instance compares its objects with and without those of the files. Objects that it has by
the same names are replaced, none are removed. With --cluster every Pod is asked, which takes the right to create pods/proxy.
Exit codes: 0 compared, 1 something in the files is refused or nobody answers, 2 wrong usage";

/// Arguments of `why`.
#[derive(Debug, Args)]
#[command(after_help = WHY_NOTES)]
pub(crate) struct WhyArgs {
    /// Its request_id in the access log, which is also the X-Request-Id that its backend got
    #[arg(value_name = "REQUEST_ID", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) id: String,
    /// Access log to look in; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["admin", "cluster"])]
    pub(crate) log: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) instance: InstanceArgs,
}

const WHY_NOTES: &str = "A running instance remembers the newest 4 MiB of its access log. Further back:
  kubectl logs -n penstock-system -l app.kubernetes.io/name=penstock --tail=-1 | penstock why REQUEST_ID --log -
Exit codes: 0 found, 1 not found, 2 wrong usage";

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

/// Arguments of `completion`.
#[derive(Debug, Args)]
#[command(after_help = COMPLETION_NOTES)]
pub(crate) struct CompletionArgs {
    /// Whose language the script is in
    pub(crate) shell: clap_complete::Shell,
}

const COMPLETION_NOTES: &str = "For the running shell:
  bash: source <(penstock completion bash)
  zsh:  source <(penstock completion zsh)
  fish: penstock completion fish | source";

/// Arguments of `man`.
#[derive(Debug, Args)]
#[command(after_help = "To read it: penstock man | man -l -")]
pub(crate) struct ManArgs {
    /// Write penstock.1 and a page for each command into this folder instead of printing the first
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

impl Cli {
    /// Reads the command line. Called by `kubectl` as its plugin, it is about the cluster that kubectl talks to.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let program = std::env::args_os().next().map(PathBuf::from);
        let mut cli = Self::try_parse()?;
        let plugin = program.as_deref().is_some_and(is_plugin);
        match &mut cli.command {
            Command::Status(args) => args.instance.cluster |= plugin,
            Command::Probe(args) => args.instance.cluster |= plugin,
            Command::Diff(args) => args.instance.cluster |= plugin,
            Command::Why(args) => args.instance.cluster |= plugin && args.log.is_none(),
            _ => {}
        }
        Ok(cli)
    }
}

/// kubectl's plugins are the programs named `kubectl-...`.
fn is_plugin(program: &Path) -> bool {
    program.file_stem().is_some_and(|name| name == "kubectl-penstock")
}

pub(crate) fn header(text: &str) -> Result<(http::HeaderName, http::HeaderValue), String> {
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
