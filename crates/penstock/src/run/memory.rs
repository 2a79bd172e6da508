//! Giving memory back: what the allocator holds and nobody uses, and what of the program only the start needed. The only
//! unsafe code of Penstock.

use std::ffi::c_void;
use std::fs;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use penstock_controller::State;
use rustix::mm::{Advice, madvise};
use tokio::sync::watch;
use tokio::time::sleep;

/// How long after a change what it left behind is given back. Whatever comes meanwhile is cleared away together.
const SETTLE: Duration = Duration::from_secs(2);

/// Gives back what this thread does not need. mimalloc returns pages to the system only while something allocates; who has
/// become idle asks for it.
pub(super) fn collect() {
    give_back(false);
}

/// Gives back what reading and translating objects left behind: of thousands of objects several times what is kept. After
/// the first ones the program of the start goes as well. Runs until the controller is gone.
pub(super) async fn settle(mut state: watch::Receiver<Arc<State>>) {
    let mut started = false;
    while state.changed().await.is_ok() {
        sleep(SETTLE).await;
        state.mark_unchanged();
        give_back(true);
        if !std::mem::replace(&mut started, true) {
            unmap_program();
        }
    }
}

/// Clears this thread's heap, and returns pages that no thread uses: those that have been free for a while, or all.
#[allow(unsafe_code, reason = "the allocator's interface is C")]
fn give_back(all: bool) {
    // SAFETY: mi_collect may be called at any time, from any thread, and only touches the calling thread's heap.
    unsafe { libmimalloc_sys::mi_collect(all) }
}

/// Takes the program's pages out of this process. They stay in the page cache, and what is used comes back from there, some
/// microseconds for 64 KB; what only the start used (command line, schemas, relocations) does not.
#[allow(unsafe_code, reason = "system calls about memory take pointers")]
fn unmap_program() {
    for (from, length) in unchanged(&fs::read_to_string("/proc/self/smaps").unwrap_or_default()) {
        // SAFETY: these pages are those of a file. Nobody has written to one, for none is the process's own, and nobody can,
        // for they are not writable: the next access finds what was there.
        let done = unsafe { madvise(ptr::with_exposed_provenance_mut::<c_void>(from), length, Advice::LinuxDontNeed) };
        if let Err(error) = done {
            tracing::debug!(%error, "what only the start used stays in memory");
        }
    }
}

/// Start and length of what is mapped from files, not writable and never written to, in `/proc/PID/smaps` (proc_pid_smaps(5)).
fn unchanged(smaps: &str) -> Vec<(usize, usize)> {
    let (mut all, mut mapping) = (Vec::new(), None);
    for line in smaps.lines() {
        if let Some(now) = file(line) {
            mapping = now;
        } else if let Some(own) = line.strip_prefix("Anonymous:") {
            all.extend(mapping.take().filter(|_| own.trim() == "0 kB"));
        }
    }
    all
}

/// The first line of a mapping: where it is, if it is a file's and not writable. None: another line.
fn file(line: &str) -> Option<Option<(usize, usize)>> {
    let mut fields = line.split_ascii_whitespace();
    let (from, to) = fields.next()?.split_once('-')?;
    let (from, to) = (usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?);
    let (rights, path) = (fields.next()?, fields.nth(3).unwrap_or_default());
    let whole = !rights.contains('w') && path.starts_with('/');
    Some(to.checked_sub(from).filter(|_| whole).map(|length| (from, length)))
}

#[cfg(test)]
mod tests {
    use super::unchanged;

    #[test]
    fn only_unchanged_pages_of_files_are_taken() {
        let mappings = [
            ("550000-552000 r--p 00000000 fe:00 77 /penstock", 0),
            ("552000-561000 r-xp 00002000 fe:00 77 /penstock", 0),
            ("561000-563000 r--p 00011000 fe:00 77 /penstock", 8),
            ("563000-564000 rw-p 00013000 fe:00 77 /penstock", 0),
            ("7f0000-7f2000 r-xp 00000000 00:00 0", 0),
            ("7ff000-800000 r-xp 00000000 00:00 0 [vdso]", 0),
            ("900000-a00000 rwxp 00000000 fe:00 78 /a program", 0),
        ];
        let smaps = mappings.map(|(head, own)| format!("{head}\nSize: 8 kB\nAnonymous: {own} kB\nVmFlags: rd mr\n"));
        assert_eq!(unchanged(&smaps.concat()), [(0x55_0000, 0x2000), (0x55_2000, 0xf000)]);
    }
}
