//! `penstock status`: asks the admin server of a running instance, and shows the answer as tables or as it came.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::cli::{StatusArgs, StatusForm};
use crate::output;

/// How long the whole answer may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// The largest answer: thousands of endpoints with room to spare.
const LARGEST: usize = 256 * 1024 * 1024;

pub(crate) async fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let answer = match tokio::time::timeout(DEADLINE, ask(&args.admin)).await {
        Ok(answer) => answer,
        Err(_) => bail!("--admin {} did not answer in {DEADLINE:?}: is that the admin address?", args.admin),
    }?;
    let status: Value = serde_json::from_str(&answer)
        .with_context(|| format!("--admin {}: what answers there is not Penstock's admin server", args.admin))?;
    output::print(&match args.output {
        StatusForm::Json => answer,
        StatusForm::Table => tables(&status),
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn ask(admin: &http::Uri) -> anyhow::Result<String> {
    let (None | Some("http"), Some(authority)) = (admin.scheme_str(), admin.authority()) else {
        bail!("--admin {admin}: it must be a URL such as http://127.0.0.1:9090");
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await.with_context(|| {
        format!("--admin {admin}: nothing answers there; start `penstock run`, or name its --admin-address")
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let path = format!("{}/status", admin.path().trim_end_matches('/'));
    let request = hyper::Request::get(path)
        .header(http::header::HOST, authority.as_str())
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await.with_context(|| format!("--admin {admin}: no HTTP answer"))?;
    let code = response.status();
    let body = Limited::new(response.into_body(), LARGEST).collect().await;
    connection.abort();
    let body = body.map_err(|error| anyhow::anyhow!("--admin {admin}: the answer broke off: {error}"))?.to_bytes();
    if !code.is_success() {
        bail!("--admin {admin}: /status answers {code}: is that the admin address?");
    }
    String::from_utf8(body.into()).with_context(|| format!("--admin {admin}: the answer is not text"))
}

/// The answer for people: what is listening, who is behind it, what is wrong.
fn tables(status: &Value) -> String {
    let mut text = format!("generation {}\n", cell(status, "generation"));
    let mut section = |key: &str, nothing: &str, columns: &[(&str, &str)]| {
        let rows: Vec<Vec<String>> = status
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|row| columns.iter().map(|(_, key)| cell(row, key)).collect())
            .collect();
        text.push('\n');
        if rows.is_empty() {
            text.push_str(nothing);
        } else {
            let header: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
            text.push_str(&output::table(&header, &rows));
        }
    };
    section(
        "listeners",
        "nothing is listening\n",
        &[
            ("GATEWAY", "gateway"),
            ("LISTENER", "name"),
            ("PORT", "port"),
            ("LOCAL", "local_port"),
            ("PROTOCOL", "protocol"),
            ("RULES", "rules"),
            ("CONNECTIONS", "connections"),
            ("ERROR", "error"),
        ],
    );
    section(
        "backends",
        "no backends\n",
        &[
            ("POOL", "pool"),
            ("ADDRESS", "address"),
            ("HEALTH", "health"),
            ("ACTIVE", "active"),
            ("WEBSOCKETS", "websockets"),
            ("REASON", "reason"),
        ],
    );
    section("problems", "no problems\n", &[("PROBLEM", "object"), ("REASON", "reason"), ("MESSAGE", "message")]);
    text
}

/// A value on one line; what is missing is a dash.
fn cell(row: &Value, key: &str) -> String {
    match row.get(key) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.replace(['\n', '\r'], " "),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_show_what_there_is() {
        let status = json!({
            "generation": 3,
            "listeners": [{"gateway": "edge/shop", "name": "web", "port": 80, "local_port": 8080, "protocol": "HTTP", "rules": 2, "connections": 5, "error": null}],
            "backends": [{"pool": "shop/web:80", "address": "10.0.0.1:80", "health": "Down", "reason": "connect", "active": 0, "websockets": 1}],
            "problems": [],
        });
        let expected = "generation 3\n\n\
            GATEWAY    LISTENER  PORT  LOCAL  PROTOCOL  RULES  CONNECTIONS  ERROR\n\
            edge/shop  web       80    8080   HTTP      2      5            -\n\n\
            POOL         ADDRESS      HEALTH  ACTIVE  WEBSOCKETS  REASON\n\
            shop/web:80  10.0.0.1:80  Down    0       1           connect\n\n\
            no problems\n";
        assert_eq!(tables(&status), expected);
    }

    #[test]
    fn an_empty_status_says_so() {
        assert_eq!(tables(&json!({})), "generation -\n\nnothing is listening\n\nno backends\n\nno problems\n");
    }
}
