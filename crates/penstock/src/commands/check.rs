//! `penstock check`: what the API server or a gateway would refuse, with its place in the files.
//!
//! Everything that is wrong with the files themselves fails the check. What may be right in a cluster that has more
//! than these files, and fields without effect, are warnings.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use penstock_api::reasons::{GatewayReason, ListenerReason, RuleReason};
use penstock_controller::{LoadError, Loaded, Place, load_folder};
use penstock_model::{GatewayId, Problem};
use penstock_translate::{Options, Snapshot, Translator};

use crate::cli::CheckArgs;
use crate::output;

pub(crate) fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let loaded = match load_folder(&args.paths) {
        Ok(loaded) => loaded,
        Err(error @ LoadError::Unreadable { .. }) => {
            output::error(&format!("{error}; name files or folders that can be read, or - for standard input"));
            return Ok(ExitCode::from(2));
        }
        Err(error) => return Err(error.into()),
    };
    let findings = findings(&loaded);
    let warnings = findings.iter().filter(|finding| finding.warning).count();
    let refused = findings.len() - warnings;
    let mut text: String = findings.iter().map(|finding| format!("{}\n", finding.line())).collect();
    text.push_str(&summary(loaded.objects.len(), loaded.skipped, refused, warnings));
    output::print(&text)?;
    Ok(if refused > 0 || (args.strict && warnings > 0) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One line of the output. Its order is that of the output: by file and line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    place: Option<Place>,
    problem: Problem,
    warning: bool,
}

impl Finding {
    fn line(&self) -> String {
        let place = self.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        let warning = if self.warning { "warning: " } else { "" };
        // A file is its own place.
        let object = match self.problem.object.kind {
            "File" => String::new(),
            _ => format!("{}: ", self.problem.object),
        };
        format!("{place}{warning}{object}{}", self.problem.message.replace('\n', " "))
    }
}

fn findings(loaded: &Loaded) -> BTreeSet<Finding> {
    let in_files = loaded.problems.iter().map(|found| Finding {
        place: Some(found.place.clone()),
        problem: found.problem.clone(),
        warning: false,
    });
    let snapshot = loaded.snapshot();
    let anywhere = problems(&snapshot, Rules::Lenient);
    let somewhere = &problems(&snapshot, Rules::Strict) - &anywhere;
    let refused = anywhere.into_iter().map(|problem| (may_be_elsewhere(&problem, &snapshot), problem));
    let in_meaning = refused.chain(somewhere.into_iter().map(|problem| (true, problem)));
    let in_meaning = in_meaning.map(|(warning, problem)| Finding { place: place(loaded, &problem), problem, warning });
    in_files.chain(in_meaning).collect()
}

/// How the objects are installed decides about some of them: what one installation refuses, another one serves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// What is refused here is refused everywhere: loopback and ExternalName are allowed, gateways do not share ports.
    Lenient,
    /// A cluster with `--gateway-service shared` and default flags.
    Strict,
}

/// Problems under each class that the files name: the check does not know which one is installed.
fn problems(snapshot: &Snapshot, rules: Rules) -> BTreeSet<Problem> {
    let lenient = rules == Rules::Lenient;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let now = i64::try_from(now).unwrap_or_default();
    let snapshot = Snapshot { local_ports: lenient.then(|| own_ports(snapshot)), now, ..snapshot.clone() };
    let mut classes: BTreeSet<&str> =
        snapshot.gateways.values().map(|gateway| gateway.spec.class_name.as_str()).collect();
    if classes.is_empty() {
        classes.insert(penstock_api::DEFAULT_CLASS);
    }
    let translate = |class: &str| {
        let options = Options {
            class: class.to_owned(),
            standalone: lenient,
            allow_external_name: lenient,
            ..Options::default()
        };
        Translator::default().translate(&snapshot, &options).problems
    };
    classes.into_iter().flat_map(translate).collect()
}

/// A local port of its own for each port of each gateway.
fn own_ports(snapshot: &Snapshot) -> BTreeMap<(GatewayId, u16), u16> {
    let ports: BTreeSet<(GatewayId, u16)> = snapshot
        .gateways
        .iter()
        .flat_map(|(key, gateway)| {
            let id = GatewayId::new(key.namespace.clone(), key.name.clone());
            gateway.spec.listeners.iter().map(move |listener| (id.clone(), listener.port))
        })
        .collect();
    ports.into_iter().zip(1..=u16::MAX).collect()
}

fn place(loaded: &Loaded, problem: &Problem) -> Option<Place> {
    let place = loaded.places.iter().find(|(id, _)| id.object_ref() == problem.object);
    place.map(|(_, place)| place.clone())
}

/// Whether a problem is none in a cluster that has more than these files, or none yet, or is a field without effect.
fn may_be_elsewhere(problem: &Problem, snapshot: &Snapshot) -> bool {
    if problem.reason == RuleReason::ServiceNotFound.as_str() {
        return true;
    }
    if ListenerReason::named(problem.reason).is_some_and(ListenerReason::warns) {
        return true;
    }
    if problem.reason == GatewayReason::UnsupportedField.as_str() {
        return true;
    }
    let named = |kind: &str| problem.message.split(kind).nth(1).and_then(|rest| rest.split([' ', ':']).next());
    let secret = named("Secret ").is_some_and(|key| !snapshot.secrets.keys().any(|secret| secret.to_string() == key));
    let map = named("ConfigMap ").is_some_and(|key| !snapshot.config_maps.keys().any(|map| map.to_string() == key));
    let content = [ListenerReason::InvalidCertificateRef, ListenerReason::ErrorPageNotFound];
    content.iter().any(|reason| reason.as_str() == problem.reason) && (secret || map)
}

fn summary(objects: usize, skipped: usize, refused: usize, warnings: usize) -> String {
    let counted = |n: usize, what: &str| if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") };
    let others = if skipped > 0 { format!(" and {skipped} of kinds that are not read") } else { String::new() };
    format!("{}{others}: {refused} refused, {}\n", counted(objects, "object"), counted(warnings, "warning"))
}
