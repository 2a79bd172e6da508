//! Giving memory back. mimalloc returns pages to the system only while something allocates; who has become idle asks for
//! it. The only unsafe code of Penstock.

use std::sync::Arc;
use std::time::Duration;

use penstock_controller::State;
use tokio::sync::watch;
use tokio::time::sleep;

/// How long after a change what it left behind is given back. Whatever comes meanwhile is cleared away together.
const SETTLE: Duration = Duration::from_secs(2);

/// Gives back what this thread does not need.
pub(super) fn collect() {
    give_back(false);
}

/// Gives back what reading and translating objects left behind: of thousands of objects several times what is kept.
/// Runs until the controller is gone.
pub(super) async fn settle(mut state: watch::Receiver<Arc<State>>) {
    while state.changed().await.is_ok() {
        sleep(SETTLE).await;
        state.mark_unchanged();
        give_back(true);
    }
}

/// Clears this thread's heap, and returns pages that no thread uses: those that have been free for a while, or all.
#[allow(unsafe_code, reason = "the allocator's interface is C")]
fn give_back(all: bool) {
    // SAFETY: mi_collect may be called at any time, from any thread, and only touches the calling thread's heap.
    unsafe { libmimalloc_sys::mi_collect(all) }
}
