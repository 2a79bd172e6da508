//! PROXY protocol from trusted proxies: the first bytes of a connection say whose it is. The socket is only looked at until
//! it is clear that they are a header, so everything behind it is served as if it had come first.

pub(crate) mod parse;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::timer;
use parse::{FIXED, Header, MAX_LINE, Parsed, parse};

/// From the beginning of a connection to the end of its header.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// A header that comes in pieces is looked at again after this.
const AGAIN: Duration = Duration::from_millis(20);
/// Enough for a line of version 1, and for what is looked at of version 2.
const WINDOW: usize = MAX_LINE + FIXED;

/// Why there is no client address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// The connection ended or broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// There must be a header, and there is none.
    #[error("there is no PROXY header")]
    Missing,
    /// It begins like a header and is none.
    #[error("the PROXY header is invalid: {0}")]
    Invalid(&'static str),
}

/// Reads the header and no byte more. `None`: the address of the connection counts.
pub(crate) async fn read(stream: &mut TcpStream, required: bool) -> Result<Option<SocketAddr>, ProxyError> {
    let mut window = [0; WINDOW];
    loop {
        let came = stream.peek(&mut window).await?;
        if came == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match parse(&window[..came]) {
            Parsed::Header(Header { length, client }) => {
                skip(stream, length).await?;
                return Ok(client.map(|client| SocketAddr::new(client.ip().to_canonical(), client.port())));
            }
            Parsed::Absent if required => return Err(ProxyError::Missing),
            Parsed::Absent => return Ok(None),
            Parsed::Invalid(why) => return Err(ProxyError::Invalid(why)),
            // The socket stays readable: waiting for it would not wait.
            Parsed::Partial => timer::sleep(AGAIN).await,
        }
    }
}

/// Takes so many bytes off the stream, and forgets them.
async fn skip(stream: &mut TcpStream, mut length: usize) -> io::Result<()> {
    let mut block = [0; 512];
    while length > 0 {
        let part = length.min(block.len());
        stream.read_exact(&mut block[..part]).await?;
        length -= part;
    }
    Ok(())
}
