//! Waiting for a condition with a deadline, instead of sleeping and hoping.
//!
//! The panic at the deadline carries the last value seen, because that is what explains the failure.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// The usual deadline: generous, because it is only ever reached by a failing test.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How long to wait between two looks.
const INTERVAL: Duration = Duration::from_millis(10);

/// What one look found: `Some` or `Ok` ends the waiting.
pub trait Outcome {
    /// What the waiting is for.
    type Value;

    /// The value, or a description of what was seen instead.
    ///
    /// # Errors
    /// The condition does not hold yet.
    fn outcome(self) -> Result<Self::Value, String>;
}

impl<T> Outcome for Option<T> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.ok_or_else(|| "None".to_owned())
    }
}

impl<T, E: Debug> Outcome for Result<T, E> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.map_err(|error| format!("{error:?}"))
    }
}

/// Calls `look` until it answers `Some` or `Ok`, and returns that.
///
/// # Panics
/// At the deadline, naming `what` and the last value seen. A look that hangs counts as "no answer".
pub async fn eventually<F, Fut>(what: &str, deadline: Duration, mut look: F) -> <Fut::Output as Outcome>::Value
where
    F: FnMut() -> Fut,
    Fut: Future,
    Fut::Output: Outcome,
{
    let end = Instant::now() + deadline;
    let mut last = "nothing".to_owned();
    let mut looks = 0_u64;
    loop {
        match timeout_at(end, look()).await {
            Ok(answer) => match answer.outcome() {
                Ok(value) => return value,
                Err(seen) => last = seen,
            },
            Err(_) if looks == 0 => last = "no answer from the first look".to_owned(),
            Err(_) => {}
        }
        looks += 1;
        assert!(Instant::now() < end, "waited {deadline:?} ({looks} looks) for {what}; last seen: {last}");
        sleep(INTERVAL).await;
    }
}

/// Observes until `accept` is content with what was observed, and returns that.
///
/// # Panics
/// At the deadline, with the last observed value.
pub async fn until<F, Fut, V>(what: &str, deadline: Duration, mut observe: F, mut accept: impl FnMut(&V) -> bool) -> V
where
    F: FnMut() -> Fut,
    Fut: Future<Output = V>,
    V: Debug,
{
    let end = Instant::now() + deadline;
    let mut last = None;
    loop {
        if let Ok(value) = timeout_at(end, observe()).await {
            if accept(&value) {
                return value;
            }
            last = Some(value);
        }
        assert!(Instant::now() < end, "waited {deadline:?} for {what}; last seen: {last:?}");
        sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn returns_the_first_value() {
        let mut left = 3;
        let value = eventually("a countdown", DEADLINE, || {
            left -= 1;
            let now = left;
            async move { (now == 0).then_some("done") }
        })
        .await;
        assert_eq!(value, "done");
    }

    #[tokio::test]
    #[should_panic(expected = "for the sun to rise; last seen: \"still dark\"")]
    async fn names_the_last_error() {
        eventually::<_, _>("the sun to rise", SHORT, || async { Err::<(), _>("still dark") }).await;
    }

    #[tokio::test]
    #[should_panic(expected = "for seven; last seen: Some(5)")]
    async fn names_the_last_observation() {
        until("seven", SHORT, || async { 5 }, |v| *v == 7).await;
    }

    #[tokio::test]
    #[should_panic(expected = "no answer from the first look")]
    async fn a_hanging_look_does_not_hang_the_test() {
        eventually("an answer", SHORT, std::future::pending::<Option<()>>).await;
    }
}
