//! The library's side of a connection: records in, plaintext and records out, no I/O.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::BytesMut;
use rustls::server::{ServerConfig, ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{CommonState, Error};

use super::blocks::{GATHERED, MOST, PLAIN};

/// The largest handshake message that the library puts together, and what may wait for its end.
const MOST_KEPT: usize = 64 * 1024;
/// Room for a close_notify and an answer to an update of keys before it.
const LAST_RECORDS: usize = 128;

/// The state of the protocol. Boxed: whoever moves a stream moves a pointer.
pub(super) struct Session {
    connection: Box<UnbufferedServerConnection>,
    /// The client has said that nothing will follow (close_notify).
    ended: bool,
    /// The client broke the protocol: nothing may follow the alert.
    failed: bool,
}

impl Session {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        let connection = Box::new(UnbufferedServerConnection::new(config)?);
        Ok(Self { connection, ended: false, failed: false })
    }

    /// What was agreed on.
    pub(super) fn state(&self) -> &CommonState {
        &self.connection
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Takes what was read. Plaintext goes to `plain`, records that are to be sent behind `out`, and what is not used up yet
    /// into `kept`, where it has to stay as it is: it may be decrypted already, the beginning of a longer message.
    pub(super) fn take(
        &mut self,
        fresh: &mut [u8],
        kept: &mut BytesMut,
        out: &mut BytesMut,
        plain: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        if kept.is_empty() {
            let used = self.process(fresh, out, plain)?;
            if used < fresh.len() {
                *kept = BytesMut::from(&fresh[used..]);
            }
        } else {
            kept.extend_from_slice(fresh);
            let used = self.process(kept, out, plain)?;
            if used > 0 {
                *kept = BytesMut::from(&kept[used..]);
            }
        }
        if kept.len() > MOST_KEPT {
            self.failed = true;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a TLS message is too long"));
        }
        Ok(())
    }

    /// Processes all whole records of `incoming`; how many bytes are used up.
    fn process(&mut self, incoming: &mut [u8], out: &mut BytesMut, mut plain: impl FnMut(&[u8])) -> io::Result<usize> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(&mut incoming[used..]);
            used += discard;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(invalid)?;
                        plain(record.payload);
                        used += record.discard;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, out)?,
                // It stands behind `out`, which nothing overtakes.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                // "Any data received after a closure alert has been received MUST be ignored" (RFC 8446 6.1).
                Ok(_) if self.ended => return Ok(incoming.len()),
                Ok(ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake | ConnectionState::Closed) => {
                    return Ok(used);
                }
                // No configuration allows early data.
                Ok(_) => return Err(io::Error::other("a state of TLS that is not known")),
                Err(error) => {
                    self.fail(out);
                    return Err(invalid(error));
                }
            }
        }
    }

    /// Ends the connection for a breach of the protocol; the alert that says so goes behind `out`.
    fn fail(&mut self, out: &mut BytesMut) {
        self.failed = true;
        // Only while there is something: what is still in the library's hands was a part of a buffer that it is not shown
        // any more.
        while self.connection.wants_write() {
            let ConnectionState::EncodeTlsData(mut data) = (match self.connection.process_tls_records(&mut []).state {
                Ok(state) => state,
                Err(_) => return,
            }) else {
                return;
            };
            if encode(&mut data, out).is_err() {
                return;
            }
        }
    }

    /// Encrypts the beginning of `pieces` into `block`; how many bytes of them, and how long the records are. Small pieces share
    /// a record. `kept` is what [`take`](Self::take) kept.
    pub(super) fn encrypt(
        &mut self,
        pieces: &[IoSlice<'_>],
        kept: &mut [u8],
        block: &mut [u8],
    ) -> io::Result<(usize, usize)> {
        let mut traffic = self.traffic(kept)?;
        let (mut taken, mut length) = (0, 0);
        let mut encrypt = |plain: &[u8]| {
            length += traffic.encrypt(plain, &mut block[length..]).map_err(exhausted)?;
            io::Result::Ok(())
        };
        GATHERED.with_borrow_mut(|gathered| {
            let mut filled = 0;
            for (index, piece) in pieces.iter().enumerate() {
                let mut rest = &piece[..piece.len().min(MOST - taken)];
                taken += rest.len();
                while !rest.is_empty() {
                    let alone = filled == 0 && (rest.len() >= PLAIN || index + 1 == pieces.len());
                    if alone {
                        encrypt(rest)?;
                        break;
                    }
                    let (now, later) = rest.split_at(rest.len().min(PLAIN - filled));
                    gathered[filled..filled + now.len()].copy_from_slice(now);
                    filled += now.len();
                    rest = later;
                    if filled == PLAIN {
                        encrypt(&gathered[..])?;
                        filled = 0;
                    }
                }
            }
            if filled > 0 { encrypt(&gathered[..filled]) } else { Ok(()) }
        })?;
        Ok((taken, length))
    }

    /// Puts a close_notify behind `out`, unless the connection has failed.
    pub(super) fn close(&mut self, kept: &mut [u8], out: &mut BytesMut) {
        let mut records = [0; LAST_RECORDS];
        let written = self.traffic(kept).and_then(|mut traffic| {
            traffic.queue_close_notify(&mut records).map_err(|error| io::Error::other(error.to_string()))
        });
        if let Ok(length) = written {
            out.extend_from_slice(&records[..length]);
        }
    }

    /// What encrypts. The library wants to be shown again what it has not used up.
    fn traffic<'a>(&'a mut self, kept: &'a mut [u8]) -> io::Result<WriteTraffic<'a, ServerConnectionData>> {
        if self.failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match self.connection.process_tls_records(kept).state {
            Ok(ConnectionState::WriteTraffic(traffic)) => Ok(traffic),
            // The keys are used up (TLS 1.2), or there were none yet.
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("ended", &self.ended).field("failed", &self.failed).finish_non_exhaustive()
    }
}

/// Puts a record of the library's behind `out`.
fn encode(data: &mut EncodeTlsData<'_, ServerConnectionData>, out: &mut BytesMut) -> io::Result<()> {
    let from = out.len();
    // It says how long it is when there is no room.
    let length = match data.encode(&mut []) {
        Ok(length) => length,
        Err(EncodeError::InsufficientSize(size)) => {
            out.resize(from + size.required_size, 0);
            data.encode(&mut out[from..]).map_err(|error| io::Error::other(error.to_string()))?
        }
        Err(error @ EncodeError::AlreadyEncoded) => return Err(io::Error::other(error.to_string())),
    };
    out.truncate(from + length);
    Ok(())
}

fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn exhausted(error: EncryptError) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, error)
}
