//! Writing an answer, whole or broken.

use std::fmt::Write as _;
use std::io;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;

use super::behaviour::{After, Behaviour, Cut};
use super::connection::Wire;
use super::request::Incoming;
use super::state::State;

/// How the end of the body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunks,
    Close,
}

/// Sends an answer with a 1xx status.
pub(super) async fn interim(wire: &mut Wire, status: u16) -> io::Result<()> {
    let link = if status == 103 { "Link: </style.css>; rel=preload\r\n" } else { "" };
    write(wire, format!("HTTP/1.1 {status} {}\r\n{link}\r\n", reason(status)).as_bytes()).await
}

/// Sends the answer; false when it was cut short.
pub(super) async fn send(
    wire: &mut Wire,
    incoming: &Incoming,
    behaviour: &Behaviour,
    state: &State,
) -> io::Result<bool> {
    if let Some(raw) = &behaviour.raw {
        write(wire, raw).await?;
        wire.io.shutdown().await?;
        return Ok(false);
    }
    for &status in &behaviour.interim {
        interim(wire, status).await?;
    }
    let status = behaviour.status.unwrap_or(200);
    let framing = if behaviour.http10 {
        Framing::Close
    } else if behaviour.chunked || behaviour.both || behaviour.sse || !behaviour.trailers.is_empty() {
        Framing::Chunks
    } else {
        Framing::Length
    };
    let events = behaviour.sse.then(|| state.events.subscribe());
    let body = if behaviour.sse { Vec::new() } else { body(incoming, behaviour, state) };
    let head = head(status, framing, body.len(), behaviour, &state.name);
    if behaviour.cut == Some(Cut::Head) {
        write(wire, &head.as_bytes()[..head.len() / 2]).await?;
        return Ok(false);
    }
    write(wire, head.as_bytes()).await?;
    if incoming.received.method == "HEAD" || status == 204 || status == 304 {
        return Ok(true);
    }
    let sent = if behaviour.cut == Some(Cut::Body) { &body[..body.len() / 2] } else { &body[..] };
    let default = if behaviour.drip.is_zero() { 16_384 } else { 1 };
    for (n, piece) in sent.chunks(behaviour.piece.unwrap_or(default)).enumerate() {
        if n > 0 {
            sleep(behaviour.drip).await;
        }
        send_piece(wire, framing, piece).await?;
    }
    if sent.len() < body.len() {
        return Ok(false);
    }
    if let Some(mut events) = events {
        loop {
            match events.recv().await {
                Ok(Some(data)) => send_piece(wire, framing, format!("data: {data}\n\n").as_bytes()).await?,
                Ok(None) | Err(RecvError::Closed) => break,
                Err(RecvError::Lagged(_)) => {}
            }
        }
    }
    if framing == Framing::Chunks {
        let mut end = "0\r\n".to_owned();
        for (name, value) in &behaviour.trailers {
            let _ = write!(end, "{name}: {value}\r\n");
        }
        write(wire, (end + "\r\n").as_bytes()).await?;
    }
    Ok(true)
}

fn head(status: u16, framing: Framing, length: usize, behaviour: &Behaviour, name: &str) -> String {
    let version = if behaviour.http10 { "1.0" } else { "1.1" };
    let mut head = format!("HTTP/{version} {status} {}\r\nX-Backend: {name}\r\n", reason(status));
    let named = |wanted: &str| behaviour.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(wanted));
    if !named("content-type") {
        let kind = match behaviour {
            b if b.sse => "text/event-stream",
            b if b.body.is_some() || b.size.is_some() => "text/plain",
            _ => "application/json",
        };
        let _ = write!(head, "Content-Type: {kind}\r\n");
    }
    if framing == Framing::Chunks {
        head.push_str("Transfer-Encoding: chunked\r\n");
    }
    if behaviour.both {
        head.push_str("Content-Length: 3\r\n");
    } else if framing == Framing::Length && status != 204 {
        let _ = write!(head, "Content-Length: {length}\r\n");
    }
    for (name, _) in &behaviour.trailers {
        let _ = write!(head, "Trailer: {name}\r\n");
    }
    if let Some(seconds) = behaviour.keep_alive {
        let _ = write!(head, "Keep-Alive: timeout={seconds}\r\n");
    }
    if behaviour.after == After::Close {
        head.push_str("Connection: close\r\n");
    }
    for (name, value) in &behaviour.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head + "\r\n"
}

fn body(incoming: &Incoming, behaviour: &Behaviour, state: &State) -> Vec<u8> {
    if let Some(body) = &behaviour.body {
        return body.clone();
    }
    if let Some(size) = behaviour.size {
        // Gigabytes of it for some tests: not byte by byte.
        let mut body = b"abcdefghijklmnopqrstuvwxyz".repeat(size.div_ceil(26));
        body.truncate(size);
        return body;
    }
    let received = &incoming.received;
    let echo = json!({
        "backend": state.name,
        "method": received.method,
        "target": received.target,
        "version": format!("HTTP/1.{}", incoming.minor),
        "headers": received.headers,
        "body": String::from_utf8_lossy(&incoming.body[..incoming.body.len().min(65_536)]),
        "body_length": incoming.body.len(),
        "trailers": incoming.trailers,
        "peer": incoming.peer.to_string(),
        "connection": received.connection,
    });
    echo.to_string().into_bytes()
}

async fn send_piece(wire: &mut Wire, framing: Framing, piece: &[u8]) -> io::Result<()> {
    if framing != Framing::Chunks {
        return write(wire, piece).await;
    }
    let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
    chunk.extend_from_slice(piece);
    chunk.extend_from_slice(b"\r\n");
    write(wire, &chunk).await
}

async fn write(wire: &mut Wire, bytes: &[u8]) -> io::Result<()> {
    wire.io.write_all(bytes).await?;
    wire.io.flush().await
}

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        204 => "No Content",
        304 => "Not Modified",
        403 => "Forbidden",
        404 => "Not Found",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
