//! What the process needs whatever it serves: logs, the admin server, signals, the drain, limits and its own metrics.
//!
//! The order of a run: [`telemetry::init`], [`limits::raise_open_files`], [`AdminServer::bind`] (so that the probes of
//! a starting Pod get an answer), [`signals::install`], the work, and [`drain::run`], which says how the process ends.

mod admin;
pub mod build_info;
pub mod drain;
pub mod limits;
mod process_metrics;
mod readiness;
pub mod signals;
pub mod telemetry;

pub use admin::{AdminError, AdminServer, Answer, Diff, Explain, FindRequest, Order, Overview, Sources, TakeOrder};
pub use drain::{DrainPlan, Exit, Phase, Timetable};
pub use process_metrics::register as register_process_metrics;
pub use readiness::{Readiness, ReadyState};
pub use signals::Stop;
pub use telemetry::LogFormat;
