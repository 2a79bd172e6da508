//! `penstock status`: asks the admin server of a running instance, or of every Pod of a cluster, and shows the answer as
//! tables or as it came.

mod tables;

use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use serde_json::{Map, Value};

use super::ask::{Instance, instances};
use crate::cli::{StatusArgs, StatusForm};
use crate::output;

pub(crate) async fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let all = instances(&args.instance).await?;
    if let [one @ Instance::Admin(_)] = all.as_slice() {
        let status = ask(one).await?;
        output::print(&match args.output {
            StatusForm::Json => format!("{status:#}\n"),
            StatusForm::Table => tables::tables(&status),
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    // Every Pod is asked; one that does not answer is said, and the others are shown.
    let (mut answers, mut code) = (Map::new(), ExitCode::SUCCESS);
    for instance in all {
        match ask(&instance).await {
            Ok(status) => drop(answers.insert(instance.to_string(), status)),
            Err(error) => {
                code = ExitCode::FAILURE;
                output::error(&format!("{error:#}"));
            }
        }
    }
    output::print(&match args.output {
        StatusForm::Json => format!("{:#}\n", Value::from(answers)),
        StatusForm::Table => tables::of_pods(&answers),
    })?;
    Ok(code)
}

async fn ask(instance: &Instance) -> anyhow::Result<Value> {
    let page = instance
        .get("/status")
        .await?
        .map_err(|_| anyhow!("{instance}: it has no /status: is that the admin address?"))?;
    serde_json::from_str(&page)
        .with_context(|| format!("{instance}: what answers there is not Penstock's admin server"))
}
