//! The newest lines of the access log, kept in memory so that a request can be asked for by its id.
//!
//! Lines stay in the blocks in which they were written, so keeping them copies nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of blocks that are kept: some ten thousand lines.
const KEPT: usize = 4 * 1024 * 1024;

/// Shared by the thread that writes and whoever asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent(Arc<Mutex<Blocks>>);

#[derive(Debug, Default)]
struct Blocks {
    blocks: VecDeque<Arc<Vec<u8>>>,
    bytes: usize,
}

impl Recent {
    /// Keeps a block of whole lines, and lets the oldest go.
    pub(super) fn keep(&self, mut lines: Vec<u8>) {
        lines.shrink_to_fit();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += lines.len();
        kept.blocks.push_back(Arc::new(lines));
        while kept.bytes > KEPT {
            let Some(oldest) = kept.blocks.pop_front() else { return };
            kept.bytes -= oldest.len();
        }
    }

    /// The newest line of a request.
    pub(super) fn find(&self, request_id: &str) -> Option<String> {
        // As serde_json writes it: what a client may have put into its id is escaped alike.
        let wanted = format!("\"request_id\":{}", serde_json::Value::from(request_id));
        // Searched without the lock: the log goes on meanwhile.
        let blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner).blocks.clone();
        let lines = blocks.iter().rev().flat_map(|block| block.rsplit(|byte| *byte == b'\n'));
        let mut found = lines.filter_map(|line| std::str::from_utf8(line).ok()).filter(|line| line.contains(&wanted));
        found.next().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_found_and_the_oldest_go() {
        let recent = Recent::default();
        let line = |id: &str, number: usize| format!("{{\"request_id\":\"{id}\",\"number\":{number}}}\n").into_bytes();
        recent.keep([line("a", 1), line("b", 2)].concat());
        recent.keep(line("a", 3));
        assert_eq!(recent.find("a").as_deref(), Some("{\"request_id\":\"a\",\"number\":3}"));
        assert_eq!(recent.find("b").as_deref(), Some("{\"request_id\":\"b\",\"number\":2}"));
        assert_eq!(recent.find(""), None, "a part of an id is none");
        let block = line("c", 4).repeat(1000);
        for _ in 0..=KEPT / block.len() {
            recent.keep(block.clone());
        }
        assert_eq!(recent.find("b"), None);
        assert!(recent.0.lock().unwrap().bytes <= KEPT);
    }
}
