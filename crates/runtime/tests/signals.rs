//! Signals to this very process: alone in its file, because they concern the whole process.

use penstock_runtime::{Stop, signals};
use rustix::process::{Signal, getpid, kill_process};

#[tokio::test]
async fn counts_signals_of_either_kind() {
    let mut stop = signals::install().unwrap();
    assert_eq!(*stop.borrow(), Stop::Run);
    kill_process(getpid(), Signal::TERM).unwrap();
    stop.wait_for(|s| *s == Stop::Drain).await.unwrap();
    kill_process(getpid(), Signal::INT).unwrap();
    stop.wait_for(|s| *s == Stop::Now).await.unwrap();
    let mut late = stop.clone();
    late.wait_for(|s| *s == Stop::Now).await.unwrap();
}
