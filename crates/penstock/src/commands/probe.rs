//! `penstock probe`: has a running instance, or every Pod of a cluster, ask its backends at once, and shows what they found.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use http::StatusCode;
use serde_json::{Map, Value};

use super::ask::{Instance, instances};
use crate::cli::{ProbeArgs, StatusForm};
use crate::order::Order;
use crate::output;

/// How long somebody else's order is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether that one is over.
const PAUSE: Duration = Duration::from_millis(250);

pub(crate) async fn probe(args: &ProbeArgs) -> anyhow::Result<ExitCode> {
    let order = Order {
        pool: args.pool.clone(),
        settings: args.settings.clone(),
        protocol: args.protocol.map(Into::into),
        host: args.host.clone(),
        path: args.path.clone(),
        timeout: args.timeout.as_deref().map(Into::into),
        status_codes: args.status_codes.clone(),
        body: args.body.clone(),
    };
    let order = serde_json::to_string(&order)?;
    let all = instances(&args.instance).await?;
    if let [one @ Instance::Admin(_)] = all.as_slice() {
        let found = ask(one, &order).await?;
        output::print(&match args.output {
            StatusForm::Json => format!("{found:#}\n"),
            StatusForm::Table => table(&found),
        })?;
        return Ok(if all_up(&found) { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    // Every Pod asks for itself, one after the other: backends are not to be asked by all at once.
    let (mut answers, mut up) = (Map::new(), true);
    for instance in all {
        match ask(&instance, &order).await {
            Ok(found) => {
                up &= all_up(&found);
                answers.insert(instance.to_string(), found);
            }
            Err(error) => {
                up = false;
                output::error(&format!("{error:#}"));
            }
        }
    }
    let tables = answers.iter().map(|(pod, found)| format!("{pod}\n{}", table(found)));
    output::print(&match args.output {
        StatusForm::Table => tables.collect::<Vec<_>>().join("\n"),
        StatusForm::Json => format!("{:#}\n", Value::from(answers)),
    })?;
    Ok(if up { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn ask(instance: &Instance, order: &str) -> anyhow::Result<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let (code, text) = instance.post("/probe", "application/json", order).await?;
        match code {
            StatusCode::OK => {
                return serde_json::from_str(&text)
                    .with_context(|| format!("{instance}: what answers there is not Penstock's admin server"));
            }
            StatusCode::TOO_MANY_REQUESTS if Instant::now() < end => tokio::time::sleep(PAUSE).await,
            code => bail!("{instance}: {code}: {}", text.trim()),
        }
    }
}

fn rows(found: &Value) -> impl Iterator<Item = &Value> {
    found["backends"].as_array().into_iter().flatten()
}

fn all_up(found: &Value) -> bool {
    rows(found).next().is_some() && rows(found).all(|row| row["result"] == "Up")
}

fn table(found: &Value) -> String {
    let cell = |row: &Value, key: &str| match &row[key] {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.replace(['\n', '\r'], " "),
        Value::Number(number) if key == "duration_ms" => format!("{:.1}", number.as_f64().unwrap_or_default()),
        other => other.to_string(),
    };
    const COLUMNS: [(&str, &str); 9] = [
        ("POOL", "pool"),
        ("SETTINGS", "settings"),
        ("ADDRESS", "address"),
        ("PROBE", "probe"),
        ("RESULT", "result"),
        ("STATUS", "status"),
        ("MS", "duration_ms"),
        ("HEALTH", "health"),
        ("REASON", "reason"),
    ];
    let rows: Vec<Vec<String>> =
        rows(found).map(|row| COLUMNS.iter().map(|(_, key)| cell(row, key)).collect()).collect();
    if rows.is_empty() {
        return "no backends\n".to_owned();
    }
    output::table(&COLUMNS.map(|(title, _)| title), &rows)
}
