//! `penstock diff`: what files would change about a running instance, before anything is applied.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use http::StatusCode;
use serde_json::Value;

use super::ask::{Instance, instances};
use crate::cli::{DiffArgs, StatusForm};
use crate::output;

pub(crate) async fn diff(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let mut texts = Vec::new();
    for file in &args.files {
        let text = if file == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        } else {
            std::fs::read_to_string(file)
        };
        texts.push(text.with_context(|| format!("--filename {}", file.display()))?);
    }
    let yaml = texts.join("\n---\n");
    let answer = ask(args, &yaml).await?;
    output::print(&match args.output {
        StatusForm::Json => format!("{answer:#}\n"),
        StatusForm::Table => tables(&answer),
    })?;
    let refused = answer["refused"].as_array().is_some_and(|refused| !refused.is_empty());
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// All Pods have the same objects; their WebSockets add up.
async fn ask(args: &DiffArgs, yaml: &str) -> anyhow::Result<Value> {
    let mut whole: Option<Value> = None;
    for instance in instances(&args.instance).await? {
        let answer = one(&instance, yaml).await?;
        match &mut whole {
            None => whole = Some(answer),
            Some(whole) => add(whole, &answer),
        }
    }
    match whole {
        Some(whole) => Ok(whole),
        None => bail!("no instance runs"),
    }
}

async fn one(instance: &Instance, yaml: &str) -> anyhow::Result<Value> {
    let page = match instance.post("/diff", "application/yaml", yaml).await? {
        (code, text) if code.is_success() => text,
        (StatusCode::NOT_FOUND, _) => bail!("{instance}: it has no /diff: is that the admin address of this version?"),
        (code, text) => bail!("{instance}: /diff answers {code}: {}", text.trim_end()),
    };
    serde_json::from_str(&page)
        .with_context(|| format!("{instance}: what answers there is not Penstock's admin server"))
}

/// Adds the WebSockets of another replica, row by row where the rows are the same.
fn add(whole: &mut Value, other: &Value) {
    for total in ["concerned", "closed"] {
        let sum = count(&whole["websockets"][total]) + count(&other["websockets"][total]);
        whole["websockets"][total] = sum.into();
    }
    for (section, names) in [
        ("routes", ["listener", "takes"]),
        ("backends", ["backend", "settings"]),
        ("listeners", ["listener", "change"]),
    ] {
        let others = other[section].as_array().map(Vec::as_slice).unwrap_or_default();
        for row in whole[section].as_array_mut().into_iter().flatten() {
            let same = others.iter().find(|other| names.iter().all(|name| other[name] == row[name]));
            let sum = count(&row["websockets"]) + same.map_or(0, |same| count(&same["websockets"]));
            row["websockets"] = sum.into();
        }
    }
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn rows<'a>(answer: &'a Value, section: &str) -> &'a [Value] {
    answer[section].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// For people.
fn tables(answer: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or("-".to_owned(), |text| text.replace(['\n', '\r'], " "));
    let mut out = String::new();
    let mut section = |title: &str, header: &[&str], rows: Vec<Vec<String>>, more: &Value| {
        if !rows.is_empty() {
            out.push_str(&format!("{title}\n{}", output::table(header, &rows)));
            if count(more) > 0 {
                out.push_str(&format!("and {} more\n", count(more)));
            }
            out.push('\n');
        }
    };
    let of_problem = |row: &Value| vec![text(&row["object"]), text(&row["reason"]), text(&row["message"])];
    let problem = ["OBJECT", "REASON", "MESSAGE"];
    section(
        "refused, and left out here",
        &problem,
        rows(answer, "refused").iter().map(of_problem).collect(),
        &Value::Null,
    );
    let listeners = rows(answer, "listeners").iter();
    let listeners =
        listeners.map(|row| vec![text(&row["change"]), text(&row["listener"]), count(&row["websockets"]).to_string()]);
    section("listeners", &["CHANGE", "LISTENER", "WEBSOCKETS"], listeners.collect(), &Value::Null);
    let side = |side: &Value| match side {
        Value::Null => "-".to_owned(),
        side => format!("{} > {}", text(&side["rule"]), text(&side["to"])),
    };
    let routes = rows(answer, "routes").iter().map(|row| {
        let websockets = count(&row["websockets"]).to_string();
        vec![
            text(&row["change"]),
            text(&row["listener"]),
            text(&row["takes"]),
            side(&row["before"]),
            side(&row["after"]),
            websockets,
        ]
    });
    let header = ["CHANGE", "LISTENER", "HOST, PATH", "BEFORE", "AFTER", "WEBSOCKETS"];
    section("hosts and paths", &header, routes.collect(), &answer["more_routes"]);
    let backends = rows(answer, "backends").iter().map(|row| {
        let signed = |key: &str, sign: char| {
            rows(row, key).iter().map(|address| format!("{sign}{}", text(address))).collect::<Vec<_>>()
        };
        let settings = (row["settings_change"] == true).then(|| "settings".to_owned());
        let what: Vec<String> = signed("joined", '+').into_iter().chain(signed("left", '-')).chain(settings).collect();
        vec![
            text(&row["change"]),
            text(&row["backend"]),
            text(&row["settings"]),
            what.join(" "),
            count(&row["websockets"]).to_string(),
        ]
    });
    section(
        "backends",
        &["CHANGE", "BACKEND", "SETTINGS", "WHAT", "WEBSOCKETS"],
        backends.collect(),
        &answer["more_backends"],
    );
    section("new problems", &problem, rows(answer, "problems").iter().map(of_problem).collect(), &Value::Null);
    section("solved problems", &problem, rows(answer, "solved").iter().map(of_problem).collect(), &Value::Null);
    let unknown: Vec<Vec<String>> = rows(answer, "not_looked_up").iter().map(|name| vec![text(name)]).collect();
    section("not looked up yet, and shown as missing", &["OBJECT"], unknown, &Value::Null);
    if out.is_empty() {
        out.push_str("nothing changes\n");
    }
    let (concerned, closed) = (count(&answer["websockets"]["concerned"]), count(&answer["websockets"]["closed"]));
    out.push_str(&format!(
        "{concerned} open WebSockets are under rules that change: they go on, new ones follow the change\n\
         {closed} open WebSockets are at endpoints or listeners that leave: they are closed at the end of the drain\n"
    ));
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn replicas_add_up_their_websockets() {
        let row = |open: u64| json!({"listener": "edge/shop/http", "takes": "any host, any path", "websockets": open});
        let answer = |open: u64| json!({"routes": [row(open)], "websockets": {"concerned": open, "closed": 1}});
        let mut whole = answer(2);
        add(&mut whole, &answer(3));
        assert_eq!(whole["routes"][0]["websockets"], 5);
        assert_eq!(whole["websockets"], json!({"concerned": 5, "closed": 2}));
    }

    #[test]
    fn no_difference_is_said() {
        assert!(tables(&json!({})).starts_with("nothing changes\n0 open WebSockets"));
    }
}
