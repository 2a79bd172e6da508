//! What the controller knows, as metrics and log: each problem once when it comes, once when it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_controller::{State, warnings};
use penstock_model::{Observed, Problem};
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};
use tokio::sync::watch;

use super::problems::Problems;

struct Gauges {
    generation: IntGauge,
    leader: IntGauge,
    problems: IntGaugeVec,
}

impl Gauges {
    fn register(registry: &Registry, election: bool) -> prometheus::Result<Self> {
        let generation = IntGauge::new(
            "penstock_config_generation",
            "Configurations published since the start of this replica; not comparable between replicas.",
        )?;
        let leader = IntGauge::new(
            "penstock_leader",
            "1: this replica writes statuses; only in a cluster, elsewhere nobody is elected.",
        )?;
        let problems =
            Opts::new("penstock_config_problems", "Parts of objects that have no effect, and warnings, now.");
        let problems = IntGaugeVec::new(problems, &["kind", "reason"])?;
        registry.register(Box::new(generation.clone()))?;
        // Where nobody is elected, a 0 would look like a cluster without a leader.
        if election {
            registry.register(Box::new(leader.clone()))?;
        }
        registry.register(Box::new(problems.clone()))?;
        Ok(Self { generation, leader, problems })
    }

    fn set(&self, state: &State) {
        self.generation.set(i64::try_from(state.generation).unwrap_or(i64::MAX));
        self.leader.set(i64::from(state.leader));
        let mut counts: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for problem in state.problems().collect::<BTreeSet<&Problem>>() {
            *counts.entry((problem.object.kind, problem.reason)).or_default() += 1;
        }
        self.problems.reset();
        for ((kind, reason), count) in counts {
            self.problems.with_label_values(&[kind, reason]).set(count);
        }
    }
}

/// Follows the controller until it is gone. `election`: whether replicas elect one that writes statuses.
pub(super) async fn report(
    registry: Registry,
    mut state: watch::Receiver<Arc<State>>,
    mut observed: watch::Receiver<Arc<Observed>>,
    election: bool,
    history: Problems,
) {
    let gauges = match Gauges::register(&registry, election) {
        Ok(gauges) => gauges,
        Err(error) => return tracing::error!(%error, "the controller has no metrics"),
    };
    loop {
        let now = Arc::clone(&state.borrow_and_update());
        let noticed = warnings(&observed.borrow_and_update());
        let differences = history.update(now.problems().chain(&noticed));
        for problem in differences.new {
            tracing::warn!(object = %problem.object, condition = problem.condition, reason = problem.reason, "{}", problem.message);
        }
        for problem in differences.solved {
            tracing::info!(object = %problem.object, reason = problem.reason, "solved");
        }
        gauges.set(&now);
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            Ok(()) = observed.changed() => {}
        }
    }
}
