//! `penstock run`: the parts of a serving process, started in order and stopped in order.
//!
//! Controller → configuration → data plane → what it observed → statuses. The admin server comes first, so that probes of
//! a starting Pod get an answer, and leaves last, so that metrics answer while everything else drains.

mod allocator;
mod diff;
mod explain;
mod overview;
mod probe;
mod problems;
mod report;
mod source;
mod status;
mod traces;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use penstock_dataplane::{AccessLog, AddressRule, DataPlane, Inputs, Options};
use penstock_runtime::drain::{self, WhileAccepting};
use penstock_runtime::{
    AdminServer, Exit, Phase, Readiness, Sources, build_info, limits, register_process_metrics, signals, telemetry,
};
use prometheus::Registry;
use tokio::sync::watch;

use crate::args::RunArgs;

/// Serves until a signal, then drains.
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    telemetry::init(args.log())?;
    serve(args).await
}

/// The same for a process whose log is set up already.
pub(crate) async fn serve(args: RunArgs) -> anyhow::Result<ExitCode> {
    let plan = args.drain_plan()?;
    let stop = signals::install()?;
    let open_files = limits::raise_open_files().unwrap_or_else(|error| {
        tracing::warn!(%error, "fewer connections than there could be");
        limits::open_files()
    });
    let registry = Registry::new();
    build_info::register(&registry)?;
    register_process_metrics(&registry)?;
    let readiness = Readiness::starting("the first complete configuration");
    let status = status::Status::default();
    let (source, asked) = (status.clone(), status.clone());
    let probing = probe::Probing::default();
    let prober = probing.clone();
    let problems = problems::Problems::default();
    let overview = overview::Overview {
        status: status.clone(),
        problems: problems.clone(),
        readiness: readiness.clone(),
        traffic: Arc::default(),
    };
    let differ: Arc<OnceLock<diff::Diff>> = Arc::default();
    let differs = Arc::clone(&differ);
    let log = args.logs_access().then(|| AccessLog::to_stdout(args.access_log_sample)).transpose();
    let log = log.context("cannot start the access log")?;
    let recent = log.clone();
    let traces = traces::start(&args, &registry)?;
    let sources = Sources {
        registry: registry.clone(),
        readiness: readiness.clone(),
        status: Arc::new(move || source.json()),
        request: Arc::new(move |id| recent.as_ref()?.recent(id)),
        probe: Arc::new(move |order| prober.take(order)),
        explain: Arc::new(move |query| {
            let view = asked.parts().map(|(plane, _)| plane.view().borrow().clone()).unwrap_or_default();
            explain::explain(query, &view)
        }),
        diff: Arc::new(move |yaml| {
            let diff = differs.get().cloned();
            Box::pin(async move {
                let diff = diff.ok_or("there is nothing to compare with yet: the process is starting")?;
                diff.of(yaml).await
            })
        }),
        overview: Arc::new(move || Box::pin(overview.clone().document())),
        collect: allocator::collect,
    };
    let admin = AdminServer::bind(args.admin(), sources)?;

    let (observed_sender, observed_late) = watch::channel(Arc::default());
    let mut source = source::start(&args, observed_late).await?;
    let outputs = source.take_outputs()?;
    let translation = source.translation.clone();
    let options = Options {
        workers: args.worker_count(),
        bind_address: args.bind_address,
        open_files: usize::try_from(open_files).unwrap_or(usize::MAX),
        max_connections_per_listener: args.max_connections_per_listener,
        max_connections_per_client: args.max_connections_per_client,
        request_head_timeout: args.request_head_timeout,
        drain_timeout: args.drain_timeout,
        drain_spread: args.spread(),
        resolvers: args.resolver_addresses(),
        backend_addresses: AddressRule::new(move |address| translation.permits(address)),
        access_log: log,
        tracing: traces.as_ref().map(|traces| traces.tracing.clone()),
        metrics_per_rule: args.metrics_per_rule,
        metrics_retention: args.metrics_retention,
        collect: allocator::collect,
    };
    let inputs = Inputs { config: outputs.config, endpoints: outputs.endpoints, tickets: outputs.tickets };
    let plane = Arc::new(DataPlane::start(&options, &registry, inputs)?);
    status.connect(Arc::clone(&plane), outputs.state.clone());
    probing.connect(Arc::clone(&plane));
    let (objects, options) = (outputs.objects, source.translation.clone());
    // Only ever set once.
    let _ = differ.set(diff::Diff { objects, options, plane: Arc::clone(&plane) });
    let settling = tokio::spawn(allocator::settle(outputs.state.clone()));
    let reporting =
        tokio::spawn(report::report(registry, outputs.state, plane.observed(), !args.standalone(), problems));
    let observing = tokio::spawn(observe(plane.observed(), observed_sender, readiness.clone()));

    let while_accepting = if args.standalone() { WhileAccepting::Unready } else { WhileAccepting::StayReady };
    let (phases, phase) = watch::channel(Phase::Serving);
    let draining = tokio::spawn(follow(phase, Arc::clone(&plane), source));
    let totals = plane.totals();
    let exit = drain::run(plan, stop, &phases, (&readiness, while_accepting), totals.none_left()).await;
    let left = totals.connections();
    match exit {
        Exit::Drained => tracing::info!("drained"),
        Exit::Deadline | Exit::Forced => tracing::warn!(connections = left, "stopped with connections open"),
    }
    settling.abort();
    reporting.abort();
    observing.abort();
    draining.abort();
    plane.stop();
    if let Some(traces) = traces {
        traces.finish();
    }
    drop(admin);
    Ok(exit.into())
}

/// What the data plane says of itself goes to the controller, and decides about readiness.
async fn observe(
    mut observed: watch::Receiver<Arc<penstock_model::Observed>>,
    controller: watch::Sender<Arc<penstock_model::Observed>>,
    readiness: Readiness,
) {
    let mut silent = false;
    while observed.changed().await.is_ok() {
        let now = Arc::clone(&observed.borrow_and_update());
        if now.generation > 0 && now.resolving {
            readiness.waiting_for("the first answers about DNS names of backends");
        } else if now.generation > 0 {
            readiness.ready();
            let before = std::mem::replace(&mut silent, now.ports.is_empty());
            if silent && !before {
                tracing::warn!("nothing is listening: no ApplicationGateway of this class has a listener");
            }
        }
        controller.send_replace(now);
    }
}

/// Does what each phase of the drain asks for. The source must live until its end: what drains still follows its endpoints.
async fn follow(phase: watch::Receiver<Phase>, plane: Arc<DataPlane>, mut source: source::Source) {
    let mut stopping = phase.clone();
    // Another replica takes over writing while this one drains. That takes its time, and no phase waits for it.
    let step_down = async {
        if stopping.wait_for(|phase| *phase != Phase::Serving).await.is_ok() {
            source.step_down().await;
        }
    };
    tokio::join!(step_down, let_go(phase, &plane));
}

/// Lets connections go as each phase says. One may be over before it is seen, when the next begins with it.
async fn let_go(mut phase: watch::Receiver<Phase>, plane: &DataPlane) {
    while phase.changed().await.is_ok() {
        let now = *phase.borrow_and_update();
        match now {
            Phase::Serving | Phase::Ended => {}
            Phase::Accepting(_) => tracing::info!("stopping: accepting goes on"),
            Phase::Closing(_) => plane.close(),
            Phase::Spreading(times) => {
                plane.close();
                plane.spread_close(times.end.saturating_duration_since(times.spread_from));
            }
        }
    }
}
