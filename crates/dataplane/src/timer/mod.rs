//! The coarse timer of a worker thread: timeouts by the tenth of a second that cost next to nothing.
//!
//! Every worker owns one wheel in a thread-local. A timer is in the wheel only between its first `Pending` and its end, so a
//! request that is answered at once never touches it. A driver task ticks while timers are armed and ends when there have
//! been none for a second: an idle worker is not woken. A timer never fires early, and at most two ticks late unless the
//! worker itself is late.
//!
//! Works on `current_thread` and local runtimes with time enabled; on a multi-threaded one the driver would tick the wheel of
//! another thread.

mod driver;
mod http;
mod put_off;
mod sleep;
mod tick;
mod wheel;

pub use self::driver::{armed, now, real_now};
pub use self::http::CoarseTimer;
pub use self::put_off::PutOff;
pub use self::sleep::{Elapsed, Sleep, Timeout, sleep, sleep_until, timeout};
pub use self::tick::{Span, TICK, Tick};
