//! Measures Penstock beside HAProxy, nginx and Envoy: every proxy in turn within every row, on one core with one worker, load and
//! backend on another core. Prints Markdown; says on standard error what it is doing. See `../README.md`.

mod backend;
mod load;
mod proxy;
mod report;
mod rows;
mod sys;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use load::stream::Certificate;
use proxy::{Kind, Site};
use report::Results;
use rows::Row;

struct Args {
    penstock: PathBuf,
    envoy: Option<PathBuf>,
    rounds: usize,
    rows: Vec<Row>,
}

fn main() -> Result<()> {
    let args = args()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default())?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        // Proxies end when they are dropped, which a signal alone would not do.
        tokio::select! {
            done = measure(&args) => done,
            _ = terminate.recv() => bail!("terminated"),
            _ = interrupt.recv() => bail!("interrupted"),
        }
    })
}

fn args() -> Result<Args> {
    let mut args = Args { penstock: PathBuf::new(), envoy: None, rounds: 3, rows: Row::ALL.to_vec() };
    let mut given = std::env::args().skip(1);
    while let Some(flag) = given.next() {
        let value = given.next().with_context(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--penstock" => args.penstock = std::path::absolute(value)?,
            "--envoy" => args.envoy = Some(std::path::absolute(value)?),
            "--rounds" => args.rounds = value.parse().with_context(|| format!("--rounds {value}: not a number"))?,
            "--rows" => args.rows = value.split(',').map(row).collect::<Result<_>>()?,
            _ => bail!("{flag} is not known: --penstock FILE, --envoy FILE, --rounds N, --rows NAME,... are"),
        }
    }
    if !args.penstock.is_file() {
        bail!("--penstock {}: no such file", args.penstock.display());
    }
    Ok(args)
}

fn row(name: &str) -> Result<Row> {
    let names = || Row::ALL.map(Row::name).join(", ");
    Row::ALL.into_iter().find(|row| row.name() == name).with_context(|| format!("no row {name}: there are {}", names()))
}

async fn measure(args: &Args) -> Result<()> {
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Envoy || args.envoy.is_some()).collect();
    let site = Site {
        penstock: args.penstock.clone(),
        envoy: args.envoy.clone().unwrap_or_default(),
        backend: backend::start().await?,
        certificate: Certificate::make("*.example.com")?,
    };
    let mut results = Results::default();
    let mut problems = Vec::new();
    for row in &args.rows {
        for round in 0..args.rounds {
            let mut turns = kinds.clone();
            // Whoever goes first has the cooler machine: take turns.
            turns.rotate_left(round % kinds.len());
            for kind in turns {
                match row.run(kind, &site).await {
                    Ok(outcome) => {
                        eprintln!("{} {} {}: {:.2?}", row.name(), round + 1, kind.name(), outcome.values);
                        results.add(*row, kind, outcome);
                    }
                    Err(error) => {
                        eprintln!("{} {} {}: {error:#}", row.name(), round + 1, kind.name());
                        problems.push(format!("{}, {}, round {}: {error:#}", row.name(), kind.name(), round + 1));
                    }
                }
            }
        }
    }
    print!("{}", head(args, &site, &kinds));
    println!("{}", results.tables(&args.rows, &kinds));
    for problem in &problems {
        println!("- failed: {}", problem.replace('\n', " "));
    }
    if problems.is_empty() { Ok(()) } else { bail!("{} measurements failed", problems.len()) }
}

fn head(args: &Args, site: &Site, kinds: &[Kind]) -> String {
    let (cpu, kernel) = sys::machine();
    let version = |kind: Kind| {
        let version = if kinds.contains(&kind) { kind.version(site) } else { "not there, left out".to_owned() };
        format!("- {}: {version}\n", kind.name())
    };
    let versions: Vec<_> = Kind::ALL.into_iter().map(version).collect();
    format!(
        "- Machine: {cpu}, Linux {kernel}; each proxy with one worker on core 0, load and backend on core 1, loopback\n{}\
         - Medians of {} rounds; ratios are those of the medians. Compare within a row only\n\
         - Access logs off everywhere; Penstock with its metrics on, as by default\n\n",
        versions.concat(),
        args.rounds,
    )
}
