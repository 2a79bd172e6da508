//! What turns a thread's wheel: a task that lives while timers are armed, and the cached time it leaves behind.

use std::cell::{Cell, RefCell};
use std::task::Waker;

use super::tick::{Tick, clock};
use super::wheel::Wheel;

/// Empty ticks after which the driver ends. Not one, so that short timers on a busy worker do not spawn it ten times a second.
const LINGER: u32 = 10;

thread_local! {
    static WHEEL: RefCell<Wheel> = RefCell::new(Wheel::new());
    /// The latest tick that the driver saw; `None` while no driver runs.
    static NOW: Cell<Option<Tick>> = const { Cell::new(None) };
}

/// The coarse time: while timers are armed what the driver saw last (at most a tick old unless the worker is late), else a
/// look at the real clock.
pub fn now() -> Tick {
    NOW.get().unwrap_or_else(real_now)
}

/// The tick of the real clock: where a worker that is late must not take an old time for the present one.
pub fn real_now() -> Tick {
    Tick::containing(clock())
}

/// How many timers are armed on this thread.
pub fn armed() -> usize {
    WHEEL.with_borrow(Wheel::armed)
}

/// Whether the driver runs, so that [`passed`] is at most a tick behind.
pub(super) fn is_running() -> bool {
    NOW.get().is_some()
}

/// Whether the driver has gone past `due`. Costs no look at the clock; "no" may be out of date.
pub(super) fn passed(due: Tick) -> bool {
    NOW.get().is_some_and(|now| now >= due)
}

/// Runs `work` on this thread's wheel; `None` while the thread ends. `work` must neither wake nor drop a waker.
pub(super) fn with_wheel<T>(work: impl FnOnce(&mut Wheel) -> T) -> Option<T> {
    WHEEL.try_with(|wheel| work(&mut wheel.borrow_mut())).ok()
}

/// Starts the driver unless it runs.
///
/// # Panics
///
/// Outside of a tokio runtime with time enabled, as tokio's own timers do.
pub(super) fn ensure_running() {
    if NOW.get().is_some() {
        return;
    }
    let now = real_now();
    WHEEL.with_borrow_mut(|wheel| wheel.skip_to(now));
    NOW.set(Some(now));
    tokio::spawn(drive(Running));
}

/// Says that no driver runs when it goes away, also if its runtime was torn down under it.
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        let _ = NOW.try_with(Cell::take);
    }
}

async fn drive(_running: Running) {
    let mut expired: Vec<Waker> = Vec::new();
    let mut empty = 0;
    while empty < LINGER {
        let Some(now) = NOW.get() else { return };
        tokio::time::sleep_until(now.next().start().into()).await;
        let now = real_now();
        NOW.set(Some(now));
        let armed = WHEEL.with_borrow_mut(|wheel| {
            wheel.advance(now, &mut expired);
            wheel.armed()
        });
        empty = if armed == 0 && expired.is_empty() { empty + 1 } else { 0 };
        expired.drain(..).for_each(Waker::wake);
        expired.shrink_to(64);
    }
}
