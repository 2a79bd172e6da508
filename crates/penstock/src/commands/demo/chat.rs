//! The chat backend of the demo: a page, and a room of WebSockets in which everybody hears everybody.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::web::page;

const PAGE: &str = include_str!("chat.html");
/// The largest message.
const LARGEST: usize = 16 * 1024;

/// Where messages meet; clones are the same room.
#[derive(Clone)]
pub(super) struct Room(broadcast::Sender<Utf8Bytes>);

impl Default for Room {
    fn default() -> Self {
        Self(broadcast::channel(64).0)
    }
}

pub(super) async fn serve(io: TokioIo<TcpStream>, room: Room) {
    let service = service_fn(|request| {
        let answer = answer(request, &room);
        async move { Ok::<_, Infallible>(answer) }
    });
    if let Err(error) = http1::Builder::new().serve_connection(io, service).with_upgrades().await {
        tracing::debug!(%error, "a connection of the chat backend ended early");
    }
}

fn answer(mut request: Request<Incoming>, room: &Room) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    match request.uri().path() {
        "/chat" => page(StatusCode::OK, "text/html; charset=utf-8", Bytes::from_static(PAGE.as_bytes())),
        "/chat/ws" => match handshake(&request) {
            Some(response) => {
                tokio::spawn(talk(hyper::upgrade::on(&mut request), room.clone()));
                response
            }
            None => {
                let mut refusal = page(StatusCode::UPGRADE_REQUIRED, TEXT, "here is a WebSocket\n".into());
                refusal.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
                refusal
            }
        },
        // The gateway's default probe.
        "/" => page(StatusCode::OK, TEXT, "ok\n".into()),
        _ => page(StatusCode::NOT_FOUND, TEXT, "no such page: /chat is one\n".into()),
    }
}

/// The answer to a WebSocket handshake (RFC 6455 4.2.2); none when the request is not one.
fn handshake<B>(request: &Request<B>) -> Option<Response<Full<Bytes>>> {
    let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let websocket = header(UPGRADE).is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    let key = header(SEC_WEBSOCKET_KEY).filter(|_| websocket && header(SEC_WEBSOCKET_VERSION) == Some("13"))?;
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()))
        .body(Full::default())
        .ok()
}

async fn talk(upgrade: OnUpgrade, room: Room) {
    let Ok(upgraded) = upgrade.await else { return };
    let limits = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
    let mut socket: WebSocketStream<TokioIo<Upgraded>> =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(limits)).await;
    let mut messages = room.0.subscribe();
    loop {
        let sent = tokio::select! {
            received = socket.next() => match received {
                // Pings and closes are answered by the library.
                Some(Ok(Message::Text(text))) => {
                    // This end listens, too: there is at least one receiver.
                    let _ = room.0.send(text);
                    Ok(())
                }
                Some(Ok(_)) => Ok(()),
                Some(Err(_)) | None => return,
            },
            message = messages.recv() => match message {
                Ok(text) => socket.send(Message::Text(text)).await,
                // A slow reader misses messages; the room does not wait for it.
                Err(RecvError::Lagged(_)) => Ok(()),
                Err(RecvError::Closed) => return,
            },
        };
        if sent.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_handshakes_only() {
        let request = || {
            Request::get("/chat/ws")
                .header("upgrade", "WebSocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        };
        // The example of RFC 6455 1.3.
        let response = handshake(&request().body(()).unwrap()).unwrap();
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let mut other = request().body(()).unwrap();
        other.headers_mut().insert("upgrade", HeaderValue::from_static("h2c"));
        assert!(handshake(&other).is_none());
    }
}
