//! The registry: counting, spreading, cancelling, cutting.

use tokio::time::Instant;

use super::*;
use crate::tunnel::frames::{Sender, going_away};
use crate::tunnel::registry::Registered;
use crate::tunnel::{CloseReason, Filter, Leaving, Registry};

fn fill(registry: &Registry, count: u64) -> Vec<(Control, Registered)> {
    let enter = |number| {
        let control = Control::new();
        (control.clone(), registry.insert(control, number % 2, 7))
    };
    (0..count).map(enter).collect()
}

fn closing(tunnels: &[(Control, Registered)]) -> usize {
    tunnels.iter().filter(|(control, _)| control.is_closing()).count()
}

#[tokio::test(start_paused = true)]
async fn a_spread_is_even_and_takes_only_what_it_is_told() {
    local(async {
        let registry = Registry::default();
        let mut tunnels = fill(&registry, 200);
        assert_eq!(registry.count(Filter::Endpoint(1)), 100);
        assert_eq!(registry.count(Filter::Listener(7)), 200);
        assert_eq!(registry.count(Filter::Listener(8)), 0);
        let start = Instant::now();
        let spread =
            registry.close_spread(Filter::Endpoint(1), Duration::from_secs(100), CloseReason::Drain(Leaving::Process));
        for second in [20, 50, 80] {
            tokio::time::sleep_until(start + Duration::from_secs(second)).await;
            let closing = closing(&tunnels) as u64;
            assert!(closing + 2 >= second && closing <= second + 2, "{closing} after {second} s");
        }
        tokio::time::sleep_until(start + Duration::from_millis(100_300)).await;
        assert!(spread.is_finished());
        assert_eq!(closing(&tunnels), 100);
        tunnels.retain(|(control, _)| !control.is_closing());
        assert_eq!((registry.count(Filter::All), registry.count(Filter::Endpoint(1))), (100, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_spread_closes_no_more() {
    local(async {
        let registry = Registry::default();
        let tunnels = fill(&registry, 100);
        let spread = registry.close_spread(Filter::All, Duration::from_secs(100), CloseReason::Drain(Leaving::Process));
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(spread);
        let closed = closing(&tunnels);
        assert!((28..=32).contains(&closed), "{closed}");
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(closing(&tunnels), closed);
        registry.cut_all(Filter::All, CloseReason::Drain(Leaving::Process));
        assert_eq!(closing(&tunnels), 100);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn tunnels_that_end_meanwhile_are_not_waited_for() {
    local(async {
        let registry = Registry::default();
        let mut tunnels = fill(&registry, 10);
        let spread = registry.close_spread(Filter::All, Duration::from_secs(100), CloseReason::Drain(Leaving::Process));
        tokio::task::yield_now().await;
        tunnels.truncate(1);
        tokio::time::sleep(Duration::from_secs(12)).await;
        assert!(spread.is_finished());
        assert_eq!(closing(&tunnels), 1);
    })
    .await;
}

#[tokio::test]
async fn a_cut_reaches_the_relay() {
    local(async {
        let registry = Registry::default();
        let mut pipes = Pipes::new(Limits { websocket: true, ..Limits::default() }, 100);
        let _registered = registry.insert(pipes.control.clone(), 1, 1);
        registry.cut_all(Filter::Endpoint(1), CloseReason::Drain(Leaving::Process));
        assert_eq!(rest(&mut pipes.client).await, going_away(Sender::Server), "what can be said at once is said");
        assert_eq!(within(pipes.task).await.unwrap().reason, CloseReason::Drain(Leaving::Process));
    })
    .await;
}
