//! The backend's WebSockets: an echo that takes commands.

use std::ops::ControlFlow;

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::sync::broadcast::error::RecvError;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::behaviour::Behaviour;
use super::connection::{Transport, Wire};
use super::request::Incoming;
use super::state::State;

struct Session<'a> {
    stream: WebSocketStream<Box<dyn Transport>>,
    state: &'a State,
    prefix: bool,
    closing: bool,
}

/// Answers the handshake and serves the WebSocket until it ends.
pub(super) async fn serve(mut wire: Wire, incoming: &Incoming, behaviour: &Behaviour, state: &State) {
    // Subscribed before the answer: whoever has seen the 101 can command this WebSocket.
    let mut commands = state.commands.subscribe();
    let key = incoming.received.header("sec-websocket-key").unwrap_or_default();
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nX-Backend: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
        state.name,
        derive_accept_key(key.as_bytes())
    );
    if let Some(offered) = incoming.received.header("sec-websocket-protocol") {
        head = head + "Sec-WebSocket-Protocol: " + offered.split(',').next().unwrap_or_default().trim() + "\r\n";
    }
    for (name, value) in &behaviour.headers {
        head = head + name + ": " + value + "\r\n";
    }
    if wire.io.write_all((head + "\r\n").as_bytes()).await.is_err() {
        return;
    }
    let stream = WebSocketStream::from_partially_read(wire.io, wire.ahead, Role::Server, None).await;
    let mut session = Session { stream, state, prefix: false, closing: false };
    for command in &behaviour.websocket {
        if session.command(command).await.is_break() {
            return state.websocket_ends().push("lost".to_owned());
        }
    }
    let end = loop {
        tokio::select! {
            message = session.stream.next() => match session.message(message).await {
                ControlFlow::Continue(()) => {}
                ControlFlow::Break(end) => break end,
            },
            command = commands.recv() => match command {
                Ok(command) => if session.command(&command).await.is_break() { break "lost".to_owned() },
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break "lost".to_owned(),
            },
        }
    };
    state.websocket_ends().push(end);
}

type Incomer = Option<Result<Message, tokio_tungstenite::tungstenite::Error>>;

impl Session<'_> {
    /// Answers a message; breaks with how the WebSocket ended.
    async fn message(&mut self, message: Incomer) -> ControlFlow<String> {
        match message {
            Some(Ok(Message::Text(text))) => {
                let done = match text.as_str().strip_prefix('!') {
                    Some(command) => self.command(command).await,
                    None if self.prefix => self.send(Message::text(format!("{}: {text}", self.state.name))).await,
                    None => self.send(Message::Text(text)).await,
                };
                done.map_break(|()| "lost".to_owned())
            }
            Some(Ok(Message::Binary(bytes))) => {
                self.send(Message::Binary(bytes)).await.map_break(|()| "lost".to_owned())
            }
            Some(Ok(Message::Close(frame))) => {
                // The answering Close is queued by the library; it must be out before the connection goes.
                let _ = self.stream.flush().await;
                let code: u16 = frame.map_or(1005, |f| f.code.into());
                ControlFlow::Break(if self.closing { "closed".to_owned() } else { format!("close {code}") })
            }
            Some(Ok(_)) => ControlFlow::Continue(()),
            Some(Err(_)) | None => ControlFlow::Break("lost".to_owned()),
        }
    }

    /// Does what `Backend::command_websockets` documents; breaks when the connection shall end.
    async fn command(&mut self, command: &str) -> ControlFlow<()> {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        match verb {
            "ping" => self.send(Message::Ping(b"backend".to_vec().into())).await,
            "text" => self.send(Message::text(rest)).await,
            "send" => self.send(Message::text("x".repeat(rest.parse().unwrap_or(1)))).await,
            "name" => self.send(Message::text(self.state.name.clone())).await,
            "prefix" => {
                self.prefix = true;
                ControlFlow::Continue(())
            }
            "close" => {
                let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
                let code = CloseCode::from(code.parse::<u16>().unwrap_or(1000));
                self.closing = true;
                self.send(Message::Close(Some(CloseFrame { code, reason: reason.to_owned().into() }))).await
            }
            "drop" => ControlFlow::Break(()),
            "reset" => {
                let _ = self.stream.get_ref().tcp().set_zero_linger();
                ControlFlow::Break(())
            }
            "stall" => std::future::pending().await,
            _ => self.send(Message::text(format!("{verb}: the test backend knows no such command"))).await,
        }
    }

    async fn send(&mut self, message: Message) -> ControlFlow<()> {
        match self.stream.send(message).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}
