//! `penstock why`: one line of the access log, told as a story: who took the request, where it went, how it ended and
//! what to change when that was not wanted.

use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::ask::instances;
use crate::cli::WhyArgs;
use crate::output;

pub(crate) async fn why(args: &WhyArgs) -> anyhow::Result<ExitCode> {
    let Some(line) = (match &args.log {
        Some(log) => in_log(log, &args.id)?,
        None => in_memory(args).await?,
    }) else {
        let id = &args.id;
        match &args.log {
            Some(log) => output::error(&format!("no request {id} in {}", log.display())),
            None => output::error(&format!(
                "no request {id} among the recent ones: it is not over, was too long ago (look in the access log with \
                 --log), or the instance runs with --access-log off"
            )),
        }
        return Ok(ExitCode::FAILURE);
    };
    output::print(&story(&line))?;
    Ok(ExitCode::SUCCESS)
}

/// Asks every instance: one of them had it.
async fn in_memory(args: &WhyArgs) -> anyhow::Result<Option<Value>> {
    if !args.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        bail!("{:?} is no request id: they are the request_id of the access log, 32 hexadecimal digits", args.id);
    }
    let (mut failed, mut asked) = (None, false);
    for instance in instances(&args.instance).await? {
        match instance.get(&format!("/requests/{}", args.id)).await {
            Ok(Ok(line)) => {
                let what = || format!("{instance}: the answer is no line of an access log");
                return serde_json::from_str(&line).map(Some).with_context(what);
            }
            Ok(Err(_)) => asked = true,
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if !asked => Err(error),
        Some(error) => {
            output::error(&format!("{error:#}"));
            Ok(None)
        }
        None => Ok(None),
    }
}

fn in_log(log: &Path, id: &str) -> anyhow::Result<Option<Value>> {
    let reader: Box<dyn BufRead> = if log == Path::new("-") {
        Box::new(stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(log).with_context(|| format!("--log {}", log.display()))?))
    };
    for line in reader.split(b'\n') {
        let line = line.with_context(|| format!("--log {}", log.display()))?;
        // Other lines may be among them, and something may stand before the JSON, such as the name of a Pod.
        let Some(json) = line.iter().position(|byte| *byte == b'{').and_then(|start| line.get(start..)) else {
            continue;
        };
        if let Ok(value) = serde_json::from_slice::<Value>(json)
            && value["request_id"] == id
        {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// A line of the access log for people.
fn story(line: &Value) -> String {
    let text = |key: &str| match line.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        None | Some(Value::Null) => None,
        Some(other) => Some(other.to_string()),
    };
    let or_dash = |key: &str| text(key).unwrap_or_else(|| "-".to_owned());
    let mut rows: Vec<(&str, String)> = Vec::new();
    let query = text("query").map(|query| format!("?{query}")).unwrap_or_default();
    let url = format!("{}://{}{}{query}", or_dash("scheme"), or_dash("host"), or_dash("path"));
    rows.push(("request", format!("{} {url}", or_dash("method"))));
    let tls = [text("tls_version"), text("tls_cipher")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let with = if tls.is_empty() { String::new() } else { format!(", {tls}") };
    rows.push(("client", format!("{}, {}{with}", or_dash("client"), or_dash("protocol"))));
    rows.push(("listener", format!("{} of ApplicationGateway {}", or_dash("listener"), or_dash("gateway"))));
    rows.push((
        "rule",
        match or_dash("rule").as_str() {
            "none" => "none took it; `penstock explain` says why for each".to_owned(),
            rule => format!("RoutingRule {rule}"),
        },
    ));
    if let Some(pool) = text("pool") {
        let backend = text("backend").unwrap_or_else(|| "no endpoint was asked".to_owned());
        let attempts = line.get("attempts").and_then(Value::as_u64).unwrap_or_default();
        let tries = if attempts > 1 { format!(", at attempt {attempts}") } else { String::new() };
        rows.push(("backend", format!("{backend} of pool {pool}{tries}")));
    }
    let head =
        text("backend_ms").map(|ms| format!(", {ms} ms to the head of the backend's answer")).unwrap_or_default();
    let websocket = text("upgrade").is_some();
    let ended = if websocket { "WebSocket, open for" } else { "in" };
    rows.push(("answer", format!("{} {ended} {} ms{head}", or_dash("status"), or_dash("duration_ms"))));
    rows.push(("bytes", format!("{} received, {} sent", or_dash("bytes_received"), or_dash("bytes_sent"))));
    if let Some(reason) = text("close_reason") {
        rows.push(("closed by", format!("{reason}: {}", closed(&reason))));
    }
    if let Some(by) = line.get("closed_by").and_then(Value::as_object) {
        let part = |key: &str| by.get(key).and_then(Value::as_str).unwrap_or("-");
        rows.push(("set by", format!("{}, {}", part("object"), part("field"))));
        if let Some(cause) = by.get("cause").and_then(Value::as_str) {
            rows.push(("because", cause.to_owned()));
        }
    }
    if let Some(error) = text("error") {
        rows.push(("error", format!("{error}: {}", failed(&error))));
    }
    if let Some(trace) = text("trace_id") {
        rows.push(("trace", trace));
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut story = format!("{} {}\n", or_dash("time"), or_dash("request_id"));
    for (name, value) in rows {
        story.push_str(&format!("  {name:width$}  {value}\n"));
    }
    story
}

/// What a reason of a WebSocket's end means, and what to do when it was not wanted.
fn closed(reason: &str) -> &'static str {
    match reason {
        "client" => "the client ended it",
        "backend" => "the backend ended it: look there",
        "idle" => {
            "no byte came from either side for webSocket.idleTimeout (where it is not set: requestTimeout) of the backend \
             settings; raise it above the interval at which the application pings, or ping more often"
        }
        "duration" => "it reached webSocket.maxDuration of the backend settings; raise that, or set it to 0s",
        "drain" => {
            "its endpoint, its listener or this process was leaving, and connectionDraining.timeout of the backend \
             settings (for the others --drain-timeout) was over"
        }
        _ => "a connection broke, or one side took nothing any more for a minute",
    }
}

/// What an error of a request means.
fn failed(error: &str) -> &'static str {
    match error {
        "connect" => "no connection to the endpoint in connectTimeout",
        "closed" => "the backend closed the connection before the head of its answer",
        "reset" => "the connection to the backend broke in the middle",
        "timeout" => "the backend gave no head of an answer within requestTimeout",
        "tls" => "the TLS handshake with the backend failed; see tls of the backend settings",
        "no_healthy" => "no endpoint of the pool was healthy; `penstock status` has the reasons",
        "overflow" => "the backend had all it may have by limits of the backend settings",
        "no_rule" => "no rule of the listener takes it; ask `penstock explain`",
        "no_listener" => "no listener of the port has its host",
        "unresolved" => "the rule's backend does not exist; its status condition ResolvedRefs says what",
        _ => "see docs/operations.md",
    }
}
