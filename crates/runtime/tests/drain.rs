//! The clock of the drain, in paused time, clause by clause of ARCHITECTURE.md "Start, drain, stop".

use std::process::ExitCode;
use std::time::Duration;

use penstock_runtime::drain::{WhileAccepting, run};
use penstock_runtime::{DrainPlan, Exit, Phase, Readiness, ReadyState, Stop};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

struct Rig {
    stop: watch::Sender<Stop>,
    phases: watch::Receiver<Phase>,
    readiness: Readiness,
    gone: Option<oneshot::Sender<()>>,
    exit: JoinHandle<Exit>,
}

impl Rig {
    /// A ready process that drains 10 s, then 30 s, the last 3 s of them spread.
    fn new(while_accepting: WhileAccepting) -> Self {
        let plan = DrainPlan::new(s(10), s(30), None).expect("a spread within the timeout");
        let readiness = Readiness::starting("x");
        readiness.ready();
        let ((stop, stopped), (gone, is_gone)) = (watch::channel(Stop::Run), oneshot::channel());
        let (published, phases) = watch::channel(Phase::Serving);
        let shared = readiness.clone();
        let exit = tokio::spawn(async move {
            let gone = async {
                let _ = is_gone.await;
            };
            run(plan, stopped, &published, (&shared, while_accepting), gone).await
        });
        Self { stop, phases, readiness, gone: Some(gone), exit }
    }

    async fn after(&self, time: Duration) -> Phase {
        // Before, so that a signal sent just now is seen now and not after the jump.
        settle().await;
        advance(time).await;
        settle().await;
        *self.phases.borrow()
    }

    fn all_gone(&mut self) {
        self.gone.take().expect("told once").send(()).expect("the drain listens");
    }
}

/// Lets the drain's task see what has changed.
async fn settle() {
    for _ in 0..5 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn goes_through_its_phases_and_ends_at_the_deadline() {
    let rig = Rig::new(WhileAccepting::StayReady);
    assert_eq!(rig.after(s(100)).await, Phase::Serving);
    rig.stop.send_replace(Stop::Drain);
    let start = Instant::now();
    assert!(matches!(rig.after(s(0)).await, Phase::Accepting(t) if t.start == start && t.closing == start + s(10)));
    assert!(matches!(rig.after(s(9)).await, Phase::Accepting(_)));
    assert!(matches!(rig.after(s(1)).await, Phase::Closing(t) if t.spread_from == start + s(37)));
    assert!(matches!(rig.after(s(26)).await, Phase::Closing(_)));
    assert!(matches!(rig.after(s(1)).await, Phase::Spreading(t) if t.end == start + s(40)));
    assert!(!rig.exit.is_finished());
    assert_eq!(rig.after(s(3)).await, Phase::Ended);
    assert_eq!(rig.exit.await.unwrap(), Exit::Deadline);
}

#[tokio::test(start_paused = true)]
async fn stays_ready_in_a_cluster_until_accepting_ends() {
    let rig = Rig::new(WhileAccepting::StayReady);
    rig.stop.send_replace(Stop::Drain);
    rig.after(s(9)).await;
    assert_eq!(rig.readiness.state(), ReadyState::Leaving);
    rig.after(s(1)).await;
    assert_eq!(rig.readiness.state(), ReadyState::Draining);
}

#[tokio::test(start_paused = true)]
async fn turns_unready_at_once_when_standalone() {
    let rig = Rig::new(WhileAccepting::Unready);
    rig.stop.send_replace(Stop::Drain);
    rig.after(s(0)).await;
    assert_eq!(rig.readiness.state(), ReadyState::Draining);
}

#[tokio::test(start_paused = true)]
async fn ends_when_the_last_connection_is_gone() {
    let mut rig = Rig::new(WhileAccepting::StayReady);
    rig.stop.send_replace(Stop::Drain);
    rig.after(s(15)).await;
    rig.all_gone();
    assert_eq!(rig.after(s(0)).await, Phase::Ended);
    assert_eq!(rig.exit.await.unwrap(), Exit::Drained);
}

#[tokio::test(start_paused = true)]
async fn accepts_to_the_end_of_the_delay_even_without_connections() {
    let mut rig = Rig::new(WhileAccepting::StayReady);
    rig.stop.send_replace(Stop::Drain);
    rig.all_gone();
    assert!(matches!(rig.after(s(9)).await, Phase::Accepting(_)));
    rig.after(s(1)).await;
    assert_eq!(rig.exit.await.unwrap(), Exit::Drained);
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_ends_it_at_once() {
    for wait in [0, 5, 20, 38] {
        let rig = Rig::new(WhileAccepting::StayReady);
        rig.stop.send_replace(Stop::Drain);
        rig.after(s(wait)).await;
        rig.stop.send_replace(Stop::Now);
        assert_eq!(rig.after(s(0)).await, Phase::Ended, "after {wait} s");
        assert_eq!(rig.readiness.state(), ReadyState::Draining);
        assert_eq!(rig.exit.await.unwrap(), Exit::Forced);
    }
}

#[tokio::test(start_paused = true)]
async fn the_timetable_knows_its_phases() {
    let start = Instant::now();
    let times = DrainPlan::new(s(10), s(30), Some(s(30))).unwrap().from(start);
    assert_eq!(times.phase_at(start), Phase::Accepting(times));
    assert_eq!(
        times.phase_at(start + s(10)),
        Phase::Spreading(times),
        "a spread as long as the timeout leaves no Closing"
    );
    assert_eq!(times.phase_at(start + s(40)), Phase::Ended);
}

#[test]
fn refuses_a_spread_longer_than_the_timeout() {
    let error = DrainPlan::new(s(0), s(5), Some(s(6))).unwrap_err().to_string();
    assert!(error.contains("--drain-spread 6s") && error.contains("--drain-timeout 5s"), "{error}");
}

#[test]
fn exit_codes() {
    let code = |exit: Exit| format!("{:?}", ExitCode::from(exit));
    assert_eq!(code(Exit::Drained), format!("{:?}", ExitCode::from(0)));
    assert_eq!(code(Exit::Deadline), format!("{:?}", ExitCode::from(0)));
    assert_eq!(code(Exit::Forced), format!("{:?}", ExitCode::from(1)));
}
