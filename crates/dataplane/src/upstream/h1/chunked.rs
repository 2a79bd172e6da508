//! Chunked bodies from bytes (RFC 9112 7.1).
//!
//! Data is handed out as slices of the buffer it was read into. Size lines are read byte by byte with the state between
//! two bytes, so it does not matter where reads end. Extensions are skipped, trailers kept, both within bounds.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::decode::{decode_trailers, has_blank_line};
use super::error::Error;

/// The most bytes of chunk extensions in one body.
pub const MAX_EXTENSIONS: u16 = 16 * 1024;
/// The longest trailer section, in bytes, its blank line included.
pub const MAX_TRAILERS: usize = 8 * 1024;

/// Where in a chunked body the next byte belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// First digit of a size.
    Start,
    /// Further digits.
    Size(u64),
    /// White space after the digits, which some servers pad with.
    Padding(u64),
    /// An extension, ignored.
    Extension(u64),
    /// The line feed after a size line.
    SizeLf(u64),
    /// So many bytes of data; never zero.
    Data(u64),
    DataCr,
    DataLf,
    /// Trailers or the blank line; so many bytes are known to hold no end.
    Trailers(usize),
    Done,
}

/// Takes a chunked body off the front of a growing buffer.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    extensions: u16,
    trailers: Option<Box<HeaderMap>>,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self { state: State::Start, extensions: 0, trailers: None }
    }
}

impl ChunkedDecoder {
    /// Skips framing up to the next data or the end. What follows the last data is thus taken in together with it when it
    /// is there already, so that the end is known at once.
    ///
    /// # Errors
    /// Invalid framing. The offending byte stays, so that asking again fails again.
    fn advance(&mut self, buf: &mut BytesMut) -> Result<(), Error> {
        let mut at = 0;
        let result = loop {
            let byte = match self.state {
                State::Data(_) | State::Done => break Ok(()),
                State::Trailers(scanned) => {
                    buf.advance(at);
                    return self.trailers(buf, scanned);
                }
                _ => match buf.get(at) {
                    Some(byte) => *byte,
                    None => break Ok(()),
                },
            };
            match self.step(byte) {
                Ok(next) => self.state = next,
                Err(error) => break Err(error),
            }
            at += 1;
        };
        buf.advance(at);
        result
    }

    /// The state after `byte`, for the states that are left byte by byte.
    fn step(&mut self, byte: u8) -> Result<State, Error> {
        Ok(match (self.state, byte) {
            (State::Start, _) => State::Size(hex(byte).ok_or(Error::BadChunkSize)?),
            (State::Size(size) | State::Padding(size) | State::Extension(size), b'\r') => State::SizeLf(size),
            (State::Size(size) | State::Padding(size), b' ' | b'\t') => State::Padding(size),
            (State::Size(size) | State::Padding(size), b';') => State::Extension(size),
            (State::Size(size), _) => match hex(byte) {
                Some(digit) if size >> 60 == 0 => State::Size(size << 4 | digit),
                _ => return Err(Error::BadChunkSize),
            },
            (State::Extension(size), b'\t' | b' '..=0x7e | 0x80..) if self.extensions < MAX_EXTENSIONS => {
                self.extensions += 1;
                State::Extension(size)
            }
            (State::Extension(_), _) => return Err(Error::BadChunkExtension),
            (State::SizeLf(0), b'\n') => State::Trailers(0),
            (State::SizeLf(size), b'\n') => State::Data(size),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Start,
            (State::DataCr | State::DataLf, _) => return Err(Error::BadChunkEnd),
            (State::Padding(_) | State::SizeLf(_), _) => return Err(Error::BadChunkSize),
            (State::Data(_) | State::Trailers(_) | State::Done, _) => self.state,
        })
    }

    fn trailers(&mut self, buf: &mut BytesMut, scanned: usize) -> Result<(), Error> {
        if buf.starts_with(b"\r\n") {
            buf.advance(2);
            self.state = State::Done;
            return Ok(());
        }
        if has_blank_line(buf, scanned) {
            let window = &buf[..buf.len().min(MAX_TRAILERS)];
            if let Some(end) = window.windows(4).position(|four| four == b"\r\n\r\n") {
                let trailers = decode_trailers(&window[..end + 4])?;
                buf.advance(end + 4);
                self.trailers = (!trailers.is_empty()).then(|| Box::new(trailers));
                self.state = State::Done;
                return Ok(());
            }
            if buf.len() < MAX_TRAILERS {
                // A blank line, but one without its carriage returns.
                return Err(Error::BadTrailers);
            }
        }
        if buf.len() >= MAX_TRAILERS {
            return Err(Error::TrailersTooLarge);
        }
        self.state = State::Trailers(buf.len());
        Ok(())
    }

    /// The next piece of data, as much as is there. Nothing when more bytes are needed or the data is over.
    ///
    /// # Errors
    /// Invalid framing in front of the data.
    pub fn data(&mut self, buf: &mut BytesMut) -> Result<Option<Bytes>, Error> {
        self.advance(buf)?;
        let State::Data(left) = self.state else { return Ok(None) };
        if buf.is_empty() {
            return Ok(None);
        }
        let take = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        let data = buf.split_to(take).freeze();
        let left = left - take as u64;
        self.state = if left > 0 { State::Data(left) } else { State::DataCr };
        // An error in what follows must not cost the data in front of it: it comes again at the next call.
        let _ = self.advance(buf);
        Ok(Some(data))
    }

    /// Whether the last chunk and the trailer section were read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The trailers, once, after the data.
    pub fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take().map(|trailers| *trailers)
    }

    /// Whether trailers were read and not taken yet.
    #[must_use]
    pub fn has_trailers(&self) -> bool {
        self.trailers.is_some()
    }

    /// How many bytes of the chunk in hand are still to come.
    #[must_use]
    pub fn left_in_chunk(&self) -> Option<u64> {
        if let State::Data(left) = self.state { Some(left) } else { None }
    }

    /// The whole body, if it is in the buffer as at most one plain chunk and nothing was read of it yet: how servers write
    /// small answers whose length they do not know beforehand. Otherwise nothing changes.
    pub fn whole(&mut self, buf: &mut BytesMut) -> Option<Bytes> {
        if self.state != State::Start {
            return None;
        }
        let mut size = 0;
        let mut at = 0;
        while let Some(digit) = hex(*buf.get(at)?) {
            // Seven digits: far more than a buffer holds.
            if at == 7 {
                return None;
            }
            size = size << 4 | digit as usize;
            at += 1;
        }
        if at == 0 || !buf[at..].starts_with(b"\r\n") {
            return None;
        }
        at += 2;
        let end: &[u8] = if size == 0 { b"\r\n" } else { b"\r\n0\r\n\r\n" };
        if !buf.get(at + size..)?.starts_with(end) {
            return None;
        }
        buf.advance(at);
        let data = buf.split_to(size).freeze();
        buf.advance(end.len());
        self.state = State::Done;
        Some(data)
    }
}

fn hex(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}
