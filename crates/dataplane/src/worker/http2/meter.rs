//! Frames that cost the gateway work and bring nothing (RFC 9113 10.5): counted as they are read, within a budget.
//!
//! h2 bounds what frames can make it hold, and ends connections for some of them by itself; it has no bound for how many
//! SETTINGS, PING, PRIORITY, WINDOW_UPDATE, unknown or empty frames a client sends, nor for requests that are accepted and
//! then reset (CVE-2023-44487). A client that works earns what it needs: with each request, body and answer.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::timer::{self, Tick};

/// Kinds of frames (RFC 9113 6).
const DATA: u8 = 0;
const CONTINUATION: u8 = 9;
/// What a client sends first, before any frame.
const PREFACE: u32 = 24;
/// Frames that bring nothing: so many at once, and so many more with each tenth of a second.
const FRAMES: u32 = 1000;
const FRAMES_PER_TICK: u32 = 10;
/// A request, or a piece of a body either way, goes with some of them: acknowledgements, window updates, pings that measure.
const PER_HEAD: u32 = 4;
const PER_PIECE_IN: u32 = 2;
const PER_PIECE_OUT: u32 = 16;
/// Requests that the client takes back, beyond as many as it lets finish.
const RESETS: u32 = 200;
const RESETS_PER_TICK: u32 = 2;

/// The budget of one connection.
#[derive(Debug)]
pub(super) struct Meter {
    /// Bytes to pass before the next frame begins.
    skip: Cell<u32>,
    /// The head of a frame that came in pieces.
    head: Cell<[u8; 9]>,
    have: Cell<u8>,
    frames: Cell<u32>,
    resets: Cell<u32>,
    /// When the budgets last grew.
    grown: Cell<Tick>,
    flood: Cell<Option<&'static str>>,
    /// Kind of the last frame.
    last: Cell<u8>,
    /// HEADERS so far.
    heads: Cell<u32>,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            skip: Cell::new(PREFACE),
            head: Cell::default(),
            have: Cell::new(0),
            frames: Cell::new(FRAMES),
            resets: Cell::new(RESETS),
            grown: Cell::new(timer::now()),
            flood: Cell::new(None),
            last: Cell::new(0),
            heads: Cell::new(0),
        }
    }

    /// The reason to end the connection, once there is one: a label of `penstock_refused_total`.
    pub(super) fn flood(&self) -> Option<&'static str> {
        self.flood.get()
    }

    /// What h2 has ended the connection for by one of its own limits: it does not say which, and the frames do.
    pub(super) fn blame(&self) -> &'static str {
        // So many streams may end by an error, and so many be reset before they are accepted.
        const ERRORS: u32 = 1024;
        const UNSEEN: u32 = 20;
        match self.last.get() {
            DATA => "data_flood",
            CONTINUATION => "continuation_flood",
            _ if RESETS - self.resets.get() >= UNSEEN => "rapid_reset",
            _ if self.heads.get() > ERRORS => "stream_error_flood",
            _ => "header_too_large",
        }
    }

    /// Ends the connection for another reason.
    pub(super) fn give_up(&self, reason: &'static str) {
        self.flood.set(self.flood.get().or(Some(reason)));
    }

    /// A piece of an answer went out.
    pub(super) fn sent(&self) {
        self.earn(PER_PIECE_OUT);
    }

    /// An answer is complete.
    pub(super) fn answered(&self) {
        self.earn(PER_PIECE_OUT);
        self.resets.set((self.resets.get() + 1).min(RESETS));
    }

    fn earn(&self, frames: u32) {
        self.frames.set((self.frames.get() + frames).min(FRAMES));
    }

    /// Follows what was read.
    fn feed(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = (self.skip.get() as usize).min(bytes.len());
            bytes = &bytes[skipped..];
            self.skip.set(self.skip.get() - skipped as u32);
            let (mut head, have) = (self.head.get(), self.have.get() as usize);
            let taken = (head.len() - have).min(bytes.len());
            head[have..have + taken].copy_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            self.head.set(head);
            if have + taken < head.len() {
                self.have.set((have + taken) as u8);
                return;
            }
            self.have.set(0);
            self.skip.set(u32::from_be_bytes([0, head[0], head[1], head[2]]));
            self.frame(head[3], head[4], self.skip.get());
        }
    }

    fn frame(&self, kind: u8, flags: u8, length: u32) {
        const END_STREAM: u8 = 1;
        self.last.set(kind);
        let reason = match kind {
            DATA if length > 0 => return self.earn(PER_PIECE_IN),
            DATA if flags & END_STREAM != 0 => return,
            DATA => "data_flood",
            1 => {
                self.heads.set(self.heads.get().saturating_add(1));
                return self.earn(PER_HEAD);
            }
            2 => "priority_flood",
            3 => return self.charge(&self.resets, "rapid_reset"),
            4 => "settings_flood",
            6 => "ping_flood",
            8 => "window_update_flood",
            CONTINUATION => "continuation_flood",
            _ => "unknown_frame_flood",
        };
        self.charge(&self.frames, reason);
    }

    fn charge(&self, budget: &Cell<u32>, reason: &'static str) {
        if budget.get() == 0 {
            self.grow();
        }
        match budget.get().checked_sub(1) {
            Some(left) => budget.set(left),
            None => self.give_up(reason),
        }
    }

    /// Adds what time has brought.
    fn grow(&self) {
        let now = timer::real_now();
        let ticks = now.since(self.grown.replace(now)).as_millis() / timer::TICK.as_millis();
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        self.earn(ticks.saturating_mul(FRAMES_PER_TICK).min(FRAMES));
        self.resets.set((self.resets.get() + ticks.saturating_mul(RESETS_PER_TICK).min(RESETS)).min(RESETS));
    }
}

/// A client's stream that is metered as it is read.
#[derive(Debug)]
pub(super) struct Metered<S> {
    io: S,
    meter: Rc<Meter>,
}

impl<S> Metered<S> {
    pub(super) fn new(io: S, meter: Rc<Meter>) -> Self {
        Self { io, meter }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.meter.flood().is_some() {
            // Nothing more is read. The connection's task looks for this whenever it has been polled.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.meter.feed(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![0, (length >> 8) as u8, length as u8, kind, flags, 0, 0, 0, 1];
        bytes.resize(9 + length, 0xff);
        bytes
    }

    /// After the preface.
    fn meter() -> Meter {
        let meter = Meter::new();
        meter.feed(&[0xff; 24]);
        meter
    }

    #[test]
    fn every_kind_of_flood_is_named() {
        for (kind, length, reason) in [
            (0, 0, "data_flood"),
            (2, 5, "priority_flood"),
            (3, 4, "rapid_reset"),
            (4, 6, "settings_flood"),
            (6, 8, "ping_flood"),
            (8, 4, "window_update_flood"),
            (9, 0, "continuation_flood"),
            (200, 300, "unknown_frame_flood"),
        ] {
            let meter = meter();
            let bytes = frame(kind, 0, length);
            let count = (1..2000).find(|_| {
                meter.feed(&bytes);
                meter.flood().is_some()
            });
            let least = if kind == 3 { RESETS } else { FRAMES };
            assert!(count.is_some_and(|count| count > least), "{reason} after {count:?}");
            assert_eq!(meter.flood(), Some(reason));
        }
    }

    #[test]
    fn who_works_earns_what_it_needs() {
        let meter = meter();
        for _ in 0..5000 {
            meter.feed(&frame(1, 5, 30));
            meter.feed(&[frame(8, 0, 4), frame(8, 0, 4)].concat());
            meter.sent();
            meter.feed(&frame(6, 0, 8));
            meter.answered();
            meter.feed(&frame(1, 5, 30));
            meter.feed(&frame(3, 0, 4));
        }
        assert_eq!(meter.flood(), None);
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            frames in prop::collection::vec((0..12_u8, any::<u8>(), 0..600_usize), 1..400),
            cuts in prop::collection::vec(1..700_usize, 1..50),
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|&(kind, flags, length)| frame(kind, flags, length)).collect();
            let (whole, pieces) = (meter(), meter());
            whole.feed(&bytes);
            let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                pieces.feed(piece);
                rest = after;
            }
            prop_assert_eq!(whole.frames.get(), pieces.frames.get());
            prop_assert_eq!(whole.resets.get(), pieces.resets.get());
            prop_assert_eq!((whole.skip.get(), whole.have.get()), (0, 0));
            prop_assert_eq!((pieces.skip.get(), pieces.have.get()), (0, 0));
        }
    }
}
