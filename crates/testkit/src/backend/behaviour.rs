//! What a request asks the backend to do, as a comma separated list of `key` and `key=value`.
//!
//! Values are percent-decoded after the split, so they can hold commas and spaces.

use std::time::Duration;

/// Where in the answer the connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Before any byte, in order (FIN).
    Before,
    /// Before any byte, by a reset.
    Reset,
    /// After half the head.
    Head,
    /// After half the body.
    Body,
}

/// What happens to the connection after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// It stays, as long as the request allows it.
    Keep,
    /// `Connection: close`, then closed.
    Close,
    /// Closed without having said so.
    Silent,
}

/// Everything a request can ask for; the default is a 200 with the echo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Behaviour {
    /// `status=503`; none: 200, or 101 to a WebSocket handshake.
    pub(super) status: Option<u16>,
    /// `delay=MS` before the head.
    pub(super) delay: Duration,
    /// `close=before|reset|head|body`.
    pub(super) cut: Option<Cut>,
    /// `never`: takes the request and says nothing until the peer goes.
    pub(super) never: bool,
    /// `early`: answers before it has read the request's body; closes afterwards if there is one.
    pub(super) early: bool,
    /// `interim=103`: a 1xx before the answer; repeatable.
    pub(super) interim: Vec<u16>,
    /// `header=Name:Value`; repeatable.
    pub(super) headers: Vec<(String, String)>,
    /// `trailer=Name:Value`, chunked then; repeatable.
    pub(super) trailers: Vec<(String, String)>,
    /// `chunked`.
    pub(super) chunked: bool,
    /// `both`: Content-Length (a wrong one) and Transfer-Encoding.
    pub(super) both: bool,
    /// `http10`: an HTTP/1.0 answer without a length, ended by closing.
    pub(super) http10: bool,
    /// `body=TEXT` instead of the echo.
    pub(super) body: Option<Vec<u8>>,
    /// `size=N`: a body of N bytes, the letters a to z over and over.
    pub(super) size: Option<usize>,
    /// `piece=N`: the body goes out in writes (and chunks) of N bytes; default 16384, with `drip` 1.
    pub(super) piece: Option<usize>,
    /// `drip=MS` between two pieces of the body.
    pub(super) drip: Duration,
    /// `sse`: an event stream, fed by `Backend::send_event`.
    pub(super) sse: bool,
    /// `keepalive=SECONDS`: says `Keep-Alive: timeout=SECONDS`, and keeps to it.
    pub(super) keep_alive: Option<u64>,
    /// `connection=close|silent`.
    pub(super) after: After,
    /// `raw=BYTES`: sends just these bytes, then closes.
    pub(super) raw: Option<Vec<u8>>,
    /// `ws=COMMAND`: what to do as soon as the WebSocket is open; repeatable. See `Backend::command_websockets`.
    pub(super) websocket: Vec<String>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            status: None,
            delay: Duration::ZERO,
            cut: None,
            never: false,
            early: false,
            interim: Vec::new(),
            headers: Vec::new(),
            trailers: Vec::new(),
            chunked: false,
            both: false,
            http10: false,
            body: None,
            size: None,
            piece: None,
            drip: Duration::ZERO,
            sse: false,
            keep_alive: None,
            after: After::Keep,
            raw: None,
            websocket: Vec::new(),
        }
    }
}

impl Behaviour {
    /// Parses the list.
    ///
    /// # Errors
    /// A sentence about the first key or value that is unknown: a typing error must not look like a passing test.
    pub(super) fn parse(list: &str) -> Result<Self, String> {
        let mut b = Self::default();
        for item in list.split(',').map(str::trim).filter(|i| !i.is_empty()) {
            let (key, raw) = item.split_once('=').unwrap_or((item, ""));
            let bytes = percent_decode(raw);
            let value = String::from_utf8_lossy(&bytes).into_owned();
            let number = || value.parse::<u64>().map_err(|_| format!("{key}={value}: not a number"));
            match key {
                "status" => b.status = Some(small(key, number()?)?),
                "delay" => b.delay = Duration::from_millis(number()?),
                "close" => {
                    b.cut = Some(match value.as_str() {
                        "before" => Cut::Before,
                        "reset" => Cut::Reset,
                        "head" => Cut::Head,
                        "body" => Cut::Body,
                        _ => return Err(format!("close={value}: not before, reset, head or body")),
                    });
                }
                "never" => b.never = true,
                "early" => b.early = true,
                "interim" => b.interim.push(small(key, number()?)?),
                "header" => b.headers.push(pair(key, &value)?),
                "trailer" => b.trailers.push(pair(key, &value)?),
                "chunked" => b.chunked = true,
                "both" => b.both = true,
                "http10" => b.http10 = true,
                "body" => b.body = Some(bytes),
                "size" => b.size = Some(small(key, number()?)?),
                "piece" => b.piece = Some(small::<usize>(key, number()?)?.max(1)),
                "drip" => b.drip = Duration::from_millis(number()?),
                "sse" => b.sse = true,
                "keepalive" => b.keep_alive = Some(number()?),
                "connection" => {
                    b.after = match value.as_str() {
                        "close" => After::Close,
                        "silent" => After::Silent,
                        _ => return Err(format!("connection={value}: not close or silent")),
                    };
                }
                "raw" => b.raw = Some(bytes),
                "ws" => b.websocket.push(value),
                _ => return Err(format!("{key}: the test backend knows no such behaviour")),
            }
        }
        Ok(b)
    }

    /// The behaviour of a query: its parameter `do`, percent-encoded or not.
    pub(super) fn of_query(target: &str) -> Option<String> {
        let (_, query) = target.split_once('?')?;
        // Values keep their own encoding: only what a URL library would have encoded is undone here.
        let list = query.split('&').find_map(|p| p.strip_prefix("do="))?;
        Some(list.replace("%2C", ",").replace("%2c", ",").replace("%3D", "=").replace("%3d", "="))
    }
}

fn small<T: TryFrom<u64>>(key: &str, number: u64) -> Result<T, String> {
    T::try_from(number).map_err(|_| format!("{key}={number}: too large"))
}

fn pair(key: &str, value: &str) -> Result<(String, String), String> {
    let (name, value) = value.split_once(':').ok_or_else(|| format!("{key}={value}: not Name:Value"))?;
    Ok((name.to_owned(), value.trim().to_owned()))
}

fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        if let Some(byte) = code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_list() {
        let b = Behaviour::parse("status=503, delay=20,header=X-A: b,body=a%2Cb%0a,close=head").unwrap();
        assert_eq!((b.status, b.delay, b.cut), (Some(503), Duration::from_millis(20), Some(Cut::Head)));
        assert_eq!(b.headers, [("X-A".to_owned(), "b".to_owned())]);
        assert_eq!(b.body.as_deref(), Some(&b"a,b\n"[..]));
        assert_eq!(Behaviour::parse("").unwrap(), Behaviour::default());
    }

    #[test]
    fn refuses_typing_errors() {
        for bad in ["statsu=503", "status=x", "status=99999", "close=soon", "header=x", "connection=maybe"] {
            assert!(Behaviour::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_the_query() {
        assert_eq!(Behaviour::of_query("/a?x=1&do=status=503,delay=5").as_deref(), Some("status=503,delay=5"));
        assert_eq!(Behaviour::of_query("/a?do=status%3D503%2Cnever").as_deref(), Some("status=503,never"));
        assert_eq!(Behaviour::of_query("/a?x=1"), None);
    }
}
