//! Which build this is: for `penstock version`, the log, and the metric `penstock_build_info`.

use prometheus::{IntGaugeVec, Opts, Registry};

/// The version of the release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The git revision, `development` in development builds, `unknown` when it was built without git.
pub const REVISION: &str = env!("PENSTOCK_REVISION");

/// Registers `penstock_build_info{version, revision} 1`.
///
/// # Errors
/// It is registered already.
pub fn register(registry: &Registry) -> prometheus::Result<()> {
    let options = Opts::new("penstock_build_info", "The build that is running; always 1.");
    let info = IntGaugeVec::new(options, &["version", "revision"])?;
    info.with_label_values(&[VERSION, REVISION]).set(1);
    registry.register(Box::new(info))
}
