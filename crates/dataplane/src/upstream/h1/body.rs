//! Response bodies from bytes, whatever their framing.

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use super::chunked::ChunkedDecoder;
use super::error::Error;
use super::framing::BodyFraming;

/// Takes the body off the front of a growing buffer.
#[derive(Debug)]
pub enum BodyDecoder {
    /// Read to its end, or there is none.
    Done,
    /// So many bytes to come; never zero.
    Length(u64),
    /// Chunks to come.
    Chunked(ChunkedDecoder),
    /// All there is.
    UntilClose,
}

impl From<BodyFraming> for BodyDecoder {
    fn from(framing: BodyFraming) -> Self {
        match framing {
            BodyFraming::None | BodyFraming::Length(0) | BodyFraming::Upgrade => Self::Done,
            BodyFraming::Length(length) => Self::Length(length),
            BodyFraming::Chunked => Self::Chunked(ChunkedDecoder::default()),
            BodyFraming::UntilClose => Self::UntilClose,
        }
    }
}

impl BodyDecoder {
    /// The next frame, or nothing while more bytes are needed or when [`is_done`](Self::is_done).
    ///
    /// # Errors
    /// Invalid chunks or trailers.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Error> {
        let data = match self {
            Self::Done => None,
            Self::Length(_) | Self::UntilClose if buf.is_empty() => None,
            Self::UntilClose => Some(buf.split().freeze()),
            Self::Length(left) => {
                let take = usize::try_from(*left).map_or(buf.len(), |left| left.min(buf.len()));
                *left -= take as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Some(buf.split_to(take).freeze())
            }
            Self::Chunked(chunked) => {
                let data = chunked.data(buf)?;
                if data.is_none() && chunked.is_done() {
                    let trailers = chunked.take_trailers();
                    *self = Self::Done;
                    return Ok(trailers.map(Frame::trailers));
                }
                if chunked.is_done() && !chunked.has_trailers() {
                    *self = Self::Done;
                }
                data
            }
        };
        Ok(data.map(Frame::data))
    }

    /// All that is left, if all of it is in the buffer in one piece and no trailers follow. Otherwise nothing changes.
    pub fn whole(&mut self, buf: &mut BytesMut) -> Option<Bytes> {
        let data = match self {
            Self::Done => Bytes::new(),
            Self::UntilClose => return None,
            Self::Length(left) => {
                let left = usize::try_from(*left).ok().filter(|left| *left <= buf.len())?;
                buf.split_to(left).freeze()
            }
            Self::Chunked(chunked) => chunked.whole(buf)?,
        };
        *self = Self::Done;
        Some(data)
    }

    /// The stream ended.
    ///
    /// # Errors
    /// When it should not have.
    pub fn end_of_stream(&mut self) -> Result<(), Error> {
        match self {
            Self::Done | Self::UntilClose => {
                *self = Self::Done;
                Ok(())
            }
            Self::Length(_) | Self::Chunked(_) => Err(Error::ClosedInBody),
        }
    }

    /// Whether nothing more comes, trailers included.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Exact where the length was announced.
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        match self {
            Self::Done => SizeHint::with_exact(0),
            Self::Length(left) => SizeHint::with_exact(*left),
            Self::Chunked(_) | Self::UntilClose => SizeHint::default(),
        }
    }

    /// How many bytes are certain to come, to read them in few and large reads.
    #[must_use]
    pub fn expected(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(chunked) => chunked.left_in_chunk(),
            Self::Done | Self::UntilClose => None,
        }
    }
}
